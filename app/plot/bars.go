package plot

import (
	"cmp"
	"math"
	"strings"
	"unicode/utf8"
)

// Bars are amounts beside each other, such as the use of quotas. One with a
// limit is green below half of it, amber below four fifths, and red beyond; its
// share is written beside it.
type Bars struct {
	Title string
	Unit  Unit
	Bars  []Bar
	Width int // pixels; 0 means 720
}

// A Bar is one amount.
type Bar struct {
	Name  string
	Value float64 // Gap if it was not measured
	Of    float64 // its limit; 0 without one
}

// Share is how much of its limit a bar takes; a Gap without one.
func (b Bar) Share() float64 {
	if b.Of <= 0 {
		return Gap
	}
	return b.Value / b.Of
}

// Where the colours of bars with a limit change.
const (
	amberFrom = 0.5
	redFrom   = 0.8
)

func (b Bar) class() string {
	switch s := b.Share(); {
	case s < amberFrom:
		return "good"
	case s < redFrom:
		return "warn"
	case s >= redFrom:
		return "bad"
	}
	return "bar"
}

func (b Bars) label(bar Bar) string {
	s := b.Unit.Format(bar.Value)
	if bar.Of <= 0 {
		return s
	}
	s += " of " + b.Unit.Format(bar.Of)
	if share := bar.Share(); drawn(share) {
		s += ", " + percent(share)
	}
	return s
}

// percent says whole percents downwards, so that 100 % is all of it.
func percent(share float64) string { return significant(math.Floor(share*100+1e-9)) + " %" }

// SVG draws the bars to be put into a page. See CSS.
func (b Bars) SVG() []byte { return b.draw(false) }

// File draws the bars as a file of its own.
func (b Bars) File() []byte { return b.draw(true) }

func (b Bars) draw(file bool) []byte {
	const row = 40
	width, top := cmp.Or(b.Width, 720), 0
	if file && b.Title != "" {
		top = titled + 8
	}
	var p picture
	p.open(b.Title, width, top+row*len(b.Bars)+4, file)
	if file && b.Title != "" {
		p.text("title", 4, 22, b.Title)
	}
	most := 0.0
	for _, bar := range b.Bars {
		if drawn(bar.Value) {
			most = math.Max(most, bar.Value)
		}
	}
	full := float64(width - 8)
	for i, bar := range b.Bars {
		y, label := float64(top+i*row), b.label(bar)
		p.text("name", 4, y+16, bar.Name)
		p.text("end", 4+full, y+16, label)
		p.rect("rest", 4, y+22, full, 10, "")
		share := cmp.Or(bar.Share(), 0)
		if bar.Of <= 0 && most > 0 {
			share = bar.Value / most
		}
		if drawn(share) && share > 0 {
			p.rect(bar.class(), 4, y+22, full*math.Min(1, share), 10, bar.Name+": "+label)
		}
	}
	return p.close()
}

// Text draws the bars so many characters wide.
func (b Bars) Text(columns int, in Letters) string {
	names, labels := 0, 0
	for _, bar := range b.Bars {
		names = max(names, utf8.RuneCountInString(bar.Name))
		labels = max(labels, utf8.RuneCountInString(b.label(bar)))
	}
	long := max(4, columns-names-labels-4)
	most := 0.0
	for _, bar := range b.Bars {
		if drawn(bar.Value) {
			most = math.Max(most, bar.Value)
		}
	}
	var out strings.Builder
	for _, bar := range b.Bars {
		share := bar.Share()
		if bar.Of <= 0 && most > 0 {
			share = bar.Value / most
		}
		n := 0
		if drawn(share) {
			n = int(math.Round(math.Min(1, math.Max(0, share)) * float64(long)))
		}
		out.WriteString(padded(bar.Name, names) + " " + strings.Repeat(in.full(), n) + strings.Repeat(in.rest(), long-n) + "  " + b.label(bar) + "\n")
	}
	return out.String()
}

func padded(s string, n int) string {
	return s + strings.Repeat(" ", max(0, n-utf8.RuneCountInString(s)))
}
