package twamp

import (
	"time"

	"github.com/sonde-net/sonde/internal/stat"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/twamp/wire"
)

// A tally keeps the book of one session: what was sent, what came back and what
// did not. It is told all times. It remembers each packet for three times the
// wait, so its memory is bounded by the rate. It is not safe for concurrent use.
type tally struct {
	wait   time.Duration // a reply that takes longer is late, and its packet lost
	counts bool          // the reflector is bound to count its replies
	record func(Sample)  // of each packet; may be nil
	number int           // of the session

	// Packets base to next-1 are in ring, which has a power of two of places;
	// those below settled are answered or lost for good.
	ring                []sent
	base, settled, next uint64
	lost, answered      uint64 // of those below settled
	runs                uint64 // of lost ones
	run, longest        uint64 // length of the present and of the longest run
	replies             uint64 // that were the first to their packet and in time

	late, bogus, twiceOut, twiceHome, twice uint64
	losses                                  losses

	first, latest time.Time // when packets were sent
	previous      *sent     // the packet settled before, if it was answered
	previousCopy  sent

	rtt, gross, out, home measure
	reflector             spread // time between T2 and T3
	zeroTime              uint64 // replies with T2 = T3
	odd                   uint64 // replies whose T2 and T3 cannot be right
	recent                spread // RTTs since the latest interval
	told                  figures
	clock                 offsets
	far                   ends

	follows  bool // replies tell when the one before really left
	held     *held
	heldCopy held
	followed uint64
}

// A sent packet and what became of it.
type sent struct {
	at       time.Time // T1
	stamped  bool      // by the kernel
	answered bool
	late     bool
	number   uint64 // the reflector's, of the first reply
	lost     uint64 // packets lost before this one, once it is settled
	rtt      time.Duration
	out      time.Duration // T2-T1
	home     time.Duration // T4-T3
}

// A measure is one kind of delay with its variations.
type measure struct {
	delay  spread
	ipdv   ipdv
	jitter stat.Jitter
}

// arrived takes the delay of a packet, in the order of arrival.
func (m *measure) arrived(at time.Time, d time.Duration) {
	m.delay.record(d)
	m.jitter.Record(at, at.Add(d))
}

// A Sample is one packet: answered in time, or lost, of which only Session, Seq
// and Sent are known.
type Sample struct {
	Session    int // counts from 0
	Lost       bool
	Seq        uint32
	Reflector  uint32 // its number
	Sent       time.Time
	RTT        time.Duration // less the reflector's time, where it tells it
	Gross      time.Duration // with it
	Out        time.Duration // T2-T1, with the offset of the clocks
	Home       time.Duration // T4-T3, with the offset of the clocks
	RequestTTL uint8         // as the request came; 0 if not known
	ReplyTTL   uint8         // as the reply came; 0 if not known
}

// send books the next packet, sent at t1, and returns its number on the wire.
func (t *tally) send(t1 time.Time) uint32 {
	if t.next-t.base == uint64(len(t.ring)) {
		t.grow()
	}
	if t.next == 0 {
		t.first = t1
	}
	t.latest = t1
	*t.at(t.next) = sent{at: t1}
	t.next++
	return uint32(t.next - 1)
}

// departed replaces T1 of a packet by the kernel's stamp, on the wall clock,
// unless its reply was there first.
func (t *tally) departed(seq uint32, stamp time.Time) {
	s, ok := t.unwrap(seq)
	if !ok || s < t.base {
		return
	}
	p := t.at(s)
	if lag, ok := sendLag(p.at, stamp); ok && !p.answered && !p.stamped {
		p.at, p.stamped = p.at.Add(lag), true
	}
}

func (t *tally) at(s uint64) *sent { return &t.ring[s&uint64(len(t.ring)-1)] }

func (t *tally) grow() {
	ring := make([]sent, max(64, 2*len(t.ring)))
	for s := t.base; s < t.next; s++ {
		ring[s&uint64(len(ring)-1)] = *t.at(s)
	}
	t.ring = ring
}

// unwrap returns the number of a packet that was sent, however long ago.
func (t *tally) unwrap(seq uint32) (uint64, bool) {
	ago := uint64(uint32(t.next) - seq) // 1 for the latest packet
	if ago == 0 || ago > t.next {
		return 0, false
	}
	return t.next - ago, true
}

// reply takes a reply.
func (t *tally) reply(p wire.Reply, a arrival) {
	s, ok := t.unwrap(p.SenderSeq)
	if !ok {
		t.bogus++
		return
	}
	if s < t.base {
		t.late++
		return
	}
	one := t.at(s)
	if one.answered || one.late {
		t.duplicate(one, p, s, a)
		return
	}
	number := t.losses.unwrap(p.Seq, s)
	one.number = number
	if a.At.Sub(one.at) >= t.wait {
		one.late = true
		t.late++
		t.losses.came(number, s, a.At, tooLate)
		return
	}
	one.answered = true
	t.replies++
	t.losses.came(number, s, a.At, inTime)
	if !t.follows {
		t.measure(one, p, a)
		return
	}
	t.release()
	t.heldCopy = held{s, p, a}
	t.held = &t.heldCopy
}

// A held reply waits for the next one, which tells when it really left.
type held struct {
	seq   uint64
	reply wire.Reply
	came  arrival
}

// follow takes what a reply tells of the one before, ahead of the reply itself.
func (t *tally) follow(f wire.FollowUp, ptp bool) {
	if t.held == nil || f.Method == 0 || f.Seq != t.held.reply.Seq || ptp != t.held.reply.Error.PTP() {
		return
	}
	t.held.reply.Sent = f.Sent
	t.followed++
	t.release()
}

// release measures the reply that was held, if there is one.
func (t *tally) release() {
	if h := t.held; h != nil {
		t.held = nil
		if h.seq >= t.base {
			t.measure(t.at(h.seq), h.reply, h.came)
		}
	}
}

// duplicate takes another reply to a packet: the reflector's number tells on
// which way it was doubled.
func (t *tally) duplicate(one *sent, p wire.Reply, s uint64, a arrival) {
	t.twice++
	number := t.losses.unwrap(p.Seq, s)
	switch {
	case t.losses.echoes && p.Seq == p.SenderSeq && !t.counts:
		// It cannot be told.
	case number == one.number, t.losses.knows(number):
		t.twiceHome++
	default:
		t.twiceOut++
		t.losses.came(number, s, a.At, again)
	}
}

// measure takes the times of the first reply to a packet.
func (t *tally) measure(one *sent, p wire.Reply, a arrival) {
	gross := a.At.Sub(one.at)
	ptp := p.Error.PTP()
	t2, t3 := p.Received.Time(ptp, a.At), p.Sent.Time(ptp, a.At)
	held := t3.Sub(t2)
	one.rtt = gross - held
	switch {
	case held < 0 || held > gross: // its clock was set, or means something else
		t.odd++
		one.rtt = gross
	case held == 0:
		t.zeroTime++
	}
	if held >= 0 {
		t.reflector.record(held)
	}
	one.out, one.home = t2.Sub(one.at.Round(0)), a.At.Round(0).Sub(t3)
	t.rtt.arrived(one.at, one.rtt)
	t.recent.record(one.rtt)
	t.gross.delay.record(gross)
	t.out.arrived(one.at, one.out)
	t.home.arrived(one.at, one.home)
	t.clock.record(one.at, one.rtt, (one.out-one.home)/2)
	t.far.record(p, a, one.stamped)
	if t.record != nil {
		t.record(Sample{
			Session: t.number, Seq: p.SenderSeq, Reflector: p.Seq, Sent: one.at, RTT: one.rtt, Gross: gross,
			Out: one.out, Home: one.home, RequestTTL: p.SenderTTL, ReplyTTL: a.TTL,
		})
	}
}

// settle decides about packets that have waited long enough at the given time,
// or about all of them at the end of the test.
func (t *tally) settle(now time.Time) {
	if h := t.held; h != nil && (h.seq < t.base || now.Sub(t.at(h.seq).at) >= t.wait) {
		t.release() // it is about to be settled
	}
	for t.settled < t.next && now.Sub(t.at(t.settled).at) >= t.wait {
		t.settleOne(t.settled)
		t.settled++
	}
	t.losses.settle(now.Add(-t.wait), t.lostBelow)
	for t.base < t.settled && now.Sub(t.at(t.base).at) > 3*t.wait {
		t.base++
	}
}

func (t *tally) settleOne(s uint64) {
	p := t.at(s)
	p.lost = t.lost
	if !p.answered {
		t.lost++
		if t.record != nil {
			t.record(Sample{Session: t.number, Seq: uint32(s), Sent: p.at, Lost: true})
		}
		if t.run++; t.run == 1 {
			t.runs++
		}
		t.longest = max(t.longest, t.run)
		t.previous = nil
		return
	}
	t.run = 0
	t.answered++
	if before := t.previous; before != nil {
		t.rtt.ipdv.record(p.rtt - before.rtt)
		t.out.ipdv.record(p.out - before.out)
		t.home.ipdv.record(p.home - before.home)
	}
	t.previousCopy = *p
	t.previous = &t.previousCopy
}

// lostBelow says how many packets before s, which is settled, are lost.
func (t *tally) lostBelow(s uint64) uint64 {
	if s < t.base || s >= t.settled {
		return t.lost
	}
	return t.at(s).lost
}

// finish ends the book at the given time. Packets that have not waited long
// enough by then and have no answer are not counted as sent.
func (t *tally) finish(now time.Time) (pending uint64) {
	t.release()
	t.settle(now)
	for ; t.settled < t.next; t.settled++ {
		p := t.at(t.settled)
		if !p.answered {
			pending++
			p.lost = t.lost
			t.previous = nil
			continue
		}
		t.settleOne(t.settled)
	}
	t.losses.settle(now, t.lostBelow)
	return pending
}

// figures that an interval gives as a difference.
type figures struct{ replies, lost, late, twice uint64 }

// interval returns what was found out since the call before. Each packet is in
// the interval in which its fate became known, so that the sum over all is what
// the report says.
func (t *tally) interval() result.RoundTrips {
	now := figures{t.replies, t.lost, t.late, t.twice}
	r := result.RoundTrips{
		Replies: now.replies - t.told.replies, Lost: now.lost - t.told.lost,
		Late: now.late - t.told.late, Duplicate: now.twice - t.told.twice,
		Pending: t.next - t.replies - t.lost,
	}
	r.Sent = r.Replies + r.Lost
	if d := t.recent.distribution(0); d != nil {
		r.RTT = &result.Path{Delay: *d, PDV: *t.recent.distribution(t.recent.min)}
	}
	t.told = now
	t.recent.reset()
	return r
}

// outstanding is how many packets may still be answered in time.
func (t *tally) outstanding(now time.Time) int {
	n := 0
	for s := t.settled; s < t.next; s++ {
		if p := t.at(s); !p.answered && now.Sub(p.at) < t.wait {
			n++
		}
	}
	return n
}
