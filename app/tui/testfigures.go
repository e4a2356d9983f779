package tui

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/sonde-net/sonde/app/chart"
	"github.com/sonde-net/sonde/app/plot"
	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/result"
)

// unknown stands for what was not measured.
const unknown = "-"

// figures are those of now and so far.
func (m *testModel) figures() []string {
	last := m.scene.latest()
	if len(last) > 0 && last[0].RoundTrips != nil {
		return m.tripFigures(last)
	}
	if m.scene.begin == nil || m.scene.begin.Role == result.Sender {
		return nil
	}
	lines := []string{m.row(headLook, "", "sent now", "received now", "mean", "data", m.lossHead())}
	for _, d := range m.scene.begin.Direction.Each() {
		lines = append(lines, m.direction(d, last))
	}
	var cpu result.CPU
	var loaded *result.Delay
	for _, i := range last {
		cpu, loaded = i.CPU, cmp.Or(loaded, i.RTT)
	}
	idle, load := unknown, unknown
	if b := m.scene.begin; b.Idle != nil {
		idle = report.FormatDelay(b.Idle.P50)
	}
	if loaded != nil {
		load = report.FormatDelay(loaded.P50)
	}
	text := idle + " idle, " + load + " under load"
	if loaded != nil && loaded.Count > 1 {
		text += ", " + report.FormatDelay(loaded.Min) + " to " + report.FormatDelay(loaded.Max)
	}
	return append(lines, m.label("RTT", text), m.label("CPU", share(cpu.Local)+" here, "+share(cpu.Remote)+" there"))
}

// label is a line of a name and what belongs to it.
func (m *testModel) label(name, text string) string {
	return m.c.cell(fmt.Sprintf(" %-9s %s", name, text), m.width, false)
}

// row is a line of the table of figures; the last cell takes what is left.
func (m *testModel) row(look lipgloss.Style, name string, cells ...string) string {
	line := fmt.Sprintf(" %-9s", name)
	for n, c := range cells {
		if n == len(cells)-1 {
			line += "  " + c
			break
		}
		line += m.c.cell(c, min(20, 14+max(0, m.width-80)/8), true)
	}
	return m.c.line(look, line, m.width)
}

// isUDP reports whether there are datagrams that can be lost.
func (m *testModel) isUDP() bool {
	return m.scene.begin != nil && m.scene.begin.Transport == result.UDP
}

func (m *testModel) lossHead() string {
	if m.isUDP() {
		return "lost"
	}
	return ""
}

// direction is the line of one direction.
func (m *testModel) direction(d result.Direction, last []result.Interval) string {
	sent, received := unknown, unknown
	for _, i := range last {
		if i.Direction == d {
			sent, received = m.rate(i.Sent, i.End-i.Start), m.rate(i.Received, i.End-i.Start)
		}
	}
	so := m.scene.up
	look := upLook
	if d == result.Down {
		so, look = m.scene.down, downLook
	}
	mean, data, lost := unknown, unknown, ""
	if v := cmp.Or(whole(so.received), so.sent); v != nil {
		mean, data = m.rate(v, so.elapsed), report.FormatSize(v.Bytes)
	}
	if m.isUDP() {
		lost = lossText(so.received)
	}
	return m.row(look, d.String(), sent, received, mean, data, lost)
}

// whole is v unless it covers only a part of the time, as what a peer reports does.
func whole(v *result.View) *result.View {
	if v == nil || v.Covered > 0 {
		return nil
	}
	return v
}

func lossText(v *result.View) string {
	if v == nil || v.Lost == nil {
		return unknown
	}
	text := strconv.FormatInt(*v.Lost, 10)
	if v.Packets != nil && *v.Lost > 0 {
		text += " (" + report.FormatPercent(float64(*v.Lost)/float64(int64(*v.Packets)+*v.Lost)) + ")"
	}
	return text
}

// rate is what a view moved in a time, in the unit that was chosen.
func (m *testModel) rate(v *result.View, d time.Duration) string {
	if v == nil {
		return unknown
	}
	if v.Covered > 0 {
		d = v.Covered
	}
	r := result.Rate(v.Bytes, d)
	switch {
	case r == nil:
		return unknown
	case m.octets:
		return plot.ByteRate.Format(float64(*r) / 8)
	}
	return report.FormatRate(*r)
}

func share(p *float64) string {
	if p == nil || math.IsNaN(*p) || math.IsInf(*p, 0) {
		return unknown
	}
	return strconv.FormatFloat(*p, 'f', 0, 64) + " %"
}

// tripFigures are those of packets that come back.
func (m *testModel) tripFigures(last []result.Interval) []string {
	lines := []string{m.row(headLook, "", "least", "median", "99 %", "greatest", "lost")}
	more := 0
	for n, i := range last {
		if n >= 4 {
			more++
			continue
		}
		name := "now"
		if len(last) > 1 {
			name = "session " + strconv.Itoa(i.Stream)
		}
		r := i.RoundTrips
		cells := []string{unknown, unknown, unknown, unknown}
		if r.RTT != nil {
			d := r.RTT.Delay
			cells = []string{delay(d.Min), delay(d.P50), delay(d.P99), delay(d.Max)}
		}
		lines = append(lines, m.row(downLook, name, append(cells, m.lostOf(r.Sent, r.Lost))...))
	}
	if more > 0 {
		lines = append(lines, m.label("", fmt.Sprintf("and %d more sessions: s shows them", more)))
	}
	t := m.scene.trips
	least, most := unknown, unknown
	if t.least != nil {
		least, most = delay(*t.least), delay(*t.most)
	}
	lines = append(lines, m.row(plainLook, "so far", least, "", "", most, m.lostOf(t.sent, t.lost)))
	if r := last[0].RoundTrips; len(last) == 1 {
		for _, way := range []struct {
			name string
			path *result.Path
		}{{"out", r.Out}, {"home", r.Home}} {
			if way.path != nil && r.Clock != nil && r.Clock.Usable {
				d := way.path.Delay
				lines = append(lines, m.row(plainLook, way.name, delay(d.Min), delay(d.P50), delay(d.P99), delay(d.Max), ""))
			}
		}
	}
	return lines
}

func (m *testModel) lostOf(sent, lost uint64) string {
	text := fmt.Sprintf("%d of %d", lost, sent)
	if sent > 0 && lost > 0 && m.width >= 90 {
		text += " (" + report.FormatPercent(float64(lost)/float64(sent)) + ")"
	}
	return text
}

// delay is a delay in µs where it is shorter than a millisecond.
func delay(d time.Duration) string {
	if d.Abs() < time.Millisecond {
		return strconv.FormatFloat(float64(d)/float64(time.Microsecond), 'f', 1, 64) + " µs"
	}
	return report.FormatDelay(d)
}

// labelColumns is where the texts of a summary begin.
const labelColumns = 12

// summary is how it ended, at most so many lines, the reason why it was not
// faster among them.
func (m *testModel) summary(room int) []string {
	var lines []string
	why := 0
	// The error follows; else the summary would have it, too.
	text := report.Summary(report.TextConfig{Notes: io.Discard}, *m.scene.begin, *m.scene.end)
	for n, l := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		if n == 0 { // the title has it
			continue
		}
		if strings.HasPrefix(l, "  why ") {
			why = len(lines)
		}
		label := l[:min(len(l), labelColumns)]
		for _, part := range strings.Split(ansi.Wordwrap(m.c.safe(l[len(label):]), max(10, m.width-labelColumns-1), ""), "\n") {
			lines = append(lines, m.c.cell(label+part, m.width, false))
			label = strings.Repeat(" ", labelColumns)
		}
	}
	if e := m.scene.end.Err; e != nil {
		lines = append(lines, m.c.line(badLook, "  error     "+e.Error(), m.width))
	}
	if len(lines) <= room {
		return lines
	}
	kept := lines[:max(0, room-1)]
	if why >= len(kept) && len(kept) > 4 { // the reason matters more than what stands before it
		end := min(len(lines), why+3)
		kept = append(slices.Clone(lines[:len(kept)-(end-why)]), lines[why:end]...)
	}
	return append(kept, m.c.cell("  (more when the screen is left)", m.width, false))
}

// seriesLooks are those of the lines of a chart, in their order.
var seriesLooks = []lipgloss.Style{downLook, upLook, goodLook, badLook}

// chart draws the rates, or the round trips, in so many lines.
func (m *testModel) chart(room int) []string {
	c, ok := m.series()
	if !ok || room < leastChart-1 {
		return nil
	}
	letters := plot.Braille
	if m.c.ASCII || !m.c.Color && len(c.Lines) > 1 { // else lines could not be told apart
		letters = plot.ASCII
	}
	head := " " + c.Title
	for n, l := range c.Lines {
		mark := ""
		if letters == plot.ASCII {
			mark = string(marks[n%len(marks)]) + " "
		}
		head += "   " + mark + l.Name
	}
	lines := []string{m.c.line(headLook, head, m.width)}
	for _, row := range c.Cells(m.width-1, room-1, letters) {
		lines = append(lines, m.paint(row, c.Lines))
	}
	return lines
}

// marks are those of the lines of a chart in plot.ASCII.
const marks = "*o+x#%"

// paint is a row of a chart in the looks of its series.
func (m *testModel) paint(row []plot.Cell, of []plot.Line) string {
	var b strings.Builder
	for from := 0; from < len(row); {
		to := from
		var text strings.Builder
		for to < len(row) && row[to].Series == row[from].Series {
			text.WriteRune(row[to].Rune)
			to++
		}
		look := plainLook
		if s := row[from].Series; s >= 0 {
			look = seriesLooks[s%len(seriesLooks)]
			if of[s].Name == result.Up.String() {
				look = upLook
			}
		}
		b.WriteString(look.Render(m.c.safe(text.String())))
		from = to
	}
	return b.String()
}

// series is what is drawn: rates by direction, or the round trips of the worst
// session.
func (m *testModel) series() (plot.Chart, bool) {
	all := m.scene.intervals
	if len(all) == 0 {
		return plot.Chart{}, false
	}
	c, ok := tripSeries(all), true
	if all[0].RoundTrips == nil {
		c, ok = chart.Rates(all)
	}
	c.X.From, c.X.To = all[0].Start.Seconds(), m.scene.elapsed().Seconds()
	if b := m.scene.begin; b != nil && b.Direction == result.Both {
		slices.SortFunc(c.Lines, func(a, b plot.Line) int { return cmp.Compare(a.Name, b.Name) }) // download first, as its look
	}
	if m.octets && c.Y.Unit == plot.Rate {
		c.Y.Unit = plot.ByteRate
		for _, l := range c.Lines {
			for n := range l.Points {
				l.Points[n].Y /= 8
			}
		}
	}
	return c, ok
}

// tripSeries are the median and the 99th percentile of each moment.
func tripSeries(all []result.Interval) plot.Chart {
	c := plot.Chart{Title: "Round trips", X: plot.Axis{Unit: plot.Elapsed}, Y: plot.Axis{Unit: plot.Nanos},
		Lines: []plot.Line{{Name: "median"}, {Name: "99 %"}}}
	for n := 0; n < len(all); {
		seq, x := all[n].Seq, all[n].End.Seconds()
		median, high := plot.Gap, plot.Gap
		for ; n < len(all) && all[n].Seq == seq; n++ {
			if r := all[n].RoundTrips; r != nil && r.RTT != nil {
				if d := r.RTT.Delay; !(float64(d.P50) <= median) {
					median, high = float64(d.P50), float64(d.P99)
				}
			}
		}
		c.Lines[0].Points = append(c.Lines[0].Points, plot.Point{X: x, Y: median})
		c.Lines[1].Points = append(c.Lines[1].Points, plot.Point{X: x, Y: high})
	}
	return c
}
