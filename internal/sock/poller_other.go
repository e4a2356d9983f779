//go:build !linux

package sock

import "errors"

// A Poller watches sockets over which nothing passes for now; here there is none.
type Poller struct{}

// NewPoller fails.
func NewPoller() (*Poller, error) { return nil, errors.ErrUnsupported }

// Enter fails.
func (p *Poller) Enter(c any, write bool, ready func()) error { return errors.ErrUnsupported }

// Leave does nothing.
func (p *Poller) Leave(c any) {}

// Run returns at once.
func (p *Poller) Run() {}

// Close does nothing.
func (p *Poller) Close() error { return nil }

// Polled is false.
func Polled(c any) bool { return false }
