package sock

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
)

// A socket for all addresses answers each datagram from the address it came to:
// a connected socket takes no answer from another one.
func TestAnswering(t *testing.T) {
	home := []string{"127.0.0.2", "127.0.0.3", "127.0.0.1"}
	t.Run("IPv4", func(t *testing.T) { answers(t, &net.ListenConfig{}, &net.Dialer{}, "udp4", home) })
	t.Run("both families", func(t *testing.T) { answers(t, &net.ListenConfig{}, &net.Dialer{}, "udp", append(home, "::1")) })
	t.Run("IPv6", func(t *testing.T) {
		testnet.NeedNamespaces(t)
		server, client := testnet.NewNamespace(t), testnet.NewNamespace(t)
		many := []string{"2001:db8::1", "2001:db8::2", "2001:db8::3"}
		end := testnet.End{In: server, Name: "eth0", Addresses: []string{"192.0.2.1/24", "192.0.2.2/24"}}
		for _, a := range many {
			end.Addresses = append(end.Addresses, a+"/64")
		}
		testnet.Wire(t, testnet.Cable{}, end, testnet.End{In: client, Name: "eth0", Addresses: []string{"192.0.2.9/24", "2001:db8::9/64"}})
		answers(t, server, client, "udp6", many)
		answers(t, server, client, "udp", append(many, "192.0.2.1", "192.0.2.2"))
	})
}

func answers(t *testing.T, server interface {
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
}, client interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}, network string, addresses []string) {
	c, err := server.ListenPacket(t.Context(), network, ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	own := AddrPort(c.LocalAddr()).Port()
	a := Answering(c)
	go func() {
		b := make([]byte, 64)
		for {
			n, from, to, err := a.ReadFromTo(b)
			if err != nil {
				return
			}
			if err := a.WriteToFrom(append(b[:n], to.String()...), from, to); err != nil {
				t.Errorf("answer %v from %v: %v", from, to, err)
			}
		}
	}()
	for _, asked := range addresses {
		c, err := client.DialContext(t.Context(), "udp", netip.AddrPortFrom(netip.MustParseAddr(asked), own).String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("asked ")); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 64)
		n, err := c.Read(b)
		if got := string(b[:n]); err != nil || got != "asked "+asked {
			t.Errorf("%s, asked at %s: %q, %v", network, asked, got, err)
		}
	}
}

// A socket at one address has no choice, and asks the system for nothing.
func TestAnsweringAtOneAddress(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	a := Answering(c)
	if err := a.WriteToFrom([]byte("x"), AddrPort(c.LocalAddr()), netip.MustParseAddr("127.0.0.2")); err != nil {
		t.Fatal(err)
	}
	n, from, to, err := a.ReadFromTo(make([]byte, 8))
	if err != nil || n != 1 || from != AddrPort(c.LocalAddr()) || to.IsValid() {
		t.Errorf("%d bytes from %v to %v, %v", n, from, to, err)
	}
}
