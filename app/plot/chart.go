package plot

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// Space around the drawing, in pixels.
const (
	leftOf  = 52
	rightOf = 12
	above   = 32
	below   = 24
	legend  = 20 // a line of names
	titled  = 24 // the title of a file
	colours = 6
)

// A frame turns values into pixels.
type frame struct {
	x, y                     bounds
	left, top, right, bottom float64
}

func (f frame) px(x float64) float64 {
	return f.left + (x-f.x.lo)/(f.x.hi-f.x.lo)*(f.right-f.left)
}

func (f frame) py(y float64) float64 {
	return f.bottom - (y-f.y.lo)/(f.y.hi-f.y.lo)*(f.bottom-f.top)
}

// column is the pixel that x falls into; just outside for what lies beyond.
func (f frame) column(x float64) int {
	if !drawn(x) {
		return int(f.right) + 1
	}
	return int(math.Floor(min(max(f.px(x), -1), f.right+1)))
}

// SVG draws the chart to be put into a page. See CSS.
func (c Chart) SVG() []byte { return c.draw(false) }

// File draws the chart as a file of its own.
func (c Chart) File() []byte { return c.draw(true) }

func (c Chart) draw(file bool) []byte {
	width, height := cmp.Or(c.Width, 720), cmp.Or(c.Height, 240)
	f := frame{left: leftOf, top: above, right: float64(width) - rightOf, bottom: float64(height) - below}
	if file && c.Title != "" {
		f.top += titled
	}
	if len(c.Lines)+len(c.Smoke) > 1 {
		f.top += legend
	}
	f.x, f.y = c.extent()
	empty := !f.y.any && len(c.Marks) == 0
	// The top line of the grid is a round one.
	if steps, _ := c.Y.ticks(f.y.lo, f.y.hi, 4); len(steps) > 1 {
		if step := steps[1].at - steps[0].at; f.y.hi > steps[len(steps)-1].at {
			f.y.hi = steps[len(steps)-1].at + step
		}
	}
	var p picture
	p.open(c.Title, width, height, file)
	if file && c.Title != "" {
		p.text("title", 12, 22, c.Title)
	}
	c.axes(&p, f)
	for i, s := range c.Smoke {
		s.draw(&p, f, (i+len(c.Lines))%colours)
	}
	for i, l := range c.Lines {
		p.line(f, i, l.Points)
	}
	if empty {
		p.text("empty mid", (f.left+f.right)/2, (f.top+f.bottom)/2, "nothing measured")
	}
	c.legend(&p, f)
	c.strips(&p, f)
	for _, m := range c.Marks {
		c.mark(&p, f, m)
	}
	return p.close()
}

// digit is the number of a series among the colours.
func digit(i int) string { return string(rune('0' + i%colours)) }

func (c Chart) axes(p *picture, f frame) {
	steps, unit := c.Y.ticks(f.y.lo, f.y.hi, 4)
	var grid strings.Builder
	for _, t := range steps {
		grid.WriteString("M" + px(f.left) + " " + px(f.py(t.at)) + "H" + px(f.right))
	}
	p.path("grid", grid.String())
	for _, t := range steps {
		p.text("end", f.left-6, f.py(t.at)+4, t.label)
	}
	p.text("", 4, f.top-12, strings.Trim(unit+", "+c.Y.Name, ", "))
	steps, unit = c.X.ticks(f.x.lo, f.x.hi, max(2, int(f.right-f.left)/80))
	var axis strings.Builder
	axis.WriteString("M" + px(f.left) + " " + px(f.bottom) + "H" + px(f.right))
	for _, t := range steps {
		axis.WriteString("M" + px(f.px(t.at)) + " " + px(f.bottom) + "v4")
	}
	p.path("axis", axis.String())
	for i, t := range steps {
		label, class, at := t.label, "mid", f.px(t.at)
		if i == len(steps)-1 && unit != "" {
			label += " " + unit
		}
		if half := float64(4 * utf8.RuneCountInString(label)); at+half > f.right+rightOf {
			class, at = "end", f.right+rightOf-2
		}
		p.text(class, at, f.bottom+17, label)
	}
}

// line draws one series. A point between two gaps is a dot.
func (p *picture) line(f frame, colour int, points []Point) {
	points = thin(points, f.column)
	p.path("line s"+digit(colour), trace(f, points))
	hole := func(i int) bool {
		return i < 0 || i >= len(points) || !drawn(points[i].X) || !drawn(points[i].Y)
	}
	for i, pt := range points {
		if !hole(i) && hole(i-1) && hole(i+1) {
			p.WriteString(`<circle class="f` + digit(colour) + `" cx="` + px(f.px(pt.X)) + `" cy="` + px(f.py(pt.Y)) + `" r="2.5"/>` + "\n")
		}
	}
}

// trace is the path of a line: drawn through, except over gaps.
func trace(f frame, points []Point) string {
	var d strings.Builder
	pen := false // is down
	var last string
	for _, pt := range points {
		if !drawn(pt.X) || !drawn(pt.Y) {
			pen = false
			continue
		}
		at := px(f.px(pt.X)) + " " + px(f.py(pt.Y))
		switch {
		case !pen:
			d.WriteString("M" + at)
		case at != last:
			d.WriteString("L" + at)
		}
		pen, last = true, at
	}
	return d.String()
}

// draw shades between levels that lie opposite each other, from the outermost.
func (s Smoke) draw(p *picture, f frame, colour int) {
	n := len(s.Levels)
	for i := range n / 2 {
		p.path("band f"+digit(colour), s.band(f, i, n-1-i))
	}
	if middle := slices.Index(s.Levels, 0.5); middle >= 0 {
		p.line(f, colour, s.level(middle))
	}
}

// level is the series of one level.
func (s Smoke) level(i int) []Point {
	points := make([]Point, len(s.Spread))
	for j, d := range s.Spread {
		points[j] = Point{d.X, Gap}
		if len(d.Values) == len(s.Levels) {
			points[j].Y = d.Values[i]
		}
	}
	return points
}

// band is the outline of what lies between two levels: forward along the upper,
// back along the lower, once for every stretch without a gap.
func (s Smoke) band(f frame, lower, upper int) string {
	lows, highs := extremes(s.level(lower), f.column, math.Min), extremes(s.level(upper), f.column, math.Max)
	var d strings.Builder
	for i := 0; i < len(lows); {
		if !drawn(lows[i].Y) || !drawn(highs[i].Y) {
			i++
			continue
		}
		end := i
		for end < len(lows) && drawn(lows[end].Y) && drawn(highs[end].Y) {
			end++
		}
		outline(&d, f, lows[i:end], highs[i:end])
		i = end
	}
	return d.String()
}

func outline(d *strings.Builder, f frame, lows, highs []Point) {
	// One alone is given a width, to be seen at all.
	if len(lows) == 1 {
		x, top, bottom := f.px(lows[0].X), f.py(highs[0].Y), f.py(lows[0].Y)
		d.WriteString("M" + px(x-1) + " " + px(top) + "h2V" + px(bottom) + "h-2Z")
		return
	}
	for i, pt := range highs {
		letter := "L"
		if i == 0 {
			letter = "M"
		}
		d.WriteString(letter + px(f.px(pt.X)) + " " + px(f.py(pt.Y)))
	}
	for _, pt := range slices.Backward(lows) {
		d.WriteString("L" + px(f.px(pt.X)) + " " + px(f.py(pt.Y)))
	}
	d.WriteString("Z")
}

// extremes is one point per column: the least or the greatest in it, a gap only
// where there is nothing else.
func extremes(points []Point, column func(float64) int, of func(a, b float64) float64) []Point {
	var kept []Point
	last := math.MinInt
	for _, p := range points {
		c := column(p.X)
		if c != last {
			kept = append(kept, p)
			last = c
			continue
		}
		switch k := &kept[len(kept)-1]; {
		case !drawn(k.Y):
			k.Y = p.Y
		case drawn(p.Y):
			k.Y = of(k.Y, p.Y)
		}
	}
	return kept
}

// names of all that has one, in the order of colours.
func (c Chart) names() []string {
	var names []string
	for _, l := range c.Lines {
		names = append(names, l.Name)
	}
	for _, s := range c.Smoke {
		names = append(names, s.Name)
	}
	return names
}

func (c Chart) legend(p *picture, f frame) {
	names := c.names()
	if len(names) < 2 {
		return
	}
	x, y := f.left, f.top-above+2
	for i, name := range names {
		p.path("line s"+digit(i), "M"+px(x)+" "+px(y-4)+"h22")
		p.text("name", x+28, y, name)
		x += float64(28 + 8*utf8.RuneCountInString(name) + 16)
	}
}

// mark is a red triangle that stands on the axis.
func (c Chart) mark(p *picture, f frame, m Mark) {
	p.WriteString(`<path class="mark" d="M` + px(f.px(m.X)-4) + " " + px(f.bottom) + `l4 -9l4 9Z"><title>` +
		escaped(c.X.Unit.format(m.X, c.X.Zone)+": "+m.Text) + "</title></path>\n")
}
