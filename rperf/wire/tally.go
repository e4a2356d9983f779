package wire

import "time"

// A Tally is the arithmetic by which rperf 0.1.8 counts one UDP stream that it
// receives. What it says is wanted on the wire, because both ends' reports are
// compared, but it is not exact:
//
//   - It forgets at the end of each interval how many are lost: one that comes
//     late in the next interval counts as a duplicate, and its loss stays.
//   - A duplicate that comes while something is lost in the same interval
//     counts as out of order and takes back one loss.
//   - Jitter starts anew at each gap and each interval, with the first
//     difference instead of zero, and what is said is that of the longest run.
//
// Exact figures are stat.Window's. The zero Tally is ready to use.
type Tally struct {
	expected uint64 // next packet id, over the whole test
	now      tallied
}

// tallied is what one interval counts.
type tallied struct {
	packets, bytes uint64
	lost           int64
	late, again    uint64 // out of order, duplicated
	run            uint64
	jitter         float32 // of this run, seconds
	measured       bool    // jitter is
	transit        time.Duration
	best           uint64
	bestJitter     float32
	bestMeasured   bool
}

// Record counts a datagram of size bytes of payload with packet id seq, sent
// by the sender's clock and come by ours; the two clocks need not agree.
func (t *Tally) Record(seq uint64, size int, sent, came time.Time) {
	n := &t.now
	n.packets++
	n.bytes += uint64(size) + Overhead
	transit := came.Sub(sent)
	switch {
	case seq == t.expected:
		t.expected++
		n.inOrder(transit)
	case seq > t.expected:
		n.lost = saturate(n.lost, seq-t.expected)
		t.expected = seq + 1
		n.broken()
	default:
		if n.lost > 0 {
			n.lost--
			n.late++
		} else {
			n.again++
		}
		n.broken()
	}
	n.transit = transit
}

// saturate adds a gap that a hostile sender may have made as wide as it likes.
func saturate(n int64, gap uint64) int64 {
	const most = 1 << 62
	if gap > most || n > most-int64(gap) {
		return most
	}
	return n + int64(gap)
}

func (n *tallied) broken() { n.run, n.measured = 0, false }

func (n *tallied) inOrder(transit time.Duration) {
	n.run++
	if n.run >= 2 {
		d := float32((transit - n.transit).Abs().Seconds())
		if n.measured {
			n.jitter += (d - n.jitter) / 16
		} else {
			n.jitter, n.measured = d, true
		}
	}
	if n.run > n.best {
		n.best, n.bestJitter, n.bestMeasured = n.run, n.jitter, n.measured
	}
}

// Take closes the interval: it puts what was counted since the last Take into
// i and starts the next interval.
func (t *Tally) Take(i *Interval) {
	n := t.now
	t.now = tallied{}
	i.UDP, i.Sent = true, false
	i.Packets, i.Bytes = n.packets, n.bytes
	i.Counts = PeerLoss{Lost: n.lost, OutOfOrder: n.late, Duplicated: n.again, Unbroken: n.best}
	if n.bestMeasured {
		j := Seconds(n.bestJitter)
		i.Counts.Jitter = &j
	}
}
