// Package schedule says when tests are due that are repeated.
//
// Turns are counted from the start, so one that lasts long or begins late does
// not push back the rest, and a schedule of months keeps its beat. What is due
// while the one before still runs is left out: two tests of one host at once
// would measure each other.
package schedule

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"
)

// A Plan is when turns are due.
type Plan struct {
	Every  time.Duration // from one turn to the next
	Jitter time.Duration // each turn begins up to so much later, by chance, so that many hosts do not test in the same second
	Count  int           // turns taken; 0 means until the context ends
}

// Validate checks the plan. The error names the value and the way out.
func (p Plan) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if p.Every <= 0 {
		bad("every %v: want more than 0", p.Every)
	}
	if p.Jitter < 0 || p.Jitter >= p.Every && p.Every > 0 {
		bad("jitter %v: want 0 to less than the %v between two turns", p.Jitter, p.Every)
	}
	if p.Count < 0 {
		bad("count %d: want 1 or more, or 0 for no end", p.Count)
	}
	return errors.Join(errs...)
}

// Turns yields 0, 1, 2 and so on when each turn is due: the n-th at n times
// Every after the start and up to Jitter later. It leaves out numbers whose time
// has passed, and ends after Count turns or when ctx does. The Plan must be
// valid.
func (p Plan) Turns(ctx context.Context) iter.Seq[int] {
	return func(yield func(int) bool) {
		start := time.Now()
		taken := 0
		for n := 0; p.Count == 0 || taken < p.Count; n++ {
			if due := start.Add(time.Duration(n)*p.Every + p.chance()); !sleep(ctx, time.Until(due)) || !yield(n) {
				return
			}
			taken++
			if passed := int(time.Since(start) / p.Every); passed > n {
				n = passed // the turn that began in between is left out, the next one is passed+1
			}
		}
	}
}

// chance is from 0 to less than Jitter.
func (p Plan) chance() time.Duration {
	if p.Jitter <= 0 {
		return 0
	}
	return rand.N(p.Jitter)
}

// sleep waits for d, or until ctx ends; then it is false.
func sleep(ctx context.Context, d time.Duration) bool {
	if ctx.Err() != nil {
		return false
	}
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
