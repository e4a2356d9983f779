package plot

import (
	"math"
	"slices"
)

// thin keeps of each column of pixels what the line needs to look the same: its
// first, least, greatest and last point, and the last gap if there was one. column
// gives the one that an X falls into.
func thin(points []Point, column func(float64) int) []Point {
	var kept []Point
	for i := 0; i < len(points); {
		c := column(points[i].X)
		end := i + 1
		for end < len(points) && column(points[end].X) == c {
			end++
		}
		kept = appendColumn(kept, points[i:end])
		i = end
	}
	return kept
}

func appendColumn(kept, in []Point) []Point {
	if len(in) <= 4 {
		return append(kept, in...)
	}
	first, last, low, high, gap := -1, -1, -1, -1, -1
	for i, p := range in {
		if !drawn(p.Y) {
			gap = i
			continue
		}
		if first < 0 {
			first, low, high = i, i, i
		}
		last = i
		if p.Y < in[low].Y {
			low = i
		}
		if p.Y > in[high].Y {
			high = i
		}
	}
	if first < 0 {
		return append(kept, in[0])
	}
	keep := []int{first, low, high, last}
	if gap >= 0 {
		keep = append(keep, gap)
	}
	slices.Sort(keep)
	for _, i := range slices.Compact(keep) {
		kept = append(kept, in[i])
	}
	return kept
}

func drawn(y float64) bool { return !math.IsNaN(y) && !math.IsInf(y, 0) }

// bounds are the least and the greatest of what can be drawn; false without any.
type bounds struct {
	lo, hi float64
	any    bool
}

func (b *bounds) add(v float64) {
	if !drawn(v) {
		return
	}
	if !b.any {
		b.lo, b.hi, b.any = v, v, true
	}
	b.lo, b.hi = math.Min(b.lo, v), math.Max(b.hi, v)
}

// extent is what the axes of a chart have to show.
func (c Chart) extent() (x, y bounds) {
	for _, l := range c.Lines {
		for _, p := range l.Points {
			x.add(p.X)
			y.add(p.Y)
		}
	}
	for _, s := range c.Smoke {
		for _, d := range s.Spread {
			x.add(d.X)
			for _, v := range d.Values {
				y.add(v)
			}
		}
	}
	for _, m := range c.Marks {
		x.add(m.X)
	}
	if c.X.From != 0 || c.X.To != 0 {
		x.add(c.X.From)
		x.add(c.X.To)
	}
	if !x.any {
		x = bounds{0, 1, false}
	}
	if x.lo == x.hi {
		x.lo, x.hi = x.lo-0.5, x.hi+0.5
	}
	empty := !y.any
	y.add(0)
	y.add(c.Y.From)
	y.add(c.Y.To)
	if y.lo == y.hi {
		y.hi = y.lo + c.Y.Unit.scaleFor(0).one
	}
	y.any = !empty
	return x, y
}
