//go:build !linux

package twamp

import (
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/sonde-net/sonde/internal/sock"
)

// A systemPort is a socket of a system on which the TTL and the traffic class
// of what comes are not asked for.
type systemPort struct {
	conn  *net.UDPConn
	local netip.AddrPort
	class uint8 // that packets are marked with at present
}

func newSystemPort(c *net.UDPConn, _ bool) (port, error) {
	p := &systemPort{conn: c, local: sock.AddrPort(c.LocalAddr())}
	return p, p.setTTL(testTTL)
}

func (p *systemPort) setTTL(ttl uint8) error {
	err4 := ipv4.NewPacketConn(p.conn).SetTTL(int(ttl))
	err6 := ipv6.NewPacketConn(p.conn).SetHopLimit(int(ttl))
	if err4 != nil && err6 != nil {
		return err4
	}
	return nil
}

func (p *systemPort) read(ds []datagram) (int, error) {
	d := &ds[0]
	n, from, err := p.conn.ReadFromUDPAddrPort(d.room)
	if err != nil {
		return 0, err
	}
	d.n, d.segment = n, 0
	d.arrival = arrival{From: unmap(from), To: netip.AddrPortFrom(netip.Addr{}, p.local.Port()), At: time.Now(), Stamp: User}
	return 1, nil
}

func (p *systemPort) write(ps []parcel) (int, error) { return eachSegment(ps, p.send) }

func (p *systemPort) send(b []byte, one *parcel) error {
	if one.class != p.class {
		err4 := ipv4.NewPacketConn(p.conn).SetTOS(int(one.class))
		err6 := ipv6.NewPacketConn(p.conn).SetTrafficClass(int(one.class))
		if err4 != nil && err6 != nil {
			return err4
		}
		p.class = one.class
	}
	_, err := p.conn.WriteToUDPAddrPort(b, one.to)
	return err
}

func (p *systemPort) stamps(func(uint32, time.Time)) bool { return false }
func (p *systemPort) recount() error                      { return nil }
func (p *systemPort) overruns() (uint64, bool)            { return 0, false }
func (p *systemPort) setReadDeadline(t time.Time) error   { return p.conn.SetReadDeadline(t) }
func (p *systemPort) localAddr() netip.AddrPort           { return p.local }
func (p *systemPort) close() error                        { return p.conn.Close() }
