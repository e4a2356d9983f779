package twamp

import (
	"sort"
	"time"
)

// losses attributes missing packets to the way out or the way back by the
// numbers that a counting reflector gives its replies, and finds what was
// reordered and duplicated on each way. It is fed by a tally, which knows when a
// packet is lost for good.
type losses struct {
	replies []numbered // come and not yet taken in, by the reflector's number
	began   bool
	top     uint64 // highest reflector's number that came, unwrapped
	topSeq  uint64 // highest of our numbers that came back
	offset  uint64 // added to the numbers of a reflector that started again

	last      uint64 // reflector's number of the latest reply taken in, plus one
	front     uint64 // highest of our numbers taken in, plus one
	frontLost uint64 // of ours lost below front
	back      uint64 // replies missing
	forward   int64  // of ours missing that no missing reply explains
	clamped   uint64 // the same, where every gap by itself counts for no less than 0
	echoes    bool   // every reply had the request's number
	restarts  uint64

	out, home order // of our packets at the reflector; of its replies here
}

// A numbered reply has two numbers, both unwrapped.
type numbered struct {
	r, s uint64
	at   time.Time
	kind replyKind
}

// A replyKind says what a reply is to its packet.
type replyKind uint8

const (
	inTime replyKind = iota
	tooLate
	again // not the first
)

// unwrap returns the reflector's number r, of the reply to s, as one of 64 bits.
func (l *losses) unwrap(r uint32, s uint64) uint64 {
	if !l.began {
		return uint64(r)
	}
	r64 := l.top + uint64(int64(int32(r-uint32(l.top-l.offset))))
	if s > l.topSeq && r < 64 && l.top-r64 > 64 && r64 < l.top {
		l.restarts++
		l.offset = l.top + 1 // counts on as if it had not stopped
		r64 = l.offset + uint64(r)
	}
	return r64
}

// came takes a reply that is the first to carry its reflector's number.
func (l *losses) came(r, s uint64, at time.Time, kind replyKind) {
	if !l.began {
		l.began, l.echoes, l.top = true, true, r
	}
	l.top, l.topSeq = max(l.top, r), max(l.topSeq, s)
	l.echoes = l.echoes && r == s
	l.home.record(r)
	i := len(l.replies)
	for i > 0 && l.replies[i-1].r > r {
		i--
	}
	l.replies = append(l.replies, numbered{})
	copy(l.replies[i+1:], l.replies[i:])
	l.replies[i] = numbered{r, s, at, kind}
}

// knows reports whether a reply with the reflector's number r came before.
func (l *losses) knows(r uint64) bool {
	if r < l.last {
		return true
	}
	i := sort.Search(len(l.replies), func(i int) bool { return l.replies[i].r >= r })
	return i < len(l.replies) && l.replies[i].r == r
}

// settle takes in the replies that came before the given time, in the order in
// which the reflector sent them. lostBelow says how many of our packets with
// lower numbers than s are lost.
func (l *losses) settle(before time.Time, lostBelow func(s uint64) uint64) {
	n := 0
	for n < len(l.replies) && !l.replies[n].at.After(before) {
		l.takeIn(l.replies[n], lostBelow)
		n++
	}
	l.replies = append(l.replies[:0], l.replies[n:]...)
}

func (l *losses) takeIn(p numbered, lostBelow func(s uint64) uint64) {
	if l.out.n == 0 && p.r > p.s {
		l.last = p.r - p.s // a reflector that does not start from 0
	}
	gap := int64(-1) // so late that it had been taken for lost on the way back
	if p.r >= l.last {
		gap = int64(p.r - l.last)
		l.last = p.r + 1
		if p.kind != again {
			l.out.record(p.s)
		}
	}
	var missing int64
	switch {
	case p.s >= l.front:
		below := lostBelow(p.s)
		missing = int64(below - l.frontLost)
		l.front, l.frontLost = p.s+1, below
		if p.kind == tooLate {
			l.frontLost++
		}
	case p.kind == tooLate:
		missing = -1 // it had been taken for lost on the way out
	}
	l.back += uint64(gap) // modulo 2⁶⁴, so -1 takes one away
	l.forward += missing - gap
	l.clamped += uint64(max(0, missing-gap))
}

// split returns how many packets were lost on each way. It is false when that
// cannot be told: the reflector keeps no count of its own. duplicates are those
// made on the way out: they take a number that explains no loss.
func (l *losses) split(lost, duplicates uint64, counts bool) (forward, back uint64, ok bool) {
	switch {
	case lost == 0 && duplicates == 0:
		return 0, 0, true
	case !l.began, l.echoes && !counts:
		return 0, 0, false
	case l.back > lost && duplicates == 0:
		return 0, 0, false // its numbers make no sense
	case duplicates > 0 && l.out.reordered == 0:
		return l.clamped, l.back, true
	}
	return uint64(max(0, l.forward)), l.back, true
}
