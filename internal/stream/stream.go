// Package stream moves bulk bytes one way, over TCP or UDP: it paces, counts
// and spends them, and gives snapshots of the counters. Every protocol that
// measures throughput stands on it.
//
// A Run is one goroutine, the owner of its counters. It ends when its context
// does, within milliseconds: a past deadline wakes the call it may be blocked
// in. It then returns nil, whatever the context's cause; an error says why it
// could not go on.
//
// Budgets are spent per batch, before the bytes move where we send, and as they
// come where we receive.
package stream

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/pace"
)

// smallBatch is the most that moves in one go when the budget is nearly gone,
// so that several streams can share the rest.
const smallBatch = 64 << 10

// lowBudget is where a budget is nearly gone to those who receive: what comes can
// be charged only afterwards, so they are more careful than who sends.
const lowBudget = 1024 * smallBatch

// sleptReceive is the most that is received in one go by a call that may have
// slept since the budget was looked at.
const sleptReceive = 256 << 10

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// endWith makes calls of a connection end when ctx does. The caller calls release
// when it is done; before and after the connection has no deadline.
func endWith(ctx context.Context, setDeadline func(time.Time) error) (release func(), err error) {
	if err := setDeadline(time.Time{}); err != nil {
		return nil, err
	}
	var waking sync.WaitGroup // smaller than a channel: there may be many of us
	waking.Add(1)
	stop := context.AfterFunc(ctx, func() {
		defer waking.Done()
		// A connection that is closed already has woken its callers itself.
		_ = setDeadline(longAgo)
	})
	return func() {
		if !stop() {
			waking.Wait()
			_ = setDeadline(time.Time{}) // closed by now perhaps
		}
	}, nil
}

// ownThread gives the goroutine a thread of its own, if it is to have one, and
// returns how to give it back. Calls of a detached socket sleep on their thread.
func ownThread(own bool) (release func()) {
	if !own {
		return func() {}
	}
	runtime.LockOSThread()
	return runtime.UnlockOSThread
}

// waiter makes a Waiter; an exact one needs a thread of its own.
func waiter(exact bool) *pace.Waiter {
	if exact {
		return pace.Precise()
	}
	return pace.NewWaiter()
}

// batch is how many of want bytes may move at once under b: less near its end,
// 0 when nothing is left.
func batch(b *admit.Budget, want int) int {
	left, limited := b.Left()
	if !limited {
		return want
	}
	// A small part of what is left: what a stream holds while it waits to send
	// is missing to the others, whom an empty budget ends.
	share := max(left/256, smallBatch)
	return int(min(uint64(want), share, left))
}

// receiveBatch is how many of want bytes one call may receive under b: a small
// part of what is left, so that all streams together have little in hand that is
// not charged yet. The call has to be prompt: one that slept until the others had
// spent the rest would bring too much.
func receiveBatch(b *admit.Budget, want int) int {
	left, limited := b.Left()
	if !limited {
		return want
	}
	most := uint64(smallBatch)
	if left >= lowBudget {
		most = left / 256
	}
	return int(max(1, min(uint64(want), most, left)))
}

// isDeadline reports whether err is that of a deadline.
func isDeadline(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
