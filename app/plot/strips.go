package plot

import (
	"math"
	"strings"
)

// narrowest is how wide a strip is at least, in pixels: what a pointer can hit.
const narrowest = 3

// strips lay over each place on the X axis a rectangle that cannot be seen, with
// all values there as its title.
func (c Chart) strips(p *picture, f frame) {
	groups := c.groups(f)
	for i, g := range groups {
		left, right := f.left, f.right
		if i > 0 {
			left = (groups[i-1].at + g.at) / 2
		}
		if i+1 < len(groups) {
			right = (g.at + groups[i+1].at) / 2
		}
		var lines []string
		for j, name := range c.names() {
			if b := g.values[j]; b.any {
				lines = append(lines, strings.TrimPrefix(name+" ", " ")+c.between(b))
			} else if g.there[j] {
				lines = append(lines, strings.TrimPrefix(name+" ", " ")+"not measured")
			}
		}
		p.rect("hit", left, f.top, right-left, f.bottom-f.top, c.X.Unit.format(g.x, c.X.Zone)+": "+strings.Join(lines, ", "))
	}
}

// between says one value, or from where to where.
func (c Chart) between(b bounds) string {
	lo, hi := c.Y.Unit.format(b.lo, c.Y.Zone), c.Y.Unit.format(b.hi, c.Y.Zone)
	if lo == hi {
		return lo
	}
	return lo + " to " + hi
}

// A group is what one strip tells of.
type group struct {
	x      float64 // where it begins
	at     float64 // its pixel
	values []bounds
	there  []bool // has points, if only gaps
}

func (c Chart) groups(f frame) []group {
	cells := map[int]*group{}
	first, last := math.MaxInt, math.MinInt
	add := func(series int, x, y float64) {
		if !drawn(x) {
			return
		}
		cell := f.column(x) / narrowest
		g := cells[cell]
		if g == nil {
			n := len(c.Lines) + len(c.Smoke)
			g = &group{x: x, at: f.px(x), values: make([]bounds, n), there: make([]bool, n)}
			cells[cell] = g
			first, last = min(first, cell), max(last, cell)
		}
		g.x = math.Min(g.x, x)
		g.values[series].add(y)
		g.there[series] = true
	}
	for i, l := range c.Lines {
		for _, pt := range l.Points {
			add(i, pt.X, pt.Y)
		}
	}
	for i, s := range c.Smoke {
		for _, d := range s.Spread {
			if len(d.Values) != len(s.Levels) {
				add(len(c.Lines)+i, d.X, Gap)
			}
			for _, v := range d.Values {
				add(len(c.Lines)+i, d.X, v)
			}
		}
	}
	var all []group
	for cell := first; cell <= last; cell++ {
		if g := cells[cell]; g != nil {
			all = append(all, *g)
		}
	}
	return all
}
