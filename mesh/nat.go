package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/internal/nat"
	"github.com/sonde-net/sonde/mesh/wire"
	"github.com/sonde-net/sonde/result"
)

// natEvery is how often a node looks anew how its NAT behaves.
const natEvery = 300 * time.Second

// predictions is how many ports of a NAT with a steady step are offered.
const predictions = 12

// A NATStatus is what a node found of its own NAT and firewall, in the words of
// RFC 4787.
type NATStatus struct {
	Known     bool // the rest is what was found
	Mapping   string
	Filtering string
	Old       string         // the name of RFC 3489, such as "Full Cone"; may be empty
	Reflexive netip.AddrPort // our address from outside
	PortKept  *bool          // nil if not known
	Step      *int           // from one mapped port to the next; nil if not steady
	Hairpin   *bool          // nil if not known
	Remarks   []string       // what could not be found out, and why
}

func natStatus(r nat.Report) NATStatus {
	return NATStatus{
		Known: true, Mapping: r.Mapping.String(), Filtering: r.Filtering.String(), Old: r.Old(), Reflexive: r.Reflexive,
		PortKept: r.PortKept, Step: r.Step, Hairpin: r.Hairpin, Remarks: r.Remarks,
	}
}

// behaviours are those of internal/nat as they are on the wire.
var behaviours = map[nat.Behaviour]wire.Behaviour{
	nat.NoNAT: wire.NoNAT, nat.EndpointIndependent: wire.EndpointIndependent,
	nat.AddressDependent: wire.AddressDependent, nat.AddressPortDependent: wire.AddressPortDependent,
	nat.Blocked: wire.UDPBlocked,
}

// classify finds out how the NAT behaves as soon as a server of ours answers,
// and again from time to time, until ctx ends.
func (n *Node) classify(ctx context.Context, socket *nat.Exchange, listen func(context.Context, string, string) (net.PacketConn, error)) {
	wait := time.NewTicker(100 * time.Millisecond)
	defer wait.Stop()
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		if !last.IsZero() && time.Since(last) < natEvery {
			continue
		}
		var server nat.Server
		var own []netip.Addr
		n.with(func(a *agent) { server, own = a.natServer(), a.hosts })
		if !server.At.IsValid() {
			continue
		}
		last = time.Now()
		r, err := n.discover(ctx, socket, listen, own, server)
		if err != nil {
			if ctx.Err() == nil {
				n.with(func(a *agent) {
					a.note(result.Warning, "nat_unknown", fmt.Sprintf("cannot find out how the NAT behaves: %v", err), "")
				})
			}
			continue
		}
		n.with(func(a *agent) { a.learn(time.Now(), r) })
	}
}

// discover asks a server, from the node's socket and a fresh one beside it.
func (n *Node) discover(ctx context.Context, socket *nat.Exchange, listen func(context.Context, string, string) (net.PacketConn, error), own []netip.Addr, server nat.Server) (nat.Report, error) {
	at := ":0"
	if n.Listen.IsValid() {
		at = netip.AddrPortFrom(n.Listen.Addr(), 0).String()
	}
	c, err := listen(ctx, "udp", at)
	if err != nil {
		return nat.Report{}, fmt.Errorf("open a second socket at %s: %w", at, err)
	}
	fresh, over := nat.Listen(c)
	r, err := nat.Discover(ctx, socket, fresh, own, server)
	err = errors.Join(err, c.Close())
	<-over
	return r, err
}

// natServer is a server that answers STUN: one of ours, of IPv4 if there is one.
func (a *agent) natServer() nat.Server {
	var found nat.Server
	for _, s := range a.servers {
		if s.up && s.sonde && s.reflected && (!found.At.IsValid() || s.at.Addr().Is4() && !found.At.Addr().Is4()) {
			found = nat.Server{At: s.at, OtherPort: s.otherPort}
		}
	}
	return found
}

// learn takes what was found of the NAT, and tells it to the servers.
func (a *agent) learn(now time.Time, r nat.Report) {
	a.found = natStatus(r)
	kind := natKind{behaviours[r.Mapping], behaviours[r.Filtering]}
	a.extra = nil
	if r.Step != nil && kind.mapping == wire.AddressPortDependent {
		kind.mapping = wire.SteadyStep
		for _, port := range r.Predict(predictions) {
			a.extra = append(a.extra, wire.Candidate{Kind: wire.CandidatePredicted, Priority: 10, At: netip.AddrPortFrom(r.Reflexive.Addr(), port)})
		}
	}
	if kind == a.nat && len(a.extra) == 0 {
		return
	}
	a.nat = kind
	a.note(result.Info, "nat", fmt.Sprintf("NAT: mapping %v, filtering %v", a.found.Mapping, a.found.Filtering), "")
	for _, s := range a.servers {
		if s.up {
			a.register(now, s)
		}
	}
}

// mapPort has the router map our port, until ctx ends.
func (n *Node) mapPort(ctx context.Context, listen func(context.Context, string, string) (net.PacketConn, error)) {
	var local netip.AddrPort
	n.with(func(a *agent) { local = a.hostOf(n.Router) })
	if !local.IsValid() {
		n.with(func(a *agent) {
			a.note(result.Warning, "port_mapping", fmt.Sprintf("no address of ours is of the family of the router %v", n.Router), "")
		})
		return
	}
	m := &nat.Mapper{Router: n.Router, Local: local, ListenPacket: listen}
	err := m.Run(ctx, func(p nat.PortMapping) { n.with(func(a *agent) { a.mapped(time.Now(), p) }) })
	if err != nil {
		n.with(func(a *agent) {
			a.mapping = nil
			a.note(result.Warning, "port_mapping", err.Error(), "switch UPnP, NAT-PMP or PCP on at the router, or map the port by hand")
		})
	}
}

// hostOf is our own address of the router's family with our port.
func (a *agent) hostOf(router netip.Addr) netip.AddrPort {
	for _, h := range a.hosts {
		if family(h) == family(router) {
			return netip.AddrPortFrom(h, a.local.Port())
		}
	}
	return netip.AddrPort{}
}

// mapped offers the port that the router maps, and says what speaks against it.
func (a *agent) mapped(now time.Time, p nat.PortMapping) {
	a.mapping = &wire.Candidate{Kind: wire.CandidateMapped, Priority: 80, At: p.External}
	text := fmt.Sprintf("the router maps %v to us (%s)", p.External, p.Protocol)
	if doubt := p.Doubt(a.found.Reflexive.Addr()); doubt != "" {
		text += ", but " + doubt
	}
	a.note(result.Info, "port_mapping", text, "")
	if !p.External.Addr().IsValid() || p.External.Port() == 0 {
		a.mapping = nil
		return
	}
	for _, s := range a.servers {
		if s.up {
			a.register(now, s)
		}
	}
}

// answerSTUN answers a Binding request that came to the server.
func (h *hub) answerSTUN(now time.Time, via int, from netip.AddrPort, datagram []byte) {
	l := h.limits
	if !h.strangers.of(from.Addr()).take(1, float64(l.perStranger()), float64(l.perStranger()), now) ||
		!h.allStrangers.take(1, float64(l.strangers()), float64(l.strangers()), now) {
		h.drops[dropLimit]++
		return
	}
	r := nat.Responder{Sockets: h.reflect}
	if a, ok := r.Answer(datagram, via, from); ok {
		h.out(a.Via, from, a.Message)
	}
}
