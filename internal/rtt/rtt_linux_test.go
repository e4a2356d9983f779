package rtt

import (
	"net"
	"net/netip"
	"testing"

	"github.com/sonde-net/sonde/internal/testnet"
)

// TestEchoesDropped: a host that drops echoes is probed by connections.
func TestEchoesDropped(t *testing.T) {
	testnet.NeedNamespaces(t)
	near, far := testnet.NewNamespace(t), testnet.NewNamespace(t)
	testnet.Wire(t, testnet.Cable{}, testnet.End{In: near, Name: "eth0", Addresses: []string{"192.0.2.1/24"}},
		testnet.End{In: far, Name: "eth0", Addresses: []string{"192.0.2.2/24"}})
	far.Drop(t, testnet.Match{Protocol: "icmp"})
	l, err := far.Listen(t.Context(), "tcp", "192.0.2.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to := l.Addr().(*net.TCPAddr).AddrPort()
	near.Do(func() {
		w, err := Begin(t.Context(), netip.Addr{}, to, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer w.Close()
		if l := w.Latency(); l.Method != MethodConnect || l.Idle == nil || l.Idle.Count == 0 {
			t.Errorf("%+v", l)
		}
		if w, err := Begin(t.Context(), netip.Addr{}, netip.AddrPortFrom(to.Addr(), 0), nil); err == nil {
			t.Errorf("without a port: %+v", w.Latency())
		}
	})
}
