// Package probe runs tests on their schedules, says what became of each, and
// keeps the state of each probe.
//
// A probe is on its own: one that hangs, panics or finds nobody does not hold up
// the others. Throughput tests of one host share its line, one at a time. What is
// due and cannot be made is missed, with a reason, and never made up for later.
// Time between turns is measured by the monotonic clock: a clock that is set, or
// the change to summer time, moves no turn. The wall clock says only where the
// first turn lies, and which day it is.
package probe

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/app/verdict"
	"github.com/sonde-net/sonde/result"
)

// A Probe is a test and when it is made.
type Probe struct {
	Name     string
	Protocol string
	Target   string
	Every    time.Duration // from one turn to the next
	Jitter   time.Duration // each turn is up to so much later, by chance
	Deadline time.Duration // a test is stopped after so long; 0 is Every
	Length   time.Duration // what a test takes if all goes well
	// Alone says that the test fills the line and wants it for itself.
	Alone  bool
	Bytes  uint64 // a test is stopped after so many; 0 is no limit
	PerDay uint64 // bytes of a day of UTC; 0 is no limit
	Rules  verdict.Rules
	M, N   int // the state is failed once M of the last N tests were no success; 0 means 1
	// Test makes one test: it moves no more than the budget, which may be nil, ends
	// soon after ctx does, and puts its events into the sink.
	Test func(ctx context.Context, budget *admit.Budget, sink result.Sink) error
}

// A State is what a probe's latest tests say together.
type State string

// The states.
const (
	OK      State = "ok"
	Failed  State = "failed"  // M of the last N tests were no success
	Unknown State = "unknown" // none was made yet, or a threshold could not be told
)

// A Run is a test that was made, or begun.
type Run struct {
	Probe   *Probe
	ID      result.ID
	Began   time.Time
	Took    time.Duration
	Bytes   uint64        // moved both ways: payload, for datagrams with their headers
	Begin   *result.Begin // nil: it did not come so far
	End     *result.End   // nil: it put none
	Err     error         // why it could not be made, or crossed a threshold
	Success bool          // it was made and crossed no threshold
	Stopped bool          // we ended it, which says nothing of the path
	State   State         // of the probe after it
	// Document is the whole result as JSON; nil if there was none.
	Document []byte
}

// The reasons for tests that were not made.
const (
	MissedRunning = "still_running" // the one before took too long
	MissedLine    = "line_busy"     // other throughput tests had the line
	MissedCap     = "bytes_per_day" // the day's bytes are used up
	MissedHanging = "hanging"       // the one before does not end, though it was told to
	MissedAsleep  = "asleep"        // the machine was suspended
)

// Missed are tests that were due and not made.
type Missed struct {
	Probe  *Probe
	Time   time.Time
	Reason string
	Runs   int
}

// A Change is a change of a probe's state.
type Change struct {
	Probe         *Probe
	Time          time.Time
	Before, State State
	Text          string // what made it
	Run           result.ID
}

// A Watcher is told what probes do. Its methods are called by many goroutines
// and do not wait.
type Watcher interface {
	Ran(Run)
	Missed(Missed)
	Changed(Change)
}

// A Host is what the probes of one machine share.
type Host struct {
	Log      *slog.Logger
	Sink     result.Sink // gets the events of all tests
	Watchers []Watcher
	// Line takes the line for one throughput test; it waits until ctx ends.
	Line func(ctx context.Context) (release func(), err error)
	// Known is what is known of a probe from before the start: its state, and how
	// many bytes it has moved since a moment. It may be nil.
	Known func(ctx context.Context, name string, since time.Time) (State, uint64, error)
	// Now is the wall clock, Asleep how long the machine was suspended since its
	// start; nil is the system's, and unknown.
	Now    func() time.Time
	Asleep func() time.Duration
}

func (h *Host) now() time.Time {
	if h.Now != nil {
		return h.Now()
	}
	return time.Now()
}

func (h *Host) asleep() time.Duration {
	if h.Asleep == nil {
		return 0
	}
	return h.Asleep()
}

func (h *Host) log() *slog.Logger { return cmp.Or(h.Log, slog.New(slog.DiscardHandler)) }

func (h *Host) each(tell func(Watcher)) {
	for _, w := range h.Watchers {
		tell(w)
	}
}

// deadline is how long a test may take.
func (p *Probe) deadline() time.Duration { return cmp.Or(p.Deadline, p.Every) }
