package testnet

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"time"
)

// A verdict is what a link decides about one packet.
type verdict uint8

const (
	accepted    verdict = iota
	lost                // by Loss
	tailDropped         // the queue is full
	full                // the queue is full and the sender is to wait
	tooBig              // exceeds the MTU
	unplugged           // nothing passes at all
)

// A cargo says what may be asked of the sender of a packet.
type cargo uint8

const (
	routed   cargo = iota // nothing: it is not there, or is a TCP that knows its window
	waits                 // to wait for room, where the link has Wait
	streamed              // to wait always: a piece of a byte stream that others keep whole
)

// A fate is a verdict with its times.
type fate struct {
	verdict verdict
	due     time.Time // accepted: arrives; full: try again
	copies  int       // accepted: arrive right behind
}

// fates decides what becomes of the packets of one direction. It does nothing
// but arithmetic on the times it is given.
type fates struct {
	link Link
	neck bottleneck
	last time.Time // the latest arrival of a packet that keeps its place
	n    uint64    // packets that entered

	// One source of chance for each decision: asking for less loss leaves the
	// jitter as it was.
	loss, duplicate, reorder, jitter *rand.Rand
}

// newFates returns the fates of a link; lines with different numbers have
// different chances.
func newFates(link Link, number uint64) *fates {
	chance := func(purpose uint64) *rand.Rand { return rand.New(rand.NewPCG(link.Seed, number<<8|purpose)) }
	f := &fates{loss: chance(0), duplicate: chance(1), reorder: chance(2), jitter: chance(3)}
	f.set(link, time.Time{})
	return f
}

// set changes the link for the packets to come.
func (f *fates) set(link Link, now time.Time) {
	f.link = link
	f.neck.setRate(link.Rate, now)
}

// next decides about a packet of size bytes at now. What is streamed has no MTU,
// order or copies of its own.
func (f *fates) next(now time.Time, size int, c cargo) fate {
	if f.link.MTU > 0 && size > f.link.MTU && c != streamed {
		return fate{verdict: tooBig}
	}
	room := f.neck.room(now, size, f.link.Queue)
	isFull := room.After(now)
	if isFull && (c == streamed || c == waits && f.link.Wait) {
		return fate{verdict: full, due: room}
	}
	n := f.n
	f.n++
	// Each pick is asked each time, so that its chances depend on nothing else.
	isLost := picks(f.link.Loss, n, f.loss)
	isCopied := picks(f.link.Duplicate, n, f.duplicate) && c != streamed
	isHeld := picks(f.link.Reorder, n, f.reorder) && c != streamed
	if isLost {
		return fate{verdict: lost}
	}
	if isFull && !f.link.Wait {
		return fate{verdict: tailDropped}
	}
	due := f.neck.pass(now, size).Add(f.link.Delay)
	if f.link.Jitter > 0 {
		due = due.Add(time.Duration(f.jitter.Int64N(int64(f.link.Jitter) + 1)))
	}
	if due.Before(f.last) {
		due = f.last
	}
	out := fate{due: due}
	if isHeld {
		out.due = due.Add(f.reorderBy())
	} else {
		f.last = due
	}
	if isCopied {
		out.copies = 1
	}
	return out
}

func (f *fates) reorderBy() time.Duration {
	if f.link.ReorderBy > 0 {
		return f.link.ReorderBy
	}
	return 10 * time.Millisecond
}

func picks(p Pick, n uint64, chance *rand.Rand) bool { return p != nil && p(n, chance) }

// A bottleneck sends one packet after the other at a rate. Times are counted
// from the start of a busy period, so that rounding never adds up.
type bottleneck struct {
	rate  uint64    // bit/s; 0 is no limit
	from  time.Time // when the present busy period began
	bits  uint64    // taken in it
	free  time.Time // when the last packet taken has left
	queue []queued  // taken and not yet gone
	bytes int       // in queue
}

type queued struct {
	leaves time.Time
	size   int
}

// setRate changes the rate for packets to come; those taken keep their times.
func (b *bottleneck) setRate(rate uint64, now time.Time) {
	b.rate = rate
	b.from, b.bits = now, 0
	if b.free.After(now) {
		b.from = b.free
	}
}

// room says when a packet of size bytes fits into a queue of limit bytes: now or
// later. A bottleneck that stands idle takes any packet.
func (b *bottleneck) room(now time.Time, size, limit int) time.Time {
	b.forget(now)
	if limit <= 0 || b.bytes+size <= limit {
		return now
	}
	at, bytes := now, b.bytes
	for _, q := range b.queue {
		at, bytes = q.leaves, bytes-q.size
		if bytes+size <= limit {
			break
		}
	}
	return at
}

// forget takes out of the queue what has left by now.
func (b *bottleneck) forget(now time.Time) {
	gone := 0
	for gone < len(b.queue) && !b.queue[gone].leaves.After(now) {
		b.bytes -= b.queue[gone].size
		gone++
	}
	b.queue = b.queue[gone:]
}

// pass takes a packet at now and says when it will have left.
func (b *bottleneck) pass(now time.Time, size int) time.Time {
	if b.rate == 0 {
		return now
	}
	if now.After(b.free) {
		b.from, b.bits = now, 0
	}
	b.bits += uint64(size) * 8
	b.free = b.from.Add(sendTime(b.bits, b.rate))
	b.queue = append(b.queue, queued{b.free, size})
	b.bytes += size
	return b.free
}

// sendTime is how long n bits take at rate bit/s, rounded up to nanoseconds.
func sendTime(n, rate uint64) time.Duration {
	hi, lo := bits.Mul64(n, uint64(time.Second))
	if hi >= rate {
		return math.MaxInt64
	}
	quo, rem := bits.Div64(hi, lo, rate)
	if rem > 0 {
		quo++
	}
	return time.Duration(min(quo, math.MaxInt64))
}
