package tui

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sonde-net/sonde/result"
)

// Bounds of what a screen keeps of a test.
const (
	mostIntervals = 7200 // two hours of seconds, or one of both ways
	mostStreams   = 1024
)

// A Test is the screen of a client's test, and the sink of its events. The zero
// Test is ready to use.
type Test struct {
	Title   string        // until it is known what was agreed
	Length  time.Duration // asked for, where the Begin does not say
	Streams bool          // show them from the beginning
	Log     Log           // what is said meanwhile
	Stays   bool          // when the test is over, until the person leaves

	mu    sync.Mutex // guards scene
	scene testScene
}

// A testScene is what is known of a test at a moment.
type testScene struct {
	begin     *result.Begin
	intervals []result.Interval // of all streams together, or of the sessions; oldest first
	streams   map[streamKey]result.Interval
	down, up  moved
	trips     tripsSoFar
	end       *result.End
}

type streamKey struct {
	stream    int
	direction result.Direction
}

// moved is what one direction did so far.
type moved struct {
	sent, received *result.View
	elapsed        time.Duration
}

// tripsSoFar is what can be added up of round trips.
type tripsSoFar struct {
	sent, lost uint64
	least      *time.Duration
	most       *time.Duration
}

// Put implements result.Sink.
func (t *Test) Put(e result.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.scene
	switch e := e.(type) {
	case result.Begin:
		s.begin = &e
	case result.Interval:
		s.add(e)
	case result.Note:
		if e.Level == result.Warning {
			t.Log.say("warning: " + e.Text)
			if e.Hint != "" {
				t.Log.say("  hint: " + e.Hint)
			}
		}
	case result.End:
		s.end = &e
	}
}

func (s *testScene) add(i result.Interval) {
	if i.Stream != result.AllStreams && len(s.streams) < mostStreams {
		if s.streams == nil {
			s.streams = map[streamKey]result.Interval{}
		}
		s.streams[streamKey{i.Stream, i.Direction}] = i
	}
	if i.Stream != result.AllStreams && i.RoundTrips == nil {
		return
	}
	if len(s.intervals) >= mostIntervals { // what a paused screen shows stays as it is
		s.intervals = slices.Clone(s.intervals[mostIntervals/4:])
	}
	s.intervals = append(s.intervals, i)
	if i.RoundTrips != nil {
		s.trips.add(i.RoundTrips)
		return
	}
	m := &s.up
	if i.Direction == result.Down {
		m = &s.down
	}
	m.sent, m.received = sum(m.sent, i.Sent), sum(m.received, i.Received)
	m.elapsed += i.End - i.Start
}

// sum adds views; what nobody counted stays unknown.
func sum(a, b *result.View) *result.View {
	if a == nil || b == nil {
		return cmp.Or(a, b)
	}
	both := result.Sum(*a, *b)
	return &both
}

func (t *tripsSoFar) add(r *result.RoundTrips) {
	t.sent, t.lost = t.sent+r.Sent, t.lost+r.Lost
	if r.RTT == nil {
		return
	}
	d := r.RTT.Delay
	if t.least == nil || d.Min < *t.least {
		t.least = &d.Min
	}
	if t.most == nil || d.Max > *t.most {
		t.most = &d.Max
	}
}

// look is what is known just now.
func (t *Test) look() testScene {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.scene
	s.streams = maps.Clone(s.streams)
	return s
}

// Over reports whether the test has begun and ended.
func (t *Test) Over() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.scene.begin != nil && t.scene.end != nil
}

// Run shows the screen until the person leaves or ctx ends; without Stays, or if
// the test never began, until it is over.
func (t *Test) Run(ctx context.Context, c Config) error {
	err := run(ctx, c, newTestModel(t, c))
	if errors.Is(err, ErrLeft) {
		return nil
	}
	return err
}

// latest are the intervals of the last moment, one for each direction or session.
func (s *testScene) latest() []result.Interval {
	n := len(s.intervals)
	first := n
	for first > 0 && s.intervals[first-1].Seq == s.intervals[n-1].Seq {
		first--
	}
	return s.intervals[first:]
}

// elapsed is the time of data so far.
func (s *testScene) elapsed() time.Duration {
	if n := len(s.intervals); n > 0 {
		return s.intervals[n-1].End
	}
	return 0
}
