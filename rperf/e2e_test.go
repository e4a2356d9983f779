package rperf

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
var slow = testnet.Link{Rate: 10_000_000, Wait: true, Delay: 5 * time.Millisecond}

func newPair(t *testing.T, link testnet.Link, srv *Server) *pair {
	t.Helper()
	n := &testnet.Network{}
	p := &pair{
		client: n.Host(link, testnet.Link{}, clientAddr, "2001:db8::1"),
		server: n.Host(link, testnet.Link{}, serverAddr, "2001:db8::2"),
		sink:   &testserve.Record{},
	}
	srv.Dial, srv.Listen, srv.ListenPacket, srv.Sink = p.server.DialContext, p.server.Listen, p.server.ListenPacket, p.sink
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, network := range []string{"tcp4", "tcp6"} {
		address := map[string]string{"tcp4": "0.0.0.0:5199", "tcp6": "[::]:5199"}[network]
		l, err := p.server.Listen(ctx, network, address)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if err := srv.Serve(ctx, l); err != nil {
				t.Error(err)
			}
		})
	}
	p.stop = func() { stop(); wg.Wait() }
	return p
}

// run runs c from the client's host.
func (p *pair) run(ctx context.Context, c Client) (*testserve.Record, error) {
	if c.Target == "" {
		c.Target = serverAddr
	}
	c.Dial, c.Listen, c.ListenPacket = p.client.DialContext, p.client.Listen, p.client.ListenPacket
	r := &testserve.Record{}
	err := c.Run(ctx, r)
	return r, err
}

// TestTotals: on a path without loss both ends count the same, in every mode.
func TestTotals(t *testing.T) {
	for _, udp := range []bool{false, true} {
		for _, d := range []result.Direction{result.Up, result.Down} {
			for _, streams := range []int{1, 8} {
				for _, six := range []bool{false, true} {
					for _, classic := range []bool{false, true} {
						name := fmt.Sprintf("udp=%v/%v/%d/v6=%v/classic=%v", udp, d, streams, six, classic)
						t.Run(name, func(t *testing.T) { testTotals(t, udp, d, streams, six, classic) })
					}
				}
			}
		}
	}
}

func testTotals(t *testing.T, udp bool, d result.Direction, streams int, six, classic bool) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, slow, &Server{})
		c := Client{UDP: udp, Direction: d, Streams: streams, Duration: 3 * time.Second, Rate: 500_000, Classic: classic}
		if six {
			c.Target = "2001:db8::2"
		}
		r, err := p.run(t.Context(), c)
		p.stop()
		if err != nil {
			t.Fatal(err)
		}
		e := r.End(t)
		total := e.Total(d)
		if e.Reason != result.ReasonDone || total == nil || total.Sent == nil || total.Received == nil {
			t.Fatalf("end %+v", e)
		}
		if total.Sent.Bytes != total.Received.Bytes || total.Sent.Bytes == 0 {
			t.Errorf("sent %d bytes, received %d", total.Sent.Bytes, total.Received.Bytes)
		}
		far := p.sink.End(t)
		if mine, theirs := e.Local(d).Bytes, far.Local(d).Bytes; mine != theirs {
			t.Errorf("client counted %d, server %d", mine, theirs)
		}
		// The rate of each stream, to a write.
		want := float64(streams) * 500_000 * 3 / 8
		if udp {
			want *= float64(1024) / (1024 + 8)
			if *total.Received.Lost != 0 || *total.Received.Duplicate != 0 || *total.Sent.Packets != *total.Received.Packets {
				t.Errorf("received %+v of %d packets", total.Received, *total.Sent.Packets)
			}
		}
		if got := float64(total.Sent.Bytes); got < want*0.97 || got > want*1.03 {
			t.Errorf("%v bytes in 3s, want about %v", got, want)
		}
		checkIntervals(t, r, e, d)
	})
}

// checkIntervals: the intervals are whole seconds but the last, and add up.
func checkIntervals(t *testing.T, r *testserve.Record, e result.End, d result.Direction) {
	t.Helper()
	var sum uint64
	n := 0
	for _, ev := range r.All() {
		if i, ok := ev.(result.Interval); ok {
			n++
			sum += i.Local().Bytes
		}
	}
	if n < 3 || n > 4 || sum != e.Local(d).Bytes {
		t.Errorf("%d intervals with %d bytes in all, want 3 with %d", n, sum, e.Local(d).Bytes)
	}
}

// TestUnlimited: without a rate TCP fills the path.
func TestUnlimited(t *testing.T) {
	for _, d := range []result.Direction{result.Up, result.Down} {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t, slow, &Server{})
			r, err := p.run(t.Context(), Client{Direction: d, Duration: 5 * time.Second, Streams: 2})
			p.stop()
			if err != nil {
				t.Fatal(err)
			}
			total := r.End(t).Total(d)
			if got := float64(total.Received.Bytes) * 8 / 5; got < 8e6 || got > 12e6 {
				t.Errorf("%v: %.0f bit/s over a path of 10 Mbit/s", d, got)
			}
			if total.Sent.Bytes != total.Received.Bytes {
				t.Errorf("sent %d, received %d", total.Sent.Bytes, total.Received.Bytes)
			}
		})
	}
}

// TestLoopback runs over real sockets, every mode at once.
func TestLoopback(t *testing.T) {
	target, _, _ := serveReal(t, &Server{CPUs: []int{0, 9999}}) // the second is on no machine of ours: a warning
	var wg sync.WaitGroup
	for _, udp := range []bool{false, true} {
		for _, d := range []result.Direction{result.Up, result.Down} {
			for _, classic := range []bool{false, true} {
				wg.Go(func() {
					c := Client{Target: target, UDP: udp, Direction: d, Duration: 500 * time.Millisecond, Rate: 8e6, Streams: 2, Classic: classic}
					r := &testserve.Record{}
					if err := c.Run(t.Context(), r); err != nil {
						t.Errorf("udp=%v %v classic=%v: %v", udp, d, classic, err)
						return
					}
					total := r.End(t).Total(d)
					if total.Received == nil || total.Sent == nil || total.Sent.Bytes != total.Received.Bytes || total.Sent.Bytes == 0 {
						t.Errorf("udp=%v %v classic=%v: sent %+v, received %+v", udp, d, classic, total.Sent, total.Received)
					}
				})
			}
		}
	}
	wg.Wait()
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
