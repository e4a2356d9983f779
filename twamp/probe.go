package twamp

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/twamp/wire"
)

// A Probe says what a sender sends. The zero Probe is ready to use.
type Probe struct {
	Count    int           // packets; 0 means 100, -1 until stopped
	Interval time.Duration // mean time between packets; 0 means 100ms
	Poisson  bool          // spread by chance, RFC 3432 does not let periodic ones see periodic faults; otherwise evenly
	Padding  int           // octets after the fixed part; 0 means as many as make both ways equal, -1 none
	Zeros    bool          // pad with zeros, not with pseudo-random octets
	DSCP     uint8         // of the packets, 0 to 63
	Wait     time.Duration // a reply that takes longer is late; 0 means 2s
	PTP      bool          // timestamps in the PTP format

	Source netip.AddrPort // to send from; the zero AddrPort leaves it to the system
	Every  time.Duration  // between intervals in the result; 0 means 1s
	Record func(Sample)   // is told of each answered packet; may be nil
}

// Validate checks the settings. The error names the value and the way out.
func (p *Probe) Validate() error {
	bad := func(format string, args ...any) error {
		return &result.Error{Word: result.CodeUsage, Text: fmt.Sprintf(format, args...)}
	}
	switch {
	case p.Count < -1:
		return bad("count %d: want 1 or more, or -1 for no end", p.Count)
	case p.Interval < 0:
		return bad("interval %v: want more than 0", p.Interval)
	case p.Interval > 0 && p.Interval < time.Microsecond:
		return bad("interval %v: at least 1µs", p.Interval)
	case p.Padding < -1 || p.Padding > wire.MaxPacketLen-wire.KeyedReplyLen:
		return bad("padding %d: want 0 to %d octets", p.Padding, wire.MaxPacketLen-wire.KeyedReplyLen)
	case p.DSCP > 63:
		return bad("dscp %d: want 0 to 63", p.DSCP)
	case p.Wait < 0:
		return bad("wait %v: want more than 0", p.Wait)
	}
	return nil
}

func (p *Probe) interval() time.Duration { return cmp.Or(p.Interval, 100*time.Millisecond) }
func (p *Probe) wait() time.Duration     { return cmp.Or(p.Wait, 2*time.Second) }

// count returns how many packets to send; false when there is no end.
func (p *Probe) count() (int, bool) {
	return cmp.Or(p.Count, 100), p.Count >= 0
}

// padding returns how much to pad packets of a layout.
func (p *Probe) padding(l wire.Layout) int {
	switch p.Padding {
	case 0:
		return l.SymmetricPadding()
	case -1:
		return 0
	}
	return p.Padding
}

// A schedule yields the times of packets, absolute, so that a late one does not
// push back the rest: RFC 3432, and for Poisson RFC 2330, section 11.1.1.
type schedule struct {
	next    time.Time
	mean    time.Duration
	poisson bool
}

// newSchedule starts at a random phase within the first interval.
func (p *Probe) newSchedule(now time.Time) *schedule {
	mean := p.interval()
	phase := rand.N(min(mean, time.Second))
	return &schedule{next: now.Add(phase), mean: mean, poisson: p.Poisson}
}

func (s *schedule) tick() time.Time {
	at := s.next
	step := s.mean
	if s.poisson {
		step = time.Duration(rand.ExpFloat64() * float64(s.mean))
	}
	s.next = at.Add(step)
	return at
}
