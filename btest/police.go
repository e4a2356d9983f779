package btest

import (
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
)

// A police lets datagrams through at no more than a rate; the rest are thrown
// away as they come, before anybody counts them. So they are lost to the far
// end, whose speed adaptation follows. Only its ReadBatch differs from that of
// the socket it wraps, and one goroutine may call it.
//
// It is a token bucket that holds 200 ms worth, so that a flow that keeps to the
// rate passes whole although it comes in bursts, or is read in bursts by a
// machine that is busy.
type police struct {
	sock.PacketConn
	accept func(from netip.AddrPort) bool // what others send costs nothing
	over   int                            // header bytes that count for each datagram
	rate   uint64                         // bit/s
	first  func()                         // called with the first datagram thrown away

	began bool
	told  bool
	at    time.Time // when the bucket was last filled
	bits  float64   // in it; less than nothing after a datagram larger than it
}

// policeBurst is what the bucket holds, in time at the rate.
const policeBurst = 200 * time.Millisecond

// leastBurst is what it holds at least, bits: two packets of 1500 bytes.
const leastBurst = 2 * 1500 * 8

// ReadBatch implements sock.PacketConn. It may return no datagrams at all.
func (p *police) ReadBatch(ms []sock.Message) (int, error) {
	n, err := p.PacketConn.ReadBatch(ms)
	kept := 0
	for i := range ms[:n] {
		m := &ms[i]
		if !p.accept(m.From) || p.pass(m, time.Now()) {
			ms[kept], ms[i] = ms[i], ms[kept] // each keeps a buffer of its own
			kept++
		}
	}
	return kept, err
}

// pass takes the datagrams of m out of the bucket, and those off m that find it
// empty. It is false when none is left.
func (p *police) pass(m *sock.Message, now time.Time) bool {
	p.fill(now)
	segment := m.Segment
	if segment == 0 || segment > m.Len {
		segment = m.Len
	}
	left := m.Len
	for passed := 0; ; passed += segment {
		if p.bits <= 0 {
			p.thrownAway()
			m.Len = passed
			return passed > 0
		}
		size := min(segment, left)
		p.bits -= float64(8 * (size + p.over))
		if left -= size; left == 0 {
			return true
		}
	}
}

// fill adds what the time since the last call is worth.
func (p *police) fill(now time.Time) {
	burst := max(float64(p.rate)*policeBurst.Seconds(), leastBurst)
	if !p.began {
		p.began, p.at, p.bits = true, now, burst
	}
	p.bits = min(burst, p.bits+float64(p.rate)*now.Sub(p.at).Seconds())
	p.at = now
}

func (p *police) thrownAway() {
	if !p.told {
		p.told = true
		p.first()
	}
}
