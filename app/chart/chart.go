// Package chart makes pictures of results: of one test, second by second, and
// of many over time. It decides what is drawn; app/plot draws it. It is pure.
package chart

import (
	"cmp"
	"time"

	"github.com/sonde-net/sonde/app/plot"
	"github.com/sonde-net/sonde/result"
)

// A Test is one test, as its charts need it.
type Test struct {
	Intervals []result.Interval
	End       *result.End // nil while it runs
}

// Main is the chart that says most of the test: the rate, or the round trips
// where that is what was measured. It is false when nothing was.
func Main(t Test) (plot.Chart, bool) {
	if c, ok := Rates(t.Intervals); ok {
		return c, true
	}
	return RoundTrips(t.Intervals)
}

// All are the charts that the test has figures for.
func All(t Test) []plot.Chart {
	var all []plot.Chart
	for _, make := range []func([]result.Interval) (plot.Chart, bool){Rates, RoundTrips, Losses, Busy} {
		if c, ok := make(t.Intervals); ok {
			all = append(all, c)
		}
	}
	return all
}

// Rates is the rate of each direction, by the receiver's count where it is known.
func Rates(intervals []result.Interval) (plot.Chart, bool) {
	return lines("Rate", plot.Axis{Unit: plot.Rate, Name: "payload"}, intervals, func(i result.Interval) (string, float64, bool) {
		v := cmp.Or(i.Received, i.Sent)
		if v == nil {
			return "", 0, false
		}
		return i.Direction.String(), plot.Value(result.Rate(v.Bytes, cmp.Or(v.Covered, i.End-i.Start))), true
	})
}

// Losses is the share of packets that were lost.
func Losses(intervals []result.Interval) (plot.Chart, bool) {
	return lines("Loss", plot.Axis{Unit: plot.Ratio}, intervals, func(i result.Interval) (string, float64, bool) {
		if r := i.RoundTrips; r != nil {
			ratio, ok := r.LossRatio()
			if !ok {
				ratio = plot.Gap
			}
			return "round trip", ratio, true
		}
		if v := i.Received; v != nil && v.Packets != nil && v.Lost != nil {
			return i.Direction.String(), lossRatio(v), true
		}
		return "", 0, false
	})
}

func lossRatio(v *result.View) float64 {
	all := int64(*v.Packets) + *v.Lost
	if all <= 0 {
		return plot.Gap
	}
	return max(0, float64(*v.Lost)/float64(all))
}

// Busy is how busy the processors of each end were.
func Busy(intervals []result.Interval) (plot.Chart, bool) {
	c := plot.Chart{Title: "CPU", X: plot.Axis{Unit: plot.Elapsed}, Y: plot.Axis{Unit: plot.Ratio, To: 1}}
	here, there := plot.Line{Name: "here"}, plot.Line{Name: "there"}
	last := 0
	for _, i := range intervals {
		if i.Stream != result.AllStreams || i.Seq == last {
			continue
		}
		last = i.Seq
		here.Points = append(here.Points, plot.Point{X: i.End.Seconds(), Y: plot.Value(i.CPU.Local) / 100})
		there.Points = append(there.Points, plot.Point{X: i.End.Seconds(), Y: plot.Value(i.CPU.Remote) / 100})
	}
	for _, l := range []plot.Line{here, there} {
		if measured(l.Points) {
			c.Lines = append(c.Lines, l)
		}
	}
	return c, len(c.Lines) > 0
}

// lines draws a figure of the intervals, a line for each name it gives.
func lines(title string, y plot.Axis, intervals []result.Interval, figure func(result.Interval) (string, float64, bool)) (plot.Chart, bool) {
	c := plot.Chart{Title: title, X: plot.Axis{Unit: plot.Elapsed}, Y: y}
	at := map[string]int{}
	for _, i := range intervals {
		if i.Stream != result.AllStreams && i.RoundTrips == nil {
			continue
		}
		name, value, ok := figure(i)
		if !ok {
			continue
		}
		n, ok := at[name]
		if !ok {
			n = len(c.Lines)
			at[name] = n
			c.Lines = append(c.Lines, plot.Line{Name: name})
		}
		c.Lines[n].Points = append(c.Lines[n].Points, plot.Point{X: i.End.Seconds(), Y: value})
	}
	for _, l := range c.Lines {
		if measured(l.Points) {
			return c, true
		}
	}
	return c, false
}

func measured(points []plot.Point) bool {
	for _, p := range points {
		if p.Y == p.Y { // a gap is NaN
			return true
		}
	}
	return false
}

// levels are the quantiles of a smoke: least, median, 90 %, 99 %, greatest.
var levels = []float64{0, 0.5, 0.9, 0.99, 1}

// RoundTrips is how round trips spread in each interval: of the packets
// themselves, or of probes beside a throughput test.
func RoundTrips(intervals []result.Interval) (plot.Chart, bool) {
	s := plot.Smoke{Name: "round trip", Levels: levels}
	last, any := -1, false
	for _, i := range intervals {
		if i.Seq == last { // the other direction, or session, of the same moment
			continue
		}
		last = i.Seq
		spread := plot.Spread{X: i.End.Seconds(), Values: ofInterval(i)}
		any = any || spread.Values != nil
		s.Spread = append(s.Spread, spread)
	}
	return plot.Chart{Title: "Round trips", X: plot.Axis{Unit: plot.Elapsed}, Y: plot.Axis{Unit: plot.Nanos}, Smoke: []plot.Smoke{s}}, any
}

func ofInterval(i result.Interval) []float64 {
	if r := i.RoundTrips; r != nil && r.RTT != nil {
		return ofDistribution(&r.RTT.Delay)
	}
	return ofDelay(i.RTT)
}

func ofDelay(d *result.Delay) []float64 {
	if d == nil || d.Count == 0 {
		return nil
	}
	return nanos(d.Min, d.P50, d.P90, d.P99, d.Max)
}

func ofDistribution(d *result.Distribution) []float64 {
	if d == nil || d.Count == 0 {
		return nil
	}
	return nanos(d.Min, d.P50, d.P90, d.P99, d.Max)
}

func nanos(all ...time.Duration) []float64 {
	values := make([]float64, len(all))
	for i, d := range all {
		values[i] = float64(d)
	}
	return values
}
