package btest

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/result"
)

// TestMatrix runs our client against our server in every combination. The rate
// is limited so that the machine is not the limit.
func TestMatrix(t *testing.T) {
	t.Parallel()
	const rate = 5e6
	for _, udp := range []bool{false, true} {
		for _, d := range []result.Direction{result.Up, result.Down, result.Both} {
			for _, host := range []string{"127.0.0.1", "::1"} {
				for _, login := range []string{LoginNone, LoginMD5, LoginSRP5} {
					for _, n := range []int{1, 20} {
						transport := result.TCP
						if udp {
							transport = result.UDP
						}
						t.Run(fmt.Sprintf("%s/%v/%s/%s/%d", transport, d, host, login, n), func(t *testing.T) {
							t.Parallel()
							c := &Client{UDP: udp, Direction: d, Connections: n, DownRate: rate, UpRate: rate,
								Duration: 2700 * time.Millisecond, Interval: time.Second}
							testCombination(t, host, login, c)
						})
					}
				}
			}
		}
	}
}

func testCombination(t *testing.T, host, login string, c *Client) {
	s := &Server{Interval: c.Interval}
	if c.UDP {
		s.UDPPorts = udpPorts(t, 1, c.Connections)
	}
	if login != LoginNone {
		s.Accounts, s.Auth = users(), Auth(login)
		c.Account, c.Password = "test", "secret"
	}
	server := serve(t, host, s)
	near, far, err := server.test(t, c)
	if err != nil {
		t.Fatal(err)
	}
	checkCombination(t, c, login, &near)
	checkCombination(t, c, login, &far)
	if got := near.ends[0].Reason; got != result.ReasonDone {
		t.Errorf("the client ended because %q", got)
	}
	if got := far.ends[0]; got.Reason != result.ReasonClientGone || got.Err != nil {
		t.Errorf("the server ended because %q, %v", got.Reason, got.Err)
	}
}

// TestLongPath: over a path of 120 ms there and back 40 connections join
// in time, which one after the other would not, and what they move is told.
func TestLongPath(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		link := testnet.Link{Delay: 60 * time.Millisecond, Rate: 20e6, Queue: 1 << 20}
		var n testnet.Network
		client, server := n.Host(link, link, "192.0.2.7"), n.Host(link, link, "192.0.2.1")
		l, err := server.Listen(t.Context(), "tcp", "192.0.2.1:2000")
		if err != nil {
			t.Fatal(err)
		}
		v := serveOn(t, l, &Server{ListenPacket: server.ListenPacket})
		near, far, err := v.test(t, &Client{Direction: result.Both, Connections: 40, UpRate: 1e6, DownRate: 1e6, Duration: 12 * time.Second, Random: true,
			Dial: client.DialContext, ListenPacket: client.ListenPacket})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []seen{near, far} {
			end := s.check(t)
			if up, down := len(end.Up.Streams), len(end.Down.Streams); up != 40 || down != 40 {
				t.Errorf("%s: %d streams up, %d down, want 40", end.Role, up, down)
			}
		}
		if n := near.note("fewer_connections"); n != nil {
			t.Error(n.Text)
		}
		up := near.ends[0].Up
		if up.Received == nil || up.Received.Covered < 10*time.Second || up.Received.Bytes < up.Sent.Bytes*7/10 {
			t.Errorf("the server told of %+v of %d bytes", up.Received, up.Sent.Bytes)
		}
	})
}

// checkCombination checks one end of a test.
func checkCombination(t *testing.T, c *Client, login string, s *seen) {
	t.Helper()
	end := s.check(t)
	role := end.Role
	b := s.begins[0]
	if b.Login != login || b.Streams != c.Connections || b.Direction != c.Direction || b.DownRate != c.DownRate || b.UpRate != c.UpRate {
		t.Errorf("%s: Begin %+v", role, b)
	}
	if account := b.Account; account != c.Account {
		t.Errorf("%s: account %q, want %q", role, account, c.Account)
	}
	for _, d := range result.Both.Each() {
		total := end.Local(d)
		if !c.Direction.Has(d) {
			if total != nil {
				t.Errorf("%s: %v of %d bytes, which nobody wanted", role, d, total.Bytes)
			}
			continue
		}
		if total == nil || total.Bytes == 0 {
			t.Errorf("%s: no %v", role, d)
			continue
		}
		if c.Connections > 1 && !c.UDP && len(end.Total(d).Streams) != c.Connections {
			t.Errorf("%s: %v over %d connections, want %d", role, d, len(end.Total(d).Streams), c.Connections)
		}
		if total.Lost != nil && (*total.Lost != 0 || *total.Duplicate != 0) {
			t.Errorf("%s: %v: %d lost, %d duplicates on loopback", role, d, *total.Lost, *total.Duplicate)
		}
		if far := end.Remote(d); far == nil && reportsOf(role, d, c.UDP) {
			t.Errorf("%s: %v without the figures of the far end", role, d)
		} else if far != nil && far.Bytes == 0 {
			t.Errorf("%s: %v: the far end told of nothing", role, d)
		}
	}
	checkIntervals(t, c, role, s.intervals)
}

// reportsOf tells whether the far end of role tells how much it received of d: in
// TCP only servers do.
func reportsOf(role result.Role, d result.Direction, udp bool) bool {
	return sent(role) == d && (udp || role == result.Client)
}

// checkIntervals: something moved in each interval after the first; the last
// one may be short.
func checkIntervals(t *testing.T, c *Client, role result.Role, all []result.Interval) {
	t.Helper()
	for _, i := range all {
		switch {
		case !c.Direction.Has(i.Direction):
			t.Errorf("%s: an interval of %v, which nobody wanted", role, i.Direction)
		case i.Seq > 1 && i.End-i.Start >= c.Interval/2 && i.Local().Bytes == 0:
			t.Errorf("%s: %v: nothing moved from %v to %v", role, i.Direction, i.Start, i.End)
		}
	}
	if n := len(all); n < 2*len(c.Direction.Each()) {
		t.Errorf("%s: %d intervals", role, n)
	}
}
