package diagnose

import (
	"math"
	"testing"

	"github.com/sonde-net/sonde/result"
)

func TestLoad(t *testing.T) {
	var l load
	if m, ok := l.median(); ok {
		t.Errorf("median of nothing: %v", m)
	}
	for _, bad := range []float64{-1, 101, math.NaN(), math.Inf(1)} {
		l.add(&bad)
	}
	l.add(nil)
	if l.n != 0 || l.full() || l.calm() {
		t.Errorf("%d readings, full %v, calm %v, want none", l.n, l.full(), l.calm())
	}
	for _, percent := range []float64{10, 100, 100, 96} {
		l.add(&percent)
	}
	if m, ok := l.median(); !ok || m != 96 || !l.full() || l.above(90) != 3 || l.row != 3 {
		t.Errorf("median %v, full %v, above %d, row %d", m, l.full(), l.above(90), l.row)
	}
	l.add(result.Some(cpuWarn))
	if l.row != 0 {
		t.Errorf("row %d after a calm reading", l.row)
	}
}
