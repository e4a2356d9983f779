package btest

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/result"
)

// A vanishing is a way in which one end of a test goes. What is seen to go is noticed
// long before the 7 s of silence that would tell, too.
type vanishing struct {
	name   string
	happen func(*testnet.Relay)
	reason string        // that the client sees; a server sees its client go, or silence
	within time.Duration // until both ends have noticed
}

var vanishings = []vanishing{
	{"rst", (*testnet.Relay).Reset, result.ReasonServerGone, 5 * time.Second},
	{"fin", (*testnet.Relay).Finish, result.ReasonServerGone, 5 * time.Second},
	{"silence", (*testnet.Relay).Unplug, result.ReasonPeerSilent, 10 * time.Second},
}

// TestVanish lets the path between a client and a server break in mid-test: both
// ends end in time, with their totals and the right error.
func TestVanish(t *testing.T) {
	t.Parallel()
	needLoopbacks(t)
	for _, v := range vanishings {
		for _, udp := range []bool{false, true} {
			for _, d := range []result.Direction{result.Up, result.Down, result.Both} {
				for _, n := range []int{1, 3} {
					if udp && n > 1 {
						continue
					}
					t.Run(fmt.Sprintf("%s/udp=%v/%v/%d", v.name, udp, d, n), func(t *testing.T) {
						t.Parallel()
						c := &Client{UDP: udp, Direction: d, Connections: n, UpRate: 4e6, DownRate: 4e6, Interval: 250 * time.Millisecond}
						if v.reason == result.ReasonPeerSilent && !udp && d == result.Down {
							c.DownRate = 200e6 // fills the buffers on the way to the relay, which acknowledges, soon
						}
						testVanish(t, v, c)
					})
				}
			}
		}
	}
}

// across puts a relay between clients and v: it has addresses of its own, since
// the ports must be the same on both sides. Its line has a rate, so that it holds
// back little: what it acknowledges hides from a sender that nobody reads.
func across(t testing.TB, v *live, host int) *testnet.Relay {
	t.Helper()
	line := testnet.Link{Rate: 1e9}
	r := testnet.NewRelay(t, line, line, testnet.Route{Target: v.addr,
		Listen: fmt.Sprintf("127.0.%d.1:0", host), Source: fmt.Sprintf("127.0.%d.2", host)})
	if ports := v.UDPPorts; ports != (PortRange{}) {
		for port := ports.First; port <= ports.Last; port++ {
			if err := r.ForwardUDP(port, port+256); err != nil {
				t.Fatal(err)
			}
		}
	}
	return r
}

func testVanish(t *testing.T, v vanishing, c *Client) {
	s := &Server{Interval: 250 * time.Millisecond}
	if c.UDP {
		s.UDPPorts = udpPorts(t, 1, 1)
	}
	server := serve(t, "127.0.9.9", s)
	relay := across(t, server, 10)
	c.Target = relay.Addr()
	var near events
	ended := make(chan error, 1)
	go func() { ended <- c.Run(context.Background(), &near) }()
	awaitIntervals(t, &near, 4)
	awaitIntervals(t, server.events, 1)
	v.happen(relay)
	gone := time.Now()
	var err error
	select {
	case err = <-ended:
	case <-time.After(v.within):
		t.Fatalf("the client has not noticed after %v", v.within)
	}
	clientTook := time.Since(gone)
	far := server.events.await(t, 1)
	serverTook := time.Since(gone)
	if serverTook > v.within {
		t.Errorf("the server noticed after %v", serverTook)
	}
	t.Logf("noticed after %v (client), %v (server)", clientTook, serverTook)
	exitCode(t, err, 7)
	run := near.of()[0]
	end := run.check(t)
	if end.Reason != v.reason {
		t.Errorf("the client ended because %q, want %q", end.Reason, v.reason)
	}
	served := far.check(t)
	if want := result.ReasonClientGone; v.reason == result.ReasonServerGone && (served.Reason != want || served.Err != nil) {
		t.Errorf("the server ended because %q, %v, want %q", served.Reason, served.Err, want)
	}
	// A relay acknowledges what it holds back: a server that only sends may first
	// see the client give up.
	silent := v.reason == result.ReasonPeerSilent && (served.Reason != result.ReasonClientGone || c.Direction != result.Down)
	if silent && (served.Reason != v.reason || result.CodeOf(served.Err) != result.CodePeerLost) {
		t.Errorf("the server ended because %q, %v, want %q", served.Reason, served.Err, v.reason)
	}
	for _, way := range c.Direction.Each() {
		for _, e := range []result.End{end, served} {
			if total := e.Local(way); total == nil || total.Bytes == 0 {
				t.Errorf("%s: no %v in the summary", e.Role, way)
			}
		}
	}
}

// awaitIntervals waits until the first run has put so many moments' intervals,
// with something in each direction.
func awaitIntervals(t *testing.T, e *events, n int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		all := e.of()
		if len(all) == 0 {
			continue
		}
		moved := map[result.Direction]uint64{}
		last := 0
		for _, i := range all[0].intervals {
			moved[i.Direction] += i.Local().Bytes
			last = i.Seq
		}
		if last >= n && !slices.Contains(slices.Collect(maps.Values(moved)), 0) {
			return
		}
	}
	t.Fatal("the test has not begun")
}

// TestVanishStopsUDP: when the control connection goes, no datagram follows
// within moments, at whatever rate the server was sending.
func TestVanishStopsUDP(t *testing.T) {
	t.Parallel()
	needLoopbacks(t)
	for _, how := range []string{"rst", "fin"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			server := serve(t, "127.0.9.9", &Server{UDPPorts: udpPorts(t, 1, 1)})
			h := greet(t, server.addr)
			h.say("00 02 01 00 dc05 0000 00e1f505 00000000") // UDP download at 100 Mbit/s
			h.expect("01 00 00 00")
			port := netip.AddrPortFrom(localAddr(h.RemoteAddr()).Addr(), h.port())
			data := h.socket(port.Port() + 256)
			b := make([]byte, 2000)
			for range 200 {
				if _, _, err := data.ReadFrom(b); err != nil {
					t.Fatal(err)
				}
			}
			if how == "rst" {
				testnet.Reset(h.Conn)
			} else {
				h.Close()
			}
			closed := time.Now()
			var last time.Time
			for last.Sub(closed) < 5*time.Second {
				data.SetReadDeadline(time.Now().Add(time.Second))
				if _, _, err := data.ReadFrom(b); err != nil {
					break
				}
				last = time.Now()
			}
			// What lay in our own buffer takes a moment to read, too. A server that goes on
			// does so until silence ends the test.
			if took := last.Sub(closed); took > 3*time.Second {
				t.Errorf("datagrams came until %v after the %s", took, how)
			}
			server.awaitIdle(t, 3*time.Second)
		})
	}
}

// TestVanishJoined: a joined connection that goes ends by itself; the test goes
// on with those left, and ends with the last or with the first one.
func TestVanishJoined(t *testing.T) {
	t.Parallel()
	server := serve(t, "127.0.0.1", &Server{Interval: 200 * time.Millisecond})
	first := greet(t, server.addr)
	first.say("01 03 01 05 0080 0000 80841e00 80841e00") // TCP both, 5 connections, 2 Mbit/s
	token := first.token()
	var joined []*hand
	for range 4 {
		joined = append(joined, join(t, server.addr, token))
	}
	all := append([]*hand{first}, joined...)
	for _, h := range all {
		go h.pump()
	}
	time.Sleep(300 * time.Millisecond)
	for _, h := range joined[:3] { // both halves of a lane notice: it ends once
		testnet.Reset(h.Conn)
	}
	time.Sleep(700 * time.Millisecond)
	if n := len(server.Sessions()); n != 1 {
		t.Fatalf("%d sessions after three of five connections were reset", n)
	}
	first.Close()
	run := server.events.await(t, 1)
	end := run.check(t)
	if end.Elapsed < 900*time.Millisecond || end.Reason != result.ReasonClientGone {
		t.Errorf("ended after %v because %q", end.Elapsed, end.Reason)
	}
	if n := len(end.Down.Streams); n != 5 {
		t.Errorf("%d streams in the summary, want 5", n)
	}
	joined[3].expectClose()
}

// TestVanishInHandshake: a server that goes before the data gives an error that
// says so.
func TestVanishInHandshake(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, says string
		code       string
	}{
		{"at once", "", result.CodeRefused},
		{"in the hello", "01 00", result.CodeRefused},
		{"after the hello", "01 00 00 00", result.CodeRefused},
		{"not btest", "53 53 48 2d 32 2e 30", result.CodeProtocol},
		{"refusal", "01 00 00 00 00 00 00 00", result.CodeRefused},
		{"no verdict", "01 00 00 00 09 00 00 00", result.CodeProtocol},
		{"before the port", "01 00 00 00 01 00 00 00", result.CodeProtocol},
		{"bad port", "01 00 00 00 01 00 00 00 ff ff", result.CodeProtocol},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Write(unhex(tt.says))
				c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
				c.Read(make([]byte, 16))
				c.Close()
			}()
			var got events
			err = (&Client{Target: l.Addr().String(), UDP: true, Duration: time.Second}).Run(t.Context(), &got)
			if code := result.CodeOf(err); code != tt.code {
				t.Errorf("%v: code %q, want %q", err, code, tt.code)
			}
			run := got.of()[0]
			if len(run.ends) != 1 || run.ends[0].Err == nil || run.ends[0].Reason != result.ReasonFailed {
				t.Errorf("ends %+v", run.ends)
			}
		})
	}
}
