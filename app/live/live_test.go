package live

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sonde-net/sonde/app/probe"
	"github.com/sonde-net/sonde/result"
)

func of(run string) result.Head {
	return result.Head{Run: result.ID(run), Protocol: "btest", Role: result.Server}
}

// A test is told of while it runs, with figures that a later interval does not
// change in a snapshot taken before.
func TestRunning(t *testing.T) {
	b := NewBoard(time.Now())
	b.Put(result.Begin{Head: of("a"), Direction: result.Both, Account: strings.Repeat("ä", 300), Duration: 10 * time.Second, Streams: 2})
	interval := func(seq int, d result.Direction, n uint64) result.Interval {
		v := &result.View{Bytes: n, Lost: result.Some(int64(1))}
		i := result.Interval{Head: of("a"), Seq: seq, Direction: d, Stream: result.AllStreams, Start: time.Duration(seq-1) * time.Second, End: time.Duration(seq) * time.Second}
		if d == result.Down {
			i.Sent = v
		} else {
			i.Received = v
		}
		return i
	}
	if got := b.Snapshot(time.Now()).Tests[0]; got.Down != nil || got.DownRate != nil || got.Elapsed != nil || got.Lost != nil || len(got.Account) > mostText {
		t.Errorf("before anything was measured: %+v", got)
	}
	b.Put(interval(1, result.Down, 1000))
	before := b.Snapshot(time.Now()).Tests[0]
	b.Put(interval(2, result.Down, 500))
	b.Put(interval(2, result.Up, 125))
	one := interval(2, result.Up, 125)
	one.Stream = 0 // a part of what was counted
	b.Put(one)
	s := b.Snapshot(time.Now())
	got := s.Tests[0]
	if *before.Down != 1000 || *before.Elapsed != 1 || before.Up != nil {
		t.Errorf("the first snapshot is now %+v", before)
	}
	if *got.Down != 1500 || *got.DownRate != 4000 || *got.Up != 125 || *got.UpRate != 1000 || *got.Lost != 3 || *got.Elapsed != 2 || got.RTT != nil {
		t.Errorf("%+v", got)
	}
	if s.Totals.Down != 1500 || s.Totals.Up != 125 {
		t.Errorf("totals %+v", s.Totals)
	}
	b.Put(result.End{Head: of("a"), Elapsed: time.Second})
	if s := b.Snapshot(time.Now()); len(s.Tests) != 0 || s.Totals.Tests != 1 || s.Totals.Failed != 0 {
		t.Errorf("after the end: %+v", s)
	}
}

// Refusals are counted by reason; what a probe could not begin is a failed test.
func TestEnds(t *testing.T) {
	b := NewBoard(time.Now())
	b.Put(result.End{Head: of("r"), Err: &result.Error{Word: result.CodeAuth, Text: "no"}})
	client := of("p")
	client.Role = result.Client
	b.Put(result.End{Head: client, Err: errors.New("refused")})
	b.Put(result.Begin{Head: of("f")})
	b.Put(result.End{Head: of("f"), Err: errors.New("lost")})
	b.Put(result.Note{Code: result.NoteAuthFailure})
	got := b.Snapshot(time.Now()).Totals
	if got.Tests != 2 || got.Failed != 2 || got.Refused[result.CodeAuth] != 1 || len(got.Refused) != 1 || got.LoginsFailed != 1 {
		t.Errorf("%+v", got)
	}
}

// However many come, however they fail: what is kept is bounded.
func TestBounds(t *testing.T) {
	b := NewBoard(time.Now())
	for n := range 2 * mostTests {
		b.Put(result.Begin{Head: of(fmt.Sprint(n))})
		b.Put(result.End{Head: of(fmt.Sprint("x", n)), Err: &result.Error{Word: fmt.Sprint(n)}})
	}
	s := b.Snapshot(time.Now())
	if len(s.Tests) != mostTests || len(s.Totals.Refused) > mostWords+1 {
		t.Errorf("%d tests, %d words", len(s.Tests), len(s.Totals.Refused))
	}
}

// Probes are those of the configuration, with what is known of them over a reload.
func TestProbes(t *testing.T) {
	b := NewBoard(time.Now())
	b.Plan([]Probe{{Name: "a", Target: "x"}, {Name: "b", Target: "y"}})
	a := &probe.Probe{Name: "a"}
	b.Ran(probe.Run{Probe: a, State: probe.OK, Success: true, Began: time.Now()})
	b.Missed(probe.Missed{Probe: a, Reason: probe.MissedLine, Runs: 2})
	b.Changed(probe.Change{Probe: a, State: probe.Failed})
	b.Ran(probe.Run{Probe: &probe.Probe{Name: "gone"}})
	b.Plan([]Probe{{Name: "b", Target: "z"}, {Name: "a", Target: "x", Every: 5}})
	got := b.Snapshot(time.Now()).Probes
	if len(got) != 2 || got[0].State != "unknown" || got[1].State != "failed" || got[1].Missed != 2 || got[1].Runs != 1 || !*got[1].LastGood || got[1].Every != 5 || got[1].Text != "missed: line_busy" {
		t.Errorf("%+v", got)
	}
}
