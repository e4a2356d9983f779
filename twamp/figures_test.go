package twamp

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

func TestOrderExtent(t *testing.T) {
	for _, tt := range []struct {
		seqs              []uint64
		reordered, extent uint64
	}{
		{[]uint64{0, 1, 2, 3}, 0, 0},
		{[]uint64{0, 2, 1, 3}, 1, 1},
		{[]uint64{1, 2, 3, 4, 0}, 1, 4},
		{[]uint64{0, 5, 1, 2, 3, 4, 6}, 4, 4},
		// RFC 4737, section 4.2.3: 1 2 3 7 8 9 10 4 5 6 11, extents up to 6.
		{[]uint64{1, 2, 3, 7, 8, 9, 10, 4, 5, 6, 11}, 3, 6},
	} {
		var o order
		for _, s := range tt.seqs {
			o.record(s)
		}
		if got := o.reordering(); got.Reordered != tt.reordered || got.Extent != tt.extent || got.Packets != uint64(len(tt.seqs)) {
			t.Errorf("%v: %+v", tt.seqs, got)
		}
	}
}

func TestSpread(t *testing.T) {
	for _, base := range []time.Duration{0, -time.Hour, 3 * time.Hour, 250 * time.Microsecond} {
		t.Run(fmt.Sprint(base), func(t *testing.T) {
			var s spread
			if _, ok := s.quantile(0.5); ok || s.distribution(0) != nil {
				t.Error("an empty spread has figures")
			}
			values := rand.New(rand.NewPCG(3, 4)).Perm(1001) // 0 to 1000
			for _, v := range values {
				s.record(base + time.Duration(v)*time.Microsecond)
			}
			d := s.distribution(s.min)
			for _, tt := range []struct{ got, want time.Duration }{
				{d.Min, 0}, {d.Max, 1000 * time.Microsecond}, {d.Mean, 500 * time.Microsecond},
				{d.P50, 500 * time.Microsecond}, {d.P90, 900 * time.Microsecond}, {d.P99, 990 * time.Microsecond}, {d.P9999, 1000 * time.Microsecond},
			} {
				if (tt.got - tt.want).Abs() > 2*time.Microsecond {
					t.Errorf("%v, want %v", tt.got, tt.want)
				}
			}
		})
	}
}

func TestDrift(t *testing.T) {
	var o offsets
	start := time.Unix(1_800_000_000, 0)
	chance := rand.New(rand.NewPCG(5, 6))
	const ppm = 40e-6
	for i := range 20_000 { // 2000 s, so that seconds are joined
		at := start.Add(time.Duration(i) * 100 * time.Millisecond)
		queue := time.Duration(chance.ExpFloat64() * float64(time.Millisecond))
		offset := time.Hour + time.Duration(float64(at.Sub(start))*ppm)
		o.record(at, 2*time.Millisecond+queue, offset+queue/2)
	}
	got, ok := o.drift()
	if !ok || got < ppm*0.98 || got > ppm*1.02 || o.stepped {
		t.Errorf("drift %v, %t, stepped %t; want %v", got, ok, o.stepped, ppm)
	}
	if len(o.seconds) >= mostSeconds {
		t.Errorf("%d seconds", len(o.seconds))
	}
}
