// Package testserve has what tests of servers and clients share: a server on
// loopback, what was reported, what was booked.
package testserve

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/result"
)

// Loopback has serve take connections of 127.0.0.1 until stop is called, or the
// test ends. What it returns then must be nil.
func Loopback(t *testing.T, serve func(context.Context, net.Listener) error) (target string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- serve(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

// A Record is a result.Sink that keeps what was put.
type Record struct {
	mu     sync.Mutex
	events []result.Event
}

// Put implements result.Sink.
func (r *Record) Put(e result.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// All is what was put so far.
func (r *Record) All() []result.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// End is the only End; the test fails without it, or with two.
func (r *Record) End(t *testing.T) result.End {
	t.Helper()
	ends := r.ends()
	if len(ends) != 1 {
		t.Fatalf("%d ends in %v", len(ends), r.All())
	}
	return ends[0]
}

// Ends is how many runs have ended.
func (r *Record) Ends() int { return len(r.ends()) }

func (r *Record) ends() (ends []result.End) {
	for _, e := range r.All() {
		if e, ok := e.(result.End); ok {
			ends = append(ends, e)
		}
	}
	return ends
}

// HasNote reports whether a note with this code was put.
func (r *Record) HasNote(code string) bool {
	return slices.ContainsFunc(r.All(), func(e result.Event) bool {
		n, ok := e.(result.Note)
		return ok && n.Code == code
	})
}

// A Ledger is an admit.Policy that gives each test the same Grant, and keeps what
// is booked: to be read once the server has ended.
type Ledger struct {
	Grant admit.Grant

	mu             sync.Mutex // guards what follows
	Settled        int        // tests
	Sent, Received uint64     // bytes, as the server counted
}

// Admit implements admit.Policy.
func (l *Ledger) Admit(context.Context, admit.Request) (*admit.Grant, error) {
	g := l.Grant
	g.Settle = func(sent, received uint64) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.Settled++
		l.Sent, l.Received = l.Sent+sent, l.Received+received
	}
	return &g, nil
}
