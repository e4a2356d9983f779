package pace

import (
	"math"
	"math/bits"
	"time"
)

// MaxDebt is how late a sender may be before what it owes is dropped: catching
// up on more would be a burst that the path never asked for.
const MaxDebt = 10 * time.Millisecond

// catchUp is how many times the rate a late sender may go. Twice was too little on
// a busy machine: half of the CPU time then only just held the rate.
const catchUp = 4

// DefaultQuantum bounds a train: packets that leave back to back are never worth
// more than this much time at the rate asked for, unless a single packet is.
const DefaultQuantum = 100 * time.Microsecond

// A Timetable says when the next packets of an evenly spaced flow are due. It
// is pure arithmetic on times passed in, measured from any fixed moment.
//
// The schedule is absolute, due += gap, with the fraction of a nanosecond
// carried along exactly: the rate has no error that adds up, from 1 bit/s to
// beyond 1 Tbit/s. Whoever comes late catches up at no more than four times the
// rate, so that a catch-up is no burst. The zero Timetable starts at the first Due.
type Timetable struct {
	rate    uint64        // bit/s in force
	base    time.Duration // when the last train was due
	frac    uint64        // the fraction of a nanosecond that belongs to base, in 1/rate ns
	owed    uint64        // bits of the last train: base plus their time is the next due
	soonest time.Duration // the next train may not go before, however late we are
	begun   bool
}

// Due returns when the next train may go at rate bit/s. A rate of 0 is no limit:
// it may go now. A new rate holds from the last train on.
func (t *Timetable) Due(now time.Duration, rate uint64) time.Duration {
	if rate == 0 || !t.begun {
		*t = Timetable{rate: rate, base: now, soonest: now, begun: true}
		return now
	}
	if rate != t.rate {
		t.change(now, rate)
	}
	due, _ := t.next()
	return max(due, t.soonest)
}

// Limited reports whether a rate is in force.
func (t *Timetable) Limited() bool { return t.rate > 0 }

// change puts a new rate in force. What the new rate would have made due
// already is due now: there is no debt at a rate that was not in force.
func (t *Timetable) change(now time.Duration, rate uint64) {
	fromNone := t.rate == 0
	t.rate, t.frac = rate, 0
	t.soonest = min(t.soonest, now)
	if due, _ := t.next(); due < now || fromNone {
		t.base, t.owed = now, 0
	}
}

// next is base plus the time of the owed bits.
func (t *Timetable) next() (due time.Duration, frac uint64) {
	whole, frac := scale(t.owed, uint64(time.Second), t.frac, t.rate)
	return t.base + time.Duration(whole), frac
}

// Sent books a train of n·size bits that left at now, and returns how late it
// was and how many packets of size bits were left out because the debt was
// above MaxDebt.
func (t *Timetable) Sent(now time.Duration, n int, size uint64) (late time.Duration, skipped uint64) {
	if t.rate == 0 {
		return 0, 0
	}
	due, frac := t.next()
	t.base, t.frac = due, frac
	late = max(0, now-due)
	if late > MaxDebt && size > 0 {
		owed, _ := scale(uint64(late), t.rate, 0, uint64(time.Second))
		skipped = owed / size
		// Whole packets are dropped, so that what is left keeps its place.
		time9, rest := scale(skipped*size, uint64(time.Second), t.frac, t.rate)
		t.base, t.frac = t.base+time.Duration(time9), rest
	}
	t.owed = uint64(n) * size
	whole, _ := scale(t.owed, uint64(time.Second), 0, t.rate)
	t.soonest = now + time.Duration(whole/catchUp)
	return late, skipped
}

// Train is how many packets of size bits may leave back to back at rate bit/s:
// as many as the quantum is worth, at least 1 and at most most. Without a limit
// it is most.
func Train(rate, size uint64, quantum time.Duration, most int) int {
	if rate == 0 || size == 0 {
		return most
	}
	inQuantum, _ := scale(rate, uint64(max(0, quantum)), 0, uint64(time.Second))
	return int(min(max(inQuantum/size, 1), uint64(max(1, most))))
}

// scale returns (a·b + c) / d and the rest, in 128 bits; a result beyond
// 2^62 is cut to it.
func scale(a, b, c, d uint64) (quotient, rest uint64) {
	hi, lo := bits.Mul64(a, b)
	lo, carry := bits.Add64(lo, c, 0)
	hi += carry
	if hi >= d {
		return math.MaxInt64 / 2, 0
	}
	quotient, rest = bits.Div64(hi, lo, d)
	return min(quotient, math.MaxInt64/2), rest
}
