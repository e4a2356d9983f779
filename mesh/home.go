package mesh

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/sonde-net/sonde/mesh/wire"
	"github.com/sonde-net/sonde/result"
)

// maxServers is how many servers a node uses.
const maxServers = 16

// A home is a server that the node registers with, at one address.
type home struct {
	name   string
	at     netip.AddrPort
	sonde  bool // it has sent records
	hello  wire.Hello
	up     bool // it was heard in time
	silent bool // it was said that it is silent

	control      bool           // our socket for servers is in use
	controlled   time.Time      // when it was answered last
	controlAsked time.Time      // when it was registered first
	controlSeen  netip.AddrPort // it, as the server sees it
	listsOld     time.Time      // when it first sent a list as of old

	reflected bool   // it has told its other port, if any
	otherPort uint16 // where it listens too; 0 if nowhere

	fresh  freshness
	signed uint64 // ms, the latest time of a signature

	sequence              uint32
	registered            time.Time
	heard                 time.Time
	stamps                stamps
	seen                  netip.AddrPort
	rtt                   *time.Duration
	sent, received, acked uint64

	lists      map[uint32]*pages // not yet whole, by generation
	generation uint32            // of the list in use
	adopted    time.Time         // when a list was taken
	hasList    bool
	listed     map[peerKey]listing // the latest whole list
}

// pages are the parts of a list that have come.
type pages struct {
	parts map[uint8][]wire.Entry
	since time.Time
}

// A listing is what a list says of a peer.
type listing struct {
	entry wire.Entry
	old   bool // from the server's list of old: address only
}

// A peerKey names a peer: by its ID, or the address an old list gave.
type peerKey struct {
	id wire.ID
	at netip.AddrPort
}

// capabilities are what our nodes can do.
const capabilities = wire.CanReport | wire.WantsRelay | wire.CanBulk

// register tells a server that we are here.
func (a *agent) register(now time.Time, s *home) {
	s.registered = now
	token := s.stamps.fresh(now)
	hello := wire.Hello{Part: wire.PartNode, Can: a.can(), Mapping: a.nat.mapping, Filtering: a.nat.filtering, Name: a.name}
	if a.observe {
		hello.Part = wire.PartControl
	}
	bodies := []wire.Body{hello, wire.Candidates(a.candidates())}
	var news []wire.Body
	if s.sonde {
		if r := a.report(now); len(r) > 0 {
			news = append(news, r)
		}
	}
	switch {
	case s.control:
		a.registerControl(now, s, news...)
	case a.isSplit() && s.joins():
		a.registerControl(now, s)
		fallthrough
	default:
		bodies = append(bodies, news...)
	}
	s.sent++
	a.sendServer(s, &wire.Packet{Local: a.localFor(s), Stamp: &token, Ext: stream(bodies...)}, false)
}

// registerAll tells all servers that answer what is new of us.
func (a *agent) registerAll(now time.Time) {
	for _, s := range a.servers {
		if s.up {
			a.register(now, s)
		}
	}
}

// localFor is our own address as a registration names it: of the server's
// family, and never none, which would kill an original server later.
func (a *agent) localFor(s *home) netip.AddrPort {
	for _, h := range a.hosts {
		if family(h) == family(s.at.Addr()) {
			return netip.AddrPortFrom(h, a.local.Port())
		}
	}
	if s.at.Addr().Is4() {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), a.local.Port())
	}
	return netip.AddrPortFrom(netip.IPv6Unspecified(), a.local.Port())
}

// candidates are the addresses of our own that others may try.
func (a *agent) candidates() []wire.Candidate {
	var all []wire.Candidate
	for _, h := range a.hosts {
		all = append(all, wire.Candidate{Kind: wire.CandidateHost, Priority: 100, At: netip.AddrPortFrom(h, a.local.Port())})
	}
	if a.mapping != nil {
		all = append(all, *a.mapping)
	}
	all = append(all, a.extra...)
	return all[:min(len(all), wire.MaxCandidates)]
}

// toServer sends by the socket for servers, if that is in use.
func (a *agent) toServer(s *home, p *wire.Packet) { a.sendServer(s, p, s.control) }

// sendServer sends to a server, by the control socket or by that for peers.
func (a *agent) sendServer(s *home, p *wire.Packet, byControl bool) {
	p.Role, p.Release, p.ID, p.Sequence = wire.FromClient, wire.ReleaseSonde, a.id, s.sequence
	b, err := a.keys.append(p, a.id, noID, s.at.Addr(), a.keys.stamp(time.Now(), &a.counter))
	if err != nil {
		a.log.Error("cannot make a packet", "server", s.at, "err", err)
		return
	}
	s.sequence++
	if byControl {
		a.control(s.at, b)
		return
	}
	a.out(s.at, b)
}

// fromServer takes a packet of a server, which came to the control socket or to
// that for peers.
func (a *agent) fromServer(now time.Time, s *home, p *wire.Packet, records []wire.Record, atControl bool) {
	s.received++
	s.heard = now
	if !s.up {
		s.up, s.silent = true, false
		a.note(result.Info, "server_up", fmt.Sprintf("server %s answers", s.name), "")
	}
	// Records count only if their sender knows what we registered with: anybody can
	// send in a server's name, and what is listed is sent to.
	isAsked := p.Echo != nil && s.stamps.has(*p.Echo)
	if isAsked && !slices.ContainsFunc(records, func(r wire.Record) bool { return r.Type != wire.RecordReflect }) {
		if rtt, ok := s.stamps.match(*p.Echo, now); ok {
			s.acked++
			s.rtt = &rtt
		}
	}
	if len(records) > 0 && !isAsked {
		a.drops[dropStray]++
		records = nil
	}
	a.seenAs(s, p.Seen, atControl)
	if p.Stamp != nil {
		a.sendServer(s, &wire.Packet{Echo: p.Stamp}, atControl) // it proves that we hear there
	}
	if p.Whole && len(p.Ext) == 0 && a.verify == nil && !s.sonde {
		a.takeOld(now, s, p.Peers)
	}
	for _, r := range records {
		a.serverRecord(now, s, r, atControl)
	}
	if atControl && len(records) > 0 {
		a.controlWorks(now, s)
	}
}

// seenAs takes how a server sees one of our sockets.
func (a *agent) seenAs(s *home, seen netip.AddrPort, atControl bool) {
	last := &s.seen
	if atControl {
		last = &s.controlSeen
	}
	if seen.IsValid() && seen != *last {
		*last = seen
		a.log.Info("Server sees us as", "server", s.at, "address", seen)
	}
}

// takeOld takes a whole list as of old. To a split node it says that the server
// cannot join its sockets.
func (a *agent) takeOld(now time.Time, s *home, peers []wire.Listed) {
	switch {
	case !a.isSplit():
		a.adoptOld(now, s, peers)
	case s.listsOld.IsZero():
		s.listsOld = now
	}
}

func (a *agent) serverRecord(now time.Time, s *home, r wire.Record, atControl bool) {
	var err error
	switch r.Type {
	case wire.RecordHello:
		var h wire.Hello
		if h, err = wire.ParseHello(r.Value); err == nil && h.Part == wire.PartServer {
			s.sonde, s.hello = true, h
		}
	case wire.RecordList:
		var l wire.List
		if l, err = wire.ParseList(r.Value); err == nil {
			a.takePage(now, s, l)
		}
	case wire.RecordPunch:
		var u wire.Punch
		if u, err = wire.ParsePunch(r.Value); err == nil {
			a.punch(now, u)
		}
	case wire.RecordReflect:
		var f wire.Reflect
		if f, err = wire.ParseReflect(r.Value); err == nil {
			s.reflected, s.otherPort = true, f.OtherPort
			a.seenAs(s, f.Seen, atControl)
		}
	case wire.RecordTold:
		var t wire.Tolds
		if t, err = wire.ParseTolds(r.Value); err == nil {
			a.told(t)
		}
	case wire.RecordRelay:
		var l wire.Relay
		if l, err = wire.ParseRelay(r.Value); err == nil {
			a.relayed(now, s, l)
		}
	}
	if err != nil {
		a.drops[dropRecord]++
	}
}

// adoptOld takes a whole list as of old. Of a client on our own outside address
// both addresses are tried.
func (a *agent) adoptOld(now time.Time, s *home, peers []wire.Listed) {
	all := map[peerKey]listing{}
	for _, l := range peers {
		if l.Outside == s.seen {
			continue // we ourselves
		}
		e := wire.Entry{Flags: wire.EntryOld, Candidates: []wire.Candidate{{Kind: wire.CandidateReflexive, Priority: 50, At: l.Outside}}}
		if l.Inside.IsValid() {
			e.Candidates = append(e.Candidates, wire.Candidate{Kind: wire.CandidateHost, Priority: 100, At: l.Inside})
		}
		all[peerKey{at: l.Outside}] = listing{e, true}
	}
	s.listed, s.hasList = all, true
	a.agree(now)
}

// takePage takes a page of a list; the list counts once all its pages are here.
func (a *agent) takePage(now time.Time, s *home, l wire.List) {
	if s.hasList && int32(l.Generation-s.generation) < 0 && now.Sub(s.adopted) < expiry {
		return // an old list that came late; after a while it is the server's clock that was set
	}
	g := s.lists[l.Generation]
	if g == nil || len(g.parts) > 0 && now.Sub(g.since) > registerEvery {
		g = &pages{parts: map[uint8][]wire.Entry{}, since: now}
		if len(s.lists) > 4 {
			clear(s.lists)
		}
		s.lists[l.Generation] = g
	}
	g.parts[l.Page] = l.Entries
	if len(g.parts) < int(l.Pages) {
		return
	}
	all := map[peerKey]listing{}
	for _, entries := range g.parts {
		for _, e := range entries {
			switch {
			case e.ID == a.id || e.Flags&wire.EntryGone != 0:
			case e.Flags&wire.EntryOld != 0:
				if at, ok := reflexive(e); ok {
					all[peerKey{at: at}] = listing{e, true}
				}
			default:
				all[peerKey{id: e.ID}] = listing{e, false}
			}
		}
	}
	clear(s.lists)
	s.listed, s.hasList, s.generation, s.adopted = all, true, l.Generation, now
	a.agree(now)
}

func reflexive(e wire.Entry) (netip.AddrPort, bool) {
	i := slices.IndexFunc(e.Candidates, func(c wire.Candidate) bool { return c.Kind == wire.CandidateReflexive })
	if i < 0 {
		return netip.AddrPort{}, false
	}
	return e.Candidates[i].At, true
}

// newsEvery is how often a node registers while it has news of a peer.
const newsEvery = time.Second

func (a *agent) hasNews() bool {
	for _, p := range a.peers {
		if p.news && p.hasID && !p.self {
			return true
		}
	}
	return false
}

// watch registers where it is time, and says which servers fall silent.
func (a *agent) watch(now time.Time) {
	for _, s := range a.servers {
		every := registerEvery
		if s.heard.IsZero() && s.sent < 5 {
			every = time.Second // the first packets may be lost
		}
		if s.up && s.sonde && now.Sub(s.registered) >= newsEvery && a.hasNews() {
			every = newsEvery
		}
		if s.registered.IsZero() || now.Sub(s.registered) >= every {
			a.register(now, s)
		}
		a.watchControl(now, s)
		since := s.heard
		if since.IsZero() {
			since = a.started
		}
		if !s.silent && now.Sub(since) > serverSilence {
			s.silent, s.up, s.sonde = true, false, false // it may come back as an original one
			a.serverLost(s)
		}
	}
}

// serverLost says which server is left, if any.
func (a *agent) serverLost(lost *home) {
	for _, s := range a.servers {
		if s.up {
			a.note(result.Warning, "server_silent", fmt.Sprintf("server %s is silent for %v; going on with %s", lost.name, serverSilence, s.name), "")
			return
		}
	}
	a.note(result.Warning, "no_server", fmt.Sprintf("server %s is silent for %v; no server is left, the last list stays", lost.name, serverSilence),
		"check that the server runs and that UDP to it is not blocked")
}
