package rperf

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/rperf/wire"
)

// TestFlood: tests that are ordered and never begun take only so many sockets
// of an address, for a short time; others are served meanwhile, and itself
// afterwards.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, slow, &Server{StreamsPerAddress: 600})
		order := frame(`{"kind":"configuration","family":"udp","receive_buffer":0,"length":1024,"streams":255,"test_id":[1]}`)
		var open []net.Conn
		for range 4 {
			conn, err := p.client.DialContext(t.Context(), "tcp", serverAddr+":5199")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, order); err != nil {
				t.Fatal(err)
			}
			open = append(open, conn)
		}
		time.Sleep(time.Second)
		if _, err := p.run(t.Context(), Client{UDP: true, Streams: 100, Duration: time.Second, Rate: 1e5}); result.CodeOf(err) != result.CodeRefused {
			t.Errorf("beyond the limit: %v, want it refused", err)
		}
		if _, err := p.run(t.Context(), Client{UDP: true, Target: "2001:db8::2", Duration: time.Second, Rate: 1e5}); err != nil {
			t.Errorf("from another address: %v", err)
		}
		time.Sleep(beginTime)
		if _, err := p.run(t.Context(), Client{UDP: true, Streams: 100, Duration: time.Second, Rate: 1e4}); err != nil {
			t.Errorf("afterwards: %v", err)
		}
		for _, conn := range open {
			conn.SetReadDeadline(time.Now().Add(time.Second))
			if _, err := io.Copy(io.Discard, conn); err != nil && !gone(err) {
				t.Errorf("still open: %v", err)
			}
		}
		p.stop()
	})
}

// TestQueueOfOne: one address cannot fill the queue.
func TestQueueOfOne(t *testing.T) {
	q := &queue{places: 1, most: mostWaiting}
	one, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for n := range mostOfOne + 1 { // the first has its turn at once
		if _, err := q.join(one); err != nil {
			t.Fatalf("%d: %v", n, err)
		}
	}
	if _, err := q.join(one); err == nil || result.ExitCode(err) == 0 {
		t.Errorf("one address too often: %v", err)
	}
	if _, err := q.join(other); err != nil {
		t.Errorf("another address: %v", err)
	}
}

// TestReportBounded: a server that tells without end fills no memory.
func TestReportBounded(t *testing.T) {
	r := &Report{kept: mostRecords - 1}
	for n := range 3 {
		text := r.Add(Record{Interval: wire.Interval{Bytes: uint64(n), Duration: 1}})
		if text == "" {
			t.Errorf("record %d is not printed", n)
		}
	}
	if n := len(r.streams[0].receive); n != 1 {
		t.Errorf("%d records kept, want 1", n)
	}
}

// TestUploadHeld: what a client sends over TCP is held to the grant's rate too.
func TestUploadHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, slow, &Server{Policy: &admit.Limits{Rate: 800_000}})
		r, err := p.run(t.Context(), Client{Duration: 5 * time.Second, Streams: 2})
		p.stop()
		up := p.sink.End(t).Up
		if up == nil || r.End(t).Up == nil {
			t.Fatalf("%v, %+v", err, up)
		}
		// Beside the rate, what the receive buffers hold.
		if rate := float64(up.Received.Bytes) * 8 / up.Elapsed.Seconds(); rate > 1_000_000 {
			t.Errorf("%.0f bit/s at 800 kbit/s", rate)
		}
	})
}
