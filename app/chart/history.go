package chart

import (
	"cmp"
	"time"

	"github.com/sonde-net/sonde/app/plot"
	"github.com/sonde-net/sonde/result"
)

// History are charts of many tests over time, in the order of their ends: what
// they reached, how round trips spread, and what was lost. A test that failed is
// a gap and a mark. Times are shown in zone; nil is UTC.
func History(ends []result.End, zone *time.Location) []plot.Chart {
	clock := plot.Axis{Unit: plot.Clock, Zone: zone}
	rates := plot.Chart{Title: "Rate of each test", X: clock, Y: plot.Axis{Unit: plot.Rate, Name: "payload"},
		Lines: []plot.Line{{Name: "download"}, {Name: "upload"}}}
	losses := plot.Chart{Title: "Loss of each test", X: clock, Y: plot.Axis{Unit: plot.Ratio},
		Lines: []plot.Line{{Name: "download"}, {Name: "upload"}, {Name: "round trip"}}}
	trips := plot.Chart{Title: "Round trips of each test", X: clock, Y: plot.Axis{Unit: plot.Nanos},
		Smoke: []plot.Smoke{{Name: "idle", Levels: levels}, {Name: "under load", Levels: levels}}}
	var marks []plot.Mark
	for _, e := range ends {
		x := plot.At(e.Time)
		if e.Err != nil {
			marks = append(marks, plot.Mark{X: x, Text: result.CodeOf(e.Err)})
		}
		for n, d := range []result.Direction{result.Down, result.Up} {
			rates.Lines[n].Points = append(rates.Lines[n].Points, plot.Point{X: x, Y: rateOf(e, d)})
			losses.Lines[n].Points = append(losses.Lines[n].Points, plot.Point{X: x, Y: lossOf(e, d)})
		}
		idle, loaded, lost := tripsOf(e)
		trips.Smoke[0].Spread = append(trips.Smoke[0].Spread, plot.Spread{X: x, Values: idle})
		trips.Smoke[1].Spread = append(trips.Smoke[1].Spread, plot.Spread{X: x, Values: loaded})
		losses.Lines[2].Points = append(losses.Lines[2].Points, plot.Point{X: x, Y: lost})
	}
	var all []plot.Chart
	for _, c := range []plot.Chart{rates, trips, losses} {
		if c = withFigures(c); len(c.Lines)+len(c.Smoke) > 0 {
			c.Marks = marks
			all = append(all, c)
		}
	}
	return all
}

// withFigures leaves out series in which nothing was measured.
func withFigures(c plot.Chart) plot.Chart {
	lines, smoke := c.Lines, c.Smoke
	c.Lines, c.Smoke = nil, nil
	for _, l := range lines {
		if measured(l.Points) {
			c.Lines = append(c.Lines, l)
		}
	}
	for _, s := range smoke {
		for _, one := range s.Spread {
			if one.Values != nil {
				c.Smoke = append(c.Smoke, s)
				break
			}
		}
	}
	return c
}

// rateOf is the rate of a direction, by the receiver's count where it is known.
func rateOf(e result.End, d result.Direction) float64 {
	t := e.Total(d)
	if t == nil || e.Err != nil {
		return plot.Gap
	}
	v := cmp.Or(t.Received, t.Sent)
	if v == nil {
		return plot.Gap
	}
	return plot.Value(result.Rate(v.Bytes, cmp.Or(t.Elapsed, e.Elapsed)))
}

func lossOf(e result.End, d result.Direction) float64 {
	t := e.Total(d)
	if t == nil || t.Received == nil || t.Received.Packets == nil || t.Received.Lost == nil {
		return plot.Gap
	}
	return lossRatio(t.Received)
}

// tripsOf are the round trips of a test: idle or of its packets, under load, and
// the share of its packets that were lost.
func tripsOf(e result.End) (idle, loaded []float64, lost float64) {
	lost = plot.Gap
	if l := e.Latency; l != nil {
		idle, loaded = ofDelay(l.Idle), ofDelay(l.Loaded)
	}
	for _, r := range e.RoundTrips[:min(1, len(e.RoundTrips))] {
		if r.RTT != nil {
			idle = ofDistribution(&r.RTT.Delay)
		}
		if ratio, ok := r.LossRatio(); ok {
			lost = ratio
		}
	}
	return idle, loaded, lost
}

// A Headline are the figures of a test that fit into a line of a table; what was
// not measured is plot.Gap.
type Headline struct {
	Down, Up float64 // bit/s
	Loss     float64 // 0 to 1, of the direction that lost more
	RTT      float64 // ns, the median: of its packets, or under load, or idle
}

// HeadlineOf makes that of a test. A test that failed has what it measured.
func HeadlineOf(e result.End) Headline {
	idle, loaded, lost := tripsOf(e)
	for _, d := range []result.Direction{result.Down, result.Up} {
		if l := lossOf(e, d); !(l <= lost) && l == l {
			lost = l
		}
	}
	e.Err = nil
	h := Headline{Down: rateOf(e, result.Down), Up: rateOf(e, result.Up), Loss: lost, RTT: plot.Gap}
	for _, values := range [][]float64{loaded, idle} {
		if values != nil {
			h.RTT = values[1]
			break
		}
	}
	return h
}
