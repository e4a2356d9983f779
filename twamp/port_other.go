//go:build !linux

package twamp

import (
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// A systemPort is a socket of a system on which the TTL and the traffic class
// of what comes are not asked for.
type systemPort struct {
	conn  *net.UDPConn
	local netip.AddrPort
	class uint8 // that packets are marked with at present
}

func newSystemPort(c *net.UDPConn) (port, error) {
	err4 := ipv4.NewPacketConn(c).SetTTL(testTTL)
	err6 := ipv6.NewPacketConn(c).SetHopLimit(testTTL)
	if err4 != nil && err6 != nil {
		return nil, err4
	}
	return &systemPort{conn: c, local: addrPort(c.LocalAddr())}, nil
}

func (p *systemPort) read(b []byte) (int, arrival, error) {
	n, from, err := p.conn.ReadFromUDPAddrPort(b)
	if err != nil {
		return 0, arrival{}, err
	}
	return n, arrival{From: unmap(from), To: netip.AddrPortFrom(netip.Addr{}, p.local.Port()), At: time.Now(), Stamp: User}, nil
}

func (p *systemPort) write(b []byte, to netip.AddrPort, _ netip.Addr, class uint8) error {
	if class != p.class {
		err4 := ipv4.NewPacketConn(p.conn).SetTOS(int(class))
		err6 := ipv6.NewPacketConn(p.conn).SetTrafficClass(int(class))
		if err4 != nil && err6 != nil {
			return err4
		}
		p.class = class
	}
	_, err := p.conn.WriteToUDPAddrPort(b, to)
	return err
}

func (p *systemPort) setReadDeadline(t time.Time) error { return p.conn.SetReadDeadline(t) }
func (p *systemPort) localAddr() netip.AddrPort         { return p.local }
func (p *systemPort) close() error                      { return p.conn.Close() }
