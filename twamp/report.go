package twamp

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/twamp/wire"
)

// A report is what one session measured.
type report struct {
	result.RoundTrips
	sid     wire.SID // zero without a control connection
	start   time.Time
	elapsed time.Duration // from the first packet sent to the last

	// What a STAMP reflector told in its extensions.
	clock     *wire.TimestampInfo
	direct    *wire.DirectMeasurement
	seenFrom  netip.AddrPort // our address as it came there: another one if something translates
	seenAt    netip.AddrPort // where it came to
	followUps uint64         // replies whose T3 was set right by the next one

	remarks []remark
}

// A remark is a finding about the far end, or about what can be believed.
type remark struct {
	code string // stable, such as "reflector_one_stamp"
	text string
}

func (r *report) note(code, text string) { r.remarks = append(r.remarks, remark{code, text}) }

// report sums up. It may be called while the test runs, with more to come.
func (t *tally) report(own wire.ErrorEstimate) *report {
	r := &report{
		start: t.first, elapsed: t.latest.Sub(t.first), followUps: t.followed,
		RoundTrips: result.RoundTrips{
			Sent: t.answered + t.lost, Replies: t.replies, Lost: t.lost,
			LossRuns: &result.LossRuns{Count: t.runs, Longest: t.longest},
			Late:     t.late, Duplicate: t.twice, Dropped: map[string]uint64{"bogus": t.bogus},
			RTT: t.rtt.path(), Gross: t.gross.delay.distribution(0), Out: t.out.path(), Home: t.home.path(),
			HopsOut: t.far.hopsOut(), HopsHome: t.far.home.report(), MarkingHome: t.far.back.report(),
			Stamps: t.far.stamps(),
		},
	}
	if r.elapsed > 0 {
		r.Rate = float64(t.next-1) / r.elapsed.Seconds()
	}
	if t.zeroTime < t.replies {
		r.Reflector = t.reflector.distribution(0)
	}
	t.reportLosses(r)
	t.reportClock(r, own)
	t.remark(r)
	return r
}

func (t *tally) reportLosses(r *report) {
	if out, home, ok := t.losses.split(t.lost, t.twiceOut, t.counts); ok {
		rest := max(0, int64(t.lost)-int64(out)-int64(home))
		r.LostOut, r.LostHome, r.LostEither = &out, &home, result.Some(uint64(rest))
	}
	if t.losses.home.n == 0 {
		return
	}
	tells := t.counts || !t.losses.echoes
	if t.twice == 0 || tells {
		r.DuplicateOut, r.DuplicateHome = result.Some(t.twiceOut), result.Some(t.twiceHome)
	}
	out, home := t.losses.out.reordering(), t.losses.home.reordering()
	if tells || home.Reordered == 0 {
		r.ReorderedOut, r.ReorderedHome = &out, &home
	}
}

func (m *measure) path() *result.Path {
	if m.delay.n == 0 {
		return nil
	}
	p := &result.Path{Delay: *m.delay.distribution(0), PDV: *m.delay.distribution(m.delay.min), IPDV: m.ipdv.variation()}
	if j, ok := m.jitter.Value(); ok {
		p.Jitter = &j
	}
	return p
}

// reportClock judges the one-way delays.
func (t *tally) reportClock(r *report, own wire.ErrorEstimate) {
	if t.replies == 0 {
		return
	}
	c := &result.Clock{
		Synced: t.far.synced && own.Synced(), Stepped: t.clock.stepped,
		Offset: t.clock.best.offset, OffsetErr: t.clock.best.rtt / 2,
	}
	if mine, ok := own.Bound(); ok && t.far.bounded {
		c.Bound = result.Some(mine + t.far.worst)
	}
	if d, ok := t.clock.drift(); ok {
		c.Drift = &d
	}
	c.Why = t.distrust(c)
	c.Usable = c.Why == ""
	r.Clock = c
}

// distrust says why one-way delays mean nothing, or "".
func (t *tally) distrust(c *result.Clock) string {
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
func (t *tally) remark(r *report) {
	if t.replies == 0 {
		return
	}
	if t.zeroTime == t.replies {
		r.note("reflector_one_stamp", "the reflector writes the same time as receive and transmit timestamp: RTT includes its processing")
	}
	if n := t.far.mixed(); n > 0 {
		r.note("stamps_mixed", fmt.Sprintf("%d of %d exchanges have a timestamp of our own clock reading instead of the kernel's", n, t.far.n))
	}
	if t.odd > 0 {
		r.note("reflector_times", "the reflector's receive and transmit timestamps do not fit the round trip: its clock was set, or its format is wrong")
	}
	if t.losses.echoes && !t.counts && t.lost > 0 {
		r.note("reflector_stateless", "the reflector does not count: the direction of losses cannot be told")
	}
	if t.losses.restarts > 0 {
		r.note("reflector_restarted", "the reflector started its count again during the test")
	}
	if t.bogus > 0 {
		r.note("bogus_replies", "replies came to packets that were never sent")
	}
	if c := r.Clock; c != nil && !c.Stepped {
		if s := c.Offset.Abs() - 37*time.Second; s.Abs() < time.Second {
			r.note("tai", "the clocks are 37 s apart: the reflector may count TAI, not UTC")
		}
	}
}
