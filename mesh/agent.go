package mesh

import (
	"cmp"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/sonde-net/sonde/internal/nat"
	"github.com/sonde-net/sonde/mesh/wire"
	"github.com/sonde-net/sonde/result"
)

// An agent is the state of a node: it takes datagrams and the time, and calls
// out with datagrams. It does no I/O but through out and sink, and is not safe
// for concurrent use.
type agent struct {
	id       wire.ID
	name     string
	interval time.Duration
	noRelay  bool
	observe  bool
	sink     result.Sink
	log      *slog.Logger
	out      func(to netip.AddrPort, b []byte) // by the socket for peers, and for servers if there is no other
	control  func(to netip.AddrPort, b []byte) // by the socket for servers; nil unless the node is split
	fail     func(error)                       // ends the node
	bulk     *bulk                             // moves files; nil does not

	local       netip.AddrPort
	controlPort uint16 // of the control socket
	hosts       []netip.Addr
	extra       []wire.Candidate // predicted ports of our own
	foreseen    time.Time        // when they were asked for
	nat         natKind          // zero until it is found out
	found       NATStatus
	filtering   nat.Behaviour
	mapping     *wire.Candidate // what the router maps to us; nil if nothing
	port        *MappedPort     // the same for people; nil if nothing

	started   time.Time
	left      bool
	reported  int // peers told to servers so far, to take turns
	servers   []*home
	peers     map[peerKey]*peer
	early     punches
	byAddress map[netip.AddrPort]*peer // peers that an old list gave, by what it gave
	drops     map[string]uint64
	keys      keys
	counter   uint32     // of packets to servers: one server may be several homes
	verify    *VerifyKey // nil: lists need no signature
	asks      map[wire.Ask]chan wire.Tolds
	letters   []*letter
}

// receive takes a datagram.
func (a *agent) receive(now time.Time, from netip.AddrPort, datagram []byte) {
	p, records, ok := parse(datagram, a.drops)
	if !ok {
		return
	}
	if p.Role == wire.FromServer {
		a.receiveServer(now, from, datagram, p, records, false)
		return
	}
	m := message{Packet: p, from: from, at: now, size: len(datagram)}
	if !a.read(&m, records) {
		return
	}
	peer := a.senderOf(&m)
	if peer == nil {
		a.drops[dropSource]++
		return
	}
	if a.isOurs(now, datagram, p.ID, &peer.fresh) {
		a.sort(now, peer, &m)
	}
}

// receiveServer takes what says that it is from a server.
func (a *agent) receiveServer(now time.Time, from netip.AddrPort, datagram []byte, p *wire.Packet, records []wire.Record, atControl bool) {
	i := slices.IndexFunc(a.servers, func(s *home) bool { return s.at == from })
	if i < 0 {
		a.drops[dropSource]++
		return
	}
	s := a.servers[i]
	if a.isOurs(now, datagram, noID, &s.fresh) && a.isSigned(datagram, s, records) {
		a.fromServer(now, s, p, records, atControl)
	}
}

// isOurs reports whether a datagram for us is made with our key, if we have one,
// and new.
func (a *agent) isOurs(now time.Time, datagram []byte, from wire.ID, f *freshness) bool {
	auth, ok := a.keys.check(datagram, from, a.id)
	switch {
	case !ok:
		a.drops[dropKey]++
	case a.keys.mesh != nil && !f.accept(auth, now):
		a.drops[dropReplay]++
		ok = false
	}
	return ok
}

// isSigned reports whether what a server tells of other nodes is signed, if it
// has to be, and not older than what it told before.
func (a *agent) isSigned(datagram []byte, s *home, records []wire.Record) bool {
	if a.verify == nil || !slices.ContainsFunc(records, func(r wire.Record) bool {
		return r.Type == wire.RecordList || r.Type == wire.RecordPunch
	}) {
		return true
	}
	sign, err := wire.VerifySign(datagram, a.verify.public[:], noID, a.id)
	if err != nil || sign.Time+uint64(clockDifference/time.Millisecond) < s.signed {
		a.drops[dropKey]++
		return false
	}
	s.signed = max(s.signed, sign.Time)
	return true
}

// sort hands a message to those whom it concerns.
func (a *agent) sort(now time.Time, p *peer, m *message) {
	switch {
	case len(m.bulk) == 0:
		a.fromPeer(now, p, m)
	case a.bulk == nil:
		a.drops[dropBulk]++
	default:
		a.bulk.take(a, p, m)
	}
}

// A message is a packet of a peer with its records.
type message struct {
	*wire.Packet
	from  netip.AddrPort // zero if it came by the relay
	via   *home          // who relayed it, or nil
	at    time.Time
	hello *wire.Hello
	times *wire.Times
	path  *wire.Path
	text  *wire.Text
	bulk  []wire.Record // of bulk transfer; then the rest does not count
	size  int           // of the packet, bytes
}

// read takes the records out of a packet; false if one is malformed.
func (a *agent) read(m *message, records []wire.Record) bool {
	for _, r := range records {
		var err error
		switch r.Type {
		case wire.RecordHello:
			var h wire.Hello
			h, err = wire.ParseHello(r.Value)
			m.hello = &h
		case wire.RecordTimes:
			var t wire.Times
			t, err = wire.ParseTimes(r.Value)
			m.times = &t
		case wire.RecordPath:
			var p wire.Path
			p, err = wire.ParsePath(r.Value)
			m.path = &p
		case wire.RecordText:
			var t wire.Text
			t, err = wire.ParseText(r.Value)
			m.text = &t
		case wire.RecordOffer, wire.RecordWant, wire.RecordGet, wire.RecordBlock, wire.RecordDone, wire.RecordCancel, wire.RecordHave:
			m.bulk = append(m.bulk, r)
		}
		if err != nil {
			a.drops[dropRecord]++
			return false
		}
	}
	return true
}

// senderOf finds the listed peer that a message is from: by address, or, from an
// address that nobody listed, by ID and the nonce of the pair. Nobody else is
// answered.
func (a *agent) senderOf(m *message) *peer {
	if p := a.peers[peerKey{id: m.ID}]; p != nil {
		if p.tryAt(m.from) != nil || m.path != nil && p.hasNonce && m.path.Nonce == p.nonce {
			return p
		}
	}
	return a.byAddress[m.from]
}

// relayed takes a packet that a server carried from another node.
func (a *agent) relayed(now time.Time, s *home, l wire.Relay) {
	inner, records, ok := parse(l.Inner, a.drops)
	if !ok {
		return
	}
	peer := a.peers[peerKey{id: l.Peer}]
	m := message{Packet: inner, via: s, at: now, size: len(l.Inner)}
	switch {
	case peer == nil || inner.Role != wire.FromClient || inner.ID != l.Peer:
		a.drops[dropSource]++
	case a.isOurs(now, l.Inner, inner.ID, &peer.fresh) && a.read(&m, records):
		a.sort(now, peer, &m)
	}
}

// maxPeers is how many peers a node has: as many as a server lists.
const maxPeers = 4096

// agree makes the peers those of the latest lists. The list of a silent server
// holds as long as no other server answers, and for a peer that still answers.
func (a *agent) agree(now time.Time) {
	anyUp := slices.ContainsFunc(a.servers, func(s *home) bool { return s.up })
	wanted := map[peerKey]listing{}
	for _, s := range a.servers {
		for key, l := range s.listed {
			p := a.peers[key]
			if !s.silent || !anyUp || p != nil && p.isAlive(now) {
				wanted[key] = merge(wanted[key], l)
			}
		}
	}
	for key, p := range a.peers {
		if _, ok := wanted[key]; !ok {
			a.forget(now, p, result.ReasonClientGone)
		}
	}
	for key, l := range wanted {
		p := a.peers[key]
		if p == nil && len(a.peers) >= maxPeers {
			continue
		}
		if p == nil {
			p = a.meet(now, key, l)
		}
		a.update(now, p, l)
	}
}

// merge joins what two servers say of one peer.
func merge(a, b listing) listing {
	if len(a.entry.Candidates) == 0 {
		return b
	}
	for _, c := range b.entry.Candidates {
		if !slices.ContainsFunc(a.entry.Candidates, func(k wire.Candidate) bool { return k.At == c.At }) {
			a.entry.Candidates = append(slices.Clone(a.entry.Candidates), c)
		}
	}
	return a
}

// meet begins with a peer.
func (a *agent) meet(now time.Time, key peerKey, l listing) *peer {
	p := &peer{key: key, id: key.id, hasID: key.id != wire.ID{}, sonde: !l.old, run: result.NewID(), listed: now}
	p.restart(now)
	if u, ok := a.early.take(key.id, now); ok {
		p.nonce, p.hasNonce = u.Nonce, true
	}
	p.enter(wire.StateTrying, wire.ReasonNone, now)
	a.peers[key] = p
	begin := result.Begin{Head: a.head(p, now), Transport: result.UDP, Direction: result.Both, Target: l.entry.Name, Local: a.local, Streams: 1}
	if at, ok := reflexive(l.entry); ok {
		begin.Peer = at
	}
	a.sink.Put(begin)
	return p
}

// update takes what is listed of a peer now.
func (a *agent) update(now time.Time, p *peer, l listing) {
	p.name, p.nat = l.entry.Name, natKind{l.entry.Mapping, l.entry.Filtering}
	if p.offer(l.entry.Candidates, a.families()) && p.use == nil {
		p.again(now) // the relay does not wait longer for it
	}
	if l.old {
		for _, c := range l.entry.Candidates {
			a.byAddress[c.At] = p
		}
	}
}

// families says which families our socket can send by.
func (a *agent) families() [2]bool {
	if l := a.local.Addr(); !l.IsUnspecified() {
		return [2]bool{l.Is4(), l.Is6()}
	}
	has := [2]bool{}
	for _, h := range a.hosts {
		has[family(h)] = true
	}
	for _, s := range a.servers {
		has[family(s.at.Addr())] = true
	}
	return has
}

// forget ends a peer.
func (a *agent) forget(now time.Time, p *peer, why string) {
	delete(a.peers, p.key)
	for at, other := range a.byAddress {
		if other == p {
			delete(a.byAddress, at)
		}
	}
	p.tally.settle(now)
	a.sink.Put(result.End{
		Head: a.head(p, now), Elapsed: now.Sub(p.listed), Reason: why,
		RoundTrips: []result.RoundTrips{p.tally.result(a.interval)},
	})
}

// leave tells the servers that we go. Peers are told by them.
func (a *agent) leave() {
	if a.left {
		return
	}
	a.left = true
	for _, s := range a.servers {
		a.sendServer(s, &wire.Packet{Local: a.localFor(s), Shutdown: true}, false)
	}
}

// end closes the runs of all peers.
func (a *agent) end(now time.Time) {
	for _, p := range a.sorted() {
		a.forget(now, p, result.ReasonDone)
	}
	a.post(now) // nobody is there any more
}

// sorted is the peers in a fixed order: as they were met.
func (a *agent) sorted() []*peer {
	all := make([]*peer, 0, len(a.peers))
	for _, p := range a.peers {
		all = append(all, p)
	}
	slices.SortFunc(all, func(p, q *peer) int {
		return cmp.Or(p.listed.Compare(q.listed), slices.Compare(p.key.id[:], q.key.id[:]), p.key.at.Compare(q.key.at))
	})
	return all
}

// due does what the time asks for.
func (a *agent) due(now time.Time) {
	if a.left {
		return
	}
	if a.started.IsZero() {
		a.started = now
	}
	a.watch(now)
	if a.isSplit() {
		a.leaveUnsplit(now)
	}
	a.post(now)
	for _, p := range a.peers {
		if !p.self && !a.observe {
			a.tend(now, p)
		}
	}
}

func (a *agent) head(p *peer, now time.Time) result.Head {
	return result.Head{Run: p.run, Time: now, Protocol: Protocol, Role: result.Sender}
}

// note tells of something that concerns no single peer.
func (a *agent) note(level result.Level, code, text, hint string) {
	a.sink.Put(result.Note{
		Head:  result.Head{Time: time.Now(), Protocol: Protocol, Role: result.Sender},
		Level: level, Code: code, Text: text, Hint: hint,
	})
}
