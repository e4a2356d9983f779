package twamp

import (
	"cmp"
	"time"

	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/twamp/wire"
)

// ends are what the replies tell of the path and of the far end.
type ends struct {
	n          uint64
	estimate   wire.ErrorEstimate // the reflector's, latest
	worst      time.Duration      // the largest error it admitted
	bounded    bool               // every estimate was a bound
	synced     bool               // every estimate said so
	ttl        uint8              // that packets are sent with; 0 means testTTL
	out, home  hops
	back       classes
	kernelRx   uint64 // times that T4 was the kernel's
	kernelBoth uint64 // and T1 too
	ptp        bool
}

func (e *ends) record(p wire.Reply, a arrival, stamped bool) {
	if e.n == 0 {
		e.synced, e.bounded = true, true
	}
	e.n++
	e.estimate, e.ptp = p.Error, p.Error.PTP()
	if a.Stamp == Kernel {
		e.kernelRx++
		if stamped {
			e.kernelBoth++
		}
	}
	e.synced = e.synced && p.Error.Synced()
	bound, ok := p.Error.Bound()
	e.bounded = e.bounded && ok
	e.worst = max(e.worst, bound)
	// A reflector that cannot tell writes 255, which of packets sent with less
	// cannot be true.
	if ttl := cmp.Or(e.ttl, testTTL); p.SenderTTL != 0 && p.SenderTTL <= ttl {
		e.out.record(ttl - p.SenderTTL)
	}
	if a.TTL != 0 {
		e.home.record(initialTTL(a.TTL) - a.TTL)
	}
	if a.Classed {
		e.back.record(a.Class)
	}
}

// initialTTL is what a sender most likely set: RFC 5357 wants 255, field peers
// also use 64 and 128.
func initialTTL(ttl uint8) uint8 {
	switch {
	case ttl <= 64:
		return 64
	case ttl <= 128:
		return 128
	}
	return 255
}

// hops are how many routers packets passed.
type hops struct {
	n        uint64
	min, max uint8
	last     uint8
	changes  uint64
}

func (h *hops) record(n uint8) {
	if h.n == 0 {
		h.min, h.max, h.last = n, n, n
	}
	h.n++
	h.min, h.max = min(h.min, n), max(h.max, n)
	if n != h.last {
		h.last = n
		h.changes++
	}
}

func (h *hops) report() *result.Hops {
	if h.n == 0 {
		return nil
	}
	return &result.Hops{Min: h.min, Max: h.max, Changes: h.changes}
}

// hopsOut is what the reflector tells of the way out. It writes 255, which would
// be no hop, also when it does not know: that is believed only if the way home
// has none either.
func (e *ends) hopsOut() *result.Hops {
	if cmp.Or(e.ttl, testTTL) == testTTL && e.out.max == 0 && (e.home.n == 0 || e.home.min > 0) {
		return nil
	}
	return e.out.report()
}

// classes are the traffic classes that packets came with.
type classes struct {
	n     uint64
	first uint8
	other uint64 // packets that came with another one
}

func (c *classes) record(class uint8) {
	if c.n == 0 {
		c.first = class
	}
	c.n++
	if class != c.first {
		c.other++
	}
}

func (c *classes) report() *result.Marking {
	if c.n == 0 {
		return nil
	}
	return &result.Marking{DSCP: c.first >> 2, ECN: c.first & 3, Other: c.other}
}

// stamps says who took our two timestamps in all but one of a hundred exchanges
// or better; "" before there was one.
func (e *ends) stamps() string {
	most := e.n - e.n/100
	switch {
	case e.n == 0:
		return ""
	case e.kernelBoth >= most:
		return "kernel-rx-tx"
	case e.kernelRx >= most:
		return "kernel-rx"
	}
	return "user"
}

// mixed is how many exchanges had worse stamps than stamps says.
func (e *ends) mixed() uint64 {
	switch e.stamps() {
	case "kernel-rx-tx":
		return e.n - e.kernelBoth
	case "kernel-rx":
		return e.n - e.kernelRx
	}
	return 0
}
