package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/result"
)

// The words of tests that did not end by themselves.
const (
	CodeDeadline = "deadline_exceeded"
	CodePanic    = "panic"
)

// patience is how long a test may take to end once it was told to: to say so to
// the far end, and to take the last figures.
const patience = 5 * time.Second

// attempt makes one test, which may move so many bytes if that is limited. It
// returns in time, whatever the test does.
func (l *loop) attempt(ctx context.Context, left *uint64) Run {
	limit := l.deadline()
	late := &result.Error{Word: CodeDeadline, Text: fmt.Sprintf("the test did not end within its deadline of %v", limit),
		Hint: "does the target answer? a test can be made shorter, or deadline and every longer"}
	within, stop := context.WithTimeoutCause(ctx, limit, late)
	defer stop()
	var budget *admit.Budget
	if n := l.allowed(left); n != nil {
		budget = admit.NewBudget(*n, result.ReasonBytesExceeded, "bytes of the test")
	}
	r := Run{Probe: l.Probe, Began: l.now()}
	start := time.Now()
	c := newCollector(l.Probe, l.Sink)
	done := make(chan error, 1)
	go func() {
		defer l.hanging.Store(false)
		done <- l.guarded(within, budget, c)
	}()
	err := l.ending(within, done, late)
	r.Took = time.Since(start)
	c.close(err)
	r.ID, r.Begin, r.End, r.Bytes, r.Document = c.id(), c.begin, c.end, c.bytes(), c.document()
	if r.End != nil && r.End.Err != nil {
		err = cmp.Or(err, r.End.Err)
	} else if r.End != nil && r.End.Reason == result.ReasonBytesExceeded {
		err = nil
	}
	r.Err = err
	// What the day's limit has cut short tells as little of the path as what we stop.
	cut := left != nil && (l.Bytes == 0 || *left < l.Bytes) && r.End != nil && r.End.Reason == result.ReasonBytesExceeded
	r.Stopped = cut || ctx.Err() != nil && err != nil
	return r
}

// allowed is what a test may move: its own limit, or what is left of the day.
func (l *loop) allowed(left *uint64) *uint64 {
	switch {
	case l.Bytes == 0:
		return left
	case left == nil:
		return &l.Bytes
	}
	return new(min(l.Bytes, *left))
}

// guarded makes the test and turns a panic into an error.
func (l *loop) guarded(ctx context.Context, budget *admit.Budget, sink result.Sink) (err error) {
	defer func() {
		if v := recover(); v != nil {
			l.log().Error("a test panicked", "probe", l.Name, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = &result.Error{Word: CodePanic, Text: fmt.Sprintf("the test panicked: %v", v), Hint: "this is a fault of sonde; the log has where"}
		}
	}()
	return l.Test(ctx, budget, sink)
}

// ending waits for the end of a test. One that does not end is given up.
func (l *loop) ending(ctx context.Context, done <-chan error, late error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	// From here on the goroutine of the test clears the mark, however late.
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case err := <-done:
		if err != nil && errors.Is(context.Cause(ctx), late) {
			return late
		}
		return err
	case <-t.C:
	}
	l.hanging.Store(true)
	select {
	case err := <-done: // it has just ended
		l.hanging.Store(false)
		return err
	default:
	}
	l.log().Error("a test does not end, though it was told to; it is given up, and no other of this probe is made before it has ended", "probe", l.Name)
	return context.Cause(ctx)
}
