package btest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/result"
)

// A house is a client behind a router, and a server outside, each with a kernel
// of its own.
type house struct {
	client, router, outside *testnet.Namespace
	server                  *live
}

const outsideAddr = "198.51.100.2"

// build makes the namespaces, or skips the test, and starts s outside.
func build(t *testing.T, s *Server) *house {
	t.Helper()
	testnet.NeedNamespaces(t)
	h := &house{testnet.NewNamespace(t), testnet.NewNamespace(t), testnet.NewNamespace(t), nil}
	testnet.Wire(t, testnet.Cable{}, testnet.End{In: h.client, Name: "eth0", Addresses: []string{"192.168.1.2/24"}},
		testnet.End{In: h.router, Name: "lan", Addresses: []string{"192.168.1.1/24"}})
	testnet.Wire(t, testnet.Cable{}, testnet.End{In: h.router, Name: "wan", Addresses: []string{"198.51.100.1/24"}},
		testnet.End{In: h.outside, Name: "eth0", Addresses: []string{outsideAddr + "/24"}})
	h.client.Route(t, "default", "192.168.1.1")
	h.router.Forward(t)
	l, err := h.outside.Listen(t.Context(), "tcp", net.JoinHostPort(outsideAddr, "2000"))
	if err != nil {
		t.Fatal(err)
	}
	s.ListenPacket = h.outside.ListenPacket
	h.server = serveOn(t, l, s)
	return h
}

// inside makes c a client inside the house.
func (h *house) inside(c *Client) *Client {
	c.Target, c.Dial, c.ListenPacket = h.server.addr, h.client.DialContext, h.client.ListenPacket
	return c
}

// route lets the outside reach the house without a NAT.
func (h *house) route(t *testing.T) { h.outside.Route(t, "192.168.1.0/24", "198.51.100.1") }

// TestNATRewritesPorts: behind a NAT that gives the client's datagrams another
// port the server's arrive all the same, in every direction.
func TestNATRewritesPorts(t *testing.T) {
	t.Parallel()
	for _, d := range []result.Direction{result.Down, result.Both, result.Up} {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			h := build(t, &Server{})
			h.router.Masquerade(t, testnet.Masquerade{Out: "wan", FullyRandom: true})
			for n := 1; ; n++ { // a sender that is held up leaves out what was due
				near, far, err := h.server.test(t, h.inside(&Client{UDP: true, Direction: d, Duration: 3 * time.Second, UpRate: 2e6, DownRate: 2e6}))
				if err != nil {
					t.Fatal(err)
				}
				checkSeconds(t, near.intervals)
				checkSeconds(t, far.intervals)
				end := near.check(t)
				far.check(t)
				if !d.Has(result.Down) || *end.Local(result.Down).WireBytes >= 2e6/8*2 {
					return
				}
				for _, i := range slices.Concat(near.intervals, far.intervals) {
					if i.Direction == result.Down {
						t.Logf("%v, %v to %v: %d bytes", i.Role, i.Start, i.End, i.Local().Bytes)
					}
				}
				if n == 4 {
					t.Fatal("not once two thirds of 2 Mbit/s came")
				}
				t.Log("once more: little came")
			}
		})
	}
}

// TestNATBlocksUDP: where no datagram of the server comes in, the client says
// three seconds into the test what to open; a download alone ends soon.
func TestNATBlocksUDP(t *testing.T) {
	t.Parallel()
	for _, d := range []result.Direction{result.Down, result.Both} {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			h := build(t, &Server{})
			h.route(t)
			h.client.Drop(t, testnet.Match{Protocol: "udp"})
			tooBusy := watchCPU()
			defer tooBusy()
			var told time.Duration // since the test was agreed
			var near events
			var begun time.Time
			sink := result.Tee(&near, result.Func(func(e result.Event) {
				switch e := e.(type) {
				case result.Begin:
					begun = e.Time
				case result.Note:
					if e.Code == "no_datagrams" {
						told = e.Time.Sub(begun)
					}
				}
			}))
			c := h.inside(&Client{UDP: true, Direction: d, Duration: 5 * time.Second, UpRate: 1e6, DownRate: 1e6})
			err := c.Run(t.Context(), sink)
			if told == 0 || told > 4500*time.Millisecond && !tooBusy() {
				t.Errorf("told after %v", told)
			}
			run := near.of()[0]
			end := run.ends[0]
			if d == result.Down {
				exitCode(t, err, 7)
				if end.Down != nil {
					t.Errorf("download %+v", end.Down)
				}
				return
			}
			exitCode(t, err, 0)
			run.check(t)
			if end.Up.Sent.Bytes == 0 || end.Up.Received == nil || end.Up.Received.Bytes == 0 || end.Down.Received.Bytes != 0 {
				t.Errorf("upload %+v, download %+v", end.Up, end.Down)
			}
		})
	}
}

// TestVanishKernel: packets vanish on the wire, with nobody to acknowledge
// them. At a low rate the kernel could take what is sent for hours.
func TestVanishKernel(t *testing.T) {
	t.Parallel()
	for _, udp := range []bool{false, true} {
		for _, d := range []result.Direction{result.Up, result.Down, result.Both} {
			t.Run(fmt.Sprintf("udp=%v/%v", udp, d), func(t *testing.T) {
				t.Parallel()
				h := build(t, &Server{})
				h.route(t)
				c := h.inside(&Client{UDP: udp, Direction: d, UpRate: 256e3, DownRate: 256e3})
				var near events
				ended := make(chan error, 1)
				go func() { ended <- c.Run(context.Background(), &near) }()
				awaitIntervals(t, &near, 2)
				awaitIntervals(t, h.server.events, 2)
				for _, ns := range []*testnet.Namespace{h.client, h.router} {
					ns.Drop(t, testnet.Match{})
				}
				gone := time.Now()
				err := <-ended
				clientTook := time.Since(gone)
				far := h.server.events.await(t, 1)
				serverTook := time.Since(gone)
				t.Logf("noticed after %v (client), %v (server)", clientTook, serverTook)
				if clientTook > 10*time.Second || serverTook > 10*time.Second {
					t.Error("too late")
				}
				exitCode(t, err, 7)
				run := near.of()[0]
				if end := run.check(t); end.Reason != result.ReasonPeerSilent {
					t.Errorf("the client ended because %q", end.Reason)
				}
				if end := far.check(t); end.Reason != result.ReasonPeerSilent {
					t.Errorf("the server ended because %q, %v", end.Reason, end.Err)
				}
			})
		}
	}
}
