package mesh

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/sonde-net/sonde/mesh/wire"
	"github.com/sonde-net/sonde/result"
)

// tend does what the time asks for one peer: checks of paths, the measured ping,
// the interval.
func (a *agent) tend(now time.Time, p *peer) {
	p.tally.settle(now)
	a.judge(now, p)
	a.search(now, p)
	if now.Sub(p.pinged) >= a.interval && (p.use != nil || p.via != nil) {
		a.ping(now, p)
	}
	a.putInterval(now, p)
}

// judge gives up a path that is dead, and chooses what to do without one.
func (a *agent) judge(now time.Time, p *peer) {
	if p.use != nil {
		quiet := now.Sub(p.echoed)
		switch {
		case quiet > deadAfter && p.unanswered >= 3:
			p.use.works = time.Time{}
			p.use = nil
			p.restart(now)
			if p.enter(wire.StateTrying, wire.ReasonNone, now) {
				a.tell(now, p)
			}
		case quiet > suspectAfter && p.unanswered >= 3 && now.Sub(p.roundAt) > roundLength:
			p.again(now) // others may work
		}
		return
	}
	if p.state == wire.StateRelay || p.state == wire.StateFailed && p.reason != wire.ReasonRelayRefused {
		// More may be known by now of the NATs.
		if why := a.reason(p); why != p.reason {
			p.reason = why
			a.tell(now, p)
		}
	}
	looked := now.Sub(p.begun)
	switch relay := a.relayFor(now, p); {
	case relay != nil && p.via == nil && looked > relayAfter:
		p.via, p.echoed, p.unanswered = relay, now, 0
		if p.enter(wire.StateRelay, a.reason(p), now) {
			a.tell(now, p)
		}
	case p.via != nil && now.Sub(p.echoed) > deadAfter:
		// The relay does not carry: refused, or the peer is gone.
		p.via = nil
		p.restart(now)
		if p.enter(wire.StateFailed, wire.ReasonRelayRefused, now) {
			a.tell(now, p)
		}
	case p.via == nil && p.state == wire.StateTrying && now.Sub(p.roundAt) > roundLength:
		if p.enter(wire.StateFailed, a.reason(p), now) {
			a.tell(now, p)
		}
	}
}

// relayFor is a server that can carry packets to the peer, or nil.
func (a *agent) relayFor(now time.Time, p *peer) *home {
	refused := p.state == wire.StateFailed && p.reason == wire.ReasonRelayRefused && now.Sub(p.since) < roundEvery
	if a.noRelay || !p.sonde || p.key.id == (wire.ID{}) || refused {
		return nil
	}
	for _, s := range a.servers {
		if _, listed := s.listed[p.key]; listed && s.up && s.sonde && s.hello.Can&wire.OffersRelay != 0 {
			return s
		}
	}
	return nil
}

// reason is why there is no direct path, as far as it can be known.
func (a *agent) reason(p *peer) wire.Reason {
	if len(p.tries) == 0 {
		return wire.ReasonFamilies
	}
	if _, why := outlook(a.nat, p.nat); why != wire.ReasonNone {
		return why
	}
	if !p.sonde {
		return wire.ReasonOldPeer
	}
	return wire.ReasonNoAnswer
}

// search sends the checks that are due. An old peer is checked all the time: it
// may just have opened its side by a ping of its own.
func (a *agent) search(now time.Time, p *peer) {
	inRound := now.Sub(p.roundAt)
	if inRound < 0 {
		return
	}
	if inRound > roundLength {
		if p.use == nil {
			a.nextRound(now, p)
		}
		return
	}
	due := checkEvery * time.Duration(p.checked-len(checkTimes)+1)
	if p.checked < len(checkTimes) {
		due = checkTimes[p.checked]
	}
	// With a path in use only the start of the first round looks for a better one.
	if inRound < due || p.use != nil && now.Sub(p.echoed) < suspectAfter && p.checked >= len(checkTimes) {
		return
	}
	p.checked++
	for _, t := range p.tries {
		if t != p.use && (t.Kind != wire.CandidatePredicted || a.needsForetold(now, p)) {
			a.check(now, p, t)
		}
	}
	for _, at := range p.guesses {
		a.check(now, p, &try{Candidate: wire.Candidate{Kind: wire.CandidatePredicted, At: at}})
	}
}

// needsForetold reports whether the ports that the peer's NAT may give are to be
// tried. They are many, and a path at one of them is no better than any other.
func (a *agent) needsForetold(now time.Time, p *peer) bool {
	return a.nat.canHit(p.nat) && (p.use == nil || now.Sub(p.echoed) >= suspectAfter)
}

// guess chooses what a round tries that the one before it did not. A NAT whose
// port was taken, by what a peer sent too early or by another host, has mostly
// given us one near by; each round looks a little further away.
func (p *peer) guess() {
	p.guesses = nil
	if p.round == 0 || p.use != nil || p.nat.mapping == wire.NoNAT || !p.sonde {
		return
	}
	for _, t := range p.tries {
		if t.Kind != wire.CandidateReflexive && t.Kind != wire.CandidatePeer {
			continue
		}
		first := guessesARound/2*((p.round-1)%guessRounds) + 1
		for d := first; d < first+guessesARound/2; d++ {
			for _, port := range []int{int(t.At.Port()) + d, int(t.At.Port()) - d} {
				at := netip.AddrPortFrom(t.At.Addr(), uint16(port))
				if port >= 1024 && port <= 0xffff && p.tryAt(at) == nil && len(p.guesses) < guessesARound {
					p.guesses = append(p.guesses, at)
				}
			}
		}
	}
}

// How many ports near by a round tries, and after how many rounds they come again.
const (
	guessesARound = 6
	guessRounds   = 5
)

func (a *agent) nextRound(now time.Time, p *peer) {
	at := p.roundAt.Add(roundEvery)
	if p.round < len(roundWaits) {
		at = p.roundAt.Add(roundWaits[p.round])
	}
	if !p.sonde {
		at = p.roundAt.Add(roundLength)
	}
	if now.Before(at) {
		return
	}
	p.round++
	p.roundAt, p.checked = now, 0
	p.guess()
	if !p.sonde {
		p.checked = len(checkTimes) // no bursts, an original peer pings evenly
	}
}

// punch takes the server's word that the peer sends now, too.
func (a *agent) punch(now time.Time, u wire.Punch) {
	p := a.peers[peerKey{id: u.Peer}]
	if p == nil {
		a.early.put(u, now)
		return
	}
	p.nonce, p.hasNonce = u.Nonce, true
	// Ports that were foretold earlier may not be given any more.
	known := slices.DeleteFunc(p.listedCandidates(), func(c wire.Candidate) bool { return c.Kind == wire.CandidatePredicted })
	p.offer(append(known, u.Candidates...), a.families())
	if p.use == nil && now.Sub(p.roundAt) > time.Second || p.round == 0 && p.use == nil {
		if p.checked >= len(checkTimes) {
			p.round++
			p.guess()
		}
		p.roundAt, p.checked = now.Add(min(time.Duration(u.Start)*time.Millisecond, time.Second)), 0
	}
}

func (p *peer) listedCandidates() []wire.Candidate {
	var all []wire.Candidate
	for _, t := range p.tries {
		all = append(all, t.Candidate)
	}
	return all
}

// ping sends one measured ping.
func (a *agent) ping(now time.Time, p *peer) {
	if now.Sub(p.pinged) > 2*a.interval {
		p.pinged = now
	} else {
		p.pinged = p.pinged.Add(a.interval) // on the beat, whenever the timer came
	}
	token := random()
	p.tally.send(token, now)
	p.unanswered++
	bodies := a.greeting(now, p)
	if p.sonde {
		bodies = append(bodies, wire.Times{T1: nanoseconds(now)})
	}
	pkt := &wire.Packet{Stamp: &token, Ext: stream(bodies...)}
	if p.use != nil {
		a.toPeer(p, p.use.At, nil, pkt, &p.sequence)
		return
	}
	a.toPeer(p, netip.AddrPort{}, p.via, pkt, &p.sequence)
}

// putInterval puts the interval of a peer, once a second while it is measured.
func (a *agent) putInterval(now time.Time, p *peer) {
	if now.Sub(p.interval) < time.Second || p.tally.sent == 0 {
		return
	}
	p.interval = now
	p.intervals++
	r := p.tally.recent()
	r.Asked = 1 / a.interval.Seconds()
	i := result.Interval{Head: a.head(p, now), Seq: p.intervals, Direction: result.Both, Stream: result.AllStreams, End: now.Sub(p.listed), RoundTrips: &r}
	i.Start = max(0, i.End-time.Second)
	a.sink.Put(i)
}

// tell puts a Note about how the peer is reached now.
func (a *agent) tell(now time.Time, p *peer) {
	p.news = true
	n := result.Note{Head: a.head(p, now), Level: result.Info, Code: "path_" + p.state.String()}
	who := p.title()
	switch p.state {
	case wire.StateDirect:
		n.Text = fmt.Sprintf("%s: direct to %v (%v)", who, p.use.At, p.use.Kind)
	case wire.StateRelay:
		n.Text = fmt.Sprintf("%s: relayed by server %s: %s", who, p.via.name, ReasonText(p.reason))
	case wire.StateFailed:
		n.Level = result.Warning
		n.Text = fmt.Sprintf("%s: no way: %s", who, ReasonText(p.reason))
		n.Hint = hintFor(p.reason)
	default:
		n.Text = fmt.Sprintf("%s: no answer any more, looking for another way", who)
	}
	a.sink.Put(n)
}

// hintFor is what would change that a pair is not direct.
func hintFor(r wire.Reason) string {
	switch r {
	case wire.ReasonBothHard:
		return "let one router map a port (UPnP, NAT-PMP or PCP), open a port, or start the server with --relay"
	case wire.ReasonNoAnswer:
		return "open the UDP port in the firewall of one side, or start the server with --relay"
	case wire.ReasonUDPBlocked:
		return "allow UDP to the server, or let it listen on another port"
	case wire.ReasonFamilies:
		return "give one side the other's address family, or start the server with --relay on both"
	case wire.ReasonOldPeer:
		return "run sonde at the other side"
	}
	return ""
}

// finding is what the server is told of a peer.
func (a *agent) finding(now time.Time, p *peer) wire.Finding {
	f := wire.Finding{
		Peer: p.id, State: p.state, Reason: p.reason, Since: uint32(now.Sub(p.since) / time.Second),
		Sent: uint32(p.tally.sent), Lost: uint32(p.tally.lost),
	}
	f.Mine, f.Theirs = a.kinds(p)
	if p.tally.replies > 0 {
		f.RTT = uint32(min(p.tally.smoothed/time.Microsecond, 1<<32-1))
		if j, ok := p.tally.jitter.Value(); ok {
			f.Jitter = uint32(min(j/time.Microsecond, 1<<32-1))
		}
	}
	return f
}

// report is what the server is told at a registration: as many peers as fit,
// first those of which there is news, then the others in turn.
func (a *agent) report(now time.Time) wire.Report {
	all := a.sorted()
	var r wire.Report
	told := map[*peer]bool{}
	tell := func(p *peer) {
		if p.hasID && !p.self && !told[p] && len(r) < reportSize {
			r, told[p], p.news = append(r, a.finding(now, p)), true, false
		}
	}
	for _, p := range all {
		if p.news {
			tell(p)
		}
	}
	for range all {
		if len(r) == reportSize {
			break
		}
		tell(all[a.reported%len(all)])
		a.reported++
	}
	return r
}

// reportSize leaves room for the candidates in a registration.
const reportSize = 12
