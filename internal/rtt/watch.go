package rtt

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/stat"
	"github.com/sonde-net/sonde/result"
)

// idleTime is how long the idle path is probed before a test.
const idleTime = 500 * time.Millisecond

// A Watch probes beside one test, first the idle path, then the loaded one. Its
// methods are safe for concurrent use. A nil Watch is that of a test without
// probes: it has found nothing.
type Watch struct {
	prober prober

	mu       sync.Mutex // guards what follows
	idle     stat.Histogram
	loaded   stat.Histogram
	interval stat.Histogram
	lost     uint64
	load     bool
}

// Begin looks for a way to probe the host and open TCP port at to, and probes the
// idle path, which takes half a second. Echoes are sent from the local address;
// where none comes back within 0.7 s, connections are opened, the first of which may
// take a second. With a dial function of the caller's only that is used. A port of 0
// leaves only echoes: for servers that take every connection for a client. An error
// says why nothing comes back.
func Begin(ctx context.Context, local netip.Addr, to netip.AddrPort, dial DialFunc) (*Watch, error) {
	p, err := pick(ctx, local, to, dial)
	if err != nil {
		return nil, err
	}
	w := &Watch{prober: p}
	idle, cancel := context.WithTimeout(ctx, idleTime)
	defer cancel()
	w.run(idle, idleTime/10)
	return w, nil
}

// Close frees the socket of the probes, which have ended.
func (w *Watch) Close() {
	if w != nil {
		w.prober.Close()
	}
}

// Loaded says that the load begins now.
func (w *Watch) Loaded() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.load = true
}

// Run probes until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	if w != nil {
		w.run(ctx, w.prober.Every())
	}
}

func (w *Watch) run(ctx context.Context, every time.Duration) {
	for range pace.Ticks(ctx, every) {
		took, err := w.prober.Probe(ctx)
		if ctx.Err() != nil && err != nil {
			return
		}
		w.record(took, err)
	}
}

func (w *Watch) record(took time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err != nil:
		w.lost++
	case w.load:
		w.loaded.Record(took)
		w.interval.Record(took)
	default:
		w.idle.Record(took)
	}
}

// Interval is the distribution under load since the last call, nil if there was
// no answer.
func (w *Watch) Interval() *result.Delay {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.interval.Delay()
	w.interval.Reset()
	return d
}

// IdleDelay is what the idle path showed, nil without an answer.
func (w *Watch) IdleDelay() *result.Delay {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.idle.Delay()
}

// Latency is all that was found.
func (w *Watch) Latency() *result.Latency {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return &result.Latency{Method: w.prober.Method(), Idle: w.idle.Delay(), Loaded: w.loaded.Delay(), Lost: w.lost}
}
