package twamp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// A Source says who took a timestamp.
type Source string

// The sources of timestamps, from the coarsest to the finest.
const (
	User     Source = "user"   // this program, around its system call
	Kernel   Source = "kernel" // the system, as the packet passed its network stack
	Hardware Source = "hw"     // the network interface
)

// testTTL is the TTL and hop limit of every test packet: RFC 5357, section
// 4.1.2.
const testTTL = 255

// An arrival is how a datagram came.
type arrival struct {
	From  netip.AddrPort
	To    netip.AddrPort // where it was sent to; the address is invalid if not known
	At    time.Time      // with a monotonic reading
	Stamp Source         // of At
	TTL   uint8          // TTL or hop limit; 0 if not known
	Class uint8          // traffic class octet: DSCP and ECN
	// Classed says that Class is known: 0 is a class too.
	Classed bool
}

// A port is the UDP socket that test packets pass. Reading and writing may go
// on at once, each from one goroutine.
type port interface {
	// read waits for a datagram; one longer than b is cut.
	read(b []byte) (int, arrival, error)
	// write sends b from one of our addresses, if it is valid, with the given
	// traffic class.
	write(b []byte, to netip.AddrPort, from netip.Addr, class uint8) error
	setReadDeadline(t time.Time) error
	localAddr() netip.AddrPort
	close() error
}

// openPort opens the UDP socket at an address. A nil listen means the system's
// network.
func openPort(ctx context.Context, listen ListenPacketFunc, at netip.AddrPort) (port, error) {
	if listen == nil {
		listen = (&net.ListenConfig{}).ListenPacket
	}
	network := "udp6"
	switch {
	case at.Addr().Is4():
		network = "udp4"
	case !at.Addr().IsValid():
		network = "udp" // both families at once
	}
	address := at.String()
	if !at.Addr().IsValid() {
		address = fmt.Sprintf(":%d", at.Port())
	}
	c, err := listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	p, err := newPort(c)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("twamp: udp socket %v: %w", c.LocalAddr(), err)
	}
	return p, nil
}

// newPort makes a port of a socket: the system's with all it can tell, another
// one, such as a test's, with the bare datagrams.
func newPort(c net.PacketConn) (port, error) {
	if u, ok := c.(*net.UDPConn); ok {
		return newSystemPort(u)
	}
	return &plainPort{conn: c, local: addrPort(c.LocalAddr())}, nil
}

// A plainPort knows of a datagram only where it came from.
type plainPort struct {
	conn  net.PacketConn
	local netip.AddrPort
}

func (p *plainPort) read(b []byte) (int, arrival, error) {
	n, from, err := p.conn.ReadFrom(b)
	if err != nil {
		return 0, arrival{}, err
	}
	return n, arrival{From: addrPort(from), To: p.local, At: time.Now(), Stamp: User}, nil
}

func (p *plainPort) write(b []byte, to netip.AddrPort, _ netip.Addr, _ uint8) error {
	_, err := p.conn.WriteTo(b, net.UDPAddrFromAddrPort(to))
	return err
}

func (p *plainPort) setReadDeadline(t time.Time) error { return p.conn.SetReadDeadline(t) }
func (p *plainPort) localAddr() netip.AddrPort         { return p.local }
func (p *plainPort) close() error                      { return p.conn.Close() }
