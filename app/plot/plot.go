// Package plot draws series of measurements: as SVG for pages and files, and in
// characters for terminals.
//
//	c := plot.Chart{
//		Title: "Throughput",
//		X:     plot.Axis{Unit: plot.Elapsed},
//		Y:     plot.Axis{Unit: plot.Rate},
//		Lines: []plot.Line{{Name: "download", Points: points}},
//	}
//	c.SVG()             // to be put into a page that has plot.CSS in its style sheet
//	c.File()            // a file of its own
//	c.Text(80, 12, plot.Braille)
//
// Bars and Histogram have the same methods. Smoke in a Chart is what spreads
// around its middle: nested bands of quantiles over time.
//
// What was not measured is NaN, which Value makes of a nil pointer: it is drawn
// as a gap, never as 0. More points than columns of pixels are thinned to what
// each column begins and ends with and to its least and greatest, so no peak is
// lost. Every column of points has a <title>, which browsers show without a
// script. Colours are CSS variables with values for light and dark; lines differ
// in their dashes too. All text is escaped; nothing needs a style attribute, so
// that pages can forbid those.
//
// The package is pure: numbers in, text out.
package plot

import (
	"math"
	"time"
)

// A Point is a value Y at X; Y is NaN where nothing was measured.
type Point struct {
	X, Y float64
}

// Gap is the Y of a Point at which nothing was measured.
var Gap = math.NaN()

// Value is the number that p points to; Gap if it is nil.
func Value[N ~int | ~int64 | ~uint64 | ~float64](p *N) float64 {
	if p == nil {
		return Gap
	}
	return float64(*p)
}

// At is a moment as the X of a Point on an axis of unit Clock.
func At(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// A Line is one series. Its points are in the order of X.
type Line struct {
	Name   string
	Points []Point
}

// Smoke is a series of distributions: each has the values of the same Levels,
// which rise from 0 to 1, such as 0, 0.1, 0.5, 0.9, 1. Values between the
// outermost levels are shaded, darker towards the middle; level 0.5 is a line.
type Smoke struct {
	Name   string
	Levels []float64
	Spread []Spread
}

// A Spread is one distribution of a Smoke: a value for each of its Levels, or
// none where nothing was measured.
type Spread struct {
	X      float64
	Values []float64
}

// A Mark is something that happened at X, such as a test that failed.
type Mark struct {
	X    float64
	Text string
}

// An Axis says what the numbers of a direction are.
type Axis struct {
	Name string // of Y, beside its unit, such as "payload"; may be empty
	Unit Unit
	// From and To widen the axis beyond its points; that of Y always has 0.
	From, To float64
	Zone     *time.Location // of an axis of unit Clock; nil is UTC
}

// A Chart shows lines, smoke and marks over one axis.
type Chart struct {
	Title  string // for those who do not see it, and above the chart of a file
	X, Y   Axis
	Lines  []Line
	Smoke  []Smoke
	Marks  []Mark
	Width  int // pixels; 0 means 720
	Height int // pixels; 0 means 240
}
