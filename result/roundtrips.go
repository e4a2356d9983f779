package result

import "time"

// RoundTrips is what test packets that come back have found: TWAMP, STAMP, a
// mesh's pings. "Out" is from the sender to the reflector, "home" the way back.
// What could not be measured is nil.
type RoundTrips struct {
	Sent    uint64 // packets that had their time to come back
	Pending uint64 // sent, but the test ended before they could come back
	Replies uint64 // packets answered in time
	Lost    uint64 // sent and not answered in time (RFC 6673)
	// LostOut and LostHome say on which way packets were lost; nil if it cannot be
	// told. LostEither are those that may have been lost on either.
	LostOut, LostHome, LostEither *uint64
	LossRuns                      *LossRuns

	Late                        uint64 // answered after the wait; part of Lost
	Duplicate                   uint64 // further replies to one packet (RFC 5560)
	DuplicateOut, DuplicateHome *uint64
	ReorderedOut, ReorderedHome *Reordering
	Dropped                     map[string]uint64 // replies that were thrown away, by reason

	RTT       *Path         // less the time that the reflector took (RFC 2681, 5357)
	Gross     *Distribution // with it
	Reflector *Distribution // the time it took; nil if it does not tell
	Out, Home *Path         // one-way delay (RFC 7679), with the offset of the clocks in it
	Clock     *Clock        // how far one-way delays can be trusted

	HopsOut, HopsHome       *Hops
	MarkingOut, MarkingHome *Marking

	Rate     float64       // packets per second, achieved
	Asked    float64       // packets per second, asked for; 0 if none was
	LateSent uint64        // sent more than a tenth of the interval behind the schedule
	Lateness time.Duration // the most that one was
	Stamps   string        // who took our two timestamps: "kernel-rx-tx", "kernel-rx", "user"
}

// LossRatio is Lost over Sent; false when nothing was sent.
func (r *RoundTrips) LossRatio() (float64, bool) {
	if r.Sent == 0 {
		return 0, false
	}
	return float64(r.Lost) / float64(r.Sent), true
}

// A Path is the delay on a way and how it varied.
type Path struct {
	Delay  Distribution
	PDV    Distribution   // delay less the least: RFC 5481, section 4.2
	IPDV   *Variation     // between neighbours: RFC 3393; nil without two in a row
	Jitter *time.Duration // RFC 3550, 6.4.1; nil without two
}

// A Distribution is of delays or of their variation; one-way delays may be
// negative. Quantiles are nearest ranks: of fewer than 100/(100-q) values the
// q-th percentile is the greatest.
type Distribution struct {
	Count              uint64
	Min, Mean, Max     time.Duration
	P50, P75, P90, P95 time.Duration
	P99, P999, P9999   time.Duration
}

// A Variation is the difference of the delays of neighbours: RFC 3393.
type Variation struct {
	Count    uint64
	Min, Max time.Duration // with sign: negative means that the second was faster
	MeanAbs  time.Duration
	P95Abs   time.Duration
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

// Reordering tells how many of so many packets came after a later one (RFC
// 4737).
type Reordering struct {
	Packets   uint64
	Reordered uint64
	Extent    uint64 // most positions that one came late
}

// Hops are how many routers packets passed on one way; a change is a change of
// the path.
type Hops struct {
	Min, Max uint8
	Changes  uint64
}

// A Marking is how packets were marked when they came.
type Marking struct {
	DSCP, ECN uint8
	Other     uint64 // packets that were marked in another way
}
