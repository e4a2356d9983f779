package iperf3

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/internal/testserve"
	"github.com/sonde-net/sonde/result"
)

// A pair is a client host and a server host in memory, with a server running.
type pair struct {
	client, server *testnet.Host
	sink           *testserve.Record // the server's
	stop           func()
}

const (
	clientAddr = "192.0.2.1"
	serverAddr = "192.0.2.2"
)

// slow is a link that lets the fake clock move under a sender without a limit.
var slow = testnet.Link{Rate: 20_000_000, Wait: true, Delay: 5 * time.Millisecond}

func newPair(t *testing.T, link testnet.Link, srv *Server) *pair {
	t.Helper()
	n := &testnet.Network{}
	return newPairOn(t, n.Host(link, testnet.Link{}, clientAddr, "2001:db8::1"), n.Host(link, testnet.Link{}, serverAddr, "2001:db8::2"), srv)
}

func newPairOn(t *testing.T, client, server *testnet.Host, srv *Server) *pair {
	t.Helper()
	p := &pair{client: client, server: server, sink: &testserve.Record{}}
	srv.ListenPacket, srv.Sink = p.server.ListenPacket, p.sink
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, address := range []string{serverAddr + ":5201", "[2001:db8::2]:5201"} {
		l, err := p.server.Listen(ctx, "tcp", address)
		if err != nil {
			continue // a host of one family
		}
		wg.Go(func() {
			if err := srv.Serve(ctx, l); err != nil {
				t.Error(err)
			}
		})
	}
	synctest.Wait()
	p.stop = func() { stop(); wg.Wait() }
	return p
}

// run runs c from the client's host.
func (p *pair) run(ctx context.Context, c Client) (*testserve.Record, error) {
	if c.Target == "" {
		c.Target = serverAddr
	}
	c.Dial, c.ListenPacket = p.client.DialContext, p.client.ListenPacket
	r := &testserve.Record{}
	err := c.Run(ctx, r)
	return r, err
}

// TestTotals: on a path without loss both ends count the same, in every mode.
func TestTotals(t *testing.T) {
	for _, udp := range []bool{false, true} {
		for _, d := range []result.Direction{result.Up, result.Down, result.Both} {
			for _, streams := range []int{1, 8} {
				for _, six := range []bool{false, true} {
					name := fmt.Sprintf("udp=%v/%v/%d/v6=%v", udp, d, streams, six)
					t.Run(name, func(t *testing.T) { testTotals(t, udp, d, streams, six) })
				}
			}
		}
	}
}

func testTotals(t *testing.T, udp bool, d result.Direction, streams int, six bool) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, slow, &Server{})
		c := Client{UDP: udp, Direction: d, Streams: streams, Duration: 3 * time.Second, Rate: 500_000}
		if six {
			c.Target = "2001:db8::2"
		}
		r, err := p.run(t.Context(), c)
		p.stop()
		if err != nil {
			t.Fatal(err)
		}
		e, far := r.End(t), p.sink.End(t)
		if e.Reason != result.ReasonDone || far.Reason != result.ReasonDone {
			t.Errorf("ended: %s, server %s, %v", e.Reason, far.Reason, far.Err)
		}
		for _, way := range d.Each() {
			checkTotal(t, e.Total(way), far.Total(way), udp, streams)
		}
		if e.Elapsed < 3*time.Second || e.Elapsed > 3200*time.Millisecond {
			t.Errorf("took %v", e.Elapsed)
		}
	})
}

func checkTotal(t *testing.T, total, far *result.Total, udp bool, streams int) {
	t.Helper()
	if total == nil || total.Sent == nil || total.Received == nil || far == nil || far.Sent == nil || far.Received == nil {
		t.Fatalf("totals %+v, the server's %+v", total, far)
	}
	if total.Sent.Bytes != total.Received.Bytes || far.Sent.Bytes != far.Received.Bytes || total.Sent.Bytes != far.Sent.Bytes {
		t.Errorf("sent %d, received %d; the server says %d and %d", total.Sent.Bytes, total.Received.Bytes, far.Sent.Bytes, far.Received.Bytes)
	}
	want := float64(streams) * 500_000 * 3 / 8
	if got := float64(total.Sent.Bytes); got < want*0.97 || got > want*1.05 {
		t.Errorf("%v bytes in 3s, want about %v", got, want)
	}
	if udp && (*total.Received.Lost != 0 || *total.Sent.Packets != *total.Received.Packets) {
		t.Errorf("sent %d packets, received %+v", *total.Sent.Packets, total.Received)
	}
}

// TestUnlimited: without a rate TCP fills the path.
func TestUnlimited(t *testing.T) {
	for _, d := range []result.Direction{result.Up, result.Down, result.Both} {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t, slow, &Server{})
			r, err := p.run(t.Context(), Client{Direction: d, Duration: 5 * time.Second, Streams: 2})
			p.stop()
			if err != nil {
				t.Fatal(err)
			}
			for _, way := range d.Each() {
				total := r.End(t).Total(way)
				if got := float64(total.Received.Bytes) * 8 / 5; got < 16e6 || got > 24e6 {
					t.Errorf("%v: %.0f bit/s over a path of 20 Mbit/s", way, got)
				}
				if total.Sent.Bytes != total.Received.Bytes {
					t.Errorf("%v: sent %d, received %d", way, total.Sent.Bytes, total.Received.Bytes)
				}
			}
		})
	}
}

// TestVolume: a test by bytes or blocks ends with them.
func TestVolume(t *testing.T) {
	for _, d := range []result.Direction{result.Up, result.Down} {
		for _, c := range []Client{
			{Bytes: 1_000_000, Length: 8192}, {Blocks: 100, Length: 10_000},
			{Bytes: 1_000_000, UDP: true, Rate: 1e6}, {Blocks: 100, UDP: true, Rate: 1e6, Length: 1000},
			{Bytes: 1_000_000, Omit: time.Second, Rate: 1e6},
		} {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, slow, &Server{})
				c.Direction = d
				r, err := p.run(t.Context(), c)
				p.stop()
				if err != nil {
					t.Fatalf("%+v: %v", c, err)
				}
				want := c.Bytes + c.Blocks*uint64(c.Length)
				got := r.End(t).Local(d).Bytes
				most := want + want/10
				if d == result.Up && c.Omit == 0 {
					most = want + uint64(max(c.Length, 1448))
				}
				if got < want || got > most {
					t.Errorf("%v %+v: %d bytes", d, c, got)
				}
			})
		}
	}
}

// TestOmit: what is omitted is in no figure, and in no interval.
func TestOmit(t *testing.T) {
	for _, udp := range []bool{false, true} {
		for _, d := range []result.Direction{result.Up, result.Down} {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, slow, &Server{})
				start := time.Now()
				r, err := p.run(t.Context(), Client{UDP: udp, Direction: d, Duration: 2 * time.Second, Omit: 2 * time.Second, Rate: 1e6, Length: 1000})
				p.stop()
				if err != nil {
					t.Fatal(err)
				}
				e := r.End(t)
				if took := e.Time.Sub(start); took < 4*time.Second || took > 5*time.Second || e.Elapsed > 2200*time.Millisecond {
					t.Errorf("took %v, %v counted", took, e.Elapsed)
				}
				for who, v := range map[string]*result.View{"sent": e.Total(d).Sent, "received": e.Total(d).Received} {
					if v.Bytes < 240_000 || v.Bytes > 262_000 {
						t.Errorf("udp=%v %v: %s %d bytes, want 250000", udp, d, who, v.Bytes)
					}
					if udp && (*v.Packets < 240 || *v.Packets > 262) {
						t.Errorf("%v: %s %d packets, want 250", d, who, *v.Packets)
					}
				}
			})
		}
	}
}

// TestLoopback runs over real sockets, every mode at once.
func TestLoopback(t *testing.T) {
	target, _, _ := serveReal(t, &Server{})
	var wg sync.WaitGroup
	for _, udp := range []bool{false, true} {
		for _, d := range []result.Direction{result.Up, result.Down, result.Both} {
			wg.Go(func() {
				c := Client{Target: target, UDP: udp, Direction: d, Duration: time.Second, Rate: 4e6, Streams: 2}
				r := &testserve.Record{}
				if err := c.Run(t.Context(), r); err != nil {
					t.Errorf("udp=%v %v: %v", udp, d, err)
					return
				}
				for _, way := range d.Each() {
					total := r.End(t).Total(way)
					if total.Received == nil || total.Sent == nil || total.Sent.Bytes != total.Received.Bytes || total.Sent.Bytes == 0 {
						t.Errorf("udp=%v %v: sent %+v, received %+v", udp, way, total.Sent, total.Received)
					}
				}
			})
		}
	}
	wg.Wait()
}

// TestPacedByServer: what the server sends over its one UDP socket keeps the rate
// asked for. A quarter of it came when each datagram waited for a timer of its own:
// then no run is near it, however idle the machine.
func TestPacedByServer(t *testing.T) {
	target, _, _ := serveReal(t, &Server{})
	const rate = 50e6
	best := 0.0
	for range 5 {
		r := &testserve.Record{}
		c := Client{Target: target, UDP: true, Direction: result.Down, Duration: time.Second, Rate: rate}
		if err := c.Run(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		end := r.End(t)
		got := float64(end.Down.Received.Bytes) * 8 / end.Elapsed.Seconds()
		if got > rate*11/10 {
			t.Errorf("%.1f Mbit/s of %.1f", got/1e6, rate/1e6)
		}
		if best = max(best, got); best > rate*6/10 {
			return
		}
		t.Logf("once more: %.1f Mbit/s of %.1f", got/1e6, rate/1e6)
	}
	t.Errorf("%.1f Mbit/s of %.1f at best", best/1e6, rate/1e6)
}

// TestNobody: errors are quick, and end the run with a code.
func TestNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, slow, &Server{})
		defer p.stop()
		for _, tt := range []struct {
			target, code string
			within       time.Duration
		}{
			{serverAddr + ":1", result.CodeRefused, time.Second},
			{"192.0.2.9", result.CodeUnreachable, 4 * time.Second},
			{"", "", 20 * time.Second},
			{"a b:c:d", result.CodeUsage, 0},
		} {
			start := time.Now()
			r, err := p.run(t.Context(), Client{Target: tt.target, Duration: time.Second, Rate: 1e6})
			if result.CodeOf(err) != tt.code || time.Since(start) > tt.within {
				t.Errorf("%q: %v (%s) after %v, want %s", tt.target, err, result.CodeOf(err), time.Since(start), tt.code)
			}
			if e := r.End(t); !errors.Is(e.Err, err) {
				t.Errorf("%q: Run = %v, End has %v", tt.target, err, e.Err)
			}
		}
	})
}
