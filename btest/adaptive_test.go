package btest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/result"
)

// TestAdaptive: a UDP test both ways without a limit finds what the path
// carries, and stays there.
func TestAdaptive(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		link testnet.Link
	}{
		{"5 Mbit/s", testnet.Link{Rate: 5e6, Queue: 64 << 10, Delay: 10 * time.Millisecond}},
		{"20 Mbit/s", testnet.Link{Rate: 20e6, Queue: 128 << 10, Delay: time.Millisecond}},
		{"10 Mbit/s, 200 ms away", testnet.Link{Rate: 10e6, Queue: 256 << 10, Delay: 100 * time.Millisecond}},
		{"10 Mbit/s, 2 % lost", testnet.Link{Rate: 10e6, Queue: 128 << 10, Delay: 2 * time.Millisecond, Loss: testnet.Share(0.02)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var n testnet.Network
				// The link is that of the client; a host's own card is faster.
				card := testnet.Link{Rate: 100e6, Wait: true, Queue: 64 << 10}
				client, server := n.Host(tt.link, tt.link, "192.0.2.7"), n.Host(card, card, "192.0.2.1")
				l, err := server.Listen(t.Context(), "tcp", "192.0.2.1:2000")
				if err != nil {
					t.Fatal(err)
				}
				v := serveOn(t, l, &Server{ListenPacket: server.ListenPacket})
				near, far, err := v.test(t, &Client{UDP: true, Direction: result.Both, Duration: 10 * time.Second,
					Dial: client.DialContext, ListenPacket: client.ListenPacket})
				if err != nil {
					t.Fatal(err)
				}
				far.check(t)
				near.check(t)
				checkSteady(t, &near, result.Down, tt.link.Rate)
				checkSteady(t, &far, result.Up, tt.link.Rate)
			})
		})
	}
}

// checkSteady: from the fifth second on at least 85 % of the path is used.
func checkSteady(t *testing.T, s *seen, d result.Direction, path uint64) {
	t.Helper()
	var rates []uint64
	for _, i := range s.intervals {
		if i.Direction == d && i.End-i.Start > 900*time.Millisecond {
			rates = append(rates, *result.Rate(*i.Local().WireBytes, i.End-i.Start))
		}
	}
	if len(rates) < 9 {
		t.Fatalf("%v: %d seconds", d, len(rates))
	}
	for second, rate := range rates {
		if second >= 4 && rate < path*85/100 {
			t.Errorf("%v: %d bit/s in second %d of a path of %d: %v", d, rate, second+1, path, rates)
			return
		}
	}
}

// TestAdaptiveLoopback: nor does the rate collapse on a path that is as fast as
// the machine. One that stands still for long is none: then no run of three is good.
func TestAdaptiveLoopback(t *testing.T) {
	server := serve(t, "127.0.0.1", &Server{UDPPorts: udpPorts(t, 1, 1)})
	var collapsed []string
	for range 3 {
		near, far, err := server.test(t, &Client{UDP: true, Direction: result.Both, Duration: 3 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		near.check(t)
		far.check(t)
		if collapsed = collapses(t, &near, &far); len(collapsed) == 0 {
			return
		}
		t.Logf("once more: %v", collapsed)
		server.awaitIdle(t, 5*time.Second)
	}
	t.Error(collapsed)
}

// collapses says where the rate of a test both ways was far below its best.
func collapses(t *testing.T, near, far *seen) (all []string) {
	t.Helper()
	for _, s := range []struct {
		run *seen
		d   result.Direction
	}{{near, result.Down}, {far, result.Up}} {
		var most uint64
		var rates []uint64
		for _, i := range s.run.intervals {
			if i.Direction == s.d && i.End-i.Start > 900*time.Millisecond {
				rates = append(rates, *result.Rate(i.Local().Bytes, i.End-i.Start))
				most = max(most, rates[len(rates)-1])
			}
		}
		t.Logf("%v: %d bit/s", s.d, rates)
		for second, rate := range rates {
			if rate < most/20 && rate < 50e6 {
				all = append(all, fmt.Sprintf("%v: %d bit/s in second %d of %v", s.d, rate, second+1, rates))
			}
		}
	}
	return all
}

// TestFollowsPort: a server sends where the client's first datagram came from.
// A later one from elsewhere is not followed, unless the client says that
// nothing reaches it.
func TestFollowsPort(t *testing.T) {
	t.Parallel()
	inBubble(t, &Server{}, func(t *testing.T, b *bubble) {
		h := b.greet(t)
		h.say("00 02 01 00 dc05 0000 a0860100 00000000") // UDP download at 100 kbit/s
		h.expect("01 00 00 00")
		port := h.port()
		to := &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: int(port)}
		open := func(port uint16) net.PacketConn {
			c, err := b.client.ListenPacket(t.Context(), "udp", netip.AddrPortFrom(netip.MustParseAddr("192.0.2.7"), port).String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			return c
		}
		mapped, stray, announced := open(40000), open(40001), open(port+256)
		count := func(c net.PacketConn, within time.Duration) (n int) {
			c.SetReadDeadline(time.Now().Add(within))
			for {
				if _, _, err := c.ReadFrom(make([]byte, 2000)); err != nil {
					return n
				}
				n++
			}
		}
		mapped.WriteTo(nil, to)
		if n := count(mapped, time.Second); n == 0 {
			t.Error("nothing came to the port that a NAT had made of ours")
		}
		h.say("07 80 00 00 01 00 00 00 10 27 00 00")
		stray.WriteTo(nil, to)
		if n := count(stray, time.Second); n > 0 {
			t.Errorf("%d datagrams followed a stray one", n)
		}
		if n := count(announced, 10*time.Millisecond); n > 0 {
			t.Errorf("%d datagrams to the announced port", n)
		}
		for n := range 3 { // now the NAT has forgotten the first one
			h.say(fmt.Sprintf("07 80 00 00 %02x 00 00 00 00 00 00 00", n+2))
			time.Sleep(time.Second)
		}
		if n := count(stray, 3*time.Second); n == 0 {
			t.Error("nothing came to the second port although the first one gets nothing")
		}
		h.Close()
	})
}

// TestPortsRunOut: a server whose UDP ports are all in use refuses a test, and
// serves the next one when a port is free again; a client whose own port is
// taken says so.
func TestPortsRunOut(t *testing.T) {
	t.Parallel()
	needLoopbacks(t)
	ports := udpPorts(t, 1, 0)
	server := serve(t, "127.0.0.1", &Server{UDPPorts: ports})
	run := func() error {
		return (&Client{Target: server.addr, UDP: true, DownRate: 1e6, Duration: 300 * time.Millisecond}).Run(t.Context(), result.Discard)
	}
	h := from(t, "127.0.0.2", server.addr)
	h.say("00 02 01 00 dc05 0000 a0860100 00000000")
	h.expect("01 00 00 00")
	if err := run(); result.CodeOf(err) != result.CodeRefused {
		t.Errorf("without a free port: %v", err)
	}
	h.Close()
	server.awaitIdle(t, 5*time.Second)
	if err := run(); err != nil {
		t.Errorf("with a free port: %v", err)
	}
	c, err := new(net.ListenConfig).ListenPacket(context.Background(), "udp", fmt.Sprintf("127.0.0.1:%d", ports.First+256))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	exitCode(t, run(), 6)
	server.awaitIdle(t, 5*time.Second)
}

// TestPortTooHigh: a server's port that leaves no room for ours is an error, not
// a wrapped number.
func TestPortTooHigh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, _, l, at := duet(t, false)
		go func() {
			defer l.Close()
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			c.Write(unhex("01 00 00 00 01 00 00 00 fe ff")) // 65279: 65535 is ours
			time.Sleep(time.Second)
		}()
		c := &Client{Target: at, UDP: true, Connections: 2, Duration: time.Second, Dial: client.DialContext, ListenPacket: client.ListenPacket}
		if err := c.Run(t.Context(), result.Discard); result.CodeOf(err) != result.CodeProtocol {
			t.Errorf("%v, code %q", err, result.CodeOf(err))
		}
		time.Sleep(2 * time.Second)
	})
}
