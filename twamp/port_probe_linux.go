package twamp

import (
	"net"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
)

// A probePort is a socket out of the runtime's poller, which moves many
// datagrams in one call and tells when each came and left.
type probePort struct {
	socket *sock.ProbeSocket
	local  netip.AddrPort
	watch  stepWatch
	left   func(n uint32, at time.Time)
	in     []sock.Arrival
	gone   [64]sock.Departed
	out    []sock.Departure
}

// newProbePort returns nil, without an error, when too many sockets are out of
// the poller already.
func newProbePort(c *net.UDPConn, join bool) (port, error) {
	s, err := sock.Probes(c, join)
	if s == nil || err != nil {
		return nil, err
	}
	return &probePort{socket: s, local: s.LocalAddrPort()}, nil
}

func (p *probePort) read(ds []datagram) (int, error) {
	for len(p.in) < len(ds) {
		p.in = append(p.in, sock.Arrival{})
	}
	in := p.in[:len(ds)]
	for i := range ds {
		in[i].Data = ds[i].room
	}
	n, left, err := p.socket.Read(in, p.gone[:])
	if err != nil {
		return 0, err
	}
	now := readClock()
	steady := !p.watch.set(now)
	for _, g := range p.gone[:left] {
		if p.left != nil {
			p.left(g.N, g.At)
		}
	}
	for i := range n {
		ds[i].arrived(&in[i], p.local.Port(), now, steady)
	}
	return n, nil
}

func (p *probePort) write(ps []parcel) (int, error) {
	p.out = p.out[:0]
	for i := range ps {
		one := &ps[i]
		p.out = append(p.out, sock.Departure{
			Data: one.b, Segment: one.segment, To: one.to, From: one.from, Class: one.class, Stamp: one.stamp, Ready: one.ready,
		})
	}
	return p.socket.Write(p.out)
}

func (p *probePort) stamps(f func(n uint32, at time.Time)) bool {
	p.left = f
	return p.socket.Stamps() == sock.AllStamps
}

func (p *probePort) recount() error                    { return p.socket.Recount() }
func (p *probePort) overruns() (uint64, bool)          { return p.socket.Dropped() }
func (p *probePort) setTTL(ttl uint8) error            { return p.socket.SetTTL(ttl) }
func (p *probePort) setReadDeadline(t time.Time) error { return p.socket.SetReadDeadline(t) }
func (p *probePort) localAddr() netip.AddrPort         { return p.local }
func (p *probePort) close() error                      { return p.socket.Close() }
