// Package compare holds two sets of runs against each other: is B slower than A,
// or can no difference be shown?
//
// It is pure: no I/O, no clock, no randomness. A difference is told only where
// chance alone would show one as large in less than one comparison of twenty,
// over all figures together.
package compare

import (
	"cmp"
	"math"
	"slices"

	"github.com/sonde-net/sonde/result"
)

// A Set is the runs on one side: what each told at its end, and its intervals.
type Set struct {
	Runs []Run
}

// A Run is what is compared of one test.
type Run struct {
	End       *result.End
	Intervals []result.Interval
}

// A Figure is a kind of measurement that is compared.
type Figure string

// The figures. More of Download and Upload is better, less of all others.
const (
	Download Figure = "download"
	Upload   Figure = "upload"
	RTT      Figure = "rtt"  // median round trip under load, or of test packets
	Loss     Figure = "loss" // share of packets lost
)

var figures = []Figure{Download, Upload, RTT, Loss}

// MoreIsBetter reports whether a rise of f is good.
func (f Figure) MoreIsBetter() bool { return f == Download || f == Upload }

// A Unit is what one value of a sample is.
type Unit string

// The units. Runs are compared where there are at least runsWanted on both
// sides: only they show how much one test differs from the next. Otherwise the
// intervals within them are, as far as neighbours are independent.
const (
	Runs      Unit = "runs"
	Intervals Unit = "intervals"
)

const runsWanted = 4

// A Difference is what can be said of one figure.
type Difference struct {
	Figure Figure
	Unit   Unit
	A, B   Sample
	// Change is how much B's mean differs from A's, as a share of A's; nil when
	// A's is zero. Low and High hold it with 95 % confidence.
	Change, Low, High *float64
	P                 float64 // chance of a difference as large where there is none; 1 if it cannot be told
	Certain           bool    // P is below what all figures together allow
	TooFew            bool    // there is too little to compare
}

// A Sample is one side of a comparison.
type Sample struct {
	N         int     // values
	Effective float64 // independent ones that they are worth
	Mean      float64 // bit/s, nanoseconds or a share
	Deviation float64 // standard
}

// most is how often, at most, chance may pass for a difference, over all figures.
const most = 0.05

// Compare holds b against a, figure by figure; figures that a side has not
// measured are left out.
func Compare(a, b Set) []Difference {
	var all []Difference
	for _, f := range figures {
		if d, ok := compare(f, a, b); ok {
			all = append(all, d)
		}
	}
	holm(all)
	return all
}

// holm marks what is certain: the k-th least P of n has to be below most/(n-k)
// (Holm 1979), so that all together keep to most.
func holm(all []Difference) {
	order := make([]*Difference, len(all))
	for n := range all {
		order[n] = &all[n]
	}
	slices.SortFunc(order, func(x, y *Difference) int { return cmp.Compare(x.P, y.P) })
	for k, d := range order {
		if d.P >= most/float64(len(order)-k) {
			return
		}
		d.Certain = true
	}
}

func compare(f Figure, a, b Set) (Difference, bool) {
	x, y := f.means(a), f.means(b)
	d := Difference{Figure: f, Unit: Runs}
	if len(x) >= runsWanted && len(y) >= runsWanted {
		d.A, d.B = sampleOf(x), sampleOf(y)
	} else {
		d.Unit = Intervals
		d.A, d.B = f.within(a), f.within(b)
		if d.A.N == 0 || d.B.N == 0 {
			if len(x) == 0 || len(y) == 0 {
				return d, false
			}
			d.A, d.B = sampleOf(x), sampleOf(y) // the means, with nothing to judge them by
			d.Unit = Runs
		}
	}
	d.judge()
	return d, true
}

// judge is Welch's test: two means with deviations of their own.
func (d *Difference) judge() {
	d.P = 1
	change := d.B.Mean - d.A.Mean
	if d.A.Mean != 0 {
		d.Change = result.Some(change / d.A.Mean)
	}
	if d.A.Effective < 3 || d.B.Effective < 3 {
		d.TooFew = true
		return
	}
	va := d.A.Deviation * d.A.Deviation / d.A.Effective
	vb := d.B.Deviation * d.B.Deviation / d.B.Effective
	if va+vb == 0 {
		if change != 0 {
			d.P = 0
		}
		return
	}
	free := (va + vb) * (va + vb) / (va*va/(d.A.Effective-1) + vb*vb/(d.B.Effective-1))
	spread := math.Sqrt(va + vb)
	d.P = tail(change/spread, free)
	if d.A.Mean != 0 {
		reach := quantile(0.975, free) * spread
		d.Low = result.Some((change - reach) / d.A.Mean)
		d.High = result.Some((change + reach) / d.A.Mean)
	}
}

func sampleOf(values []float64) Sample {
	s := Sample{N: len(values), Effective: float64(len(values))}
	for _, v := range values {
		s.Mean += v / float64(len(values))
	}
	if s.N < 2 {
		return s
	}
	for _, v := range values {
		s.Deviation += (v - s.Mean) * (v - s.Mean) / float64(s.N-1)
	}
	s.Deviation = math.Sqrt(s.Deviation)
	return s
}

// leastMemory is the correlation of neighbouring seconds that is assumed where
// less is seen: ten values show a smaller one than there is too often.
const leastMemory = 0.4

// within is the intervals of all runs of a set as one sample. Neighbours are
// alike, so that n of them are worth n(1-r)/(1+r), with r the correlation of
// neighbours (of a first-order autoregressive series).
func (f Figure) within(s Set) Sample {
	var all []float64
	var above, below float64
	for _, r := range s.Runs {
		values := f.series(r)
		mean := sampleOf(values).Mean
		for n, v := range values {
			below += (v - mean) * (v - mean)
			if n > 0 {
				above += (v - mean) * (values[n-1] - mean)
			}
		}
		all = append(all, values...)
	}
	sample := sampleOf(all)
	memory := leastMemory
	if below > 0 {
		memory = min(0.95, max(memory, above/below+2/float64(max(len(all), 1))))
	}
	sample.Effective *= (1 - memory) / (1 + memory)
	return sample
}
