package nat

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"
)

// mappingLife is how long a mapping is asked for: so long it stays if we are
// killed. It is renewed at half.
const mappingLife = 120 * time.Second

// A PortMapping is a port that a router maps to us.
type PortMapping struct {
	Protocol string         // "PCP" or "NAT-PMP"
	External netip.AddrPort // as the router says
	Lifetime time.Duration
	Took     time.Duration // until it was granted
}

// Doubt says why the mapping may lead nowhere, given our address as a server
// sees it; empty if nothing speaks against it.
func (m PortMapping) Doubt(reflexive netip.Addr) string {
	a := m.External.Addr()
	switch {
	case !a.IsValid() || a.IsUnspecified():
		return "the router does not know its outside address"
	case a.IsPrivate() || carrier.Contains(a):
		return fmt.Sprintf("the router's outside address %v is not public: another NAT is behind it", a)
	case reflexive.IsValid() && a.Is4() == reflexive.Is4() && a != reflexive:
		return fmt.Sprintf("the router's outside address is %v, but servers see %v: another NAT is behind it", a, reflexive)
	}
	return ""
}

// carrier is the address space between carriers and their customers: RFC 6598.
var carrier = netip.MustParsePrefix("100.64.0.0/10")

// A Mapper asks a router by PCP (RFC 6887) or NAT-PMP (RFC 6886) to map a UDP
// port to this host.
type Mapper struct {
	Router netip.Addr     // the gateway
	Local  netip.AddrPort // where the port is to lead
	// ListenPacket opens the socket that the router is asked from; nil means that
	// of net.ListenConfig.
	ListenPacket func(ctx context.Context, network, address string) (net.PacketConn, error)

	conn     net.PacketConn
	nonce    [12]byte
	protocol byte // version in use
	external uint16
}

// Run gets a mapping, calls granted for it and whenever another address or port
// is given, renews it, and removes it when ctx ends. It fails if the router does
// not grant one within 3 s. Removing takes at most 1 s.
func (m *Mapper) Run(ctx context.Context, granted func(PortMapping)) error {
	listen := m.ListenPacket
	if listen == nil {
		listen = new(net.ListenConfig).ListenPacket
	}
	c, err := listen(ctx, "udp", netip.AddrPortFrom(m.Local.Addr(), 0).String())
	if err != nil {
		return fmt.Errorf("nat: open a socket to ask the router: %w", err)
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })()
	m.conn, m.protocol = c, 2
	rand.Read(m.nonce[:]) // never fails: crypto/rand
	start := time.Now()
	p, err := m.first(ctx)
	if ctx.Err() != nil {
		return m.remove() // the grant may be on its way
	}
	if err != nil {
		return err
	}
	p.Took = time.Since(start)
	granted(p)
	err = m.hold(ctx, p, granted)
	return errors.Join(err, m.remove())
}

// first asks by PCP, and by NAT-PMP if the router does not speak that.
func (m *Mapper) first(ctx context.Context) (PortMapping, error) {
	p, err := m.obtain(ctx)
	if err == nil || ctx.Err() != nil {
		return p, err
	}
	m.protocol = 0
	q, second := m.obtain(ctx)
	if second == nil {
		return q, nil
	}
	if errors.Is(second, ErrNoAnswer) {
		return p, err
	}
	return q, second
}

// hold renews the mapping at half its life until ctx ends.
func (m *Mapper) hold(ctx context.Context, p PortMapping, granted func(PortMapping)) error {
	for {
		// A router may grant seconds or years; both are bounded.
		life := min(max(p.Lifetime, 4*time.Second), mappingLife)
		timer := time.NewTimer(life / 2)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		next, err := m.obtain(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("nat: renew the mapping of port %d: %w", p.External.Port(), err)
		}
		if next.External != p.External {
			granted(next)
		}
		p = next
	}
}

// obtain asks once for a mapping.
func (m *Mapper) obtain(ctx context.Context) (PortMapping, error) {
	g, err := m.mapPort(ctx, mappingLife)
	if err != nil {
		return PortMapping{}, err
	}
	p := PortMapping{Protocol: "PCP", External: g.external, Lifetime: g.lifetime}
	if m.protocol == 0 {
		p.Protocol = "NAT-PMP"
		addr, err := m.outside(ctx)
		if err != nil {
			return PortMapping{}, err
		}
		p.External = netip.AddrPortFrom(addr, g.external.Port())
	}
	m.external = p.External.Port()
	return p, nil
}

// mapPort asks for a mapping in the protocol in use.
func (m *Mapper) mapPort(ctx context.Context, life time.Duration) (grant, error) {
	request := appendPMP(nil, m.Local.Port(), m.wanted(life), life)
	if m.protocol == 2 {
		request = appendPCP(nil, m.Local.Addr(), m.nonce, m.Local.Port(), m.wanted(life), life)
	}
	var g grant
	err := m.ask(ctx, request, func(b []byte) (bool, error) {
		got, err := parseGrant(b)
		switch {
		case err != nil:
			return false, nil // of something else
		case got.result != 0:
			return true, refusal(got.version, got.result)
		case got.version != m.protocol || got.internal != m.Local.Port() || got.version == 2 && got.nonce != m.nonce:
			return false, nil // the answer to another question
		case life == 0 && got.lifetime != 0:
			return false, nil // the answer to a renewal that was under way
		}
		g = got
		return true, nil
	})
	return g, err
}

// wanted is the outside port to ask for: that of before, or our own. NAT-PMP
// wants 0 in a removal.
func (m *Mapper) wanted(life time.Duration) uint16 {
	switch {
	case life == 0:
		return 0
	case m.external != 0:
		return m.external
	}
	return m.Local.Port()
}

func (m *Mapper) outside(ctx context.Context) (netip.Addr, error) {
	var addr netip.Addr
	err := m.ask(ctx, appendPMPAddress(nil), func(b []byte) (bool, error) {
		if len(b) < 2 || b[1] != 0x80 {
			return false, nil
		}
		var err error
		addr, err = parsePMPAddress(b)
		return true, err
	})
	return addr, err
}

// remove takes the mapping away. That it was not confirmed is an error: the
// mapping then stays until its life is over.
func (m *Mapper) remove() error {
	m.conn.SetReadDeadline(time.Time{})
	if _, err := m.mapPort(context.Background(), 0); err != nil {
		return fmt.Errorf("nat: remove the mapping of port %d, it ends by itself within %v: %w", m.external, mappingLife, err)
	}
	return nil
}

// ask sends a request at 0, 250 and 500 ms until take has the answer, 1 s at
// most. Only datagrams from the router count.
func (m *Mapper) ask(ctx context.Context, request []byte, take func([]byte) (bool, error)) error {
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(m.Router, routerPort))
	b := make([]byte, 1100) // the longest of PCP: RFC 6887, section 7
	start := time.Now()
	for _, until := range []time.Duration{250 * time.Millisecond, 500 * time.Millisecond, time.Second} {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, err := m.conn.WriteTo(request, to); err != nil {
			return fmt.Errorf("nat: ask the router %v: %w", m.Router, err)
		}
		m.conn.SetReadDeadline(start.Add(until))
		for {
			n, from, err := m.conn.ReadFrom(b)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				return fmt.Errorf("nat: ask the router %v: %w", m.Router, err)
			}
			u, ok := from.(*net.UDPAddr)
			if !ok || u.AddrPort().Addr().Unmap() != m.Router {
				continue
			}
			if done, err := take(b[:n]); done {
				return err
			}
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("nat: the router %v: %w", m.Router, ErrNoAnswer)
}
