package mesh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sonde-net/sonde/internal/nat"
	"github.com/sonde-net/sonde/mesh/wire"
	"github.com/sonde-net/sonde/result"
)

// natEvery is how often a node looks anew how its NAT behaves, and natSoon how soon
// after something stayed without an answer, which a moment of loss may have been.
// Each time that it is still so it waits twice as long.
const (
	natEvery = 300 * time.Second
	natSoon  = 20 * time.Second
)

// predictions is how many ports of a NAT with a steady step are offered. Most of
// them lie before those that it gave us when we asked: the one for a peer that was
// just met has been given by then.
const (
	predictions       = 12
	predictionsBefore = 8
)

// A NATStatus is what a node found of its own NAT and firewall, in the words of
// RFC 4787.
type NATStatus struct {
	Known     bool           `json:"known"` // the rest is what was found
	Mapping   string         `json:"mapping"`
	Filtering string         `json:"filtering"`
	Old       string         `json:"rfc3489"`            // the name of RFC 3489, such as "Full Cone"; may be empty
	Reflexive netip.AddrPort `json:"reflexive,omitzero"` // our address from outside
	PortKept  *bool          `json:"port_kept"`          // nil if not known
	Step      *int           `json:"port_step"`          // from one mapped port to the next; nil if not steady
	Hairpin   *bool          `json:"hairpin"`            // nil if not known
	Remarks   []string       `json:"remarks"`            // what could not be found out, and why
	Mapped    *MappedPort    `json:"mapped_port"`        // nil if no router maps one
}

// A MappedPort is a port that a router maps to us.
type MappedPort struct {
	Protocol  string         `json:"protocol"` // "PCP", "NAT-PMP", "UPnP IGD"
	External  netip.AddrPort `json:"external"`
	Reachable *bool          `json:"reachable"` // from outside; nil if nobody could try
	Doubt     string         `json:"doubt"`     // why it may lead nowhere, or nobody could try; may be empty
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
// and again from time to time, until ctx ends. Where ports are foretold, that is
// done anew for peers that were met since.
func (n *Node) classify(ctx context.Context, socket *nat.Exchange, listen func(context.Context, string, string) (net.PacketConn, error)) {
	wait := time.NewTicker(100 * time.Millisecond)
	defer wait.Stop()
	var last time.Time
	again, soon := natEvery, natSoon
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		var server nat.Server
		var own []netip.Addr
		var isAwaited bool
		n.with(func(a *agent) { server, own, isAwaited = a.natServer(), a.hosts, a.isAwaited() })
		switch isDue := last.IsZero() || time.Since(last) >= again; {
		case !server.At.IsValid():
		case isDue:
			last = time.Now()
			if server.At.Addr().IsLoopback() { // then we are seen at such an address, too
				own = append(slices.Clone(own), netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback())
			}
			if n.discover(ctx, socket, listen, own, server) {
				again, soon = natEvery, natSoon
			} else {
				again, soon = soon, min(2*soon, natEvery)
			}
		case isAwaited:
			n.foretell(ctx, listen, server)
		}
	}
}

// discover asks a server, from the node's socket and a fresh one beside it, and
// reports whether it answered wherever it was asked.
func (n *Node) discover(ctx context.Context, socket *nat.Exchange, listen func(context.Context, string, string) (net.PacketConn, error), own []netip.Addr, server nat.Server) bool {
	var r nat.Report
	err := n.besides(ctx, listen, func(fresh *nat.Exchange) (err error) {
		r, err = nat.Discover(ctx, socket, fresh, own, server, func(r nat.Report) {
			if r.Mapping == nat.AddressPortDependent {
				n.foretell(ctx, listen, server) // peers do not wait until the filter is known
			}
		})
		return err
	})
	switch {
	case ctx.Err() != nil:
	case err != nil:
		n.with(func(a *agent) {
			a.note(result.Warning, "nat_unknown", fmt.Sprintf("cannot find out how the NAT behaves: %v", err), "")
		})
	default:
		n.with(func(a *agent) { a.learn(time.Now(), r) })
		return !r.Unanswered
	}
	return false
}

// foretell asks which ports the NAT gives now.
func (n *Node) foretell(ctx context.Context, listen func(context.Context, string, string) (net.PacketConn, error), server nat.Server) {
	begun := time.Now()
	var r nat.Report
	err := n.besides(ctx, listen, func(fresh *nat.Exchange) (err error) {
		r, err = nat.Foretell(ctx, fresh, server)
		return err
	})
	n.with(func(a *agent) {
		if err != nil {
			a.log.Debug("cannot foretell ports", "err", err)
		}
		a.foresee(begun, r)
	})
}

// besides opens a second socket for as long as f needs it.
func (n *Node) besides(ctx context.Context, listen func(context.Context, string, string) (net.PacketConn, error), f func(fresh *nat.Exchange) error) error {
	at := n.freshAddress()
	c, err := listen(ctx, "udp", at)
	if err != nil {
		return fmt.Errorf("open a second socket at %s: %w", at, err)
	}
	fresh, over := nat.Listen(c)
	err = errors.Join(f(fresh), c.Close())
	<-over
	return err
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
	a.found, a.filtering = natStatus(r), r.Filtering
	kind := natKind{behaviours[r.Mapping], behaviours[r.Filtering]}
	switch {
	case kind.mapping != wire.AddressPortDependent:
		a.extra = nil
	case len(a.extra) > 0:
		kind.mapping = wire.SteadyStep
	}
	if kind == a.nat {
		return
	}
	a.nat = kind
	a.note(result.Info, "nat", fmt.Sprintf("NAT: mapping %v, filtering %v", a.found.Mapping, a.found.Filtering), "")
	a.registerAll(now)
}

// foresee offers the ports that our NAT gives, if it does so in a steady step, as
// they were found by a look that began at some time. Peers that wait for them are
// reported first, so that a server tells them at once.
func (a *agent) foresee(begun time.Time, r nat.Report) {
	a.foreseen = begun
	a.extra = nil
	for _, port := range r.Predict(predictionsBefore, predictions) {
		a.extra = append(a.extra, wire.Candidate{Kind: wire.CandidatePredicted, Priority: 10, At: netip.AddrPortFrom(r.Reflexive.Addr(), port)})
	}
	if len(a.extra) == 0 {
		return
	}
	a.nat.mapping = wire.SteadyStep
	for _, p := range a.peers {
		p.news = p.news || a.awaits(p)
	}
	a.registerAll(time.Now())
}

// isAwaited reports whether a peer may be waiting at a port that was given after
// the latest look.
func (a *agent) isAwaited() bool {
	for _, p := range a.peers {
		if a.nat.mapping == wire.SteadyStep && a.awaits(p) && p.begun.After(a.foreseen) {
			return true
		}
	}
	return false
}

// awaits reports whether a peer without a path may come to one at a port of ours
// that is foretold.
func (a *agent) awaits(p *peer) bool {
	return p.use == nil && p.sonde && !p.self && p.nat.canHit(a.nat)
}

// mapAgain is when a router that maps no port for us is asked again: it may have
// been started anew.
const mapAgain = 5 * time.Minute

// mapPorts has the router map our port, until ctx ends.
func (n *Node) mapPorts(ctx context.Context, socket *nat.Exchange, listen func(context.Context, string, string) (net.PacketConn, error)) {
	told := ""
	for ctx.Err() == nil {
		err := n.mapPort(ctx, socket, listen)
		n.with(func(a *agent) {
			a.mapping, a.port = nil, nil
			if dead, ok := errors.AsType[*nat.UnreachableError](err); ok {
				a.port = a.mappedPort(dead.Mapping)
			}
			if err != nil && err.Error() != told {
				told = err.Error()
				a.note(result.Warning, "port_mapping", strings.ReplaceAll(told, "\n", "; "), "switch UPnP, NAT-PMP or PCP on at the router, or map the port by hand")
			}
		})
		select {
		case <-ctx.Done():
		case <-time.After(mapAgain):
		}
	}
}

// mapPort has the router map our port until ctx ends, or it does so no more.
func (n *Node) mapPort(ctx context.Context, socket *nat.Exchange, listen func(context.Context, string, string) (net.PacketConn, error)) error {
	router := n.Router
	if !router.IsValid() {
		var err error
		if router, err = nat.Gateway(); err != nil {
			return err
		}
	}
	var local netip.AddrPort
	n.with(func(a *agent) { local = a.hostOf(router) })
	if !local.IsValid() {
		return fmt.Errorf("mesh: no address of ours is of the family of the router %v", router)
	}
	m := &nat.Mapper{Router: router, Local: local, ListenPacket: listen, Dial: n.Dial}
	m.Prove = func(ctx context.Context, p nat.PortMapping) (*bool, string) { return n.prove(ctx, socket, listen, p) }
	return m.Run(ctx, func(p nat.PortMapping) { n.with(func(a *agent) { a.mapped(time.Now(), p) }) })
}

// serverWait is how long a mapping waits for a server that could prove it.
const serverWait = 10 * time.Second

// prove has a server send to a mapping of our port.
func (n *Node) prove(ctx context.Context, socket *nat.Exchange, listen func(context.Context, string, string) (net.PacketConn, error), p nat.PortMapping) (*bool, string) {
	var server nat.Server
	var filtering nat.Behaviour
	for end := time.Now().Add(serverWait); !server.At.IsValid() && time.Now().Before(end) && ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		n.with(func(a *agent) {
			// The behaviours are found out at the same time; they matter to the proof.
			if a.found.Known || n.NoSTUN {
				server, filtering = a.natServer(), a.filtering
			}
		})
	}
	if !server.At.IsValid() || server.At.Addr().Is4() != p.External.Addr().Is4() {
		return nil, "no server that could try answers"
	}
	c, err := listen(ctx, "udp", n.freshAddress())
	if err != nil {
		return nil, fmt.Sprintf("open a second socket: %v", err)
	}
	ask, over := nat.Listen(c)
	reachable, why := nat.Prove(ctx, socket, ask, server, p, filtering)
	c.Close()
	<-over
	return reachable, why
}

// freshAddress is where a second socket beside that of the node is opened.
func (n *Node) freshAddress() string {
	if n.Listen.IsValid() {
		return netip.AddrPortFrom(n.Listen.Addr(), 0).String()
	}
	return ":0"
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

func (a *agent) mappedPort(p nat.PortMapping) *MappedPort {
	return &MappedPort{Protocol: p.Protocol, External: p.External, Reachable: p.Reachable, Doubt: cmp.Or(p.Doubt(a.found.Reflexive.Addr()), p.Why)}
}

// mapped offers the port that the router maps, and says what speaks against it.
func (a *agent) mapped(now time.Time, p nat.PortMapping) {
	a.mapping = &wire.Candidate{Kind: wire.CandidateMapped, Priority: 80, At: p.External}
	a.port = a.mappedPort(p)
	text := fmt.Sprintf("the router maps %v to us (%s)", p.External, p.Protocol)
	switch {
	case p.Reachable != nil && *p.Reachable:
		text += ", and a server reaches us there"
	case a.port.Doubt != "":
		text += ", but " + a.port.Doubt
	}
	a.note(result.Info, "port_mapping", text, "")
	if !p.External.Addr().IsValid() || p.External.Port() == 0 || p.Reachable != nil && !*p.Reachable {
		a.mapping = nil
		return
	}
	a.registerAll(now)
}

// How many answers to STUN a second may be longer than their requests: to one
// site, of which a few at once, since requests are repeated, and in all.
const (
	growingRate    = 1
	growingBurst   = 5
	allGrowingRate = 100
)

// answerSTUN answers a Binding request that came to the server.
func (h *hub) answerSTUN(now time.Time, via door, from netip.AddrPort, datagram []byte) {
	l := h.limits
	if !h.strangers.of(from.Addr()).take(1, float64(l.perStranger()), float64(l.perStranger()), now) ||
		!h.allStrangers.take(1, float64(l.strangers()), float64(l.strangers()), now) {
		h.drops[dropLimit]++
		return
	}
	// STUN clients of others send 20 bytes, which no answer fits into. That is
	// granted to few, so that nobody gains by forging them.
	mayGrow := len(datagram) < nat.LongestAnswer && h.growing.of(from.Addr()).take(1, growingRate, growingBurst, now) &&
		h.allGrowing.take(1, allGrowingRate, allGrowingRate, now)
	r := nat.Responder{Sockets: h.reflect}
	if a, ok := r.Answer(datagram, via.socket, from, mayGrow); ok {
		h.out(door{a.Via, via.own}, a.To, a.Message) // of another socket for all addresses: the same address
	}
}
