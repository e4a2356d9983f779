package twamp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
)

// A Source says who took a timestamp.
type Source string

// The sources of timestamps, from the coarsest to the finest.
const (
	User     Source = "user"   // this program, around its system call
	Kernel   Source = "kernel" // the system, as the packet passed its network stack
	Hardware Source = "hw"     // the network interface
)

// testTTL is the TTL and hop limit of every test packet, unless the user wants
// another one: RFC 5357, section 4.1.2.
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

	steady bool // the clock was not set while it waited for us, as far as we know
}

// A datagram is one that came, or several of one size from one sender that came
// joined.
type datagram struct {
	arrival
	room    []byte // to read into
	n       int    // octets that came; what had no room is gone
	segment int    // size of each of several but the last; 0 when this is one
}

// octets are what came.
func (d *datagram) octets() []byte { return d.room[:min(d.n, len(d.room))] }

// A parcel is a datagram to send, or several of one size to one address.
type parcel struct {
	b       []byte
	segment int // size of each of several but the last; 0 when this is one
	to      netip.AddrPort
	from    netip.Addr // one of our addresses; invalid leaves it to the system
	class   uint8
	stamp   bool   // tell when it left
	ready   func() // called as late as can be before it leaves, to write the time into it; may be nil
}

// A port is the UDP socket that test packets pass. Reading and writing may go
// on at once, each from one goroutine.
type port interface {
	// read waits for datagrams, fills ds from the front and returns how many came.
	// It may be 0 when only stamps came.
	read(ds []datagram) (int, error)
	// write sends ps in order and returns how many were sent; the error is of the
	// next one.
	write(ps []parcel) (int, error)
	// stamps has read call f when a parcel that was to be stamped left: n counts
	// those, from 0, and at is on the wall clock. False if that cannot be told.
	stamps(f func(n uint32, at time.Time)) bool
	// recount lets n start again, after a write failed.
	recount() error
	// overruns is how often our own buffer had no room for what came; false if
	// that cannot be told.
	overruns() (uint64, bool)
	// setTTL sets the TTL or hop limit of what is sent, which is testTTL before.
	setTTL(ttl uint8) error
	setReadDeadline(t time.Time) error
	localAddr() netip.AddrPort
	close() error
}

// openPort opens the UDP socket at an address. A nil listen means the system's
// network. With join, datagrams may come joined.
func openPort(ctx context.Context, listen ListenPacketFunc, at netip.AddrPort, join bool) (port, error) {
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
	p, err := newPort(c, join)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("twamp: udp socket %v: %w", c.LocalAddr(), err)
	}
	return p, nil
}

// newPort makes a port of a socket: the system's with all it can tell, another
// one, such as a test's, with the bare datagrams. With join, datagrams may come
// joined.
func newPort(c net.PacketConn, join bool) (port, error) {
	if u, ok := c.(*net.UDPConn); ok {
		return newSystemPort(u, join)
	}
	return &plainPort{conn: c, local: sock.AddrPort(c.LocalAddr())}, nil
}

// isSystem reports whether p is a socket of the system: then time is real.
func isSystem(p port) bool {
	_, plain := p.(*plainPort)
	return !plain
}

// eachSegment calls send for each datagram of each parcel, and returns how many
// parcels were sent.
func eachSegment(ps []parcel, send func(b []byte, p *parcel) error) (int, error) {
	for i := range ps {
		for b := ps[i].b; ; {
			size := len(b)
			if ps[i].segment > 0 {
				size = min(size, ps[i].segment)
			}
			if ps[i].ready != nil {
				ps[i].ready()
			}
			if err := send(b[:size], &ps[i]); err != nil {
				return i, err
			}
			if b = b[size:]; len(b) == 0 {
				break
			}
		}
	}
	return len(ps), nil
}

// A plainPort knows of a datagram only where it came from.
type plainPort struct {
	conn  net.PacketConn
	local netip.AddrPort
}

func (p *plainPort) read(ds []datagram) (int, error) {
	d := &ds[0]
	n, from, err := p.conn.ReadFrom(d.room)
	if err != nil {
		return 0, err
	}
	d.n, d.segment = n, 0
	d.arrival = arrival{From: sock.AddrPort(from), To: p.local, At: time.Now(), Stamp: User}
	return 1, nil
}

func (p *plainPort) write(ps []parcel) (int, error) {
	return eachSegment(ps, func(b []byte, one *parcel) error {
		_, err := p.conn.WriteTo(b, net.UDPAddrFromAddrPort(one.to))
		return err
	})
}

func (p *plainPort) stamps(func(uint32, time.Time)) bool { return false }
func (p *plainPort) recount() error                      { return nil }
func (p *plainPort) overruns() (uint64, bool)            { return 0, false }
func (p *plainPort) setTTL(uint8) error                  { return nil } // a network in memory has no hops
func (p *plainPort) setReadDeadline(t time.Time) error   { return p.conn.SetReadDeadline(t) }
func (p *plainPort) localAddr() netip.AddrPort           { return p.local }
func (p *plainPort) close() error                        { return p.conn.Close() }
