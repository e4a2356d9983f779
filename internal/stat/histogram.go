package stat

import (
	"math"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/sonde-net/sonde/result"
)

// The range of a Histogram. Within it a value is kept to three digits.
const (
	ShortestDelay = time.Nanosecond
	LongestDelay  = time.Minute
)

// mostFew is how many delays are kept one by one.
const mostFew = 1024

// A Histogram is a distribution of delays from 1 ns to 60 s, to three digits.
// Delays outside are counted at the end of the range and as outliers. The least,
// the greatest and the mean are exact.
//
// The zero Histogram is ready to use. The first Record allocates 8 kB and, since a
// flow that somebody only keeps open must not cost more, only the 1025th about
// 220 kB; the others nothing. It is not safe for concurrent use and must not be
// copied.
type Histogram struct {
	few      []int64                 // nanoseconds; while hdr is nil
	hdr      *hdrhistogram.Histogram // nil while they are few
	min, max time.Duration
	sum      float64 // nanoseconds
	outliers uint64
}

// Record takes a delay.
func (h *Histogram) Record(d time.Duration) {
	kept := min(max(d, ShortestDelay), LongestDelay)
	if kept != d {
		h.outliers++
	}
	if h.Count() == 0 {
		h.min, h.max = kept, kept
	}
	h.min, h.max = min(h.min, kept), max(h.max, kept)
	h.sum += float64(kept)
	h.put(int64(kept))
}

// put takes a delay in range, in nanoseconds.
func (h *Histogram) put(ns int64) {
	if h.hdr == nil && len(h.few) < mostFew {
		if h.few == nil {
			h.few = make([]int64, 0, mostFew)
		}
		h.few = append(h.few, ns)
		return
	}
	h.make()
	if err := h.hdr.RecordValue(ns); err != nil {
		panic("stat: " + time.Duration(ns).String() + " is in range, but: " + err.Error())
	}
}

// Merge adds what o holds.
func (h *Histogram) Merge(o *Histogram) {
	if o.Count() == 0 {
		return
	}
	if h.Count() == 0 {
		h.min, h.max = o.min, o.max
	}
	h.min, h.max = min(h.min, o.min), max(h.max, o.max)
	h.sum += o.sum
	h.outliers += o.outliers
	for _, ns := range o.few {
		h.put(ns)
	}
	if o.hdr != nil {
		h.make()
		h.hdr.Merge(o.hdr)
	}
}

// Reset empties h and keeps its memory.
func (h *Histogram) Reset() {
	if h.hdr != nil {
		h.hdr.Reset()
	}
	*h = Histogram{few: h.few[:0], hdr: h.hdr}
}

// Count returns how many delays were recorded.
func (h *Histogram) Count() uint64 {
	if h.hdr == nil {
		return uint64(len(h.few))
	}
	return uint64(h.hdr.TotalCount())
}

// Outliers returns how many delays lay outside the range, such as negative ones.
func (h *Histogram) Outliers() uint64 { return h.outliers }

// Quantile returns the delay that the share q, 0 to 1, of all stays below or
// equals. It is false while h is empty.
func (h *Histogram) Quantile(q float64) (time.Duration, bool) {
	if h.Count() == 0 {
		return 0, false
	}
	// The library rounds to the nearest rank; the quantile is the one above.
	n := float64(h.Count())
	rank := math.Ceil(min(max(q, 0), 1) * n)
	if h.hdr == nil {
		slices.Sort(h.few) // in place: their order says nothing
		return time.Duration(h.few[max(0, int(rank)-1)]), true
	}
	v := time.Duration(h.hdr.ValueAtPercentile(100 * rank / n))
	return min(max(v, h.min), h.max), true
}

// Delay returns the figures for a result, or nil while h is empty.
func (h *Histogram) Delay() *result.Delay {
	n := h.Count()
	if n == 0 {
		return nil
	}
	d := &result.Delay{Count: n, Min: h.min, Mean: time.Duration(h.sum / float64(n)), Max: h.max}
	d.P50, _ = h.Quantile(0.50)
	d.P90, _ = h.Quantile(0.90)
	d.P99, _ = h.Quantile(0.99)
	return d
}

// make makes room for many delays.
func (h *Histogram) make() {
	if h.hdr != nil {
		return
	}
	h.hdr = hdrhistogram.New(int64(ShortestDelay), int64(LongestDelay), 3)
	for _, ns := range h.few {
		h.put(ns)
	}
	h.few = nil
}
