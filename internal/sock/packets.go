package sock

import (
	"net"
	"net/netip"
	"time"
)

// Packets is the portable form of a PacketConn over anything: one system call,
// or one call of c, for each datagram.
func Packets(c net.PacketConn) PacketConn {
	p := &plainPackets{conn: c, local: AddrPort(c.LocalAddr())}
	p.quick, _ = c.(addrPorts)
	if udp, ok := c.(*net.UDPConn); ok {
		p.system, p.front = true, newFront(udp)
	}
	return p
}

// addrPorts are the calls of a net.UDPConn that do not allocate.
type addrPorts interface {
	ReadFromUDPAddrPort(b []byte) (n int, from netip.AddrPort, err error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
}

type plainPackets struct {
	conn   net.PacketConn
	quick  addrPorts // conn, if it has these calls
	front  *front    // nil where the system has none
	system bool      // conn is a socket of the system
	slow   bool      // little passes: see ListenSlow
	local  netip.AddrPort

	scratch []byte   // the reader's: datagrams land here when the caller wants their front only
	to      net.Addr // the writer's: the last destination in the form conn wants
	toPort  netip.AddrPort
}

func (p *plainPackets) ReadBatch(ms []Message) (int, error) {
	if len(ms) == 0 {
		return 0, nil
	}
	m := &ms[0]
	if p.front != nil {
		n, from, err := p.front.read(m.Data)
		if err != nil {
			return 0, err
		}
		m.Len, m.Segment, m.From, m.At = n, 0, from, time.Time{}
		return 1, nil
	}
	// A short buffer would hide the datagram's length, and is an error on Windows.
	buf := m.Data
	if len(buf) < MaxDatagram {
		if p.scratch == nil {
			p.scratch = make([]byte, 1<<16)
		}
		buf = p.scratch
	}
	n, from, err := p.read(buf)
	if err != nil {
		return 0, err
	}
	if len(m.Data) < MaxDatagram {
		copy(m.Data, buf[:n])
	}
	m.Len, m.Segment, m.From, m.At = n, 0, from, time.Time{}
	return 1, nil
}

func (p *plainPackets) read(buf []byte) (int, netip.AddrPort, error) {
	if p.quick != nil {
		n, from, err := p.quick.ReadFromUDPAddrPort(buf)
		return n, unmap(from), err
	}
	n, from, err := p.conn.ReadFrom(buf)
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	return n, AddrPort(from), nil
}

func (p *plainPackets) WriteTrain(buf []byte, size int, to netip.AddrPort) (n int, err error) {
	for {
		end := min(size, len(buf))
		if err := p.write(buf[:end], to); err != nil {
			return n, err
		}
		n++
		if buf = buf[end:]; len(buf) == 0 || end == 0 {
			return n, nil
		}
	}
}

func (p *plainPackets) write(b []byte, to netip.AddrPort) error {
	if p.quick != nil {
		_, err := p.quick.WriteToUDPAddrPort(b, to)
		return err
	}
	if p.to == nil || p.toPort != to {
		p.to, p.toPort = net.UDPAddrFromAddrPort(to), to
	}
	_, err := p.conn.WriteTo(b, p.to)
	return err
}

func (p *plainPackets) SetReadDeadline(t time.Time) error  { return p.conn.SetReadDeadline(t) }
func (p *plainPackets) SetWriteDeadline(t time.Time) error { return p.conn.SetWriteDeadline(t) }
func (p *plainPackets) LocalAddrPort() netip.AddrPort      { return p.local }
func (p *plainPackets) Dropped() (uint64, bool)            { return 0, false }
func (p *plainPackets) Technique() string                  { return "plain" }
func (p *plainPackets) Close() error                       { return p.conn.Close() }
