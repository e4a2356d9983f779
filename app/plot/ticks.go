package plot

import (
	"math"
	"strconv"
	"time"
)

// A tick is a labelled place on an axis.
type tick struct {
	at    float64
	label string
}

// ticks are at most about n round places from lo to hi, and the unit of their
// labels.
func (a Axis) ticks(lo, hi float64, n int) (all []tick, unit string) {
	n = max(1, n)
	switch a.Unit {
	case Clock:
		return clockTicks(lo, hi, n, a.Zone), ""
	case Elapsed:
		step := atLeast(elapsedSteps, (hi-lo)/float64(n))
		s := scale{1, "s"}
		for _, larger := range scales[Elapsed] {
			if step >= larger.one {
				s = larger
			}
		}
		return even(lo, hi, step, s.one), s.name
	}
	s := a.Unit.scaleFor(math.Max(math.Abs(lo), math.Abs(hi)))
	return even(lo, hi, round((hi-lo)/s.one/float64(n))*s.one, s.one), s.name
}

// round is the least of 1, 2, 2.5 and 5 times a power of ten that is no less than v.
func round(v float64) float64 {
	if v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 2, 2.5, 5} {
		if f*power >= v*(1-1e-9) {
			return f * power
		}
	}
	return 10 * power
}

// elapsedSteps are round numbers of seconds.
var elapsedSteps = []float64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 3 * 3600, 6 * 3600, 12 * 3600,
	86400, 2 * 86400, 7 * 86400, 14 * 86400, 30 * 86400, 90 * 86400, 365 * 86400}

// atLeast is the least of steps that is no less than v; below the first and
// beyond the last it is round.
func atLeast(steps []float64, v float64) float64 {
	if v < steps[0]/2 {
		return round(v)
	}
	for _, s := range steps {
		if s >= v {
			return s
		}
	}
	return round(v)
}

// mostTicks bounds the work for an axis whose numbers lie too close together for
// its step.
const mostTicks = 50

func even(lo, hi, step, one float64) []tick {
	decimals := 0
	for s := step / one; decimals < 9 && math.Abs(s-math.Round(s)) > 1e-6*s; decimals++ {
		s *= 10
	}
	var all []tick
	first := math.Ceil(lo/step - 1e-9)
	for i := range mostTicks {
		at := (first + float64(i)) * step
		if at > hi+step*1e-9 {
			break
		}
		all = append(all, tick{at, strconv.FormatFloat(at/one+0, 'f', decimals, 64)})
	}
	return all
}

// clockTicks are round times of day, days, or first days of months.
func clockTicks(lo, hi float64, n int, zone *time.Location) []tick {
	from, to := moment(lo, zone), moment(hi, zone)
	want := (hi - lo) / float64(n)
	switch {
	case want > 14*86400:
		return months(from, to, int(atLeast([]float64{1, 2, 3, 6, 12, 24, 60, 120}, want/(30*86400))))
	case want > 43200:
		return days(from, to, int64(atLeast([]float64{1, 2, 3, 7, 14}, want/86400)))
	}
	return times(from, to, max(1, int(atLeast(elapsedSteps, want))))
}

func months(from, to time.Time, step int) []tick {
	var all []tick
	first := from.Year()*12 + int(from.Month()) - 1
	first -= first % step
	for i := range mostTicks {
		t := time.Date(0, time.Month(1+first+i*step), 1, 0, 0, 0, 0, from.Location())
		if t.After(to) {
			break
		}
		if !t.Before(from) {
			all = append(all, tick{At(t), t.Format("Jan 2006")})
		}
	}
	return all
}

func days(from, to time.Time, step int64) []tick {
	var all []tick
	y, m, d := from.Date()
	// Whole weeks begin on Mondays; 5 January 1970 was one.
	since := time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix()/86400 - 4
	d -= int(((since % step) + step) % step)
	for i := range mostTicks {
		t := time.Date(y, m, d+i*int(step), 0, 0, 0, 0, from.Location())
		if t.After(to) {
			break
		}
		if !t.Before(from) {
			all = append(all, tick{At(t), t.Format("2 Jan")})
		}
	}
	return all
}

// times are so many seconds apart on the clock on the wall: where it is set
// forward or back, they stay on it.
func times(from, to time.Time, step int) []tick {
	layout := "15:04"
	if step < 60 {
		layout = "15:04:05"
	}
	var all []tick
	y, m, d := from.Date()
	passed := from.Hour()*3600 + from.Minute()*60 + from.Second()
	for s := passed - passed%step; len(all) < mostTicks; s += step {
		t := time.Date(y, m, d, 0, 0, s, 0, from.Location())
		if t.After(to) {
			break
		}
		at := At(t)
		if t.Before(from) || len(all) > 0 && at <= all[len(all)-1].at {
			continue
		}
		label := t.Format(layout)
		if t.Hour() == 0 && t.Minute() == 0 && t.Second() == 0 {
			label = t.Format("2 Jan")
		}
		all = append(all, tick{at, label})
	}
	return all
}
