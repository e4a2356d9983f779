package mesh

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/mesh/wire"
	"github.com/sonde-net/sonde/result"
)

// texts are the messages that a node has shown.
func (r *resident) texts() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, e := range r.events {
		if n, ok := e.(result.Note); ok && n.Code == "message" {
			all = append(all, n.Text)
		}
	}
	return all
}

// A message comes once and whole, over a line that loses and repeats, and does
// not disturb what is measured.
func TestSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Server{})
		defer w.end()
		bad := testnet.Link{Delay: 10 * time.Millisecond, Loss: testnet.Share(0.3), Duplicate: testnet.Share(0.3)}
		a := w.node("a", place(0), bad, testnet.Link{})
		b := w.node("b", place(1), testnet.Link{}, testnet.Link{})
		time.Sleep(10 * time.Second)
		before := b.peer(t, "a").Pings.Sent
		if err := a.Say(t.Context(), "b", "good morning"); err != nil {
			t.Fatal(err)
		}
		long := strings.Repeat("x", wire.MaxText)
		if err := a.Say(t.Context(), b.Status().ID, long); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := b.texts(); !slices.Equal(got, []string{"a says: good morning", "a says: " + long}) {
			t.Errorf("b was told %q", got)
		}
		if st := b.peer(t, "a").Pings; st.Sent < before {
			t.Errorf("%+v", st)
		}
		for who, text := range map[string]string{"nobody": "x", "": "x", "b": long + "x"} {
			if err := a.Say(t.Context(), who, text); err == nil {
				t.Errorf("said %d bytes to %q", len(text), who)
			}
		}
		b.host.Unplug()
		if err := a.Say(t.Context(), "b", "are you there?"); err == nil {
			t.Error("a message to a dead node came")
		}
	})
}

// Who writes too much is not heard.
func TestTooManyTexts(t *testing.T) {
	var i inbox
	shown := 0
	for n := range uint64(1000) {
		if i.isNew(n+1, start) {
			shown++
		}
	}
	if shown != textRate {
		t.Errorf("%d messages at once are shown", shown)
	}
}

// An observer sees who is there and hears of pairs; nobody sees it.
func TestObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Server{})
		defer w.end()
		link := testnet.Link{Delay: 10 * time.Millisecond}
		a, b := w.node("a", place(0), link, link), w.node("b", place(1), link, link)
		host := w.net.Host(link, link, place(2))
		o := &resident{Node: &Node{Servers: []string{serverAddress}, Observe: true, ListenPacket: host.ListenPacket}, host: host}
		w.run(o)
		time.Sleep(20 * time.Second)
		if got := o.names(); !slices.Equal(got, []string{"a", "b"}) {
			t.Fatalf("the observer sees %v", got)
		}
		if got := slices.Concat(a.names(), b.names()); !slices.Equal(got, []string{"b", "a"}) {
			t.Errorf("the nodes see %v", got)
		}
		answer, err := o.Ask(t.Context(), a.Status().ID, b.Status().ID)
		if err != nil || answer.There == nil || answer.Back == nil || answer.There.State != "direct" || answer.There.RTT == nil {
			t.Errorf("%+v, %v", answer, err)
		}
		if answer, err = o.Ask(t.Context(), a.Status().ID, wire.ID{7}.String()); err != nil || answer.There != nil || answer.Back != nil {
			t.Errorf("of somebody unknown: %+v, %v", answer, err)
		}
		if _, err := o.Ask(t.Context(), "x", "y"); result.CodeOf(err) != result.CodeUsage {
			t.Errorf("%v", err)
		}
		w.stop[0]() // the server
		brief, stop := context.WithTimeout(t.Context(), 3*time.Second)
		defer stop()
		if _, err := o.Ask(brief, a.Status().ID, b.Status().ID); result.CodeOf(err) != result.CodeUnreachable {
			t.Errorf("without a server: %v", err)
		}
	})
}
