package nat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// mappingLife is how long a mapping is asked for: so long it stays if we are
// killed. It is renewed at half.
const mappingLife = 120 * time.Second

// The protocols by which a router can be asked to map a port, in the order of
// preference.
const (
	PCP    = "PCP"      // RFC 6887
	NATPMP = "NAT-PMP"  // RFC 6886
	UPnP   = "UPnP IGD" // UPnP Forum, WANIPConnection and WANPPPConnection
)

// PortProtocols are all of them.
func PortProtocols() []string { return []string{PCP, NATPMP, UPnP} }

// A PortMapping is a port that a router maps to us.
type PortMapping struct {
	Protocol string         // PCP, NATPMP or UPnP
	External netip.AddrPort // as the router says
	Lifetime time.Duration  // 0: until it is removed
	Took     time.Duration  // until it was granted
	// Reachable says whether somebody outside reached us at it; nil if nobody
	// could try, and Why says why not.
	Reachable *bool
	Why       string
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

// A Step is one question to a router, and what became of it.
type Step struct {
	Protocol string
	Asked    string
	Answer   string
	Took     time.Duration
}

// A Mapper asks a router to map a UDP port to this host.
type Mapper struct {
	Router    netip.Addr     // the gateway
	Local     netip.AddrPort // where the port is to lead
	Protocols []string       // to try; nil means PortProtocols
	// ListenPacket and Dial open the sockets that the router is asked from; nil
	// means those of package net.
	ListenPacket func(ctx context.Context, network, address string) (net.PacketConn, error)
	Dial         func(ctx context.Context, network, address string) (net.Conn, error)
	// Prove has somebody outside send to a mapping before it is believed: see
	// Prove of this package. Nil believes all.
	Prove func(context.Context, PortMapping) (reachable *bool, why string)
	Trace func(Step) // told of every question; may be nil
}

// An asker asks the router in one protocol. It is used by one goroutine.
type asker interface {
	// find looks whether the router speaks the protocol, where that changes
	// nothing at the router.
	find(context.Context) error
	// obtain gets a mapping, or renews it.
	obtain(context.Context) (PortMapping, error)
	// remove takes it away, also one whose grant did not come; it takes 2 s at most.
	remove() error
	close()
}

// Run gets a mapping, calls granted for it and whenever another address or port
// is given, renews it, and removes it when ctx ends. It fails if the router
// grants none that leads to us, within 8 s.
func (m *Mapper) Run(ctx context.Context, granted func(PortMapping)) error {
	askers, err := m.askers(ctx)
	defer func() {
		for _, a := range askers {
			a.close()
		}
	}()
	if err != nil {
		return err
	}
	// All look for the router at once; it is asked for a mapping one after the other.
	found := make([]chan error, len(askers))
	var wg sync.WaitGroup
	defer wg.Wait()
	looking, stop := context.WithCancel(ctx)
	defer stop()
	for i, a := range askers {
		found[i] = make(chan error, 1)
		wg.Go(func() { found[i] <- a.find(looking) })
	}
	var faults []error
	for i, a := range askers {
		if err := <-found[i]; err != nil {
			faults = append(faults, err)
			continue
		}
		held, err := m.try(ctx, a, granted)
		if held || ctx.Err() != nil {
			return err
		}
		faults = append(faults, err)
	}
	if ctx.Err() != nil {
		return nil
	}
	return errors.Join(faults...)
}

// try asks in one protocol; held says that a mapping was granted and believed.
func (m *Mapper) try(ctx context.Context, a asker, granted func(PortMapping)) (held bool, err error) {
	start := time.Now()
	p, err := a.obtain(ctx)
	if ctx.Err() != nil {
		return false, a.remove() // the grant may be on its way
	}
	if err != nil {
		return false, err
	}
	p.Took = time.Since(start)
	if m.prove(ctx, &p); p.Reachable != nil && !*p.Reachable && ctx.Err() == nil {
		return false, &UnreachableError{p, a.remove()}
	}
	if ctx.Err() == nil {
		granted(p)
		err = m.hold(ctx, a, p, granted)
	}
	return true, errors.Join(err, a.remove())
}

// An UnreachableError says that a router granted a mapping that leads nowhere.
type UnreachableError struct {
	Mapping PortMapping
	Rest    error // why it could not be removed; nil if it is
}

func (e *UnreachableError) Unwrap() error { return e.Rest }

func (e *UnreachableError) Error() string {
	s := fmt.Sprintf("nat: %s granted %v, but nothing that is sent there arrives", e.Mapping.Protocol, e.Mapping.External)
	if e.Rest != nil {
		s += ": " + e.Rest.Error()
	}
	return s
}

func (m *Mapper) prove(ctx context.Context, p *PortMapping) {
	if m.Prove != nil {
		p.Reachable, p.Why = m.Prove(ctx, *p)
	}
}

// hold renews the mapping at half its life until ctx ends.
func (m *Mapper) hold(ctx context.Context, a asker, p PortMapping, granted func(PortMapping)) error {
	for {
		// A router may grant seconds, years or for ever; all are bounded.
		life := mappingLife
		if p.Lifetime > 0 {
			life = min(max(p.Lifetime, 4*time.Second), mappingLife)
		}
		timer := time.NewTimer(life / 2)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		next, err := a.obtain(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("nat: renew the mapping of port %d: %w", p.External.Port(), err)
		}
		if next.External != p.External {
			m.prove(ctx, &next)
			granted(next)
		}
		p = next
	}
}

// askers makes those that are to be tried, with their sockets.
func (m *Mapper) askers(ctx context.Context) ([]asker, error) {
	listen := m.ListenPacket
	if listen == nil {
		listen = new(net.ListenConfig).ListenPacket
	}
	dial := m.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	protocols := m.Protocols
	if protocols == nil {
		protocols = PortProtocols()
	}
	var all []asker
	for _, p := range protocols {
		if p == UPnP && !m.Router.Is4() {
			continue // IGD is of IPv4
		}
		c, err := listen(ctx, "udp", netip.AddrPortFrom(m.Local.Addr(), 0).String())
		if err != nil {
			return all, fmt.Errorf("nat: open a socket to ask the router: %w", err)
		}
		switch q := newQuestions(ctx, c, m.Router, p, m.Trace); p {
		case PCP, NATPMP:
			all = append(all, newDatagramAsker(q, m.Local))
		case UPnP:
			all = append(all, newIGD(q, m.Local, dial))
		default:
			c.Close()
			return all, fmt.Errorf("nat: unknown protocol %q", p)
		}
	}
	return all, nil
}

// questions are a socket from which the router is asked. Only what comes from
// the router counts.
type questions struct {
	conn     net.PacketConn
	router   netip.Addr
	protocol string
	trace    func(Step)
	stop     func() bool
}

func newQuestions(ctx context.Context, c net.PacketConn, router netip.Addr, protocol string, trace func(Step)) *questions {
	if trace == nil {
		trace = func(Step) {}
	}
	q := &questions{conn: c, router: router, protocol: protocol, trace: trace}
	q.stop = context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })
	return q
}

func (q *questions) close() {
	q.stop()
	q.conn.Close()
}

// told traces a question with its answer, or the error.
func (q *questions) told(start time.Time, asked, answer string, err error) {
	if err != nil {
		answer = err.Error()
	}
	q.trace(Step{Protocol: q.protocol, Asked: asked, Answer: answer, Took: time.Since(start)})
}
