package rperf

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/result"
)

// TestLongTest: 200 s of UDP end at most 2 s late, where a real server that
// counts down in single precision may send for ever.
func TestLongTest(t *testing.T) {
	for _, d := range []result.Direction{result.Up, result.Down} {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t, slow, &Server{})
			start := time.Now()
			r, err := p.run(t.Context(), Client{UDP: true, Direction: d, Duration: 200 * time.Second, Rate: 100_000})
			if took := time.Since(start); err != nil || took < 200*time.Second || took > 202*time.Second {
				t.Errorf("%v: %v after %v", d, err, took)
			}
			p.stop()
			if e := r.End(t); e.Reason != result.ReasonDone {
				t.Errorf("%v: %s", d, e.Reason)
			}
		})
	}
}
