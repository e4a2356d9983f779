package cli

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/result"
)

// gather keeps events.
type gather struct{ all []result.Event }

func (g *gather) Put(e result.Event) { g.all = append(g.all, e) }

// TestJoined: a download and an upload become one run, with one Begin, rising
// intervals and one End that has both.
func TestJoined(t *testing.T) {
	var g gather
	j := newJoined(&g)
	for n, d := range result.Both.Each() {
		head := result.Head{Run: result.NewID(), Protocol: "rperf", Role: result.Client}
		j.Put(result.Begin{Head: head, Direction: d, Duration: 2 * time.Second})
		for i := range 2 {
			at := time.Duration(i) * time.Second
			j.Put(result.Interval{Head: head, Seq: i + 1, Direction: d, Stream: result.AllStreams, Start: at, End: at + time.Second})
		}
		total := &result.Total{Elapsed: 2 * time.Second}
		end := result.End{Head: head, Elapsed: 2 * time.Second, Reason: result.ReasonDone,
			CPU:     result.CPU{Local: result.Some(float64(10 * n))},
			Latency: &result.Latency{Loaded: &result.Delay{P50: time.Duration(n+1) * time.Millisecond}},
			Why:     &result.Why{Limit: []string{"unknown", "cpu_local"}[n], Text: "because", Evidence: []string{"seen"}},
		}
		if d == result.Down {
			end.Down = total
		} else {
			end.Up = total
		}
		j.Put(end)
	}
	j.close()

	var begins, intervals int
	for _, e := range g.all {
		if e.Of().Run != j.run {
			t.Errorf("%T is of run %s, want %s", e, e.Of().Run, j.run)
		}
		switch e := e.(type) {
		case result.Begin:
			begins++
			if e.Direction != result.Both || e.Duration != 4*time.Second {
				t.Errorf("Begin of %v in %v", e.Direction, e.Duration)
			}
		case result.Interval:
			intervals++
			if e.Seq != intervals || e.End != time.Duration(intervals)*time.Second {
				t.Errorf("interval %d has number %d and ends at %v", intervals, e.Seq, e.End)
			}
		}
	}
	end, ok := g.all[len(g.all)-1].(result.End)
	if begins != 1 || intervals != 4 || !ok {
		t.Fatalf("%d Begins, %d intervals, the last event a %T", begins, intervals, g.all[len(g.all)-1])
	}
	if end.Down == nil || end.Up == nil || end.Elapsed != 4*time.Second {
		t.Errorf("End: %+v", end)
	}
	if end.CPU.Local == nil || *end.CPU.Local != 5 || end.CPU.Remote != nil {
		t.Errorf("CPU: %+v", end.CPU)
	}
	if end.Latency == nil || end.Latency.Loaded.P50 != 2*time.Millisecond {
		t.Errorf("latency: %+v", end.Latency)
	}
	if w := end.Why; w == nil || w.Limit != "cpu_local" || w.Text != "download: because; upload: because" || len(w.Evidence) != 2 {
		t.Errorf("why: %+v", end.Why)
	}
}

// TestJoinedCut: when the second test fails, the first one's figures are kept.
func TestJoinedCut(t *testing.T) {
	var g gather
	j := newJoined(&g)
	j.Put(result.Begin{Direction: result.Down})
	j.Put(result.End{Elapsed: time.Second, Down: &result.Total{}, Reason: result.ReasonDone})
	lost := errors.New("lost")
	j.Put(result.End{Reason: result.ReasonServerGone, Err: lost})
	j.close()
	end := g.all[len(g.all)-1].(result.End)
	if end.Down == nil || end.Up != nil || end.Err != lost || end.Reason != result.ReasonServerGone {
		t.Errorf("End: %+v", end)
	}
}

// slow is a prober whose answers take a while.
type slow struct{ asked, closed int }

func (s *slow) Probe(context.Context) (time.Duration, error) {
	s.asked++
	return 3 * time.Millisecond, nil
}
func (s *slow) Method() string       { return "test" }
func (s *slow) Every() time.Duration { return time.Millisecond }
func (s *slow) Close() error         { s.closed++; return nil }

// TestProbedBeside: the probes' figures stand in the results, and the probes
// end with the test.
func TestProbedBeside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gather
		p := &slow{}
		s := &probed{next: &g, prober: p}
		s.ctx, s.stop = context.WithCancel(t.Context())
		s.watch.Idle(t.Context(), p, 20*time.Millisecond)
		s.Put(result.Begin{})
		time.Sleep(20 * time.Millisecond)
		s.Put(result.Interval{Stream: result.AllStreams})
		s.Put(result.Interval{Stream: 0})
		s.Put(result.End{Elapsed: time.Second})
		asked := p.asked
		time.Sleep(5 * time.Millisecond)
		if p.asked != asked {
			t.Error("probes go on after the end")
		}
		if i := g.all[1].(result.Interval); i.RTT == nil || i.RTT.P50 < 2*time.Millisecond {
			t.Errorf("interval: RTT %+v", i.RTT)
		}
		if i := g.all[2].(result.Interval); i.RTT != nil {
			t.Error("a single stream has a round trip")
		}
		l := g.all[3].(result.End).Latency
		if l == nil || l.Idle == nil || l.Loaded == nil || l.Method != "test" {
			t.Errorf("latency: %+v", l)
		}
	})
}
