package pace

import (
	"context"
	"time"
)

// A Waiter waits for moments. How exactly depends on where it was made:
// NewWaiter follows Go's timers, which a test's fake clock drives and which are
// right to about a millisecond; Precise waits on the clock itself.
type Waiter struct {
	timer *time.Timer // nil before the first wait: many who could wait never do
	exact sleeper
	spin  time.Duration // the last part, spent looking at the clock; 0 with timers only
}

// NewWaiter makes a Waiter that uses timers.
func NewWaiter() *Waiter { return &Waiter{} }

// Precise makes a Waiter that is right to a few microseconds while the machine
// has a CPU to spare. Call it, and use it, on a goroutine that is locked to its
// thread (runtime.LockOSThread): it asks the kernel for exact timers on that
// thread. The last 20 µs of a wait, or as much as the system's sleep may be
// late, are spent looking at the clock.
func Precise() *Waiter {
	w := NewWaiter()
	w.spin = w.exact.prepare()
	return w
}

// Close ends the use of w. Call it on the same goroutine as Precise.
func (w *Waiter) Close() {
	if w.timer != nil {
		w.timer.Stop()
	}
	if w.spin > 0 {
		w.exact.restore()
	}
}

// Until waits until at or until ctx ends, whichever is first, and reports
// whether at has come.
func (w *Waiter) Until(ctx context.Context, at time.Time) bool {
	left := time.Until(at)
	if left <= 0 {
		return true
	}
	// The timer is interruptible but up to 1 ms late, so it takes only the
	// first part of a long precise wait.
	coarse := left
	if w.spin > 0 {
		coarse = left - w.spin - 2*time.Millisecond
	}
	if coarse > 0 {
		if w.timer == nil {
			w.timer = time.NewTimer(coarse)
		} else {
			w.timer.Reset(coarse)
		}
		select {
		case <-ctx.Done():
			w.timer.Stop()
			return false
		case <-w.timer.C:
		}
	}
	if w.spin > 0 {
		if left = time.Until(at); left > w.spin {
			w.exact.sleep(left - w.spin)
		}
		for time.Until(at) > 0 {
		}
	}
	return ctx.Err() == nil
}
