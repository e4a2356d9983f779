package nat

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"time"

	"github.com/pion/stun/v3"
)

// A Server is whom Discover asks.
type Server struct {
	At        netip.AddrPort
	OtherPort uint16 // known by other means than OTHER-ADDRESS; 0 if it is not
	// TryNext tries the next port if no other is known: a server of ours that
	// hears at every address cannot name one, but has it there.
	TryNext bool
}

// Discover finds out how socket is seen, by the tests of RFC 5780, sections 4.3
// and 4.4. fresh is a socket that has not sent anything yet: what was sent to
// the server's second address would open the way that the filter is tested
// with. own are the addresses of this host. It takes at most 7 s. That a server
// does not answer is a finding, not an error.
//
// The mapping is known after three round trips, the filter only seconds later,
// when what it drops has not come; mapped is called in between. It may be nil.
func Discover(ctx context.Context, socket, fresh *Exchange, own []netip.Addr, server Server, mapped func(Report)) (Report, error) {
	d := &discovery{socket: socket, fresh: fresh, server: server, mapped: mapped}
	d.report.Local = socket.Local
	if err := d.run(ctx, own); err != nil {
		return Report{}, err
	}
	return d.report, nil
}

// Foretell asks from a socket that has not sent anything yet. A symmetric NAT maps
// it to a new port for each question, one right after the other: Step and Predict
// say how it goes on. What was mapped long ago says nothing of that. It takes at
// most 3 s.
func Foretell(ctx context.Context, fresh *Exchange, server Server) (Report, error) {
	d := &discovery{socket: fresh, server: server}
	d.report.Local = fresh.Local
	if _, err := d.look(ctx, nil); err != nil {
		return Report{}, err
	}
	return d.report, nil
}

type discovery struct {
	socket, fresh *Exchange
	server        Server
	mapped        func(Report)   // nil: nobody waits for the mapping alone
	other         netip.AddrPort // zero if the server has one socket only
	report        Report
}

func (d *discovery) run(ctx context.Context, own []netip.Addr) error {
	isSeen, err := d.look(ctx, own)
	if err != nil || !isSeen {
		return err
	}
	if d.mapped != nil {
		d.mapped(d.report)
	}
	if err := d.filtering(ctx); err != nil {
		return err
	}
	if d.report.Mapping != NoNAT {
		return d.hairpin(ctx)
	}
	d.report.unknown("there is no NAT", "hairpin")
	return nil
}

// look finds out how the socket is mapped; false says that nobody sees it.
func (d *discovery) look(ctx context.Context, own []netip.Addr) (isSeen bool, err error) {
	r := &d.report
	first, rtt, err := d.socket.ask(ctx, d.server.At, 0)
	if errors.Is(err, ErrNoAnswer) {
		r.Mapping, r.Filtering, r.Unanswered = Blocked, Blocked, true
		const why = "the server does not answer: UDP is blocked, or the server is down"
		r.Remarks = append(r.Remarks, why)
		r.unknown(why, "reflexive", "port_kept", "port_step", "hairpin", "rtt_ns")
		return false, nil
	}
	if err != nil {
		return false, err
	}
	seen, ok := reflexiveOf(first.message)
	if !ok {
		const why = "the server's answer has no address"
		r.Remarks = append(r.Remarks, why)
		r.unknown(why, "reflexive", "mapping", "filtering", "port_kept", "port_step", "hairpin")
		return false, nil
	}
	r.RTT, r.Reflexive = &rtt, seen
	r.Reflections = []Reflection{{d.server.At, seen}}
	kept := seen.Port() == d.socket.Local.Port()
	r.PortKept = &kept
	d.other, _ = otherOf(first.message)
	if !d.other.IsValid() && d.server.OtherPort != 0 {
		d.other = netip.AddrPortFrom(d.server.At.Addr(), d.server.OtherPort)
	}
	if !d.other.IsValid() && d.server.TryNext {
		if port, ok := otherPortOf(ctx, d.socket, d.server.At); ok {
			d.other = netip.AddrPortFrom(d.server.At.Addr(), port)
		}
	}
	r.Other = d.other
	return true, d.mapping(ctx, own)
}

// mapping compares how different sockets of the server see the one socket.
func (d *discovery) mapping(ctx context.Context, own []netip.Addr) error {
	r := &d.report
	isOwn := r.Reflexive.Port() == d.socket.Local.Port() && contains(own, r.Reflexive.Addr())
	if !d.other.IsValid() {
		if isOwn {
			r.Mapping = NoNAT
		} else {
			const why = "the server has one port only: whether the mapping depends on the destination cannot be told"
			r.Remarks = append(r.Remarks, why)
			r.unknown(why, "mapping")
		}
		r.unknown("the server has one port only", "port_step")
		return nil
	}
	targets := []netip.AddrPort{d.other}
	hasAddress := d.other.Addr() != d.server.At.Addr()
	if hasAddress {
		targets = []netip.AddrPort{netip.AddrPortFrom(d.other.Addr(), d.server.At.Port()), d.other}
	}
	for _, to := range targets {
		a, _, err := d.socket.ask(ctx, to, 0)
		if errors.Is(err, ErrNoAnswer) {
			r.Unanswered = true
			r.Remarks = append(r.Remarks, "no answer from the server's socket "+to.String())
			continue
		}
		if err != nil {
			return err
		}
		if seen, ok := reflexiveOf(a.message); ok {
			r.Reflections = append(r.Reflections, Reflection{to, seen})
		}
	}
	r.Mapping = judge(r.Reflections)
	if isOwn && r.Mapping == EndpointIndependent {
		r.Mapping = NoNAT
	}
	if r.Mapping == EndpointIndependent && !hasAddress {
		r.Remarks = append(r.Remarks, "the server has one address only: whether the mapping depends on the address cannot be told")
	}
	var ports []uint16
	for _, f := range r.Reflections {
		ports = append(ports, f.Seen.Port())
	}
	switch step, ok := stepOf(ports); {
	case ok:
		r.Step = &step
	case r.Mapping == AddressDependent || r.Mapping == AddressPortDependent:
		r.unknown("the ports of successive mappings have no steady step", "port_step")
	default:
		r.unknown("there is one port for all destinations", "port_step")
	}
	return nil
}

// judge is the behaviour that reflections show; Unknown if there is one only.
func judge(all []Reflection) Behaviour {
	if len(all) < 2 {
		return Unknown
	}
	byAddress, byPort := false, false
	for i, f := range all {
		for _, g := range all[:i] {
			switch {
			case f.Seen == g.Seen:
			case f.Server.Addr() == g.Server.Addr():
				byPort = true
			default:
				byAddress = true
			}
		}
	}
	switch {
	case byPort:
		return AddressPortDependent
	case byAddress:
		return AddressDependent
	}
	return EndpointIndependent
}

// filtering asks for answers from sockets that the fresh one has not sent to.
func (d *discovery) filtering(ctx context.Context) error {
	r := &d.report
	if !d.other.IsValid() {
		const why = "the server has one port only: what is let in cannot be told"
		r.Remarks = append(r.Remarks, why)
		r.unknown(why, "filtering")
		return nil
	}
	hasAddress := d.other.Addr() != d.server.At.Addr()
	if hasAddress {
		_, _, err := d.fresh.ask(ctx, d.server.At, changeAddress|changePort)
		if err == nil {
			r.Filtering = EndpointIndependent
			return nil
		}
		if !errors.Is(err, ErrNoAnswer) {
			return err
		}
	}
	_, _, err := d.fresh.ask(ctx, d.server.At, changePort)
	switch {
	case errors.Is(err, ErrNoAnswer):
		r.Filtering = AddressPortDependent
	case err != nil:
		return err
	default:
		r.Filtering = AddressDependent
		if !hasAddress {
			r.Remarks = append(r.Remarks, "the server has one address only: whether strangers are let in, too, cannot be told")
		}
	}
	return nil
}

// hairpin sends to our own outside address from inside.
func (d *discovery) hairpin(ctx context.Context) error {
	var id [stun.TransactionIDSize]byte
	rand.Read(id[:]) // never fails: crypto/rand
	datagram, err := request(id, 0)
	if err != nil {
		return err
	}
	came, done := d.socket.expect(id)
	defer done()
	parent := ctx
	ctx, stop := context.WithTimeoutCause(ctx, 600*time.Millisecond, ErrNoAnswer)
	defer stop()
	_, _, err = d.fresh.repeat(ctx, came, func() error { return d.fresh.Send(d.report.Reflexive, datagram) })
	if err := parent.Err(); err != nil {
		return context.Cause(parent)
	}
	works := err == nil
	d.report.Hairpin = &works
	return nil
}

func contains(all []netip.Addr, a netip.Addr) bool {
	for _, o := range all {
		if o.Unmap() == a {
			return true
		}
	}
	return false
}
