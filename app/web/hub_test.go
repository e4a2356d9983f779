package web

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/result"
)

func all(result.Begin) bool { return true }

func begin(id string) result.Begin {
	return result.Begin{Head: result.Head{Run: result.ID(id), Role: result.Server}, Direction: result.Both, Peer: netip.MustParseAddrPort("192.0.2.1:1")}
}

func interval(id string, seq int, d result.Direction, n uint64) result.Interval {
	v := &result.View{Bytes: n}
	i := result.Interval{Head: result.Head{Run: result.ID(id), Role: result.Server}, Seq: seq, Direction: d, Stream: result.AllStreams, Start: time.Duration(seq-1) * time.Second, End: time.Duration(seq) * time.Second}
	if d == result.Down {
		i.Sent = v
	} else {
		i.Received = v
	}
	return i
}

func end(id string) result.End {
	return result.End{Head: result.Head{Run: result.ID(id)}, Reason: result.ReasonDone}
}

// told is news in short.
func told(n news) string {
	s := ""
	if n.reset {
		s = "reset "
	}
	for _, t := range n.tests {
		s += fmt.Sprintf("%s:%d", t.begin.Run, len(t.samples))
		if t.end != nil {
			s += "!"
		}
		s += " "
	}
	return s
}

func TestHub(t *testing.T) {
	h := NewHub()
	check := func(since uint64, want string) uint64 {
		t.Helper()
		n := h.since(since, all)
		if got := told(n); got != want {
			t.Errorf("since %d: %q, want %q", since, got, want)
		}
		return n.upTo
	}
	check(0, "reset ")
	at := check(1, "")
	h.Put(begin("a"))
	at = check(at, "a:0 ")
	check(at, "")
	h.Put(interval("a", 1, result.Down, 1e6))
	h.Put(interval("a", 1, result.Up, 2e6))
	h.Put(interval("a", 2, result.Down, 3e6))
	h.Put(interval("b", 1, result.Down, 1)) // unknown
	h.Put(result.Note{Head: result.Head{Run: "a"}})
	slow := at
	at = check(at, "a:2 ")
	check(0, "reset a:2 ")
	n := h.since(slow, all).tests[0]
	if *n.samples[1].down != 24e6 || n.samples[1].up != nil || *n.samples[0].up != 16e6 || *n.down != 4e6 || *n.up != 2e6 {
		t.Errorf("%+v", n)
	}
	h.Put(end("a"))
	check(at, "a:0! ")
	check(0, "reset ")
	check(at+1000, "reset ") // of another process
	check(h.known(h.mark(at)), "a:0! ")
	check(h.known("other-5"), "reset ")
	check(h.known(h.mark(at)+"x"), "reset ")
	if n := h.since(at, func(result.Begin) bool { return false }); len(n.tests) > 0 {
		t.Errorf("%+v", n)
	}
}

// TestHubBounds: what is kept does not grow, and who has missed too much begins
// anew.
func TestHubBounds(t *testing.T) {
	h := NewHub()
	at := h.since(0, all).upTo
	for i := range 3 * mostEnded {
		id := fmt.Sprint(i)
		h.Put(begin(id))
		h.Put(end(id))
	}
	if len(h.ended) != mostEnded || len(h.tests) != 0 {
		t.Errorf("%d ended, %d run", len(h.ended), len(h.tests))
	}
	if n := h.since(at, all); !n.reset {
		t.Error("it is not told that something was missed")
	}
	h.Put(begin("x"))
	for i := range 3 * mostSamples {
		h.Put(interval("x", i+1, result.Up, 1))
	}
	if n := len(h.tests["x"].samples); n != mostSamples {
		t.Errorf("%d samples", n)
	}
	for i := range 2 * mostTests {
		h.Put(begin(fmt.Sprint("y", i)))
	}
	if len(h.tests) != mostTests {
		t.Errorf("%d tests", len(h.tests))
	}
	for range mostWatchers {
		if _, ok := h.watch(make(chan struct{}, 1)); !ok {
			t.Fatal("too few watchers")
		}
	}
	if _, ok := h.watch(make(chan struct{}, 1)); ok {
		t.Error("too many watchers")
	}
	done := make(chan struct{})
	go func() { // nobody looks, and nobody waits for them
		defer close(done)
		for i := range 1000 {
			h.Put(interval("x", 1000+i, result.Up, 1))
		}
	}()
	<-done
}

func TestHubTogether(t *testing.T) {
	h := NewHub()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			id := fmt.Sprint(i)
			h.Put(begin(id))
			for n := range 50 {
				h.Put(interval(id, n+1, result.Down, 1))
				for _, one := range h.since(0, all).tests {
					_ = fmt.Sprint(one.samples, one.down)
				}
			}
			h.Put(end(id))
		})
	}
	wg.Wait()
	if n := h.running(); n != 0 {
		t.Errorf("%d run", n)
	}
}

// TestStops: a test that was admitted can be ended by its name until it is over.
func TestStops(t *testing.T) {
	var s Stops
	settled := false
	p := s.Policy(policy(func() (*admit.Grant, error) {
		return &admit.Grant{Rate: 7, Settle: func(_, _ uint64) { settled = true }}, nil
	}))
	g, err := p.Admit(t.Context(), admit.Request{Run: "a"})
	if err != nil || g.Rate != 7 || !s.Can("a") || s.Can("b") || s.Stop("b", "ann") {
		t.Fatalf("%+v, %v", g, err)
	}
	var cause error
	ended := make(chan struct{})
	g.OnEnd(func(err error) { cause = err; close(ended) })
	if !s.Stop("a", "ann") {
		t.Error("it cannot be stopped")
	}
	<-ended
	if result.CodeOf(cause) != WordStopped || cause.Error() != "stopped by ann" {
		t.Errorf("cause %v", cause)
	}
	g.Settle(1, 2)
	if !settled || s.Can("a") || s.Stop("a", "ann") {
		t.Error("it is over, and can be stopped still")
	}
	if _, err := s.Policy(nil).Admit(t.Context(), admit.Request{Run: "c"}); err != nil {
		t.Error(err)
	}
}
