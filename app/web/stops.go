package web

import (
	"context"
	"sync"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/result"
)

// WordStopped is why a test ended that an operator stopped.
const WordStopped = "stopped_by_operator"

// Stops can end the tests that were admitted through it. The zero Stops is ready
// to use.
type Stops struct {
	mu  sync.Mutex // guards all
	all map[result.ID]context.CancelCauseFunc
}

// Policy is next, but what it admits can be stopped. A nil next admits all.
func (s *Stops) Policy(next admit.Policy) admit.Policy {
	if next == nil {
		next = &admit.Limits{}
	}
	return stoppable{s, next}
}

type stoppable struct {
	stops *Stops
	next  admit.Policy
}

// Admit implements admit.Policy.
func (p stoppable) Admit(ctx context.Context, r admit.Request) (*admit.Grant, error) {
	g, err := p.next.Admit(ctx, r)
	if err != nil || g == nil || r.Run == "" {
		return g, err
	}
	own := *g
	ended := g.Ended
	if ended == nil {
		ended = context.Background()
	}
	var stop context.CancelCauseFunc
	own.Ended, stop = context.WithCancelCause(ended)
	id := result.ID(r.Run)
	p.stops.add(id, stop)
	own.Settle = func(sent, received uint64) {
		p.stops.remove(id)
		stop(nil)
		if g.Settle != nil {
			g.Settle(sent, received)
		}
	}
	return &own, nil
}

func (s *Stops) add(id result.ID, stop context.CancelCauseFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[result.ID]context.CancelCauseFunc{}
	}
	s.all[id] = stop
}

func (s *Stops) remove(id result.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, id)
}

// Can reports whether a test can be stopped.
func (s *Stops) Can(id result.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[id] != nil
}

// Stop ends a test, with a cause that names who wanted it. It is false for one
// that does not run.
func (s *Stops) Stop(id result.ID, who string) bool {
	s.mu.Lock()
	stop := s.all[id]
	s.mu.Unlock()
	if stop == nil {
		return false
	}
	stop(&admit.ExceededError{Word: WordStopped, Text: "stopped by " + who})
	return true
}
