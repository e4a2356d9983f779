package diagnose

import (
	"time"

	"github.com/sonde-net/sonde/result"
)

// A way is one direction of a run as the rules look at it.
type way struct {
	*track
	cpu       *ends
	direction result.Direction
	twoWays   bool // data flowed both ways: a delay tells of either
	udp       bool
	weSend    bool
	sameHost  bool // both ends are one machine

	sentView, receivedView *result.View
	elapsed                time.Duration
	target                 uint64 // bit/s as the protocol counts; 0 is no limit
	targetIsTheirs         bool   // the far end sends, and set the target itself
	peerLimit              string
	streams                int
	latency                *result.Latency
}

// way gathers the figures of direction d, which has a total.
func (r *Run) way(d result.Direction) *way {
	total := r.end.Total(d)
	w := &way{
		track: r.track(d), cpu: &r.cpu, direction: d, twoWays: r.end.Down != nil && r.end.Up != nil,
		weSend:   (r.end.Role == result.Server) == (d == result.Down),
		sentView: total.Sent, receivedView: total.Received, elapsed: total.Elapsed,
		peerLimit: r.peerLimit, streams: r.streams(), latency: r.end.Latency,
	}
	if w.elapsed <= 0 {
		w.elapsed = r.end.Elapsed
	}
	for _, v := range []*result.View{total.Sent, total.Received} {
		w.udp = w.udp || v != nil && v.Packets != nil
	}
	if b := r.begin; b != nil {
		w.udp = b.Transport == result.UDP
		w.target = map[result.Direction]uint64{result.Down: b.DownRate, result.Up: b.UpRate}[d]
		w.targetIsTheirs = r.end.Role == result.Server && !w.weSend
		peer, local := b.Peer.Addr().Unmap(), b.Local.Addr().Unmap()
		w.sameHost = peer.IsValid() && (peer.IsLoopback() || peer == local)
	}
	return w
}

// sender and receiver name the ends of this direction.
func (w *way) sender() string   { return endName(w.weSend) }
func (w *way) receiver() string { return endName(!w.weSend) }

func endName(here bool) string {
	if here {
		return "this end"
	}
	return "the far end"
}

func (w *way) receiverCPU() *load {
	if w.weSend {
		return &w.cpu.remote
	}
	return &w.cpu.local
}

// cpuFull reports whether the processors of either end were the limit; then a
// little delay and loss is their doing.
func (w *way) cpuFull() bool { return w.cpu.local.full() || w.cpu.remote.full() }

// rate is what v counted per second, bit/s as the protocol counts.
func (w *way) rate(v *result.View) (float64, bool) {
	if v == nil {
		return 0, false
	}
	long := w.elapsed
	if v.Covered > 0 {
		long = v.Covered
	}
	if long <= 0 {
		return 0, false
	}
	return float64(counted(v)) * 8 / long.Seconds(), true
}

// arrived is the rate that came through, or, when nobody told, that was sent.
func (w *way) arrived() (rate float64, word string, ok bool) {
	if rate, ok = w.rate(w.receivedView); ok {
		return rate, "received", true
	}
	rate, ok = w.rate(w.sentView)
	return rate, "sent", ok
}

// afterRamp is the steady rate, bit/s as the protocol counts.
func (w *way) afterRamp() (float64, bool) {
	s := w.steady().Steady()
	v := w.receivedView
	if v == nil {
		v = w.sentView
	}
	if s == nil || v == nil || v.Bytes == 0 {
		return 0, false
	}
	return float64(s.Rate) * float64(counted(v)) / float64(v.Bytes), true
}

// best is the rate that came through after the ramp-up, or over all if that was
// more.
func (w *way) best() (rate float64, word string, ok bool) {
	rate, word, ok = w.arrived()
	if steady, known := w.afterRamp(); known {
		rate = max(rate, steady)
	}
	return rate, word, ok
}

// met reports whether the target rate was reached.
func (w *way) met() bool {
	rate, _, ok := w.best()
	target := float64(w.target)
	return ok && target > 0 && rate >= metShare*target && rate <= overShare*target
}

// loss is the share of the packets offered that did not come, those that the
// receiver's socket buffer dropped included.
func (w *way) loss() (share float64, ok bool) {
	if !w.udp || w.receivedView == nil {
		return 0, false
	}
	if r := w.receivedView; r.Lost != nil && r.Packets != nil {
		offered := float64(*r.Packets) + float64(*r.Lost)
		for _, again := range []*uint64{r.Duplicate, r.Late} { // counted among Packets, and the late ones among Lost
			if again != nil {
				offered -= float64(*again)
			}
		}
		if offered <= 0 {
			return 0, false
		}
		return min(max(float64(*r.Lost)/offered, 0), 1), true
	}
	if w.both > 0 && w.bothSent > 0 { // of the same seconds
		return max(0, 1-float64(w.bothReceived)/float64(w.bothSent)), true
	}
	return 0, false
}

// drops is how often the receiver's own socket buffer had no room; not ok when
// that is not known.
func (w *way) drops() (times uint64, ok bool) {
	if !w.udp || w.receivedView == nil || w.receivedView.Dropped == nil {
		return 0, false
	}
	return *w.receivedView.Dropped, true
}

// longestTrain is how many datagrams the kernel joins at most. One drop may be of
// as many.
const longestTrain = 128

// dropped is the greatest share of the packets offered that the receiver's socket
// buffer can have thrown away. A train that was dropped leaves a gap of its
// length in the numbers, so none was longer than the longest gap.
func (w *way) dropped() (most float64, ok bool) {
	times, ok := w.drops()
	if !ok || times == 0 {
		return 0, ok
	}
	r := w.receivedView
	train := uint64(longestTrain)
	if r.LossRuns != nil {
		train = min(train, max(1, r.LossRuns.Longest))
	}
	packets := float64(times) * float64(train)
	if r.Lost != nil {
		packets = min(packets, max(0, float64(*r.Lost)))
	}
	offered := packets
	if r.Packets != nil {
		offered += float64(*r.Packets)
	}
	if offered == 0 {
		return 0, true
	}
	return packets / offered, true
}

// dropsExplain reports whether the drops are why at least half of the loss came
// about: there are as many of them as half the gaps in the numbers, and trains
// are long enough for half of what is missing.
func (w *way) dropsExplain() bool {
	times, ok := w.drops()
	r := w.receivedView
	switch {
	case !ok || r.Lost == nil:
		return ok
	case r.LossRuns == nil:
		return 2*float64(times) >= float64(*r.Lost)
	}
	return 2*float64(times) >= float64(r.LossRuns.Count) && 2*longestTrain*float64(times) >= float64(*r.Lost)
}

// lostOnPath is the loss that the receiver's drops cannot explain; not ok when
// nobody knows whether the receiver dropped packets.
func (w *way) lostOnPath() (share float64, ok bool) {
	loss, ok := w.loss()
	if !ok {
		return 0, false
	}
	if dropped, known := w.dropped(); known {
		return max(0, loss-dropped), true
	}
	return loss, w.receiverCPU().calm()
}

// held is how much of its sending time TCP waited for the peer's window and for
// its own buffer; not ok when the sender does not tell or hardly sent.
func (w *way) held() (window, buffer float64, ok bool) {
	if w.udp || w.sentView == nil || w.sentView.TCP == nil {
		return 0, 0, false
	}
	t := w.sentView.TCP
	if t.Busy <= 0 || t.Busy.Seconds() < limitedPart*w.elapsed.Seconds() {
		return 0, 0, false
	}
	share := func(d time.Duration) float64 { return min(max(d.Seconds()/t.Busy.Seconds(), 0), 1) }
	return share(t.RwndLimited), share(t.SndbufLimited), true
}

// resent is the share of its segments that TCP sent again.
func (w *way) resent() (share float64, ok bool) {
	if w.udp || w.sentView == nil || w.sentView.TCP == nil {
		return 0, false
	}
	t := w.sentView.TCP
	if t.MSS == 0 || w.sentView.Bytes == 0 {
		return 0, false
	}
	segments := float64(w.sentView.Bytes)/float64(t.MSS) + float64(t.Retransmits)
	return float64(t.Retransmits) / segments, true
}
