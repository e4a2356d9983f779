package rtt

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"
)

// listen is a TCP port of this machine that takes connections.
func listen(t *testing.T, address string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("elsewhere: no %s here: %v", address, err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func TestPick(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		to := listen(t, address)
		p, err := pick(t.Context(), netip.Addr{}, to, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		for range 3 {
			if d, err := p.Probe(t.Context()); err != nil || d <= 0 || d > probeTime {
				t.Errorf("%s to %v: %v, %v", p.Method(), to, d, err)
			}
		}
	}
}

func TestConnector(t *testing.T) {
	to := listen(t, "127.0.0.1:0")
	dials := 0
	p, err := pick(t.Context(), netip.Addr{}, to, func(ctx context.Context, network, address string) (net.Conn, error) {
		dials++
		return (&net.Dialer{}).DialContext(ctx, network, address)
	})
	if err != nil || p.Method() != MethodConnect {
		t.Fatalf("Pick with a dial function = %v, %v", p, err)
	}
	if _, err := p.Probe(t.Context()); err != nil || dials != 1 {
		t.Errorf("%d connections, %v", dials, err)
	}
}

// TestWatch tells idle from loaded probes and loses none.
func TestWatch(t *testing.T) {
	p := &scripted{delays: []time.Duration{1, 2, 3, 40, 50, 0, 60}}
	w := &Watch{prober: p}
	idle, stop := context.WithCancel(t.Context())
	p.at = map[int]func(){3: stop}
	w.run(idle, time.Microsecond)
	w.Loaded()
	loaded, stop := context.WithCancel(t.Context())
	p.at[7] = stop
	w.run(loaded, time.Microsecond)
	l := w.Latency()
	if l.Idle.Count != 3 || l.Loaded.Count != 3 || l.Lost != 1 {
		t.Fatalf("idle %+v, loaded %+v, lost %d", l.Idle, l.Loaded, l.Lost)
	}
	if l.Idle.Max > 4*time.Millisecond || l.Loaded.Min < 39*time.Millisecond {
		t.Errorf("idle %+v, loaded %+v", l.Idle, l.Loaded)
	}
	if d := w.Interval(); d == nil || d.Count != 3 {
		t.Errorf("interval %+v", d)
	}
	if d := w.Interval(); d != nil {
		t.Errorf("an interval without probes has %+v", d)
	}
}

// TestWatchOfNothing: a test without probes asks a nil Watch.
func TestWatchOfNothing(t *testing.T) {
	var w *Watch
	w.Loaded()
	w.Run(t.Context())
	w.Close()
	if w.Interval() != nil || w.IdleDelay() != nil || w.Latency() != nil {
		t.Error("something was found without probes")
	}
}

// scripted answers with the given delays in ms; 0 is no answer.
type scripted struct {
	delays []time.Duration
	n      int
	at     map[int]func() // called after the n-th probe
}

func (s *scripted) Probe(context.Context) (time.Duration, error) {
	if s.n >= len(s.delays) {
		return 0, context.Canceled
	}
	d := s.delays[s.n] * time.Millisecond
	s.n++
	if f := s.at[s.n]; f != nil {
		f()
	}
	if d == 0 {
		return 0, context.DeadlineExceeded
	}
	return d, nil
}

func (s *scripted) Method() string       { return "scripted" }
func (s *scripted) Every() time.Duration { return time.Microsecond }
func (s *scripted) Close() error         { return nil }

func TestEchoUnanswered(t *testing.T) {
	e, err := newEcho(netip.Addr{}, netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		t.Skipf("elsewhere: no ICMP socket is allowed here: %v", err)
	}
	defer e.Close()
	if e.answers([]byte{0, 0, 0, 0, 0, 0, 0, 1, 'x'}, []byte("y")) {
		t.Error("a foreign reply was taken")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Probe(ctx); err == nil {
		t.Error("a probe after the end had an answer")
	}
}
