package mesh

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/nat"
	"github.com/sonde-net/sonde/mesh/wire"
)

// A hub is the state of a server: it takes datagrams and the time, and calls
// out with datagrams. It does no I/O and is not safe for concurrent use.
type hub struct {
	name    string
	limits  Limits
	log     *slog.Logger
	out     func(via int, to netip.AddrPort, b []byte)
	relay   *relaying // nil: does not relay
	reflect []netip.AddrPort

	seal         seal
	lobby        lobby
	strangers    *buckets
	allStrangers bucket

	clients  map[wire.ID]*client
	at       map[netip.AddrPort]*client
	sites    map[netip.Addr]int // addresses in at, by site
	order    uint64             // clients admitted so far
	sequence uint32             // packets sent to anybody so far

	generation uint32
	changed    bool      // since the last round of lists
	fresh      []*client // admitted since then
	published  time.Time // the latest round
	checked    time.Time // the latest look for who is expired
	waiting    []*client // are to be sent a list
	listBucket bucket

	drops          map[string]uint64
	packets, bytes uint64 // sent, payload of UDP
}

// A client is who is in the table: it has proven to hear at each of its
// addresses.
type client struct {
	id       wire.ID
	order    uint64 // of admission
	sonde    bool
	hello    wire.Hello
	offered  []wire.Candidate // what it says of itself, checked
	local    netip.AddrPort
	at       [2]address // IPv4, IPv6
	stamps   stamps
	listed   time.Time // the latest list left
	waits    bool      // is in hub.waiting
	findings map[wire.ID]finding
	admitted time.Time

	sent, received, acked uint64
	rtt                   *time.Duration // the latest; nil before the first
}

// An address is where a client hears, and by which of our sockets.
type address struct {
	outside netip.AddrPort // zero if it has none of the family
	via     int
	heard   time.Time
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

func newHub(now time.Time, l Limits, log *slog.Logger, out func(int, netip.AddrPort, []byte)) *hub {
	h := &hub{
		limits: l, log: log, seal: newSeal(now), strangers: newBuckets(),
		clients: map[wire.ID]*client{}, at: map[netip.AddrPort]*client{}, sites: map[netip.Addr]int{},
		drops: map[string]uint64{},
		// At most one a second, so a server that starts again goes on above.
		generation: uint32(now.Unix()),
	}
	h.out = func(via int, to netip.AddrPort, b []byte) {
		h.packets++
		h.bytes += uint64(len(b))
		out(via, to, b)
	}
	return h
}

// receive takes a datagram.
func (h *hub) receive(now time.Time, via int, from netip.AddrPort, datagram []byte) {
	if nat.IsSTUN(datagram) {
		h.answerSTUN(now, via, from, datagram)
		return
	}
	p, records, ok := parse(datagram, h.drops)
	if !ok {
		return
	}
	if p.Role != wire.FromClient {
		h.drops[dropRole]++
		return
	}
	c := h.at[from]
	if c == nil || c.id != p.ID {
		h.stranger(now, via, from, p, records, len(datagram))
		return
	}
	a := &c.at[family(from.Addr())]
	a.heard, a.via = now, via
	c.received++
	h.known(now, c, a, p, records)
}

// known takes a packet of a client in the table.
func (h *hub) known(now time.Time, c *client, a *address, p *wire.Packet, records []wire.Record) {
	if p.Echo != nil {
		h.echoed(now, c, *p.Echo)
	}
	if p.Shutdown {
		h.remove(c, "leaves")
		return
	}
	if p.Local.IsValid() {
		c.local = p.Local
	}
	for _, r := range records {
		h.record(now, c, a, r)
	}
	if p.Stamp != nil {
		h.acknowledge(c, a, *p.Stamp)
	}
}

func (h *hub) echoed(now time.Time, c *client, echo uint64) {
	if rtt, ok := c.stamps.match(echo, now); ok {
		c.acked++
		c.rtt = &rtt
		h.log.Debug("ACK from client", "client", c.at[0].outside, "rtt", rtt)
	}
}

// acknowledge echoes a timestamp; to nodes it says where else to ask, too.
func (h *hub) acknowledge(c *client, a *address, stamp uint64) {
	p := &wire.Packet{ID: c.id, Echo: &stamp}
	if c.sonde {
		p.Ext = stream(h.reflection(a))
	}
	h.send(a, p)
}

// reflection tells a node how it is seen, and the server's other sockets.
func (h *hub) reflection(a *address) wire.Reflect {
	f := wire.Reflect{Seen: a.outside}
	if a.via >= len(h.reflect) {
		return f
	}
	own := h.reflect[a.via]
	f.Port = own.Port()
	for _, other := range h.reflect {
		if own.Addr() == other.Addr() && own.Port() != other.Port() {
			f.OtherPort = other.Port()
		} else if own.Addr() != other.Addr() && !other.Addr().IsUnspecified() && !f.OtherAddress.IsValid() {
			f.OtherAddress = other
		}
	}
	return f
}

// send sends a packet to a client.
func (h *hub) send(a *address, p *wire.Packet) int {
	p.Role, p.Release, p.Sequence = wire.FromServer, wire.ReleaseSonde, h.sequence
	b, err := p.Append(nil, a.outside.Addr())
	if err != nil {
		// Only what we made wrongly; an operator should hear of it.
		h.log.Error("cannot make a packet", "client", a.outside, "err", err)
		return 0
	}
	h.sequence++
	h.out(a.via, a.outside, b)
	return len(b)
}

// record takes what a node tells beyond the original protocol.
func (h *hub) record(now time.Time, c *client, a *address, r wire.Record) {
	var err error
	switch r.Type {
	case wire.RecordHello:
		var hello wire.Hello
		if hello, err = wire.ParseHello(r.Value); err == nil {
			h.changed = h.changed || !c.sonde || hello != c.hello
			c.sonde, c.hello = true, hello
		}
	case wire.RecordCandidates:
		var offered wire.Candidates
		if offered, err = wire.ParseCandidates(r.Value); err == nil {
			h.offer(c, offered)
		}
	case wire.RecordReport:
		var report wire.Report
		if report, err = wire.ParseReport(r.Value); err == nil {
			h.report(now, c, report)
		}
	case wire.RecordRelay:
		var l wire.Relay
		if l, err = wire.ParseRelay(r.Value); err == nil {
			h.forward(now, c, l)
		}
	}
	if err != nil {
		h.drops[dropRecord]++
	}
}

// offer takes a node's candidates: those that can be an address of a host.
func (h *hub) offer(c *client, offered []wire.Candidate) {
	var kept []wire.Candidate
	for _, k := range offered {
		if a := k.At.Addr(); a.IsLoopback() && !c.isLoopback() || a.IsMulticast() || a.IsUnspecified() || k.At.Port() == 0 ||
			k.Kind == wire.CandidateReflexive || k.Kind == wire.CandidateRelay || len(kept) == wire.MaxCandidates-2 {
			continue // two places are for what we see ourselves
		}
		kept = append(kept, k)
	}
	if !equal(kept, c.offered) {
		c.offered, h.changed = kept, true
	}
}

// isLoopback reports whether we see the client on this very host.
func (c *client) isLoopback() bool {
	return c.at[0].outside.Addr().IsLoopback() || c.at[1].outside.Addr().IsLoopback()
}

func equal(a, b []wire.Candidate) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// A finding is what a node reported of a peer, and when the two were last told
// to send to each other because of it.
type finding struct {
	wire.Finding
	punched time.Time
}

// maxFindings is how many pairs of one client the server remembers; punchEvery
// is how often a pair without a direct path is told to try together.
const (
	maxFindings = 1024
	punchEvery  = 10 * time.Second
)

// report takes what a node found. Two nodes without a direct path are told to
// send to each other at the same time.
func (h *hub) report(now time.Time, c *client, all wire.Report) {
	if c.findings == nil {
		c.findings = map[wire.ID]finding{}
	}
	for _, f := range all {
		peer := h.clients[f.Peer]
		if peer == nil || peer == c {
			continue
		}
		old, known := c.findings[f.Peer]
		if !known && len(c.findings) >= maxFindings {
			continue
		}
		if f.State != wire.StateDirect && peer.sonde && now.Sub(old.punched) >= punchEvery {
			old.punched = now
			h.punch(c, []*client{peer})
			h.punch(peer, []*client{c})
		}
		c.findings[f.Peer] = finding{f, old.punched}
	}
}

// isFull reports whether nobody more can be admitted from an address.
func (h *hub) isFull(a netip.Addr) bool {
	return len(h.clients) >= h.limits.clients() || h.sites[admit.Site(a)] >= h.limits.perSite()
}

// admit puts a client into the table, or gives one that is there its new
// address: it may have two, one of each family.
func (h *hub) admit(now time.Time, r registration) {
	c, fam := h.clients[r.who.id], family(r.who.at.Addr())
	if old := h.at[r.who.at]; old != nil && old != c {
		h.remove(old, "gave way to another at its address")
	}
	switch {
	case c == nil && h.isFull(r.who.at.Addr()):
		h.drops[dropLimit]++
		return
	case c == nil:
		c = &client{id: r.who.id, order: h.order, admitted: now}
		h.order++
		h.clients[c.id] = c
		h.fresh = append(h.fresh, c)
		h.log.Info("Received packet from a new client", "client", r.who.at, "id", c.id)
	default:
		h.leaveAddress(c, fam)
		h.log.Info("client moves", "client", r.who.at, "id", c.id)
	}
	c.at[fam] = address{r.who.at, r.via, now}
	c.local = r.local
	h.at[r.who.at] = c
	h.sites[admit.Site(r.who.at.Addr())]++
	h.changed = true
	for _, record := range r.records {
		h.record(now, c, &c.at[fam], record)
	}
}

// leaveAddress frees the address that a client has of a family.
func (h *hub) leaveAddress(c *client, fam int) {
	a := c.at[fam].outside
	if !a.IsValid() {
		return
	}
	delete(h.at, a)
	site := admit.Site(a.Addr())
	if h.sites[site]--; h.sites[site] <= 0 {
		delete(h.sites, site)
	}
	c.at[fam] = address{}
}

// remove takes a client out of the table.
func (h *hub) remove(c *client, why string) {
	h.log.Info("client "+why, "client", c.main().outside, "id", c.id)
	for fam := range c.at {
		h.leaveAddress(c, fam)
	}
	delete(h.clients, c.id)
	for _, other := range h.clients {
		delete(other.findings, c.id)
	}
	h.changed = true
}

// main is the address that the client was heard at last.
func (c *client) main() *address {
	if c.at[1].heard.After(c.at[0].heard) {
		return &c.at[1]
	}
	return &c.at[0]
}

// expire drops who was not heard for a while.
func (h *hub) expire(now time.Time) {
	for _, c := range h.clients {
		for fam := range c.at {
			if a := c.at[fam]; a.outside.IsValid() && now.Sub(a.heard) > expiry {
				h.leaveAddress(c, fam)
				h.changed = true
			}
		}
		if !c.main().outside.IsValid() {
			h.remove(c, "is expired")
		}
	}
}
