package plot

import (
	"math"
	"strings"
	"unicode/utf8"
)

// Letters are what a terminal can show.
type Letters uint8

const (
	Braille Letters = iota // eight dots to a character
	ASCII
)

func (l Letters) full() string {
	if l == ASCII {
		return "#"
	}
	return "█"
}

func (l Letters) rest() string {
	if l == ASCII {
		return "."
	}
	return "░"
}

// A Cell is one character of a chart and the series that it shows: the index in
// Lines, then in Smoke, or -1 for axes and blanks. A screen colours by it.
type Cell struct {
	Rune   rune
	Series int
}

// Text draws the chart in so many characters, its last line the labels of X, each
// line ended. Of Smoke it shows the middle.
func (c Chart) Text(columns, rows int, in Letters) string {
	var b strings.Builder
	for _, row := range c.Cells(columns, rows, in) {
		line := make([]rune, len(row))
		for i, cell := range row {
			line[i] = cell.Rune
		}
		b.WriteString(strings.TrimRight(string(line), " ") + "\n")
	}
	return b.String()
}

// asciiMarks tell series apart where there are no colours.
const asciiMarks = "*o+x#%"

// Cells draws the chart as Text does. Fewer than 16 columns or 3 rows are taken
// as so many.
func (c Chart) Cells(columns, rows int, in Letters) [][]Cell {
	columns, rows = max(16, columns), max(3, rows)
	x, y := c.extent()
	steps, unit := c.Y.ticks(y.lo, y.hi, max(1, (rows-1)/3))
	if n := len(steps); n > 1 && y.hi > steps[n-1].at {
		step := steps[1].at - steps[0].at
		y.hi = steps[n-1].at + step
		steps, unit = c.Y.ticks(y.lo, y.hi, max(1, (rows-1)/3))
	}
	gutter := utf8.RuneCountInString(unit)
	for _, t := range steps {
		gutter = max(gutter, utf8.RuneCountInString(t.label))
	}
	gutter = min(gutter, columns/2)
	g := newGrid(columns, rows)
	f := frame{x: x, y: y, left: 0, top: 0, right: float64(2*(columns-gutter-2) - 1), bottom: float64(4*(rows-1) - 1)}
	if in == ASCII {
		f.right, f.bottom = float64(columns-gutter-3), float64(rows-2)
	}
	g.axes(c, f, steps, unit, gutter, in)
	series := make([][]Point, 0, len(c.Lines)+len(c.Smoke))
	for _, l := range c.Lines {
		series = append(series, l.Points)
	}
	for _, s := range c.Smoke {
		series = append(series, s.level(len(s.Levels)/2))
	}
	dots := newDots(columns-gutter-2, rows-1, in)
	for i, points := range series {
		dots.line(i, f, thin(points, f.column))
	}
	for r, row := range dots.cells() {
		for col, cell := range row {
			if cell.Series >= 0 {
				g[r][gutter+2+col] = cell
			}
		}
	}
	return g
}

type grid [][]Cell

func newGrid(columns, rows int) grid {
	g := make(grid, rows)
	for r := range g {
		g[r] = make([]Cell, columns)
		for c := range g[r] {
			g[r][c] = Cell{' ', -1}
		}
	}
	return g
}

// put writes s from a column on, as far as there is room.
func (g grid) put(row, column int, s string) {
	for _, r := range s {
		if row >= 0 && row < len(g) && column >= 0 && column < len(g[row]) {
			g[row][column] = Cell{r, -1}
		}
		column++
	}
}

// axes writes the labels of Y, the unit above them if there is room, a line
// beside them, and the labels of X below.
func (g grid) axes(c Chart, f frame, steps []tick, unit string, gutter int, in Letters) {
	rows, dotsPerRow, dotsPerColumn := len(g), 4.0, 2.0
	vertical := "│"
	if in == ASCII {
		dotsPerRow, dotsPerColumn, vertical = 1, 1, "|"
	}
	for r := range rows - 1 {
		g.put(r, gutter+1, vertical)
	}
	taken := make([]bool, rows)
	for _, t := range steps {
		r := int(f.py(t.at) / dotsPerRow)
		if r >= 0 && r < rows-1 && !taken[r] {
			taken[r] = true
			label := t.label
			g.put(r, gutter-utf8.RuneCountInString(label), label)
		}
	}
	for r := range 2 { // the unit stands below the topmost label
		if rows > 4 && !taken[r] {
			g.put(r, gutter-utf8.RuneCountInString(unit), unit)
			break
		}
	}
	width := len(g[0]) - gutter - 2
	marks, unit := c.X.ticks(f.x.lo, f.x.hi, max(2, width/12))
	free := 0
	for i, t := range marks {
		label := t.label
		if i == len(marks)-1 && unit != "" {
			label += " " + unit
		}
		n := utf8.RuneCountInString(label)
		at := gutter + 2 + int(f.px(t.at)/dotsPerColumn) - n/2
		at = min(max(gutter+2, at), len(g[0])-n)
		if at >= free {
			g.put(rows-1, at, label)
			free = at + n + 1
		}
	}
}

// dots is the drawing: for each character which of its dots are set, and by whom.
type dots struct {
	letters       Letters
	columns, rows int
	set           []uint8
	series        []int
}

func newDots(columns, rows int, in Letters) *dots {
	d := &dots{letters: in, columns: columns, rows: rows, set: make([]uint8, columns*rows), series: make([]int, columns*rows)}
	for i := range d.series {
		d.series[i] = -1
	}
	return d
}

// bits of the dots of a braille character by column and row (Unicode, chapter
// 21.1): the first six go down column by column, the lowest row came later.
var bits = [2][4]uint8{{0x01, 0x02, 0x04, 0x40}, {0x08, 0x10, 0x20, 0x80}}

func (d *dots) dot(series, x, y int) {
	wide, high := 2, 4
	if d.letters == ASCII {
		wide, high = 1, 1
	}
	if x < 0 || y < 0 || x >= d.columns*wide || y >= d.rows*high {
		return
	}
	i := y/high*d.columns + x/wide
	d.set[i] |= bits[x%wide][y%high]
	d.series[i] = series
}

// line joins points, except over gaps.
func (d *dots) line(series int, f frame, points []Point) {
	pen := false
	var x0, y0 int
	for _, p := range points {
		if !drawn(p.X) || !drawn(p.Y) {
			pen = false
			continue
		}
		x, y := int(math.Round(f.px(p.X))), int(math.Round(f.py(p.Y)))
		if !pen {
			x0, y0 = x, y
		}
		d.segment(series, x0, y0, x, y)
		x0, y0, pen = x, y, true
	}
}

func (d *dots) segment(series, x0, y0, x1, y1 int) {
	steps := max(x1-x0, x0-x1, y1-y0, y0-y1)
	d.dot(series, x0, y0)
	for i := 1; i <= steps; i++ {
		part := float64(i) / float64(steps)
		d.dot(series, x0+int(math.Round(part*float64(x1-x0))), y0+int(math.Round(part*float64(y1-y0))))
	}
}

func (d *dots) cells() [][]Cell {
	all := make([][]Cell, d.rows)
	for r := range all {
		all[r] = make([]Cell, d.columns)
		for c := range all[r] {
			i := r*d.columns + c
			cell := Cell{' ', -1}
			if s := d.series[i]; s >= 0 {
				cell = Cell{0x2800 + rune(d.set[i]), s}
				if d.letters == ASCII {
					cell.Rune = rune(asciiMarks[s%len(asciiMarks)])
				}
			}
			all[r][c] = cell
		}
	}
	return all
}

// Spark is a series in one line of so many characters, from 0 to its greatest. A
// character shows the greatest of what falls into it, a blank a gap.
func Spark(values []float64, columns int, in Letters) string {
	levels := []rune("▁▂▃▄▅▆▇█")
	if in == ASCII {
		levels = []rune("_.-=+*#@")
	}
	var most bounds
	most.add(0)
	for _, v := range values {
		most.add(v)
	}
	columns = min(columns, len(values))
	out := make([]rune, 0, max(0, columns))
	for c := range columns {
		var b bounds
		for _, v := range values[c*len(values)/columns : (c+1)*len(values)/columns] {
			b.add(v)
		}
		switch {
		case !b.any:
			out = append(out, ' ')
		case most.hi <= 0:
			out = append(out, levels[0])
		default:
			out = append(out, levels[min(len(levels)-1, int(math.Max(0, b.hi)/most.hi*float64(len(levels))))])
		}
	}
	return string(out)
}
