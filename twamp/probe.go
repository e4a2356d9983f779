package twamp

import (
	"cmp"
	"context"
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
	TTL      uint8         // or hop limit of the packets; 0 means 255, as RFC 5357, section 4.1.2 wants it
	Wait     time.Duration // a reply that takes longer is late; 0 means 2s
	PTP      bool          // timestamps in the PTP format

	Source netip.AddrPort // to send from; the zero AddrPort leaves it to the system
	// Ports to send from, when Source has none: the first that is free; the zero
	// PortRange leaves it to the system.
	Ports  PortRange
	Every  time.Duration // between intervals in the result; 0 means 1s
	Record func(Sample)  // is told of each packet, once it is answered or lost; may be nil
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
	case p.Ports.Last < p.Ports.First:
		return bad("source ports %d-%d: the last is below the first", p.Ports.First, p.Ports.Last)
	case p.Ports != (PortRange{}) && p.Ports.First == 0:
		return bad("source ports %d-%d: want 1 to 65535", p.Ports.First, p.Ports.Last)
	case p.Ports != (PortRange{}) && p.Source.Port() != 0:
		return bad("source port %d: it is not to be given together with a range", p.Source.Port())
	case p.DSCP > 63:
		return bad("dscp %d: want 0 to 63", p.DSCP)
	case p.Wait < 0:
		return bad("wait %v: want more than 0", p.Wait)
	}
	return nil
}

// open opens the socket to send from, at an address.
func (p *Probe) open(ctx context.Context, listen ListenPacketFunc, at netip.AddrPort) (port, error) {
	s, err := p.openFree(ctx, listen, at)
	if err != nil || p.TTL == 0 {
		return s, err
	}
	if err := s.setTTL(p.TTL); err != nil {
		s.close()
		return nil, &result.Error{Word: result.CodeLocal, Text: fmt.Sprintf("ttl %d", p.TTL), Err: err}
	}
	return s, nil
}

// openFree opens the socket at an address, or at the first port of the range
// that is free.
func (p *Probe) openFree(ctx context.Context, listen ListenPacketFunc, at netip.AddrPort) (port, error) {
	if at.Port() != 0 || p.Ports == (PortRange{}) {
		s, err := openPort(ctx, listen, at, false)
		if err != nil {
			return nil, &result.Error{Word: result.CodeLocal, Text: fmt.Sprintf("udp socket at %v", at), Err: err}
		}
		return s, nil
	}
	for n := int(p.Ports.First); ; n++ {
		s, err := openPort(ctx, listen, netip.AddrPortFrom(at.Addr(), uint16(n)), false)
		if err == nil {
			return s, nil
		}
		if n == int(p.Ports.Last) || ctx.Err() != nil {
			return nil, &result.Error{Word: result.CodeLocal, Text: fmt.Sprintf("no udp port from %d to %d to be had at %v", p.Ports.First, p.Ports.Last, at.Addr()), Err: err}
		}
	}
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
