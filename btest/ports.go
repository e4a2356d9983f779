package btest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"syscall"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/sock"
)

// A PortRange is the UDP ports that a server announces. The zero PortRange is
// 2001 to 2100, which RouterOS's firewall documentation names.
type PortRange struct{ First, Last uint16 }

// Validate checks that the range is one and leaves room for the clients' ports.
func (r PortRange) Validate() error {
	if r == (PortRange{}) {
		return nil
	}
	if r.First == 0 || r.First > r.Last || r.Last > wire.MaxUDPPort {
		return fmt.Errorf("UDP ports %d-%d: want FIRST-LAST between 1 and %d, because a client uses its server's port plus %d",
			r.First, r.Last, wire.MaxUDPPort, wire.ClientPort)
	}
	return nil
}

// A portPool hands out the UDP ports of a server, each to one test at a time.
// Ports go round, so that late datagrams of one test do not meet the next.
type portPool struct {
	listen listenFunc

	mu    sync.Mutex // guards what follows
	ports PortRange
	next  uint16
	taken map[uint16]bool
}

// A listenFunc opens a UDP socket for a test.
type listenFunc func(ctx context.Context, t *test, at netip.AddrPort) (sock.PacketConn, error)

func newPortPool(r PortRange, listen listenFunc) *portPool {
	if r == (PortRange{}) {
		r = PortRange{wire.FirstUDP, wire.LastUDP}
	}
	return &portPool{listen: listen, ports: r, next: r.First, taken: map[uint16]bool{}}
}

// open binds a free port of the pool on addr. Ports that another program holds
// are skipped. The returned function closes the socket and frees the port.
func (p *portPool) open(ctx context.Context, addr netip.Addr, t *test) (sock.PacketConn, func(), error) {
	for range int(p.ports.Last-p.ports.First) + 1 {
		port, ok := p.take()
		if !ok {
			break
		}
		conn, err := p.listen(ctx, t, netip.AddrPortFrom(addr, port))
		if err == nil {
			return conn, sync.OnceFunc(func() { conn.Close(); p.free(port) }), nil
		}
		p.free(port)
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, nil, fmt.Errorf("UDP port %d: %w", port, err)
		}
	}
	return nil, nil, &admit.RefusedError{Word: admit.TooManyConnections,
		Text: fmt.Sprintf("all UDP ports %d-%d are in use", p.ports.First, p.ports.Last)}
}

func (p *portPool) take() (uint16, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range int(p.ports.Last-p.ports.First) + 1 {
		port := p.next
		if p.next++; p.next > p.ports.Last || p.next == 0 {
			p.next = p.ports.First
		}
		if !p.taken[port] {
			p.taken[port] = true
			return port, true
		}
	}
	return 0, false
}

func (p *portPool) free(port uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.taken, port)
}
