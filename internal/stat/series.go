package stat

import (
	"math"
	"slices"
	"time"

	"github.com/sonde-net/sonde/result"
)

// A Series is the rate of one direction of a run, interval by interval. The zero
// Series is ready to use. It holds at most 1024 intervals: beyond that, and
// again at each doubling, it joins neighbours two by two.
type Series struct {
	points []point
	join   int // intervals that make a point; 0 means 1
	last   int // intervals in the last point
}

const maxPoints = 1024

type point struct {
	start, end time.Duration
	bytes      uint64
}

// What is asked of a Series before its steady rate can be believed.
const (
	rampDeviations = 4.0  // standard deviations below the second half that are ramp-up
	rampShare      = 0.10 // and at least this share below
	enoughPoints   = 5    // intervals after the ramp-up
	enoughTime     = 3 * time.Second
	smallSpread    = 0.10 // above it a rate varies
	risingPairs    = 0.95 // of the pairs in the second half in rising order
	risingShare    = 0.25 // growth that counts
)

// The words for how far a steady rate can be believed.
const (
	Good     = "good"
	Varies   = "varies"
	TooShort = "too short to tell"
)

// Add takes the bytes that were moved between start and end of the run, later
// than all before. An interval without length is left out.
func (s *Series) Add(start, end time.Duration, bytes uint64) {
	if end <= start {
		return
	}
	if n := len(s.points); n > 0 && s.last < s.join {
		s.points[n-1].end = end
		s.points[n-1].bytes += bytes
		s.last++
		return
	}
	if len(s.points) == maxPoints {
		s.halve()
	}
	s.points = append(s.points, point{start, end, bytes})
	s.last = 1
}

// halve joins the points two by two.
func (s *Series) halve() {
	for i := range maxPoints / 2 {
		a, b := s.points[2*i], s.points[2*i+1]
		s.points[i] = point{a.start, b.end, a.bytes + b.bytes}
	}
	s.points = s.points[:maxPoints/2]
	s.join = 2 * max(s.join, 1)
}

// Steady finds the rate after the ramp-up, or nil when nothing was moved.
//
// The ramp-up is the intervals at the start, up to half of all, that lie
// clearly below what the second half shows: below its median by 10 % and by
// four standard deviations (estimated from the median absolute deviation, which
// outliers do not bend). A last interval under half the usual length is left
// out of everything.
//
// Confidence is TooShort when the rate was still rising at the end (see Rising:
// then the whole first half is ramp-up), or when fewer than five intervals or
// three seconds follow the ramp-up; Varies when the standard
// deviation is above 10 % of the mean or the level changed (see changes);
// Good otherwise.
func (s *Series) Steady() *result.Steady {
	points := s.whole()
	rates := ratesOf(points)
	if len(rates) == 0 || slices.Max(rates) == 0 {
		return nil
	}
	ramp, still := rampUp(rates), rising(rates)
	if still {
		ramp = len(rates) / 2
	}
	points, rates = points[ramp:], rates[ramp:]
	steady := &result.Steady{
		From:   points[0].start,
		Rate:   meanRate(points),
		Spread: spread(rates),
	}
	for _, i := range changes(rates) {
		steady.Changes = append(steady.Changes, points[i].start)
	}
	long := points[len(points)-1].end - points[0].start
	switch {
	case still, len(rates) < enoughPoints, long < enoughTime:
		steady.Confidence = TooShort
	case steady.Spread > smallSpread, len(steady.Changes) > 0:
		steady.Confidence = Varies
	default:
		steady.Confidence = Good
	}
	return steady
}

// Rising reports whether the rate was still rising when the run ended, so that
// nobody knows how far it would have come: in the second half 19 of 20 pairs of
// intervals are in rising order (Kendall's test of trend) and the last is 25 %
// above the first. Where the second half has fewer than four intervals, each of
// the last three is 25 % above the one before.
func (s *Series) Rising() bool { return rising(ratesOf(s.whole())) }

func rising(rates []float64) bool {
	late := rates[len(rates)/2:]
	n := len(late)
	if n < 4 {
		n = len(rates)
		return n >= 3 && rates[n-3] > 0 && grown(rates[n-3], rates[n-2]) && grown(rates[n-2], rates[n-1])
	}
	if !grown(late[0], late[n-1]) {
		return false
	}
	var up int
	for i, r := range late {
		for _, later := range late[i+1:] {
			if later > r {
				up++
			}
		}
	}
	return float64(up) >= risingPairs*float64(n*(n-1)/2)
}

func grown(from, to float64) bool { return to >= (1+risingShare)*from }

// whole returns the intervals without a cut-off last one.
func (s *Series) whole() []point {
	n := len(s.points)
	if n < 2 {
		return s.points
	}
	last, before := s.points[n-1], s.points[n-2]
	if 2*(last.end-last.start) < before.end-before.start {
		return s.points[:n-1]
	}
	return s.points
}

// rampUp returns how many intervals at the start are ramp-up.
func rampUp(rates []float64) int {
	half := len(rates) / 2
	if half < 2 {
		return 0 // nothing to compare with
	}
	level, deviation := robust(rates[half:])
	floor := level - max(rampDeviations*deviation, rampShare*level)
	for i, r := range rates[:half] {
		if r >= floor {
			return i
		}
	}
	return half
}

// robust returns the median and an estimate of the standard deviation: the
// median absolute deviation, scaled to agree with it for normal noise.
func robust(x []float64) (center, deviation float64) {
	center = median(x)
	away := make([]float64, len(x))
	for i, v := range x {
		away[i] = math.Abs(v - center)
	}
	return center, 1.4826 * median(away)
}

func median(x []float64) float64 {
	sorted := slices.Sorted(slices.Values(x))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// spread is the standard deviation of the sample over its mean; 0 for one value.
func spread(x []float64) float64 {
	if len(x) < 2 {
		return 0
	}
	m := mean(x)
	if m == 0 {
		return 0
	}
	var squares float64
	for _, v := range x {
		squares += (v/m - 1) * (v/m - 1)
	}
	return math.Sqrt(squares / float64(len(x)-1))
}

func mean(x []float64) float64 {
	var sum float64
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

func ratesOf(points []point) []float64 {
	rates := make([]float64, len(points))
	for i, p := range points {
		rates[i] = float64(p.bytes) * 8 / (p.end - p.start).Seconds()
	}
	return rates
}

// meanRate is all bytes over all the time they took, bit/s.
func meanRate(points []point) uint64 {
	var bytes float64
	var long time.Duration
	for _, p := range points {
		bytes += float64(p.bytes)
		long += p.end - p.start
	}
	return uint64(bytes * 8 / long.Seconds())
}
