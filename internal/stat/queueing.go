package stat

import (
	"time"

	"github.com/sonde-net/sonde/result"
)

// Queueing is how much longer packets took than the one that came through
// quickest: PDV of RFC 5481, section 4.2, against the least delay so far. What
// is constant on the way (the offset between two clocks that were never
// compared, propagation) drops out; what stays is time in queues. Until the
// least delay has been seen it is told too small, and clocks that drift apart
// add what they drift: 20 ppm are 20 µs each second.
//
// The zero Queueing is ready to use. It takes about 440 kB once it holds many (see
// Histogram). It is not safe for concurrent use.
type Queueing struct {
	total, interval Histogram
}

// A Base is the least delay of one flow: each stream has its own clock reading
// and maybe its own path. The zero Base is ready to use.
type Base struct {
	least time.Duration // by two clocks; may be negative
	known bool
}

// Record takes a packet of the flow b: when it was sent, by the sender's clock,
// and when it came, by ours. Of packets that were sent at one moment, as a
// train, the first is enough.
func (q *Queueing) Record(b *Base, sent, came time.Time) {
	d := came.Sub(sent)
	if !b.known || d < b.least {
		b.least, b.known = d, true
	}
	// The difference wraps if a made-up time is centuries away; then it is an
	// outlier all the same.
	waited := max(d-b.least, ShortestDelay)
	q.total.Record(waited)
	q.interval.Record(waited)
}

// Interval is the distribution since the last call, nil if nothing came.
func (q *Queueing) Interval() *result.Delay {
	d := q.interval.Delay()
	q.interval.Reset()
	return d
}

// Reset forgets the distributions, but not what Bases know.
func (q *Queueing) Reset() {
	q.total.Reset()
	q.interval.Reset()
}

// Total is the distribution of all that came, nil if nothing did.
func (q *Queueing) Total() *result.Delay { return q.total.Delay() }
