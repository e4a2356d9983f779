package sock

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

// All packets of one sender come to one of the sockets, and each gets some.
func TestShare(t *testing.T) {
	for _, at := range []struct{ network, address, to string }{
		{"udp4", "127.0.0.1:0", "127.0.0.1"}, {"udp", ":0", "127.0.0.1"}, {"udp6", "[::1]:0", "::1"},
	} {
		c, err := net.ListenPacket(at.network, at.address)
		if err != nil {
			t.Logf("%s %s is not to be had: %v", at.network, at.address, err)
			continue
		}
		all, err := Share(t.Context(), c.(*net.UDPConn), 3)
		if err != nil {
			t.Fatal(err)
		}
		to := netip.AddrPortFrom(netip.MustParseAddr(at.to), AddrPort(c.LocalAddr()).Port())
		const senders, packets = 64, 3
		var got [3]map[netip.AddrPort]int
		var sum atomic.Int32
		done := make(chan bool)
		for i, one := range all {
			got[i] = map[netip.AddrPort]int{}
			go func() {
				b := make([]byte, 1)
				for {
					_, from, err := one.ReadFromUDPAddrPort(b)
					if err != nil {
						done <- true
						return
					}
					got[i][from]++
					sum.Add(1)
				}
			}()
		}
		for range senders {
			s, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
			if err != nil {
				t.Fatal(err)
			}
			for range packets {
				if _, err := s.Write([]byte{1}); err != nil {
					t.Fatal(err)
				}
			}
			defer s.Close() // not before: another one would get its port
		}
		for end := time.Now().Add(10 * time.Second); sum.Load() < senders*packets && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		for _, one := range all {
			one.Close()
			<-done
		}
		for i, senders := range got {
			if len(senders) == 0 {
				t.Errorf("%s: socket %d got nothing", at.network, i)
			}
			for from, n := range senders {
				if n != packets {
					t.Errorf("%s: socket %d got %d of %d packets from %v", at.network, i, n, packets, from)
				}
			}
		}
	}
}
