package twamp

import (
	"math"
	"time"

	"github.com/sonde-net/sonde/internal/stat"
	"github.com/sonde-net/sonde/result"
)

// A spread is a distribution of delays that may be negative or hours off, as
// one-way delays between two clocks are. Values are kept to three digits of
// their distance from the first one, so what matters, the variation, is exact
// whatever the offset. Distances above a minute count as a minute. The zero
// spread is ready to use; it must not be copied.
type spread struct {
	base         time.Duration // the first value
	n            uint64
	min, max     time.Duration
	sum          float64 // of the distances, nanoseconds
	above, below stat.Histogram
}

func (s *spread) record(d time.Duration) {
	if s.n == 0 {
		s.base, s.min, s.max = d, d, d
	}
	s.n++
	s.min, s.max = min(s.min, d), max(s.max, d)
	off := d - s.base
	s.sum += float64(off)
	if off >= 0 {
		s.above.Record(off)
	} else {
		s.below.Record(-off)
	}
}

// reset empties s and keeps its memory.
func (s *spread) reset() {
	s.n, s.sum = 0, 0
	s.above.Reset()
	s.below.Reset()
}

// quantile returns the least value that the share q of all stays below or
// equals: the nearest rank. It is false while s is empty.
func (s *spread) quantile(q float64) (time.Duration, bool) {
	if s.n == 0 {
		return 0, false
	}
	rank := uint64(max(1, math.Ceil(q*float64(s.n))))
	under := s.below.Count()
	var off time.Duration
	if rank <= under {
		// Counted from the other end, because the distances run the other way.
		off, _ = s.below.Quantile(float64(under-rank+1) / float64(under))
		off = -off
	} else {
		off, _ = s.above.Quantile(float64(rank-under) / float64(s.n-under))
		if off == stat.ShortestDelay {
			off = 0
		}
	}
	return min(max(s.base+off, s.min), s.max), true
}

// distribution returns the figures less origin, or nil while s is empty.
func (s *spread) distribution(origin time.Duration) *result.Distribution {
	if s.n == 0 {
		return nil
	}
	d := &result.Distribution{
		Count: s.n, Min: s.min - origin, Max: s.max - origin,
		Mean: s.base + time.Duration(s.sum/float64(s.n)) - origin,
	}
	for _, p := range quantilesOf(d) {
		v, _ := s.quantile(p.q)
		*p.to = v - origin
	}
	return d
}

// A quantileOf is one quantile and where it goes.
type quantileOf struct {
	q  float64
	to *time.Duration
}

func quantilesOf(d *result.Distribution) []quantileOf {
	return []quantileOf{
		{0.50, &d.P50}, {0.75, &d.P75}, {0.90, &d.P90}, {0.95, &d.P95}, {0.99, &d.P99}, {0.999, &d.P999}, {0.9999, &d.P9999},
	}
}

// An ipdv is the variation of delay between neighbours, RFC 3393: of packets
// sent one after the other that both came. The zero ipdv is ready to use; it
// must not be copied.
type ipdv struct {
	n        uint64
	min, max time.Duration
	abs      stat.Histogram
	sum      float64 // of the absolute values, nanoseconds
}

func (v *ipdv) record(d time.Duration) {
	if v.n == 0 {
		v.min, v.max = d, d
	}
	v.n++
	v.min, v.max = min(v.min, d), max(v.max, d)
	v.abs.Record(d.Abs())
	v.sum += math.Abs(float64(d))
}

func (v *ipdv) variation() *result.Variation {
	if v.n == 0 {
		return nil
	}
	p95, _ := v.abs.Quantile(0.95)
	return &result.Variation{Count: v.n, Min: v.min, Max: v.max, MeanAbs: time.Duration(v.sum / float64(v.n)), P95Abs: min(p95, max(v.max, -v.min))}
}
