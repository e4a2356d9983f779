package chart

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/sonde-net/sonde/app/plot"
	"github.com/sonde-net/sonde/result"
)

func interval(seq int, d result.Direction, bytes uint64) result.Interval {
	return result.Interval{Seq: seq, Direction: d, Stream: result.AllStreams, Start: time.Duration(seq-1) * time.Second, End: time.Duration(seq) * time.Second,
		Received: &result.View{Bytes: bytes}}
}

func TestRates(t *testing.T) {
	all := []result.Interval{interval(1, result.Down, 1000), interval(1, result.Up, 10), interval(2, result.Down, 3000)}
	one := interval(2, result.Down, 7)
	one.Stream = 0 // is in the sum already
	unknown := interval(2, result.Up, 0)
	unknown.Received = nil
	c, ok := Rates(append(all, one, unknown))
	if !ok || len(c.Lines) != 2 {
		t.Fatalf("%d lines, %v", len(c.Lines), ok)
	}
	down := c.Lines[0]
	if down.Name != "download" || len(down.Points) != 2 || down.Points[0] != (plot.Point{X: 1, Y: 8000}) || down.Points[1] != (plot.Point{X: 2, Y: 24000}) {
		t.Errorf("%+v", down)
	}
	if up := c.Lines[1]; up.Name != "upload" || len(up.Points) != 1 {
		t.Errorf("%+v", up)
	}
}

// What was not measured makes no chart; a figure missing in between is a gap.
func TestNothingMeasured(t *testing.T) {
	if all := All(Test{Intervals: []result.Interval{{Seq: 1, Stream: result.AllStreams}}}); len(all) != 0 {
		t.Errorf("%d charts of nothing", len(all))
	}
	if _, ok := Main(Test{}); ok {
		t.Error("a chart of no test")
	}
	i, j := interval(1, result.Up, 1), interval(2, result.Up, 1)
	i.RTT = &result.Delay{Count: 1, Min: 1, P50: 2, P90: 3, P99: 4, Max: 5}
	c, ok := RoundTrips([]result.Interval{i, j})
	if s := c.Smoke[0].Spread; !ok || len(s) != 2 || len(s[0].Values) != len(levels) || s[1].Values != nil {
		t.Errorf("%v %+v", ok, c.Smoke)
	}
}

func TestLosses(t *testing.T) {
	i := interval(1, result.Down, 1)
	i.Received.Packets, i.Received.Lost = result.Some(uint64(90)), result.Some(int64(10))
	back := interval(2, result.Down, 1) // what came late after all
	back.Received.Packets, back.Received.Lost = result.Some(uint64(90)), result.Some(int64(-5))
	c, ok := Losses([]result.Interval{i, back})
	if p := c.Lines[0].Points; !ok || p[0].Y != 0.1 || p[1].Y != 0 {
		t.Errorf("%v %+v", ok, c.Lines)
	}
	c, ok = Losses([]result.Interval{{Seq: 1, RoundTrips: &result.RoundTrips{Sent: 4, Lost: 1}}})
	if !ok || c.Lines[0].Name != "round trip" || c.Lines[0].Points[0].Y != 0.25 {
		t.Errorf("%v %+v", ok, c.Lines)
	}
}

func TestHistory(t *testing.T) {
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	good := result.End{Head: result.Head{Time: at}, Elapsed: 2 * time.Second, Down: &result.Total{Received: &result.View{Bytes: 2000}},
		Latency: &result.Latency{Idle: &result.Delay{Count: 1, P50: time.Millisecond}}}
	bad := good
	bad.Time, bad.Err = at.Add(time.Hour), errors.New("gone")
	all := History([]result.End{good, bad}, nil)
	if len(all) != 2 {
		t.Fatalf("%d charts", len(all))
	}
	rates := all[0]
	if len(rates.Lines) != 1 || rates.Lines[0].Points[0].Y != 8000 || !math.IsNaN(rates.Lines[0].Points[1].Y) {
		t.Errorf("%+v", rates.Lines)
	}
	if len(rates.Marks) != 1 || rates.Marks[0].X != plot.At(bad.Time) {
		t.Errorf("%+v", rates.Marks)
	}
	if len(all[1].Smoke) != 1 || all[1].Smoke[0].Name != "idle" {
		t.Errorf("%+v", all[1].Smoke)
	}
}
