package mesh

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/result"
)

// Two nodes meet, measure each other, and one leaves.
func TestTwoNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Name: "hub"}
		w := newWorld(t, s)
		defer w.end()
		link := testnet.Link{Delay: 10 * time.Millisecond}
		a, b := w.node("a", place(0), link, link), w.node("b", place(1), link, link)
		time.Sleep(2 * time.Second)
		for _, p := range []PeerStatus{a.peer(t, "b"), b.peer(t, "a")} {
			if p.State != "direct" || p.Original || p.Reason != "" {
				t.Fatalf("after 2 s: %+v", p)
			}
		}
		time.Sleep(60 * time.Second)
		p := a.peer(t, "b").Pings
		if p.Lost != 0 || p.Sent < 118 || p.RTT == nil || (p.RTT.Delay.P50-40*time.Millisecond).Abs() > time.Millisecond {
			t.Errorf("%+v", p)
		}
		st := s.Status()
		if len(st.Clients) != 2 || st.Clients[0].RTT == nil || (*st.Clients[0].RTT-20*time.Millisecond).Abs() > time.Millisecond {
			t.Errorf("server: %+v", st)
		}
		if pairs := st.Clients[0].Pairs; len(pairs) != 1 || pairs[0].State != "direct" || pairs[0].RTT == nil {
			t.Errorf("pairs: %+v", pairs)
		}
		if n := a.Status().NAT; !n.Known || n.Mapping != "no NAT" || st.Clients[0].Mapping != "no NAT" {
			t.Errorf("NAT: %+v; the server knows %s", n, st.Clients[0].Mapping)
		}
		b.stop()
		time.Sleep(2 * time.Second)
		if left := a.names(); len(left) != 0 {
			t.Errorf("b has left, a lists %v", left)
		}
		var begins, intervals, ends int
		for _, e := range a.events {
			switch e := e.(type) {
			case result.Begin:
				begins++
			case result.Interval:
				intervals++
			case result.End:
				ends++
				if len(e.RoundTrips) != 1 || e.Reason != result.ReasonClientGone {
					t.Errorf("End: %+v", e)
				}
			}
		}
		if begins != 1 || ends != 1 || intervals < 55 {
			t.Errorf("%d begins, %d intervals, %d ends", begins, intervals, ends)
		}
		// A ping may come before the list that names its sender.
		if d := a.Status().Dropped; len(st.Dropped) != 0 || len(d) > 1 || d[dropSource] > 1 {
			t.Errorf("dropped: %v, %v", st.Dropped, d)
		}
	})
}

// A killed node is gone from all lists after the expiry, and everybody hears of
// it at once.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Server{})
		defer w.end()
		a := w.node("a", place(0), testnet.Link{}, testnet.Link{})
		b := w.node("b", place(1), testnet.Link{}, testnet.Link{})
		time.Sleep(10 * time.Second)
		b.host.Unplug()
		time.Sleep(20 * time.Second)
		if !slices.Equal(a.names(), []string{"b"}) {
			t.Errorf("after 20 s: %v", a.names())
		}
		time.Sleep(14 * time.Second)
		if len(a.names()) != 0 {
			t.Errorf("after 34 s: %v", a.names())
		}
	})
}

// With two servers, one may die; with none, the node says so and keeps the last
// list.
func TestFailOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Server{})
		defer w.end()
		second := w.net.Host(testnet.Link{}, testnet.Link{}, "192.0.2.2")
		stop := w.serve(second, &Server{})
		servers := []string{serverAddress, "192.0.2.2:23456"}
		a := w.node("a", place(0), testnet.Link{}, testnet.Link{}, servers...)
		w.node("b", place(1), testnet.Link{}, testnet.Link{}, servers...)
		time.Sleep(5 * time.Second)
		if !slices.Equal(a.names(), []string{"b"}) {
			t.Fatalf("peers: %v", a.names())
		}
		w.stop[0]()
		time.Sleep(30 * time.Second)
		if !slices.Contains(a.notes(), "server_silent") || !slices.Equal(a.names(), []string{"b"}) {
			t.Errorf("after the first died: %v, peers %v", a.notes(), a.names())
		}
		if st := a.Status(); st.Servers[0].Up || !st.Servers[1].Up {
			t.Errorf("servers: %+v", st.Servers)
		}
		stop()
		time.Sleep(30 * time.Second)
		if !slices.Contains(a.notes(), "no_server") || a.peer(t, "b").State != "direct" {
			t.Errorf("after both died: %v, %+v", a.notes(), a.peer(t, "b"))
		}
	})
}

// Loss, jitter and duplicates are reported as the network made them, and losses
// by direction.
func TestMeasures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Server{})
		defer w.end()
		plain := testnet.Link{Delay: time.Millisecond}
		a := w.node("a", place(0), plain, plain)
		bad := testnet.Link{Delay: 15 * time.Millisecond, Jitter: 10 * time.Millisecond, Loss: testnet.Share(0.1), Duplicate: testnet.Share(0.02), Seed: 7}
		w.node("b", place(1), plain, bad)
		time.Sleep(510 * time.Second)
		p := a.peer(t, "b").Pings
		if p.Sent < 1000 {
			t.Fatalf("%d pings", p.Sent)
		}
		// Three standard deviations of a binomial: 0.0285 of 1000 at 10 %.
		if r, _ := p.LossRatio(); r < 0.07 || r > 0.13 {
			t.Errorf("loss %v, the network loses 10 %%", r)
		}
		if p.LostOut == nil || *p.LostOut+*p.LostEither < p.Lost || *p.LostHome != 0 {
			t.Errorf("%d lost: %d out, %d home, %d either; all are lost on the way out", p.Lost, *p.LostOut, *p.LostHome, *p.LostEither)
		}
		if d := float64(p.Duplicate) / float64(p.Sent); d < 0.005 || d > 0.035 {
			t.Errorf("duplicates %v, the network makes 2 %%", d)
		}
		if d := p.RTT.Delay; d.Min < 18*time.Millisecond || d.Max > 28*time.Millisecond || p.RTT.Jitter == nil || *p.RTT.Jitter < time.Millisecond || *p.RTT.Jitter > 6*time.Millisecond {
			t.Errorf("RTT %+v, jitter %v", d, p.RTT.Jitter)
		}
		if j := *p.Home.Jitter; j > 100*time.Microsecond {
			t.Errorf("jitter %v on the way home, which has none", j)
		}
	})
}

// A pair that cannot meet is relayed, which is said and measured, and goes over
// to the direct path when that begins to work.
func TestRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Relay: &Relaying{}}
		w := newWorld(t, s)
		defer w.end()
		a := w.node("a", place(0), testnet.Link{Delay: time.Millisecond}, testnet.Link{})
		b := w.node("b", place(1), testnet.Link{Delay: time.Millisecond}, testnet.Link{})
		a.walled.Store(true)
		b.walled.Store(true)
		time.Sleep(5 * time.Second)
		p := a.peer(t, "b")
		if p.State != "relay" || p.Reason == "" || p.Path != "relayed" || p.Pings.Replies == 0 {
			t.Fatalf("after 5 s: %+v, relayed %+v, dropped %v", p, s.Status().Relayed, s.Status().Dropped)
		}
		a.walled.Store(false)
		b.walled.Store(false)
		time.Sleep(20 * time.Second)
		if p, q := a.peer(t, "b"), b.peer(t, "a"); p.State != "direct" || q.State != "direct" {
			t.Errorf("the way is free: %+v, %+v", p, q)
		}
		// When the direct path dies, the relay carries again.
		a.walled.Store(true)
		b.walled.Store(true)
		time.Sleep(20 * time.Second)
		if p, q := a.peer(t, "b"), b.peer(t, "a"); p.Path != PathRelayed || q.Path != PathRelayed || p.Reason == "" {
			t.Errorf("the way is closed again: %+v, %+v", p, q)
		}
		if n := a.notes(); !slices.Contains(n, "path_relay") || !slices.Contains(n, "path_direct") {
			t.Errorf("notes: %v", n)
		}
	})
}

// Without a relay the pair fails, with a reason.
func TestNoWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Server{})
		defer w.end()
		a := w.node("a", place(0), testnet.Link{}, testnet.Link{})
		a.walled.Store(true)
		w.node("b", place(1), testnet.Link{}, testnet.Link{})
		time.Sleep(10 * time.Second)
		if p := a.peer(t, "b"); p.State != "failed" || p.Reason == "" || p.Pings.Sent != 0 {
			t.Errorf("%+v", p)
		}
		a.walled.Store(false)
		time.Sleep(60 * time.Second)
		if p := a.peer(t, "b"); p.State != "direct" {
			t.Errorf("the way is free: %+v", p)
		}
	})
}
