package store

import (
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A Sketch is a distribution that can be added up: of rates in bit/s or of times
// in nanoseconds, each to one percent. The zero Sketch is empty.
type Sketch struct {
	unit float64 // of one step, in the unit of the figure
	h    *hdrhistogram.Histogram
}

// The steps of sketches: rates up to 10 Tbit/s, times up to 1000 s.
const (
	rateStep = 1000                  // bit/s
	timeStep = 100 * time.Nanosecond // so that 10 µs are told to one percent
)

// Count is how many values are in it.
func (s *Sketch) Count() uint64 {
	if s == nil || s.h == nil {
		return 0
	}
	return uint64(s.h.TotalCount())
}

// At are the values at these parts of the distribution, 0 the least, 0.5 the
// median, 1 the greatest: bit/s or nanoseconds. Nil of an empty one.
func (s *Sketch) At(parts ...float64) []float64 {
	if s.Count() == 0 {
		return nil
	}
	all := make([]float64, len(parts))
	for i, p := range parts {
		v := s.h.ValueAtQuantile(p * 100)
		if p <= 0 {
			v = s.h.Min()
		}
		all[i] = float64(v) * s.unit
	}
	return all
}

// add puts n values of one size in.
func (s *Sketch) add(v float64, n int64) {
	if n <= 0 || math.IsNaN(v) {
		return
	}
	if s.h == nil {
		s.h = newHistogram()
	}
	_ = s.h.RecordValues(int64(min(max(1, math.Round(v/s.unit)), mostSteps)), n) // within its bounds
}

// addSpread puts in what is known of many values: between two of the known
// quantiles they are taken to lie evenly.
func (s *Sketch) addSpread(p *Spread) {
	if p == nil || p.Count == 0 {
		return
	}
	s.add(float64(p.Min), 1)
	if p.Count == 1 {
		return
	}
	s.add(float64(p.Max), 1)
	knots := []struct {
		part float64
		at   time.Duration
	}{{0, p.Min}, {.5, p.P50}, {.9, p.P90}, {.99, p.P99}, {1, p.Max}}
	put, all := int64(1), float64(p.Count)
	for n, to := range knots[1:] {
		from := knots[n]
		const pieces = 10
		for i := range pieces {
			share := float64(i+1) / pieces
			upTo := int64(math.Round(min(all*(from.part+(to.part-from.part)*share), all-1)))
			s.add(float64(from.at)+float64(to.at-from.at)*share, upTo-put)
			put = max(put, upTo)
		}
	}
}

// addRate puts in the rate of one test, if it is known.
func (s *Sketch) addRate(rate *uint64) {
	if rate != nil {
		s.add(float64(*rate), 1)
	}
}

func (s *Sketch) merge(other *Sketch) {
	if other.Count() == 0 {
		return
	}
	if s.h == nil {
		s.h = newHistogram()
	}
	s.h.Merge(other.h)
}

// encode is for the database: nil of an empty one.
func (s *Sketch) encode() ([]byte, error) {
	if s.Count() == 0 {
		return nil, nil
	}
	return s.h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
}

func decodeSketch(unit float64, b []byte) (*Sketch, error) {
	s := &Sketch{unit: unit}
	if len(b) == 0 {
		return s, nil
	}
	var err error
	s.h, err = hdrhistogram.Decode(b)
	return s, err
}
