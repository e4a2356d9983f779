package btest

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/result"
)

// Faults of the public server of btest-rs; the others are where quotas, the store
// and logins are.

// TestFault6SentBytesOfTCPBothWaysCount: what a test both ways over TCP sent is in what
// is booked and in its End, and both are the same.
func TestFault6SentBytesOfTCPBothWaysCount(t *testing.T) {
	t.Parallel()
	for _, udp := range []bool{false, true} {
		policy := &granting{}
		s := &Server{Policy: policy}
		if udp {
			s.UDPPorts = udpPorts(t, 1, 1)
		}
		near, far, err := serve(t, "127.0.0.1", s).test(t, &Client{
			UDP: udp, Direction: result.Both, Duration: time.Second, UpRate: 8e6, DownRate: 16e6})
		if err != nil {
			t.Fatal(err)
		}
		end, told := far.check(t), near.check(t)
		policy.mu.Lock()
		booked := result.Moved{Sent: policy.sent, Received: policy.received}
		policy.mu.Unlock()
		if end.Moved == nil || *end.Moved != booked {
			t.Errorf("udp=%v: booked %+v, the End says %+v", udp, booked, end.Moved)
		}
		if booked.Sent < told.Down.Received.Bytes || booked.Sent < end.Down.Sent.Bytes || end.Down.Sent.Bytes == 0 {
			t.Errorf("udp=%v: %d booked as sent, the server's total is %d, %d came", udp, booked.Sent, end.Down.Sent.Bytes, told.Down.Received.Bytes)
		}
		if booked.Received < end.Up.Received.Bytes || end.Up.Received.Bytes == 0 {
			t.Errorf("udp=%v: %d booked as received, the total is %d", udp, booked.Received, end.Up.Received.Bytes)
		}
	}
}

// TestFault7MissingConnectionsAreNotWaitedFor: a client that announces twenty
// connections and opens one has its test, and gives its place back.
func TestFault7MissingConnectionsAreNotWaitedFor(t *testing.T) {
	t.Parallel()
	policy := &granting{}
	server := serve(t, "127.0.0.1", &Server{Policy: policy})
	h := greet(t, server.addr)
	b, _ := wire.Command{Transport: wire.TCP, Direction: wire.Transmit, Zeros: true, Streams: 20, Size: 1000}.AppendBinary(nil)
	if _, err := h.Write(b); err != nil {
		t.Fatal(err)
	}
	h.token()
	h.hear(100_000) // data comes
	h.Close()
	end := server.events.await(t, 1)
	if e := end.check(t); e.Reason != result.ReasonClientGone {
		t.Errorf("ended because %q", e.Reason)
	}
	policy.mu.Lock()
	defer policy.mu.Unlock()
	if policy.settled != 1 {
		t.Errorf("settled %d times", policy.settled)
	}
}

// TestFault10UDPPortsAreReused: a server with one port serves one test after the other.
func TestFault10UDPPortsAreReused(t *testing.T) {
	t.Parallel()
	ports := udpPorts(t, 1, 1)
	server := serve(t, "127.0.0.1", &Server{UDPPorts: ports})
	for n := range 3 {
		if _, _, err := server.test(t, &Client{UDP: true, Direction: result.Down, Duration: 200 * time.Millisecond, DownRate: 8e6}); err != nil {
			t.Fatalf("test %d: %v", n, err)
		}
		server.awaitIdle(t, 10*time.Second)
	}
}

// TestUnasked: data that a client sends though it asked only to receive is no result,
// but it is booked, and ends the test when the budget is gone.
func TestUnasked(t *testing.T) {
	t.Parallel()
	const all = 500_000
	in := admit.NewBudget(all, "ip_inbound_daily_quota_exceeded", "bytes")
	policy := &granting{grant: admit.Grant{Budget: admit.Split(in, nil)}}
	server := serve(t, "127.0.0.1", &Server{Policy: policy})
	h := greet(t, server.addr)
	b, _ := wire.Command{Transport: wire.TCP, Direction: wire.Transmit, Zeros: true, Size: 1000, ServerRate: 1_000_000}.AppendBinary(nil)
	if _, err := h.Write(b); err != nil {
		t.Fatal(err)
	}
	h.expect("01 00 00 00")
	go drain(h)
	block := make([]byte, 10_000)
	for range 10_000 {
		if _, err := h.Write(block); err != nil {
			break
		}
	}
	run := server.events.await(t, 1)
	end := run.check(t)
	if e, ok := errors.AsType[*admit.ExceededError](end.Err); !ok || e.Limit != all {
		t.Errorf("ended with %v", end.Err)
	}
	policy.mu.Lock()
	defer policy.mu.Unlock()
	if policy.received < all || policy.received > all+256<<10 || end.Moved.Received != policy.received || end.Up != nil {
		t.Errorf("%d booked of %d, the End says %+v", policy.received, all, end.Moved)
	}
}

func drain(c net.Conn) {
	b := make([]byte, 64<<10)
	for {
		if _, err := c.Read(b); err != nil {
			return
		}
	}
}
