// Package pace says when to send: evenly spaced ticks, a timetable for packets
// at a rate, a limiter that several connections share, and a way to wait for a
// moment more exactly than a timer does.
//
// Schedules are absolute: what is late never pushes back what follows, so a
// rate holds over any length of time. The arithmetic (Timetable) takes times as
// arguments and does no I/O.
package pace

import (
	"context"
	"iter"
	"sync/atomic"
	"time"
)

// Ticks yields 0, 1, 2, … at start, start+interval, start+2·interval and so on,
// until ctx ends. Ticks are counted from the start, so one that comes late does
// not push back the rest: the stream stays periodic in the sense of RFC 3432.
// An interval of zero or less yields without waiting.
func Ticks(ctx context.Context, interval time.Duration) iter.Seq[int] {
	return func(yield func(int) bool) {
		start := time.Now()
		timer := time.NewTimer(0)
		defer timer.Stop()
		for n := 0; ; n++ {
			timer.Reset(time.Until(start.Add(time.Duration(n) * interval)))
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
			if ctx.Err() != nil || !yield(n) {
				return
			}
		}
	}
}

// A Rate is a target in bit/s that may be changed while senders run. Zero is no
// limit; the zero Rate and a nil Rate have none. It is safe for concurrent use.
type Rate struct{ bps atomic.Uint64 }

// NewRate makes a Rate of bps bit/s.
func NewRate(bps uint64) *Rate {
	r := &Rate{}
	r.Set(bps)
	return r
}

// Set changes the rate; senders follow within 10 ms, however slow they were.
func (r *Rate) Set(bps uint64) { r.bps.Store(bps) }

// Get returns the rate in bit/s, 0 for no limit.
func (r *Rate) Get() uint64 {
	if r == nil {
		return 0
	}
	return r.bps.Load()
}
