package stream

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// coarseQuantum is the longest train of a sender that waits on the runtime's
// timers, which may be a millisecond late.
const coarseQuantum = 2 * time.Millisecond

// exacts is how many UDP senders wait exactly now.
var exacts atomic.Int32

// exactly asks for a place among the senders that wait exactly. There is one for
// each of the runtime's processors: whoever sleeps in the kernel keeps one until
// the runtime notices, so that more sleepers keep each other from running. With
// two processors, eight flows of 50 Mbit/s reached 60 % of it that way.
func exactly(wanted bool) (granted bool, release func()) {
	if !wanted {
		return false, func() {}
	}
	if exacts.Add(1) > int32(max(1, runtime.GOMAXPROCS(0))) {
		exacts.Add(-1)
		return false, func() {}
	}
	return true, sync.OnceFunc(func() { exacts.Add(-1) })
}
