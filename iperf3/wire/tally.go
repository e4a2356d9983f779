package wire

import "time"

// A Tally is the arithmetic by which iperf3 counts one UDP stream that it
// receives; its results carry these figures. It does not tell duplicates from
// late datagrams: both count as out of order and take back one loss. Exact
// figures are stat.Window's. The zero Tally is ready to use.
type Tally struct {
	highest    uint64
	lost       int64
	outOfOrder uint64
	jitter     float64 // seconds
	transit    time.Duration
	begun      bool
}

// Record counts datagram seq, sent by the sender's clock and come by ours; the
// two need not agree.
func (t *Tally) Record(seq uint64, sent, came time.Duration) {
	transit := came - sent
	if !t.begun {
		t.begun, t.transit = true, transit
	}
	d := (transit - t.transit).Abs().Seconds()
	t.transit = transit
	t.jitter += (d - t.jitter) / 16
	if seq > t.highest {
		t.lost = saturate(t.lost, seq-t.highest-1)
		t.highest = seq
		return
	}
	t.outOfOrder++
	if t.lost > 0 {
		t.lost--
	}
}

// saturate adds a gap that a hostile sender may have made as wide as it likes.
func saturate(n int64, gap uint64) int64 {
	const most = 1 << 62
	if gap > most || n > most-int64(gap) {
		return most
	}
	return n + int64(gap)
}

// Put writes the figures into s.
func (t *Tally) Put(s *StreamResults) {
	s.Packets = min(t.highest, 1<<63-1)
	s.Errors = t.lost
	s.Jitter = Seconds(t.jitter)
}

// OutOfOrder is the number of datagrams that came late, or again.
func (t *Tally) OutOfOrder() uint64 { return t.outOfOrder }
