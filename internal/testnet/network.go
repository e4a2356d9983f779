package testnet

import (
	"cmp"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
)

// A Network is a network in memory. All its hosts reach each other. The zero
// Network is ready to use; one that is used in a synctest bubble must be made and
// used there only.
type Network struct {
	mu    sync.RWMutex // guards what follows
	nodes map[netip.Addr]node
	lines uint64
}

// A node is who has an address: a Host, or a box on the way to others.
type node interface{ receive(packet) }

// A packet is an IP packet: a UDP datagram, a segment of TCP, or the ICMP
// message that nobody listens at the port a datagram was sent to.
type packet struct {
	from, to netip.AddrPort
	payload  []byte   // of UDP
	segment  *segment // of TCP; nil for UDP
	refused  bool     // ICMP port unreachable; from is who refuses
}

// The lengths of headers, bytes.
const (
	ip4Header  = 20
	ip6Header  = 40
	udpHeader  = 8
	tcpHeader  = 20
	icmpLength = 8 + ip4Header + udpHeader
)

func (p *packet) size() int {
	size := headerOf(p.to.Addr())
	switch {
	case p.refused:
		return size + icmpLength
	case p.segment != nil:
		return size + tcpHeader + len(p.segment.data)
	}
	return size + udpHeader + len(p.payload)
}

func headerOf(a netip.Addr) int {
	if a.Is4() {
		return ip4Header
	}
	return ip6Header
}

// A Host is a machine on a Network. What it sends passes Up, what comes to it
// passes Down, so a packet between two hosts passes two links. What it sends to
// itself passes none.
type Host struct {
	Up, Down *Line

	net     *Network
	addrs   []netip.Addr
	overrun atomic.Uint64

	mu        sync.Mutex // guards what follows
	sockets   ports[*packetConn]
	listeners ports[*listener]
	conns     map[flow]*conn
	nextPort  uint16
}

// A flow names a TCP connection, seen from the host that has it.
type flow struct{ local, remote netip.AddrPort }

// Host adds a host with these addresses, at least one; the first of a family is
// the one it sends from. It panics if an address is none or is taken.
func (n *Network) Host(up, down Link, addrs ...string) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := &Host{
		Up:        newLine(up, n.lines),
		Down:      newLine(down, n.lines+1),
		net:       n,
		sockets:   ports[*packetConn]{},
		listeners: ports[*listener]{},
		conns:     map[flow]*conn{},
	}
	n.lines += 2
	if n.nodes == nil {
		n.nodes = map[netip.Addr]node{}
	}
	for _, s := range addrs {
		a := netip.MustParseAddr(s).Unmap()
		if n.nodes[a] != nil {
			panic(fmt.Sprintf("testnet: the address %v is taken", a))
		}
		n.nodes[a] = h
		h.addrs = append(h.addrs, a)
	}
	if len(addrs) == 0 {
		panic("testnet: a host needs an address")
	}
	return h
}

// Unplug lets all that the host sends and is sent vanish from now on.
func (h *Host) Unplug() {
	h.Up.Unplug()
	h.Down.Unplug()
}

// Plug ends Unplug.
func (h *Host) Plug() {
	h.Up.Plug()
	h.Down.Plug()
}

// Overrun returns how many datagrams arrived and found the receive buffer of
// their socket full.
func (h *Host) Overrun() uint64 { return h.overrun.Load() }

// send puts a packet on the way.
func (h *Host) send(p packet) fate {
	if h.owns(p.to.Addr()) {
		h.accept(p)
		return fate{}
	}
	c := routed
	if p.segment == nil && !p.refused {
		c = waits
	}
	return h.Up.offer(p.size(), c, func() { h.net.route(p) })
}

func (n *Network) route(p packet) {
	n.mu.RLock()
	to := n.nodes[p.to.Addr()]
	n.mu.RUnlock()
	if to != nil {
		to.receive(p)
	}
}

// receive takes a packet from the network.
func (h *Host) receive(p packet) {
	h.Down.offer(p.size(), routed, func() { h.accept(p) })
}

// accept hands a packet that has arrived to its socket.
func (h *Host) accept(p packet) {
	switch {
	case p.segment != nil:
		h.acceptSegment(p)
	case p.refused:
		if c := h.socketFor(p); c != nil {
			c.refuse()
		}
	default:
		h.acceptDatagram(p)
	}
}

func (h *Host) owns(a netip.Addr) bool {
	for _, own := range h.addrs {
		if own == a {
			return true
		}
	}
	return false
}

// source returns the address from which the host sends to a.
func (h *Host) source(to netip.Addr) (netip.Addr, error) {
	for _, own := range h.addrs {
		if own.Is4() == to.Is4() {
			return own, nil
		}
	}
	return netip.Addr{}, syscall.ENETUNREACH
}

// mtu is that of the host's interface, as its TCP announces it.
func (h *Host) mtu() int { return mtuOf(h.Up, h.Down) }

// mtuOf is the smallest MTU of the lines, or that of Ethernet if they have none.
func mtuOf(lines ...*Line) int {
	mtu := 0
	for _, l := range lines {
		if own := l.current().MTU; own > 0 && (mtu == 0 || own < mtu) {
			mtu = own
		}
	}
	return cmp.Or(mtu, 1500)
}
