package plot

import (
	"cmp"
	"math"
	"strconv"
)

// A Histogram shows how often values lie in which range.
type Histogram struct {
	Title         string
	X             Axis // of the values
	Bins          []Bin
	Width, Height int // pixels; 0 means 720 and 240
}

// A Bin is one range and how many values lie in it. Bins rise and do not overlap.
type Bin struct {
	From, To float64
	Count    uint64
}

// SVG draws the histogram to be put into a page. See CSS.
func (h Histogram) SVG() []byte { return h.draw(false) }

// File draws the histogram as a file of its own.
func (h Histogram) File() []byte { return h.draw(true) }

func (h Histogram) draw(file bool) []byte {
	c := Chart{Title: h.Title, X: h.X, Y: Axis{Unit: Number, Name: "count"}}
	width, height := cmp.Or(h.Width, 720), cmp.Or(h.Height, 240)
	f := frame{left: leftOf, top: above, right: float64(width) - rightOf, bottom: float64(height) - below}
	if file && h.Title != "" {
		f.top += titled
	}
	var all uint64
	for _, b := range h.Bins {
		f.x.add(b.From)
		f.x.add(b.To)
		f.y.add(float64(b.Count))
		all += b.Count
	}
	f.y.add(0)
	if !f.x.any || f.x.lo == f.x.hi {
		f.x = bounds{f.x.lo, f.x.lo + 1, true}
	}
	if f.y.hi == 0 {
		f.y.hi = 1
	}
	var p picture
	p.open(h.Title, width, height, file)
	if file && h.Title != "" {
		p.text("title", 12, 22, h.Title)
	}
	c.axes(&p, f)
	for _, b := range h.Bins {
		if b.Count == 0 {
			continue
		}
		left, top := f.px(b.From), f.py(float64(b.Count))
		gap := math.Min(1, (f.px(b.To)-left)/4)
		p.rect("bar", left, top, f.px(b.To)-left-gap, f.bottom-top, h.X.Unit.format(b.From, h.X.Zone)+" to "+h.X.Unit.format(b.To, h.X.Zone)+
			": "+strconv.FormatUint(b.Count, 10)+" ("+significant(100*float64(b.Count)/float64(all))+" %)")
	}
	if all == 0 {
		p.text("empty mid", (f.left+f.right)/2, (f.top+f.bottom)/2, "nothing measured")
	}
	return p.close()
}
