package btest

import (
	"context"
	"net/netip"
	"syscall"
	"testing"

	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
)

// openPort is a socket that only knows its port.
type openPort struct {
	sock.PacketConn
	at netip.AddrPort
}

func (o openPort) Close() error { return nil }

func TestPortPool(t *testing.T) {
	busy := map[uint16]bool{2002: true}
	p := newPortPool(PortRange{2001, 2004}, func(_ context.Context, _ *test, at netip.AddrPort) (sock.PacketConn, error) {
		if busy[at.Port()] {
			return nil, syscall.EADDRINUSE
		}
		return openPort{at: at}, nil
	})
	addr := netip.MustParseAddr("192.0.2.1")
	open := func() (uint16, func()) {
		c, free, err := p.open(t.Context(), addr, &test{})
		if err != nil {
			t.Fatal(err)
		}
		return c.(openPort).at.Port(), free
	}
	var ports []uint16
	var frees []func()
	for range 3 {
		port, free := open()
		ports, frees = append(ports, port), append(frees, free)
	}
	if ports[0] != 2001 || ports[1] != 2003 || ports[2] != 2004 {
		t.Errorf("ports %v, want 2001, 2003, 2004", ports)
	}
	_, _, err := p.open(t.Context(), addr, &test{})
	if result.CodeOf(err) != "too_many_connections" || result.ExitCode(err) != 5 {
		t.Errorf("an empty pool gave %v", err)
	}
	frees[1]()
	frees[1]() // again: nothing more is freed
	if port, _ := open(); port != 2003 {
		t.Errorf("after 2003 was freed the pool gave %d", port)
	}
}

func TestPortRange(t *testing.T) {
	for _, tt := range []struct {
		ports PortRange
		ok    bool
	}{
		{PortRange{}, true}, {PortRange{2001, 2100}, true}, {PortRange{65279, 65279}, true},
		{PortRange{0, 5}, false}, {PortRange{5, 4}, false}, {PortRange{65000, 65280}, false},
	} {
		if err := tt.ports.Validate(); (err == nil) != tt.ok {
			t.Errorf("%v: %v", tt.ports, err)
		}
	}
}
