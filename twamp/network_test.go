package twamp

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/testnet"
)

// afterwards keeps a Pick from the first and the last packets, so that a loss
// can be attributed and every packet of control passes.
func between(first, last uint64, p testnet.Pick) testnet.Pick {
	return func(n uint64, chance *rand.Rand) bool { return p(n, chance) && n >= first && n < last }
}

// pingOver sends n STAMP packets from a host behind the two links to a reflector.
func pingOver(t *testing.T, n int, up, down testnet.Link) (*report, *testnet.Host) {
	t.Helper()
	var network testnet.Network
	here := network.Host(up, down, "192.0.2.1")
	there := network.Host(testnet.Link{}, testnet.Link{}, "192.0.2.2")
	c, err := there.ListenPacket(t.Context(), "udp", "192.0.2.2:862")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- (&Reflector{}).Serve(ctx, c) }()
	p := Pinger{Addr: "192.0.2.2", ListenPacket: here.ListenPacket, Probe: Probe{Count: n, Interval: 10 * time.Millisecond}}
	all, err := reportsOf(t.Context(), &p)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	return all[0], here
}

// What was measured is what the network did, in the right direction.
func TestNetworkFaults(t *testing.T) {
	const n = 4000
	some := func(share float64) testnet.Pick { return between(10, n*9/10, testnet.Share(share)) }
	for _, tt := range []struct {
		name     string
		up, down testnet.Link
	}{
		{"clean", testnet.Link{}, testnet.Link{}},
		{"loss", testnet.Link{Loss: some(0.03)}, testnet.Link{Loss: some(0.05)}},
		{"duplicates", testnet.Link{Duplicate: some(0.03)}, testnet.Link{Duplicate: some(0.02)}},
		{"reordering", testnet.Link{Reorder: some(0.03), ReorderBy: 25 * time.Millisecond}, testnet.Link{Reorder: some(0.02), ReorderBy: 35 * time.Millisecond}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.up.Delay, tt.down.Delay = 3*time.Millisecond, 7*time.Millisecond
				r, here := pingOver(t, n, tt.up, tt.down)
				up, down := here.Up.Counts(), here.Down.Counts()
				if r.LostOut == nil || r.DuplicateOut == nil || r.ReorderedOut == nil {
					t.Fatalf("not told: %+v", r)
				}
				for _, f := range []struct {
					what      string
					got, want uint64
				}{
					{"sent", r.Sent, n},
					{"lost", r.Lost, up.Lost + down.Lost},
					{"lost out", *r.LostOut, up.Lost},
					{"lost home", *r.LostHome, down.Lost},
					{"unattributed", *r.LostEither, 0},
					{"doubled out", *r.DuplicateOut, up.Duplicated},
					{"reordered out", r.ReorderedOut.Reordered, up.Reordered},
					{"reordered home", r.ReorderedHome.Reordered, down.Reordered},
					{"late", r.Late, 0},
				} {
					if f.got != f.want {
						t.Errorf("%s: %d, the network says %d", f.what, f.got, f.want)
					}
				}
				if tt.up.Duplicate == nil && *r.DuplicateHome != down.Duplicated {
					t.Errorf("doubled home: %d, the network says %d", *r.DuplicateHome, down.Duplicated)
				}
				if d := r.RTT.Delay; (d.Min-10*time.Millisecond).Abs() > 2 || (d.P50-10*time.Millisecond).Abs() > 20*time.Microsecond {
					t.Errorf("RTT %+v, the line takes 10ms", d)
				}
				if d := r.Out.Delay; (d.Min - 3*time.Millisecond).Abs() > 2 {
					t.Errorf("one way out %+v, the line takes 3ms", d)
				}
				if r.Rate < 99.9 || r.Rate > 100.1 {
					t.Errorf("%v packets per second", r.Rate)
				}
			})
		})
	}
}

// TestJitter: when the RTT varies the jitter is not 0.
func TestJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := pingOver(t, 100, testnet.Link{Delay: time.Millisecond, Jitter: 4 * time.Millisecond}, testnet.Link{Delay: time.Millisecond})
		if r.Lost != 0 || r.RTT.Jitter == nil || *r.RTT.Jitter < 100*time.Microsecond || r.RTT.IPDV.MeanAbs == 0 || r.RTT.PDV.P95 == 0 {
			t.Errorf("jitter %v, %+v", r.RTT.Jitter, r.RTT)
		}
		if j := *r.Home.Jitter; j > time.Microsecond {
			t.Errorf("jitter %v on the way home, which has none", j)
		}
	})
}

// startServer serves TWAMP on a host of a network in memory.
func startServer(t *testing.T, h *testnet.Host, s *Server) (stop func()) {
	t.Helper()
	l, err := h.Listen(t.Context(), "tcp", ":862")
	if err != nil {
		t.Fatal(err)
	}
	s.ListenPacket = h.ListenPacket
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}
}

// A path that dies in the middle of a test does not keep it from ending.
func TestPathDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network testnet.Network
		here := network.Host(testnet.Link{}, testnet.Link{}, "192.0.2.1")
		there := network.Host(testnet.Link{}, testnet.Link{}, "192.0.2.2")
		stop := startServer(t, there, &Server{})
		time.AfterFunc(5*time.Second, there.Unplug)
		c := &Client{Addr: "192.0.2.2", Dial: here.DialContext, ListenPacket: here.ListenPacket, Probe: Probe{Count: 100}}
		start := time.Now()
		r, err := reportsOf(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("took %v", took)
		}
		if got := r[0]; got.Sent != 100 || got.Replies < 45 || got.Replies > 55 || *got.LostEither != got.Lost {
			t.Errorf("%+v", got)
		}
		stop()
	})
}

// Stopped in the middle, a client still says so to the server, and reports what
// there is.
func TestInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network testnet.Network
		here := network.Host(testnet.Link{Delay: 10 * time.Millisecond}, testnet.Link{}, "192.0.2.1")
		there := network.Host(testnet.Link{}, testnet.Link{}, "192.0.2.2")
		l, err := there.Listen(t.Context(), "tcp", ":862")
		if err != nil {
			t.Fatal(err)
		}
		s := &Server{ListenPacket: there.ListenPacket}
		stopped := make(chan error, 1)
		s.prepare()
		var held int
		go func() {
			conn, err := l.Accept()
			if err != nil {
				stopped <- err
				return
			}
			c := serverConnOf(s, conn, t)
			err = c.run(context.Background())
			held = len(c.sessions)
			stopped <- err
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		c := &Client{Addr: "192.0.2.2", Dial: here.DialContext, ListenPacket: here.ListenPacket, Probe: Probe{Count: -1}}
		r, err := reportsOf(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		if got := r[0]; got.Replies < 28 || got.Lost != 0 {
			t.Errorf("%+v", got)
		}
		if err := <-stopped; err != nil || held != 0 {
			t.Errorf("the server saw %v, %d sessions left", err, held)
		}
		closePorts(s)
		l.Close()
		if err := errors.Join(ctx.Err()); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		synctest.Wait()
	})
}

// serverConnOf is a server's end of conn.
func serverConnOf(s *Server, conn net.Conn, t *testing.T) *serverConn {
	t.Helper()
	return &serverConn{server: s, control: newControl(conn), peer: sock.AddrPort(conn.RemoteAddr()), local: sock.AddrPort(conn.LocalAddr()),
		wg: new(sync.WaitGroup), log: s.Log}
}

// Who gives up before anything was measured need not wait for the server.
func TestGivesUpEarly(t *testing.T) {
	for _, after := range []time.Duration{time.Millisecond, 25 * time.Millisecond, 45 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			var network testnet.Network
			here := network.Host(testnet.Link{Delay: 10 * time.Millisecond}, testnet.Link{}, "192.0.2.1")
			there := network.Host(testnet.Link{}, testnet.Link{}, "192.0.2.2")
			stop := startServer(t, there, &Server{})
			ctx, cancel := context.WithTimeout(t.Context(), after)
			defer cancel()
			start := time.Now()
			c := &Client{Addr: "192.0.2.2", Dial: here.DialContext, ListenPacket: here.ListenPacket}
			if err := c.Run(ctx, nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > after {
				t.Errorf("ended after %v with %v, want %v", time.Since(start), err, after)
			}
			stop()
		})
	}
}
