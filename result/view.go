package result

import (
	"cmp"
	"time"
)

// A View is what one end of a one-way stream counted.
//
// Views can be subtracted: an interval is the difference of two snapshots, so
// that the sum over all intervals is the total, whatever was lost or came late.
type View struct {
	Bytes     uint64  // payload
	WireBytes *uint64 // with the headers that the protocol counts; nil if it counts none
	Packets   *uint64 // datagrams; nil for TCP
	// Covered is the time that these figures cover when that is not the whole
	// interval or run, such as the whole seconds that a peer has reported; 0
	// means all of it.
	Covered time.Duration

	// Known to a receiver of numbered datagrams. Lost can be negative in an
	// interval: a packet counted as lost before has come after all.
	Lost      *int64         // not come within the window (RFC 7680)
	Late      *uint64        // came after the window had given them up
	Reordered *uint64        // came after a higher number (RFC 4737, section 3)
	Duplicate *uint64        // came again (RFC 5560)
	Dropped   *uint64        // thrown away by the receiver's own socket buffer; part of Lost
	LossRuns  *LossRuns      // how losses cluster
	Jitter    *time.Duration // RFC 3550, 6.4.1; a running mean, not a sum
	// Queueing is how much longer packets took than the quickest so far, which
	// needs no synchronised clocks (PDV of RFC 5481, section 4.2): of all streams
	// of one direction, in the interval or over the run. Sub takes it as it is,
	// Sum leaves it out: distributions cannot be added here.
	Queueing *Delay

	// Known to a sender.
	Skipped     *uint64        // packets left out because the sender was over 10 ms late
	ScheduleErr *time.Duration // mean lateness against the schedule
	Stalled     *time.Duration // time the sender waited for the kernel to take more

	TCP *TCPInfo
}

// Sub returns what was counted after prev, an earlier snapshot of the same
// stream. Running means and states are taken from v as they are.
func (v View) Sub(prev View) View {
	d := v
	d.Bytes -= prev.Bytes
	d.WireBytes = sub(v.WireBytes, prev.WireBytes)
	d.Packets = sub(v.Packets, prev.Packets)
	d.Lost = sub(v.Lost, prev.Lost)
	d.Late = sub(v.Late, prev.Late)
	d.Reordered = sub(v.Reordered, prev.Reordered)
	d.Duplicate = sub(v.Duplicate, prev.Duplicate)
	d.Dropped = sub(v.Dropped, prev.Dropped)
	d.Skipped = sub(v.Skipped, prev.Skipped)
	d.Stalled = sub(v.Stalled, prev.Stalled)
	d.TCP = v.TCP.sub(prev.TCP)
	return d
}

// sub takes what was counted before away; states are as they are.
func (t *TCPInfo) sub(before *TCPInfo) *TCPInfo {
	if t == nil || before == nil {
		return t
	}
	d := *t
	d.Retransmits -= min(d.Retransmits, before.Retransmits)
	d.Busy -= before.Busy
	d.RwndLimited -= before.RwndLimited
	d.SndbufLimited -= before.SndbufLimited
	return &d
}

// sub is the difference of two figures, unknown if the later one is.
func sub[T int64 | uint64 | time.Duration](now, before *T) *T {
	if now == nil || before == nil {
		return now
	}
	return Some(*now - *before)
}

// LossRuns tells how losses cluster (RFC 3357: loss runs and their length).
type LossRuns struct {
	Count   uint64 // runs of one or more lost packets in a row
	Longest uint64 // packets in the longest
}

// A TCPInfo is what the kernel knows of a TCP connection; of several, the sum
// of the counters and the mean of the rest. Linux, tcp(7) TCP_INFO.
type TCPInfo struct {
	RTT          time.Duration // smoothed
	RTTVar       time.Duration
	MinRTT       time.Duration
	Cwnd         uint64 // bytes
	MSS          uint64 // bytes
	Retransmits  uint64 // segments
	DeliveryRate uint64 // bit/s
	PacingRate   uint64 // bit/s
	// Time that the sender was busy sending, and of that the time it was held
	// up by the peer's receive window or by its own send buffer.
	Busy          time.Duration
	RwndLimited   time.Duration
	SndbufLimited time.Duration
	Congestion    string // name of the algorithm
}

// CPU is the system-wide busy share of each end, percent, 0 to 100; nil when
// not told. Threads of one process may well be the limit below 100.
type CPU struct {
	Local  *float64
	Remote *float64
}

// A Delay is a distribution of delays.
type Delay struct {
	Count uint64
	Min   time.Duration
	Mean  time.Duration
	P50   time.Duration
	P90   time.Duration
	P99   time.Duration
	Max   time.Duration
}

// Latency compares the delay of an idle path with that of the same path under
// the test's load.
type Latency struct {
	Method string   // how it was measured: "udp-echo", "tcp-connect", "tcp-info", "icmp"
	Idle   *Delay   // before the load
	Loaded *Delay   // while traffic ran the way the test was asked to
	Lost   uint64   // probes without an answer
	RPM    *float64 // round trips per minute under load, draft-ietf-ippm-responsiveness
	Grade  string   // "A" to "F", by docs/why.md; empty when it cannot be told
	Remark string   // why a figure is missing; may be empty
}

// A Why names what kept a test from being faster, or says that it is unknown.
type Why struct {
	Limit    string   // a fixed word, such as "cpu_local"; "unknown" when nothing is certain
	Text     string   // one line for a person
	Evidence []string // the figures that show it
	Try      string   // what to change; may be empty
}

// A Total is one direction over the whole run, seen from both ends.
type Total struct {
	Sent     *View
	Received *View
	Elapsed  time.Duration // of data in this direction
	Streams  []Total       // one by one, when there are several
	Steady   *Steady
}

// Steady is the rate after the ramp-up.
type Steady struct {
	From       time.Duration // the ramp-up ended here
	Rate       uint64        // bit/s of payload, mean over the rest
	Spread     float64       // standard deviation over the mean of the intervals
	Changes    []time.Duration
	Confidence string // "good", "varies", "too short to tell"
}

// Rate is n bytes over d as bit/s, or nil when no time has passed.
func Rate(n uint64, d time.Duration) *uint64 {
	if d <= 0 {
		return nil
	}
	r := uint64(float64(n) * 8 / d.Seconds())
	return &r
}

// Some returns a pointer to v: a figure that was measured.
func Some[T any](v T) *T { return &v }

// Sum adds up views of several streams: counters are summed, where a figure is
// known for only some of them the sum is over those. Jitter and the times in
// TCPInfo are means, because they cannot be added.
func Sum(views ...View) View {
	var all View
	var jitters, infos uint64
	for _, v := range views {
		all.Bytes += v.Bytes
		all.WireBytes = add(all.WireBytes, v.WireBytes)
		all.Packets = add(all.Packets, v.Packets)
		all.Lost = add(all.Lost, v.Lost)
		all.Late = add(all.Late, v.Late)
		all.Reordered = add(all.Reordered, v.Reordered)
		all.Duplicate = add(all.Duplicate, v.Duplicate)
		all.Dropped = add(all.Dropped, v.Dropped)
		all.Skipped = add(all.Skipped, v.Skipped)
		all.Stalled = add(all.Stalled, v.Stalled)
		all.ScheduleErr = latest(all.ScheduleErr, v.ScheduleErr)
		all.LossRuns = addRuns(all.LossRuns, v.LossRuns)
		all.Covered = max(all.Covered, v.Covered)
		if v.Jitter != nil {
			jitters++
			all.Jitter = add(all.Jitter, v.Jitter)
		}
		if v.TCP != nil {
			infos++
			all.TCP = addInfo(all.TCP, v.TCP)
		}
	}
	if jitters > 1 {
		*all.Jitter /= time.Duration(jitters)
	}
	if infos > 1 {
		all.TCP.RTT /= time.Duration(infos)
		all.TCP.RTTVar /= time.Duration(infos)
	}
	return all
}

func add[T int64 | uint64 | time.Duration](a, b *T) *T {
	switch {
	case a == nil && b == nil:
		return nil
	case a == nil:
		return Some(*b)
	case b == nil:
		return a
	}
	return Some(*a + *b)
}

func latest(a, b *time.Duration) *time.Duration {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

func addRuns(a, b *LossRuns) *LossRuns {
	if a == nil || b == nil {
		return cmp.Or(a, b)
	}
	return &LossRuns{Count: a.Count + b.Count, Longest: max(a.Longest, b.Longest)}
}

func addInfo(a, b *TCPInfo) *TCPInfo {
	if a == nil {
		c := *b
		return &c
	}
	a.RTT += b.RTT
	a.RTTVar += b.RTTVar
	a.MinRTT = min(a.MinRTT, b.MinRTT)
	a.Cwnd += b.Cwnd
	a.Retransmits += b.Retransmits
	a.DeliveryRate += b.DeliveryRate
	a.PacingRate += b.PacingRate
	a.Busy += b.Busy
	a.RwndLimited += b.RwndLimited
	a.SndbufLimited += b.SndbufLimited
	return a
}
