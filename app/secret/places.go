package secret

import (
	"context"
	"sync"
)

// Bounds of hashing: 2 × 19 MiB at once, and so many that wait for it.
const (
	hashing = 2
	waiting = 64
)

// places are those of the hashes that run at once. A waiting one costs next to
// nothing.
type places struct {
	once sync.Once
	in   chan struct{} // those that wait or hash
	busy chan struct{} // those that hash
}

// enter takes a place, or waits for one until ctx ends.
func (p *places) enter(ctx context.Context) (leave func(), err error) {
	p.once.Do(func() {
		p.in = make(chan struct{}, hashing+waiting)
		p.busy = make(chan struct{}, hashing)
	})
	select {
	case p.in <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	select {
	case p.busy <- struct{}{}:
		return func() { <-p.busy; <-p.in }, nil
	case <-ctx.Done():
		<-p.in
		return nil, context.Cause(ctx)
	}
}
