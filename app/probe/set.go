package probe

import (
	"context"
	"sync"

	"github.com/sonde-net/sonde/result"
)

// A Planned probe is one of a configuration.
type Planned struct {
	Probe
	Settings string // the same text means the same settings
}

// A Set are the probes that run. It is for one goroutine.
type Set struct {
	Host *Host
	// Gone, if not nil, is told of a probe that is no more, by a goroutine of its
	// own.
	Gone func(name string)

	running  map[string]*worker
	memories map[string]*memory
	turns    map[string]<-chan struct{} // closed when a memory's latest user has ended
	all      sync.WaitGroup
}

// A worker is a probe of a Set.
type worker struct {
	settings string
	stop     context.CancelCauseFunc
}

var (
	errChanged = &result.Error{Word: result.CodeTerminated, Text: "the configuration has changed"}
	errStopped = &result.Error{Word: result.CodeTerminated, Text: "the server stops"}
)

// Become makes the probes that run those of plans: what is the same goes on, of
// what is not the test that runs is ended first. It does not wait. All of it
// ends with ctx.
func (s *Set) Become(ctx context.Context, plans []Planned) {
	if s.running == nil {
		s.running, s.memories, s.turns = map[string]*worker{}, map[string]*memory{}, map[string]<-chan struct{}{}
	}
	wanted := map[string]bool{}
	for _, p := range plans {
		wanted[p.Name] = true
		old := s.running[p.Name]
		if old != nil && old.settings == p.Settings {
			continue
		}
		if old != nil {
			old.stop(errChanged)
		}
		s.running[p.Name] = s.begin(ctx, p)
	}
	for name, old := range s.running {
		if wanted[name] {
			continue
		}
		old.stop(errChanged)
		delete(s.running, name)
		if s.Gone != nil {
			over := s.turns[name]
			s.all.Go(func() { <-over; s.Gone(name) })
		}
	}
}

// begin starts a probe once the one before of its name has ended.
func (s *Set) begin(ctx context.Context, p Planned) *worker {
	ctx, stop := context.WithCancelCause(ctx)
	m := s.memories[p.Name]
	if m == nil {
		m = &memory{}
		s.memories[p.Name] = m
	}
	before, over := s.turns[p.Name], make(chan struct{})
	s.turns[p.Name] = over
	s.all.Go(func() {
		defer close(over)
		defer stop(nil)
		if before != nil {
			<-before
		}
		newLoop(s.Host, &p.Probe, m).run(ctx)
	})
	return &worker{settings: p.Settings, stop: stop}
}

// Len is how many probes run.
func (s *Set) Len() int { return len(s.running) }

// Stop ends all tests and waits until they are, or are given up.
func (s *Set) Stop() {
	for name, w := range s.running {
		w.stop(errStopped)
		delete(s.running, name)
	}
	s.all.Wait()
}
