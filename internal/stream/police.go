package stream

import (
	"sync"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
)

// A Police lets datagrams through at no more than a rate; the rest are thrown
// away as they come, before anybody counts them. So they are lost to the far
// end, whose speed adaptation follows. It is shared by all receivers of a test,
// is safe for concurrent use, and a nil Police lets everything through.
//
// It is a token bucket that holds 200 ms worth, so that a flow that keeps to the
// rate passes whole although it comes in bursts, or is read in bursts by a
// machine that is busy.
type Police struct {
	Rate  uint64 // bit/s, of payload and of what the protocol counts beside it
	First func() // called when the first datagram is thrown away; nil: nobody wants to know

	mu    sync.Mutex // guards what follows
	began bool
	told  bool
	at    time.Time // when the bucket was last filled
	bits  float64   // in it; less than nothing after a datagram larger than it
}

// policeBurst is what the bucket holds, in time at the rate.
const policeBurst = 200 * time.Millisecond

// leastBurst is what it holds at least, bits: two packets of 1500 bytes.
const leastBurst = 2 * 1500 * 8

// pass takes the datagrams of m out of the bucket, each with so many header
// bytes over its payload, and those off m that find it empty. It is false when
// none is left.
func (p *Police) pass(m *sock.Message, over int, now time.Time) bool {
	if p == nil {
		return true
	}
	kept, first := p.take(m, over, now)
	if first && p.First != nil {
		p.First()
	}
	return kept
}

func (p *Police) take(m *sock.Message, over int, now time.Time) (kept, first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fill(now)
	segment := m.Segment
	if segment == 0 || segment > m.Len {
		segment = m.Len
	}
	left := m.Len
	for passed := 0; ; passed += segment {
		if p.bits <= 0 {
			first, p.told = !p.told, true
			m.Len = passed
			return passed > 0, first
		}
		size := min(segment, left)
		p.bits -= float64(8 * (size + over))
		if left -= size; left == 0 {
			return true, false
		}
	}
}

// fill adds what the time since the last call is worth. Receivers that share it
// come with moments out of order; time that was counted is not counted again.
func (p *Police) fill(now time.Time) {
	burst := max(float64(p.Rate)*policeBurst.Seconds(), leastBurst)
	if !p.began {
		p.began, p.at, p.bits = true, now, burst
	}
	if passed := now.Sub(p.at); passed > 0 {
		p.bits = min(burst, p.bits+float64(p.Rate)*passed.Seconds())
		p.at = now
	}
}
