package mesh

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sonde-net/sonde/internal/stat"
	"github.com/sonde-net/sonde/mesh/wire"
	"github.com/sonde-net/sonde/result"
)

// How a peer is looked for and lost.
const (
	roundLength  = 5 * time.Second
	relayAfter   = 2 * time.Second  // without a direct path
	suspectAfter = 3 * time.Second  // without an echo
	deadAfter    = 10 * time.Second // without an echo
	helloEvery   = 30 * time.Second
	maxTries     = 24
)

// checkTimes are when the checks of a round leave; then they leave each
// checkEvery until the round is over.
var checkTimes = []time.Duration{0, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond}

const checkEvery = 500 * time.Millisecond

// roundWaits are from the start of a round to that of the next, while there is no
// direct path and the server does not say so before; then it is roundEvery.
var roundWaits = []time.Duration{10 * time.Second, 20 * time.Second}

const roundEvery = 60 * time.Second

// A peer is a listed client or node.
type peer struct {
	key    peerKey
	run    result.ID
	listed time.Time
	id     wire.ID
	hasID  bool
	sonde  bool // knows records
	self   bool // it is we
	name   string
	nat    natKind

	tries  []*try
	use    *try  // the direct path; nil if there is none
	via    *home // relays, while there is none
	state  wire.State
	reason wire.Reason
	since  time.Time // of state
	news   bool      // the servers are to be told

	nonce    uint64
	hasNonce bool
	begun    time.Time        // of the search for a path
	round    int              // rounds since then
	roundAt  time.Time        // the round began, or will
	checked  int              // checks of the round that have left
	guesses  []netip.AddrPort // that nobody listed, of the round

	checks       checkRing
	checkNumber  uint32
	sequence     uint32
	bulkNumber   uint32 // the sequence of packets of bulk transfer
	relayed      bucket // of bulk transfer by way of a server, bits
	pingsArrived uint64
	pinged       time.Time
	helloed      time.Time
	echoed       time.Time // the latest echo on the path in use
	unanswered   int       // pings since then
	interval     time.Time // the latest Interval
	intervals    int

	tally tally
	inbox inbox

	fresh   freshness // of its packets
	counter uint32    // of ours
}

// title is what a person knows the peer by.
func (p *peer) title() string { return cmp.Or(p.name, p.key.at.String()) }

// A try is an address of a peer.
type try struct {
	wire.Candidate
	works time.Time // the latest echo; zero if none
	rtt   time.Duration
}

// checkRing remembers checks: which address each went to.
type checkRing struct {
	ring [128]struct {
		token uint64
		to    netip.AddrPort
		at    time.Time
	}
	next int
}

func (r *checkRing) fresh(now time.Time, to netip.AddrPort) uint64 {
	e := &r.ring[r.next%len(r.ring)]
	r.next++
	e.token, e.to, e.at = random(), to, now
	return e.token
}

// match returns when the check left that an echo answers, and where it went.
func (r *checkRing) match(echo uint64) (at time.Time, to netip.AddrPort, ok bool) {
	for _, e := range r.ring {
		if e.token == echo && !e.at.IsZero() {
			return e.at, e.to, true
		}
	}
	return time.Time{}, netip.AddrPort{}, false
}

func (p *peer) tryAt(at netip.AddrPort) *try {
	for _, t := range p.tries {
		if t.At == at {
			return t
		}
	}
	return nil
}

// offer makes the listed candidates those to try, peer-reflexive ones stay. It
// is true if one is new.
func (p *peer) offer(listed []wire.Candidate, families [2]bool) bool {
	isNew := false
	for _, c := range listed {
		if t := p.tryAt(c.At); t != nil {
			if k := (&try{Candidate: c}); k.preference() > t.preference() {
				t.Candidate = c // the same address, but more is known of it
			}
			continue
		}
		if !families[family(c.At.Addr())] || c.At.Port() == 0 || len(p.tries) >= maxTries {
			continue
		}
		p.tries = append(p.tries, &try{Candidate: c})
		isNew = true
	}
	p.tries = slices.DeleteFunc(p.tries, func(t *try) bool {
		return t != p.use && t.works.IsZero() && t.Kind != wire.CandidatePeer &&
			!slices.ContainsFunc(listed, func(c wire.Candidate) bool { return c.At == t.At })
	})
	return isNew
}

// hasRoom makes room for another address: those that a peer once came from and
// that never worked give way.
func (p *peer) hasRoom() bool {
	if len(p.tries) >= maxTries {
		p.tries = slices.DeleteFunc(p.tries, func(t *try) bool {
			return t != p.use && t.Kind == wire.CandidatePeer && t.works.IsZero()
		})
	}
	return len(p.tries) < maxTries
}

// restart begins the search for a path anew.
func (p *peer) restart(now time.Time) {
	p.begun = now
	p.again(now)
}

// again begins with the first round once more, within the same search: there is
// more to try.
func (p *peer) again(now time.Time) {
	p.round, p.roundAt, p.checked, p.guesses = 0, now, 0, nil
}

// enter changes the state; it is true if it was another.
func (p *peer) enter(s wire.State, why wire.Reason, now time.Time) bool {
	if p.state == s && p.reason == why {
		return false
	}
	p.state, p.reason, p.since = s, why, now
	return true
}

// isAlive reports whether the peer has answered lately.
func (p *peer) isAlive(now time.Time) bool {
	return !p.echoed.IsZero() && now.Sub(p.echoed) < deadAfter
}

// preference orders paths that work: higher is better.
func (t *try) preference() int {
	score := 0
	switch t.Kind {
	case wire.CandidateHost:
		score = 30
	case wire.CandidateMapped:
		score = 20
	case wire.CandidateReflexive:
		score = 15
	case wire.CandidatePeer, wire.CandidatePredicted:
		score = 10
	}
	if t.At.Addr().Is6() {
		score++
	}
	return score
}

// fromPeer takes a message of a listed peer.
func (a *agent) fromPeer(now time.Time, p *peer, m *message) {
	if m.ID == a.id {
		p.self = true // our own outside address was listed
		return
	}
	p.id, p.hasID = m.ID, true
	if m.hello != nil {
		p.sonde = true
		if m.hello.Name != "" {
			p.name = m.hello.Name
		}
	}
	isNew := true
	if m.path == nil {
		isNew = p.tally.peer.Record(m.Sequence) != stat.Duplicate
	}
	switch {
	case m.text != nil:
		a.show(now, p, *m.text)
	case len(m.CC) > 0: // of a program that is neither sonde nor the original
		a.show(now, p, wire.Text{Number: random(), Text: strings.ToValidUTF8(string(m.CC), "?")})
	}
	if m.Stamp != nil {
		if m.path == nil && isNew {
			p.pingsArrived++
		}
		a.answer(now, p, m)
	}
	if m.Echo != nil {
		a.echo(now, p, m)
	}
}

// answer echoes a ping to where it came from. A check from an address that was
// not listed makes that address one to try.
func (a *agent) answer(now time.Time, p *peer, m *message) {
	var ext []wire.Body
	number := &p.sequence
	switch {
	case m.path != nil:
		number = &p.checkNumber
		ext = append(ext, wire.Path{Nonce: p.nonce, Flags: wire.PathAnswer, Seen: m.from})
	case m.times != nil:
		ext = append(ext, wire.Times{T1: m.times.T1, T2: nanoseconds(m.at), T3: nanoseconds(now), Received: uint32(p.pingsArrived)})
	}
	a.toPeer(p, m.from, m.via, &wire.Packet{Echo: m.Stamp, Ext: stream(ext...)}, number)
	if m.via == nil && p.tryAt(m.from) == nil && p.hasRoom() {
		t := &try{Candidate: wire.Candidate{Kind: wire.CandidatePeer, At: m.from}}
		p.tries = append(p.tries, t)
		a.check(now, p, t)
	}
}

// echo takes an answer to a ping or check of ours.
func (a *agent) echo(now time.Time, p *peer, m *message) {
	if a.delivered(p, *m.Echo) {
		return
	}
	if sent, to, ok := p.checks.match(*m.Echo); ok {
		if m.via == nil && m.from == to { // whoever has it from elsewhere proves nothing of this address
			a.works(now, p, m.from, now.Sub(sent))
		}
		return
	}
	answer := pong{token: *m.Echo, sequence: m.Sequence, at: m.at}
	if m.times != nil {
		answer.told = true
		answer.t1, answer.t2, answer.t3 = fromNanoseconds(m.times.T1), fromNanoseconds(m.times.T2), fromNanoseconds(m.times.T3)
		answer.pingsArrived = uint64(m.times.Received)
	}
	if !p.tally.echo(answer) {
		a.drops[dropStray]++
		return
	}
	p.echoed, p.unanswered = now, 0
}

// works notes that an address answers, and uses it if there is no better one.
func (a *agent) works(now time.Time, p *peer, at netip.AddrPort, rtt time.Duration) {
	t := p.tryAt(at)
	if t == nil && slices.Contains(p.guesses, at) && p.hasRoom() {
		t = &try{Candidate: wire.Candidate{Kind: wire.CandidatePeer, At: at}}
		p.tries = append(p.tries, t)
	}
	if t == nil {
		return // the answer came from an address that we have not sent to
	}
	t.works, t.rtt = now, rtt
	if p.use != nil && p.use != t && now.Sub(p.echoed) < suspectAfter && p.use.preference() >= t.preference() {
		return
	}
	if p.use == t {
		return
	}
	p.use, p.via, p.echoed, p.unanswered = t, nil, now, 0
	if p.enter(wire.StateDirect, wire.ReasonNone, now) {
		a.tell(now, p)
	}
}

// toPeer sends a packet to a peer, directly or by a relay.
func (a *agent) toPeer(p *peer, to netip.AddrPort, via *home, pkt *wire.Packet, number *uint32) {
	pkt.Role, pkt.Release, pkt.ID, pkt.Sequence = wire.FromClient, wire.ReleaseSonde, a.id, *number
	at := to.Addr()
	if via != nil {
		at = via.at.Addr()
	}
	b, err := a.keys.append(pkt, a.id, p.id, at, a.keys.stamp(time.Now(), &p.counter))
	if err != nil {
		a.log.Error("cannot make a packet", "peer", p.name, "err", err)
		return
	}
	*number++
	if via == nil {
		a.out(to, b)
		return
	}
	a.toServer(via, &wire.Packet{Ext: stream(wire.Report{a.finding(time.Now(), p)}, wire.Relay{Peer: p.key.id, Hops: wire.RelayHops, Inner: b})})
}

// check asks one address of a peer whether it hears us.
func (a *agent) check(now time.Time, p *peer, t *try) {
	token := p.checks.fresh(now, t.At)
	var ext []wire.Body
	number := &p.sequence
	if p.sonde && p.hasNonce {
		number = &p.checkNumber
		ext = append(ext, wire.Path{Nonce: p.nonce, Round: uint8(p.round), Flags: wire.PathCheck})
	}
	ext = append(a.greeting(now, p), ext...)
	a.toPeer(p, t.At, nil, &wire.Packet{Stamp: &token, Ext: stream(ext...)}, number)
}

// greeting is a Hello if it is time for one.
func (a *agent) greeting(now time.Time, p *peer) []wire.Body {
	if p.use != nil && now.Sub(p.helloed) < helloEvery {
		return nil
	}
	p.helloed = now
	return []wire.Body{wire.Hello{Part: wire.PartNode, Can: a.can(), Mapping: a.nat.mapping, Filtering: a.nat.filtering, Name: a.name}}
}

func nanoseconds(t time.Time) uint64     { return uint64(t.UnixNano()) }
func fromNanoseconds(n uint64) time.Time { return time.Unix(0, int64(n)) }
