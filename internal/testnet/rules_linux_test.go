package testnet

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"
)

func TestRouter(t *testing.T) {
	client, _, server := home(t)
	for _, tt := range []struct {
		name      string
		addr      string
		nat       *Masquerade
		seen      string // address that the server sees
		portStays bool
	}{
		{"IPv6 is routed", "[2001:db8:2::2]:5000", nil, "2001:db8:1::2", true},
		{"masquerade", "198.51.100.2:5000", &Masquerade{Out: "wan", Persistent: true}, "198.51.100.1", true},
		{"fully random", "198.51.100.2:5000", &Masquerade{Out: "wan", FullyRandom: true}, "198.51.100.1", false},
		{"random", "198.51.100.2:5000", &Masquerade{Out: "wan", Random: true}, "198.51.100.1", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, server := client, server
			if tt.nat != nil {
				var router *Namespace
				client, router, server = home(t)
				router.Masquerade(t, *tt.nat)
			}
			in, out := listenPacket(t, server, tt.addr), listenPacket(t, client, ":40000")
			to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(tt.addr))
			if _, err := out.WriteTo([]byte("ping"), to); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 10)
			_, from, err := in.ReadFrom(b)
			if err != nil {
				t.Fatal(err)
			}
			seen := from.(*net.UDPAddr).AddrPort()
			if seen.Addr().Unmap().String() != tt.seen || (seen.Port() == 40000) != tt.portStays {
				t.Errorf("the server sees %v, want %s with port 40000: %v", from, tt.seen, tt.portStays)
			}
			in.WriteTo([]byte("pong"), from)
			if n, _, err := out.ReadFrom(b); err != nil || string(b[:n]) != "pong" {
				t.Errorf("the answer: %q, %v", b[:n], err)
			}
		})
	}
}

// Nobody outside reaches a client that has not asked, nor the router's UDP.
func TestMasqueradeDropsUnasked(t *testing.T) {
	for _, leaky := range []bool{false, true} {
		t.Run(fmt.Sprint("leaky ", leaky), func(t *testing.T) {
			_, router, server := home(t)
			router.Masquerade(t, Masquerade{Out: "wan", Leaky: leaky})
			c, err := server.DialContext(t.Context(), "udp", "198.51.100.1:40000")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.Write([]byte("unasked"))
			wait, want := 200*ms, error(os.ErrDeadlineExceeded)
			if leaky {
				wait, want = 10*time.Second, syscall.ECONNREFUSED
			}
			c.SetReadDeadline(time.Now().Add(wait))
			_, err = c.Read(make([]byte, 1))
			wantError(t, err, want)
		})
	}
}

func TestDropCounts(t *testing.T) {
	a, b := neighbours(t, Cable{})
	in, other, out := listenPacket(t, b, ":5000"), listenPacket(t, b, ":5001"), listenPacket(t, a, ":0")
	for _, tt := range []struct {
		name    string
		match   Match
		dropped uint64 // of 12 to port 5000 and 12 to port 5001
	}{
		{"all", Match{}, 24},
		{"all of the interface", Match{In: "eth0"}, 24},
		{"none of another", Match{In: "eth1"}, 0},
		{"each fourth", Match{Protocol: "udp", Every: 4}, 6},
		{"one port", Match{Protocol: "udp", ToPort: 5000}, 12},
		{"each third of a port", Match{Protocol: "udp", ToPort: 5000, Every: 3}, 4},
		{"TCP", Match{Protocol: "tcp"}, 0},
		{"from", Match{From: netip.MustParsePrefix("192.0.2.0/31")}, 24},
		{"from another", Match{From: netip.MustParsePrefix("192.0.2.2/31")}, 0},
		{"to", Match{To: netip.MustParsePrefix("192.0.2.2/32")}, 24},
		{"to IPv6", Match{To: netip.MustParsePrefix("2001:db8::/32")}, 0},
		{"a source port", Match{Protocol: "udp", FromPort: uint16(out.LocalAddr().(*net.UDPAddr).Port)}, 24},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := b.Drop(t, tt.match)
			for range 12 {
				for _, port := range []int{5000, 5001} {
					if _, err := out.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv4(192, 0, 2, 2), Port: port}); err != nil {
						t.Fatal(err)
					}
				}
			}
			awaitDrop(t, d, tt.dropped)
			d.Remove(t)
			came := uint64(0)
			for i, c := range []net.PacketConn{in, other} {
				out.WriteTo([]byte("end"), &net.UDPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 5000 + i})
				c.SetReadDeadline(time.Now().Add(10 * time.Second))
				for b := make([]byte, 10); ; came++ {
					n, _, err := c.ReadFrom(b)
					if err != nil {
						t.Fatal(err)
					}
					if string(b[:n]) == "end" {
						break
					}
				}
			}
			if came != 24-tt.dropped {
				t.Errorf("%d came of 24, with %d dropped", came, tt.dropped)
			}
		})
	}
}

func TestDropIPv6(t *testing.T) {
	a, b := neighbours(t, Cable{})
	in, out := listenPacket(t, b, ":5000"), listenPacket(t, a, ":0")
	to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[2001:db8::2]:5000"))
	d := b.Drop(t, Match{To: netip.MustParsePrefix("2001:db8::2/128")}) // before b has been discovered
	for range 3 {
		out.WriteTo([]byte("lost"), to)
	}
	awaitDrop(t, d, 3)
	d.Remove(t)
	d.Remove(t)
	out.WriteTo([]byte("heard"), to)
	p := make([]byte, 10)
	if n, _, err := in.ReadFrom(p); err != nil || string(p[:n]) != "heard" {
		t.Errorf("read %q, %v", p[:n], err)
	}
}

// awaitDrop waits for packets that leave only when their neighbour was found.
func awaitDrop(t *testing.T, d *Drop, want uint64) {
	t.Helper()
	for range 500 {
		if d.Packets(t) == want {
			return
		}
		time.Sleep(10 * ms)
	}
	t.Fatalf("after 5 s %d packets were dropped, want %d", d.Packets(t), want)
}

// A link that fails leaves a connection without a word; when it comes back the
// stream goes on.
func TestDropStopsStreams(t *testing.T) {
	a, b := neighbours(t, Cable{})
	client, server := pair(t, place{client: a, server: b, from: "192.0.2.1", to: "192.0.2.2"})
	client.Write([]byte("before "))
	wantRead(t, server, "before ", nil)
	d := b.Drop(t, Match{Protocol: "tcp"})
	client.Write([]byte("after"))
	server.SetReadDeadline(time.Now().Add(100 * ms))
	_, err := server.Read(make([]byte, 1))
	wantTimeout(t, err)
	if d.Packets(t) == 0 {
		t.Error("nothing was dropped")
	}
	d.Remove(t)
	server.SetReadDeadline(time.Now().Add(10 * time.Second))
	wantRead(t, server, "after", nil)
}
