package twamp

import (
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/twamp/wire"
)

// A Report is what one session measured. What could not be measured is nil.
type Report struct {
	SID   wire.SID // zero without a control connection
	Start time.Time
	// Elapsed is from the first packet sent to the last.
	Elapsed time.Duration

	Sent    uint64 // packets that had their time to come back
	Pending uint64 // sent, but the test ended before they could come back
	Replies uint64 // packets answered in time
	Lost    uint64 // sent and not answered in time
	// Forward and Backward say on which way packets were lost; nil if it cannot be
	// told. Unattributed are those that may have been lost on either.
	Forward, Backward, Unattributed *uint64
	LossRuns, LongestRun            uint64

	Late      uint64 // answered after the wait; part of Lost
	Duplicate uint64 // further replies to one packet
	// Which way doubled them; nil if it cannot be told.
	DuplicateForward, DuplicateBackward *uint64
	ReorderedForward                    *Reordering
	ReorderedBackward                   *Reordering

	RTT       *Path         // less the time the reflector took
	Gross     *Distribution // with it
	Reflector *Distribution // the time it took; nil if it does not tell T2 and T3 apart
	Out, Home *Path         // one way, with the offset of the clocks
	Clock     *Clock

	HopsOut, HopsHome *Hops
	ClassOut          *Class // as the reflector tells it
	ClassHome         *Class

	// What a STAMP reflector told in its extensions.
	ReflectorClock *wire.TimestampInfo
	Direct         *wire.DirectMeasurement
	SeenFrom       netip.AddrPort // our address as it came there: another one if something translates
	SeenAt         netip.AddrPort // where it came to
	FollowUps      uint64         // replies whose T3 was set right by the next one

	// Counts of what was thrown away.
	Dropped map[string]uint64

	Rate     float64       // packets per second, achieved
	LateSent uint64        // sent more than a tenth of the interval behind the schedule
	Lateness time.Duration // the most

	T1, T4 Source // who took them

	// Remarks are findings about the far end and about what can be believed.
	Remarks []Remark
}

// A Path is the delay on a way and how it varied.
type Path struct {
	Delay  Distribution
	PDV    Distribution   // delay less the least: RFC 5481
	IPDV   *Variation     // between neighbours: RFC 3393; nil without two in a row
	Jitter *time.Duration // RFC 3550, 6.4.1; nil without two
}

// A Clock tells how far one-way delays can be trusted.
type Clock struct {
	Synced    bool           // both ends say that their clock is synchronised
	Bound     *time.Duration // both ends' errors added; nil if one does not tell
	Offset    time.Duration  // of the reflector's clock against ours, from the fastest exchange
	OffsetErr time.Duration  // the offset may be off by so much: half of that exchange
	Drift     *float64       // seconds per second that the reflector's clock gains; nil if the test was too short
	Stepped   bool           // a clock was set during the test
	// Usable says that one-way delays are right within Bound; otherwise Why says
	// what is wrong with them.
	Usable bool
	Why    string
}

// A Remark is one finding.
type Remark struct {
	Code string // stable, such as "reflector_one_stamp"
	Text string
}

// report sums up. It may be called while the test runs, with more to come.
func (t *tally) report(own wire.ErrorEstimate) *Report {
	r := &Report{
		Start: t.first, Elapsed: t.latest.Sub(t.first), T1: User, T4: t.far.source,
		Sent: t.answered + t.lost, Replies: t.replies, Lost: t.lost, LossRuns: t.runs, LongestRun: t.longest,
		Late: t.late, Duplicate: t.twice,
		RTT: t.rtt.path(), Gross: t.gross.delay.distribution(0), Out: t.out.path(), Home: t.home.path(),
		HopsOut: t.far.hopsOut(), HopsHome: t.far.home.report(), ClassHome: t.far.back.report(),
		Dropped: map[string]uint64{"bogus": t.bogus}, FollowUps: t.followed,
	}
	if r.Elapsed > 0 {
		r.Rate = float64(t.next-1) / r.Elapsed.Seconds()
	}
	if t.zeroTime < t.replies {
		r.Reflector = t.reflector.distribution(0)
	}
	t.reportLosses(r)
	t.reportClock(r, own)
	t.remark(r)
	return r
}

func (t *tally) reportLosses(r *Report) {
	forward, back, ok := t.losses.split(t.lost, t.twiceOut, t.counts)
	if ok {
		rest := max(0, int64(t.lost)-int64(forward)-int64(back))
		r.Forward, r.Backward, r.Unattributed = &forward, &back, new(uint64)
		*r.Unattributed = uint64(rest)
	}
	if t.losses.home.n == 0 {
		return
	}
	tells := t.counts || !t.losses.echoes
	if t.twice == 0 || tells {
		r.DuplicateForward, r.DuplicateBackward = new(uint64), new(uint64)
		*r.DuplicateForward, *r.DuplicateBackward = t.twiceOut, t.twiceHome
	}
	out, home := t.losses.out.reordering(), t.losses.home.reordering()
	if tells || home.Reordered == 0 {
		r.ReorderedForward, r.ReorderedBackward = &out, &home
	}
}

func (m *measure) path() *Path {
	if m.delay.n == 0 {
		return nil
	}
	p := &Path{Delay: *m.delay.distribution(0), PDV: *m.delay.distribution(m.delay.min), IPDV: m.ipdv.variation()}
	if j, ok := m.jitter.Value(); ok {
		p.Jitter = &j
	}
	return p
}

// reportClock judges the one-way delays.
func (t *tally) reportClock(r *Report, own wire.ErrorEstimate) {
	if t.replies == 0 {
		return
	}
	c := &Clock{
		Synced: t.far.synced && own.Synced(), Stepped: t.clock.stepped,
		Offset: t.clock.best.offset, OffsetErr: t.clock.best.rtt / 2,
	}
	if mine, ok := own.Bound(); ok && t.far.bounded {
		sum := mine + t.far.worst
		c.Bound = &sum
	}
	if d, ok := t.clock.drift(); ok {
		c.Drift = &d
	}
	c.Why = t.distrust(c)
	c.Usable = c.Why == ""
	r.Clock = c
}

// distrust says why one-way delays mean nothing, or "".
func (t *tally) distrust(c *Clock) string {
	switch {
	case c.Stepped:
		return "a clock was set during the test"
	case !t.far.synced:
		return "the reflector's clock is not synchronised"
	case !c.Synced:
		return "our own clock is not synchronised"
	case c.Bound == nil:
		return "the reflector does not tell the error of its clock"
	case t.out.delay.min < -*c.Bound || t.home.delay.min < -*c.Bound:
		return "a delay is negative by more than the clocks admit"
	case c.Offset.Abs() > c.OffsetErr+*c.Bound:
		return "the clocks differ by more than they admit"
	}
	return ""
}

// remark lists what is odd about the far end.
func (t *tally) remark(r *Report) {
	note := func(code, text string) { r.Remarks = append(r.Remarks, Remark{code, text}) }
	if t.replies == 0 {
		return
	}
	if t.zeroTime == t.replies {
		note("reflector_one_stamp", "the reflector writes the same time as receive and transmit timestamp: RTT includes its processing")
	}
	if t.odd > 0 {
		note("reflector_times", "the reflector's receive and transmit timestamps do not fit the round trip: its clock was set, or its format is wrong")
	}
	if t.losses.echoes && !t.counts && t.lost > 0 {
		note("reflector_stateless", "the reflector does not count: the direction of losses cannot be told")
	}
	if t.losses.restarts > 0 {
		note("reflector_restarted", "the reflector started its count again during the test")
	}
	if t.bogus > 0 {
		note("bogus_replies", "replies came to packets that were never sent")
	}
	if c := r.Clock; c != nil && !c.Stepped {
		if s := c.Offset.Abs() - 37*time.Second; s.Abs() < time.Second {
			note("tai", "the clocks are 37 s apart: the reflector may count TAI, not UTC")
		}
	}
}
