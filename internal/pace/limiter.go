package pace

import (
	"sync"
	"time"
)

// Blocks of a limited TCP sender: ten milliseconds' worth, so that even a slow
// stream is even, and never more than one large write.
const (
	blockTime = 10 * time.Millisecond
	maxBlock  = 64 << 10
)

// limiterDebt is how much a Limiter lets its connections catch up on. It is more
// than MaxDebt since the kernel spreads what TCP is given.
const limiterDebt = 50 * time.Millisecond

// A Limiter shares one Rate over the TCP connections of a test: the total is
// held, whichever of them sends. It is safe for concurrent use, and a nil
// Limiter has no limit.
type Limiter struct {
	rate *Rate

	mu    sync.Mutex // guards what follows
	start time.Time
	inUse uint64        // the rate in force at the last reservation
	due   time.Duration // since start: when the next byte may go
	frac  uint64        // of a nanosecond, in 1/inUse ns
}

// NewLimiter makes a Limiter that follows r.
func NewLimiter(r *Rate) *Limiter { return &Limiter{rate: r} }

// Rate returns the limit in bit/s, 0 for none.
func (l *Limiter) Rate() uint64 {
	if l == nil {
		return 0
	}
	return l.rate.Get()
}

// Block is how many bytes one write should have at the present rate: at most
// 64 KiB and what the rate moves in 10 ms, at least 1. It is 0 without a limit.
func (l *Limiter) Block() int {
	rate := l.Rate()
	if rate == 0 {
		return 0
	}
	n, _ := scale(rate, uint64(blockTime), 0, 8*uint64(time.Second))
	return int(min(max(n, 1), maxBlock))
}

// Reserve books n bytes and returns when they may go, which may be past. What
// was not written in the end is given back by Return.
func (l *Limiter) Reserve(n int, now time.Time) time.Time {
	rate := l.Rate()
	if rate == 0 || n <= 0 {
		return now
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.start.IsZero() {
		l.start = now
	}
	t := now.Sub(l.start)
	switch {
	case l.inUse != rate:
		l.inUse, l.due, l.frac = rate, t, 0
	case t-l.due > limiterDebt:
		l.due, l.frac = t-limiterDebt, 0
	}
	at := l.due
	whole, frac := scale(8*uint64(n), uint64(time.Second), l.frac, rate)
	l.due, l.frac = l.due+time.Duration(whole), frac
	return l.start.Add(at)
}

// Return gives back n reserved bytes that were not sent.
func (l *Limiter) Return(n int) {
	if l == nil || n <= 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inUse == 0 {
		return
	}
	whole, rest := scale(8*uint64(n), uint64(time.Second), 0, l.inUse)
	if l.frac < rest {
		whole++
		l.frac += l.inUse
	}
	l.frac -= rest
	l.due -= time.Duration(whole)
}
