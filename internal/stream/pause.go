package stream

import (
	"errors"
	"sync/atomic"
	"time"
)

// A flow that moves nothing for longer than lull may pause. Below, its goroutine
// is worth its memory.
const lull = 100 * time.Millisecond

// A flow whose next datagram is due later than longWait may pause until a little
// before: early makes up for timers that are late. 255 flows of 100 packets/s took
// half as much again of a processor when they paused between them, of 10
// packets/s a little less.
const (
	longWait = 20 * time.Millisecond
	early    = 2 * time.Millisecond
)

// A Pause is the error of a Run that has nothing to do for now, where Yields
// allows it. The next call of Run goes on where this one was, so a flow that is
// silent takes no goroutine while it waits.
type Pause struct {
	Conn  any       // that is waited for, see sock.Poller; nil: only for Until
	Write bool      // until Conn can be written; else until it can be read
	Until time.Time // when to go on in any case; zero is never
}

func (p *Pause) Error() string { return "nothing to do for now" }

// Paused is err as a Pause, nil if it is none.
func Paused(err error) *Pause {
	p, _ := errors.AsType[*Pause](err)
	return p
}

// idle is how a Run that yields is told that nothing moves. The zero idle is ready
// to use.
type idle struct {
	running atomic.Bool
	waited  bool // of the goroutine of Run: it has paused

	// Of the goroutine that calls rest.
	moved uint64
	since time.Time // nothing moves; zero: not known
}

// first reports whether Run has not paused yet.
func (i *idle) first() bool {
	first := !i.waited
	i.waited = true
	return first
}

// run marks a Run; its end calls stop.
func (i *idle) run() (stop func()) {
	i.running.Store(true)
	return i.stop
}

func (i *idle) stop() { i.running.Store(false) }

// rest wakes the call in which Run waits when nothing has moved for a lull. moved
// is a counter of the flow.
func (i *idle) rest(now time.Time, moved uint64, setDeadline func(time.Time) error) {
	switch {
	case !i.running.Load():
		i.since = time.Time{}
	case i.since.IsZero() || moved != i.moved:
		i.moved, i.since = moved, now
	case now.Sub(i.since) >= lull:
		_ = setDeadline(longAgo) // closed by now perhaps
	}
}
