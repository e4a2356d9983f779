package mesh

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
)

// A server for all addresses of its host answers nodes, and STUN, from the one
// that was asked: a node takes nothing from another one.
func TestServerOfSeveralAddresses(t *testing.T) {
	t.Run("loopback", func(t *testing.T) {
		system := &net.ListenConfig{}
		severalAddresses(t, system, system, "127.0.0.1", "127.0.0.2", "127.0.0.3")
	})
	t.Run("IPv6 behind a firewall", func(t *testing.T) {
		testnet.NeedNamespaces(t)
		server, host := testnet.NewNamespace(t), testnet.NewNamespace(t)
		testnet.Wire(t, testnet.Cable{},
			testnet.End{In: server, Name: "eth0", Addresses: []string{"2001:db8::1/64", "2001:db8::2/64", "2001:db8::3/64"}},
			testnet.End{In: host, Name: "eth0", Addresses: []string{"2001:db8::9/64"}})
		host.Masquerade(t, testnet.Masquerade{Out: "eth0"}) // lets in what was asked for
		severalAddresses(t, server, host, "2001:db8::9", "2001:db8::1", "2001:db8::2", "2001:db8::3")
	})
}

type listener interface {
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
}

// severalAddresses has nodes at an address of a host ask a server at several of its.
func severalAddresses(t *testing.T, server, host listener, from string, addresses ...string) {
	w := &world{t: t}
	defer w.end()
	var conns []net.PacketConn
	for range 2 {
		c, err := server.ListenPacket(t.Context(), "udp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	at, _ := addrPort(conns[0].LocalAddr())
	w.serveOn(&Server{}, conns)
	for i, address := range addresses {
		r := &resident{}
		r.Node = &Node{Servers: []string{net.JoinHostPort(address, fmt.Sprint(at.Port()))}, Name: fmt.Sprint("node ", i), Listen: netip.AddrPortFrom(netip.MustParseAddr(from), 0), ListenPacket: host.ListenPacket}
		w.run(r)
		waitFor(t, address+" answers", func() bool {
			st := r.Status()
			return len(st.Servers) == 1 && st.Servers[0].Up && st.Servers[0].Acked > 0
		})
		waitFor(t, address+" answers STUN", func() bool { return r.Status().NAT.Known })
		if st := r.Status().NAT; st.Mapping != "no NAT" {
			t.Errorf("%s: mapping %s, %q", address, st.Mapping, st.Remarks)
		}
	}
}

// waitFor waits until it is so.
func waitFor(t *testing.T, what string, isSo func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !isSo(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}
