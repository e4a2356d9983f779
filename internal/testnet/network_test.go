package testnet

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestDialNowhere(t *testing.T) {
	bubble(t, Link{}, Link{}, func(t *testing.T, client, _ *Host) {
		start := time.Now()
		_, err := client.DialContext(t.Context(), "tcp", "203.0.113.1:2000")
		// 1 + 2 + 4 + … + 64 s: tcp(7), tcp_syn_retries is 6
		if !errors.Is(err, syscall.ETIMEDOUT) || time.Since(start) != 127*time.Second {
			t.Errorf("after %v: %v, want ETIMEDOUT after 127s", time.Since(start), err)
		}
		start = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err = client.DialContext(ctx, "tcp", "203.0.113.1:2000")
		ne, ok := errors.AsType[net.Error](err)
		if !ok || !ne.Timeout() || time.Since(start) != 3*time.Second {
			t.Errorf("after %v: %v, want a timeout after 3s", time.Since(start), err)
		}
	})
}

func TestDialErrors(t *testing.T) {
	bubble(t, Link{}, Link{}, func(t *testing.T, client, _ *Host) {
		for _, tt := range []struct{ network, addr string }{
			{"tcp", "example.com:80"}, {"tcp", "192.0.2.1"}, {"tcp", "192.0.2.1:http"}, {"tcp", ":80"},
			{"tcp6", "192.0.2.1:80"}, {"tcp4", "[2001:db8::1]:80"}, {"unix", "x:1"}, {"tcp", "192.0.2.1:65536"},
		} {
			if c, err := client.DialContext(t.Context(), tt.network, tt.addr); err == nil {
				c.Close()
				t.Errorf("dial %s %s succeeded", tt.network, tt.addr)
			}
		}
		if _, err := client.Listen(t.Context(), "udp", ":0"); err == nil {
			t.Error("Listen took udp")
		}
		if _, err := client.ListenPacket(t.Context(), "tcp", ":0"); err == nil {
			t.Error("ListenPacket took tcp")
		}
	})
}

func TestOneFamily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n Network
		v4 := n.Host(Link{}, Link{}, "192.0.2.1")
		_, err := v4.DialContext(t.Context(), "tcp", "[2001:db8::1]:80")
		wantError(t, err, syscall.ENETUNREACH)
		both := n.Host(Link{}, Link{}, "192.0.2.2", "2001:db8::2")
		four, six := listenOn(t, both, "udp4", ":9"), listenOn(t, both, "udp6", ":9")
		if _, err := both.ListenPacket(t.Context(), "udp", ":9"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("third socket on one port: %v", err)
		}
		six.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(four.(*packetConn).bind.at))
		for _, tt := range []struct {
			from net.PacketConn
			to   string
		}{{four, "192.0.2.2:9"}, {six, "[2001:db8::2]:9"}} {
			a, err := net.ResolveUDPAddr("udp", tt.to)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tt.from.WriteTo([]byte(tt.to), a); err != nil {
				t.Error(err)
			}
			p := make([]byte, 100)
			if n, from, err := tt.from.ReadFrom(p); err != nil || string(p[:n]) != tt.to || from.String() != tt.to {
				t.Errorf("read %q from %v, %v", p[:n], from, err)
			}
		}
	})
}

func listenOn(t *testing.T, h *Host, network, addr string) net.PacketConn {
	t.Helper()
	c, err := h.ListenPacket(t.Context(), network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestHostPanics(t *testing.T) {
	var n Network
	n.Host(Link{}, Link{}, "192.0.2.1")
	for _, addrs := range [][]string{{"192.0.2.1"}, {"nonsense"}, {}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Host(%q) did not panic", addrs)
				}
			}()
			n.Host(Link{}, Link{}, addrs...)
		}()
	}
	n.Host(Link{}, Link{}, "192.0.2.2") // the network is not locked after a panic
}

func TestOverrun(t *testing.T) {
	bubble(t, Link{}, Link{}, func(t *testing.T, client, server *Host) {
		in, out := listenPacket(t, server, ":9"), listenPacket(t, client, ":0")
		in.(*packetConn).SetReadBuffer(1000)
		to, err := net.ResolveUDPAddr("udp", "192.0.2.1:9")
		if err != nil {
			t.Fatal(err)
		}
		for range 12 {
			out.WriteTo(make([]byte, 100), to)
		}
		if got := server.Overrun(); got != 2 {
			t.Errorf("%d datagrams found the buffer full, want 2", got)
		}
	})
}
