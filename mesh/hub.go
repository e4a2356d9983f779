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
	started time.Time
	limits  Limits
	log     *slog.Logger
	out     func(via door, to netip.AddrPort, b []byte)
	relay   *relaying // nil: does not relay
	keys    keys
	counter uint32 // of packets to those who are not in the table
	reflect []netip.AddrPort

	seal         seal
	lobby        lobby
	strangers    *buckets
	allStrangers bucket
	growing      *buckets // answers that are longer than what they answer
	allGrowing   bucket

	clients  map[wire.ID]*client
	at       map[netip.AddrPort]*client
	sites    map[netip.Addr]int // addresses in at, by site
	order    uint64             // clients admitted so far
	sequence uint32             // packets sent to anybody so far

	findings   int // of all clients
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
	control  [2]address // of its socket for servers, if it has one beside that for peers
	stamps   stamps
	listed   time.Time // the latest list left
	waits    bool      // is in hub.waiting
	findings map[wire.ID]finding
	fresh    freshness // of its packets
	counter  uint32    // of ours
	admitted time.Time

	sent, received, acked uint64
	rtt                   *time.Duration // the latest; nil before the first
}

// An address is where a client hears, and where our packets to it go out.
type address struct {
	outside netip.AddrPort // zero if it has none of the family
	via     door
	heard   time.Time
	told    *uint64 // its latest MYTS: that we know it proves that we are who it registered with
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

func newHub(now time.Time, l Limits, log *slog.Logger, out func(door, netip.AddrPort, []byte)) *hub {
	h := &hub{
		started: now, limits: l, log: log, seal: newSeal(now), strangers: newBuckets(), growing: newBuckets(),
		clients: map[wire.ID]*client{}, at: map[netip.AddrPort]*client{}, sites: map[netip.Addr]int{},
		drops: map[string]uint64{},
		// At most one a second, so a server that starts again goes on above.
		generation: uint32(now.Unix()),
	}
	h.out = func(via door, to netip.AddrPort, b []byte) {
		h.packets++
		h.bytes += uint64(len(b))
		out(via, to, b)
	}
	return h
}

// receive takes a datagram.
func (h *hub) receive(now time.Time, via door, from netip.AddrPort, datagram []byte) {
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
	auth, ok := h.isOurs(now, datagram, p.ID)
	if !ok {
		return
	}
	c := h.at[from]
	if c == nil || c.id != p.ID {
		h.stranger(now, via, from, p, records, len(datagram))
		if c := h.clients[p.ID]; c != nil && h.keys.mesh != nil && c.fresh.seen == 0 {
			c.fresh.accept(auth, now) // it is admitted by this one
		}
		return
	}
	a := c.addressAt(from)
	a.heard, a.via = now, via
	c.received++
	h.known(now, c, a, p, records)
}

// isOurs reports whether a datagram is made with our key, if we have one, and
// new. Of somebody who is not in the table only the time can be judged; nothing
// is kept of him.
func (h *hub) isOurs(now time.Time, datagram []byte, from wire.ID) (wire.Auth, bool) {
	auth, ok := h.keys.check(datagram, from, noID)
	switch {
	case !ok:
		h.drops[dropKey]++
		return auth, false
	case h.keys.mesh == nil:
		return auth, true
	}
	if c := h.clients[from]; c != nil {
		ok = c.fresh.accept(auth, now)
	} else {
		ok = isNear(auth.Time, now)
	}
	if !ok {
		h.drops[dropReplay]++
	}
	return auth, ok
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
	if p.Local.IsValid() && !c.isControl(a) {
		c.local = p.Local
	}
	if p.Stamp != nil {
		a.told = p.Stamp
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
	if a.via.socket >= len(h.reflect) {
		return f
	}
	own := h.reflect[a.via.socket]
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
func (h *hub) send(a *address, p *wire.Packet) int { return h.sendAs(a, p, false) }

// sendSigned is send for what tells of other nodes.
func (h *hub) sendSigned(a *address, p *wire.Packet) int { return h.sendAs(a, p, true) }

func (h *hub) sendAs(a *address, p *wire.Packet, isSigned bool) int {
	p.Role, p.Release, p.Sequence = wire.FromServer, wire.ReleaseSonde, h.sequence
	if p.Echo == nil && len(p.Ext) > 0 {
		p.Echo = a.told // nodes take records with it only
	}
	var err error
	if isSigned {
		err = h.keys.signed(p, p.ID, a.outside.Addr(), time.Now())
	}
	var b []byte
	if err == nil {
		b, err = h.keys.append(p, noID, p.ID, a.outside.Addr(), h.keys.stamp(time.Now(), h.counterOf(p.ID)))
	}
	if err != nil {
		// Only what we made wrongly; an operator should hear of it.
		h.log.Error("cannot make a packet", "client", a.outside, "err", err)
		return 0
	}
	h.sequence++
	h.out(a.via, a.outside, b)
	return len(b)
}

// counterOf counts the packets to a client.
func (h *hub) counterOf(id wire.ID) *uint32 {
	if c := h.clients[id]; c != nil {
		return &c.counter
	}
	return &h.counter
}

// record takes what a node tells beyond the original protocol.
func (h *hub) record(now time.Time, c *client, a *address, r wire.Record) {
	var err error
	switch r.Type {
	case wire.RecordHello, wire.RecordCandidates:
		if c.isControl(a) {
			return
		}
	}
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
	case wire.RecordAsk:
		var q wire.Ask
		if q, err = wire.ParseAsk(r.Value); err == nil {
			h.ask(now, c, a, q)
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
	families := 0
	for _, k := range offered {
		if !c.mayBeAt(k.At.Addr(), &families) {
			continue
		}
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

// unseenCandidates is how many public addresses of a family over which we do not
// see a client it may name.
const unseenCandidates = 2

// mayBeAt reports whether a public address that a client names can be one of its
// own: everybody who is told of it sends there, and it may be a victim's. Over
// IPv4 it is the one that we see, over IPv6 one beside it. Of a family over which
// we do not see it, a few are believed, which unseen counts.
func (c *client) mayBeAt(a netip.Addr, unseen *int) bool {
	seen := c.at[family(a)].outside.Addr()
	switch {
	case !isPublic(a) || c.isLoopback(): // who is on this very host is seen at no address of it
		return true
	case !seen.IsValid():
		*unseen++
		return a.Is6() && *unseen <= unseenCandidates
	case a.Is4():
		return a == seen
	}
	return admit.Site(a) == admit.Site(seen)
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
	punched  time.Time
	reported time.Time
}

// maxFindings is how many pairs of one client the server remembers; punchEvery
// is how often a pair without a direct path is told to try together.
const (
	allFindings = 1 << 18 // of all clients
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
		if !known && (len(c.findings) >= maxFindings || h.findings >= allFindings) {
			continue
		}
		if !known {
			h.findings++
		}
		if f.State != wire.StateDirect && peer.sonde && now.Sub(old.punched) >= punchEvery {
			old.punched = now
			h.punch(c, []*client{peer})
			h.punch(peer, []*client{c})
		}
		c.findings[f.Peer] = finding{f, old.punched, now}
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
		h.giveWay(old, r.who.at)
	}
	if r.isControl() {
		h.admitControl(now, r)
		return
	}
	switch {
	case c == nil && h.isFull(r.who.at.Addr()):
		h.drops[dropLimit]++
		return
	case c == nil:
		c = &client{id: r.who.id, order: h.order, admitted: now, counter: h.counter}
		h.order++
		h.clients[c.id] = c
		h.fresh = append(h.fresh, c)
		h.log.Info("Received packet from a new client", "client", r.who.at, "id", c.id)
	default:
		h.log.Info("client moves", "client", r.who.at, "id", c.id)
	}
	h.enter(now, c, &c.at[fam], r)
	c.local = r.local
	h.changed = true
	for _, record := range r.records {
		h.record(now, c, &c.at[fam], record)
	}
}

// remove takes a client out of the table.
func (h *hub) remove(c *client, why string) {
	h.log.Info("client "+why, "client", c.main().outside, "id", c.id)
	for fam := range c.at {
		h.leaveAddress(&c.at[fam])
		h.leaveAddress(&c.control[fam])
	}
	delete(h.clients, c.id)
	h.findings -= len(c.findings)
	for _, other := range h.clients {
		if _, ok := other.findings[c.id]; ok {
			delete(other.findings, c.id)
			h.findings--
		}
	}
	h.changed = true
}

// expire drops who was not heard for a while.
func (h *hub) expire(now time.Time) {
	for _, c := range h.clients {
		for fam := range c.at {
			if a := &c.at[fam]; a.outside.IsValid() && now.Sub(a.heard) > expiry {
				h.leaveAddress(a)
				h.changed = true
			}
			if a := &c.control[fam]; now.Sub(a.heard) > expiry {
				h.leaveAddress(a)
			}
		}
		if !latest(&c.at).outside.IsValid() {
			h.remove(c, "is expired")
		}
	}
}
