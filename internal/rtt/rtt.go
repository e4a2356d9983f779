// Package rtt measures round trips beside a test: a light probe to the far end
// before and during the load, whatever protocol carries the load.
//
// An ICMP echo is tried first, without privileges where the system allows that.
// Where echoes do not come back it opens TCP connections to a port that is
// known to be open: the time from SYN to SYN/ACK. Times are those of this
// program, so a processor that is busy here adds to them; results say the load
// of the processor beside them.
package rtt

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/stat"
	"github.com/sonde-net/sonde/result"
)

// The methods, as results name them.
const (
	MethodEcho    = "icmp-echo"
	MethodConnect = "tcp-connect"
)

// Wait is how long a probe waits for its answer; later ones count as lost.
const Wait = time.Second

// A Prober measures one round trip at a time.
type Prober interface {
	// Probe measures one round trip; an error is a probe without an answer.
	Probe(ctx context.Context) (time.Duration, error)
	Method() string
	// Every is the time between two probes that the method can be trusted with.
	Every() time.Duration
	Close() error
}

// A DialFunc opens a TCP connection.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Pick returns the prober for the host and open TCP port at to: echoes from the
// local address if one comes back within Wait, otherwise connections. With a
// dial function of the caller's only that is used. A port of 0 leaves only
// echoes: for servers that take every connection for a client.
func Pick(ctx context.Context, local netip.Addr, to netip.AddrPort, dial DialFunc) (Prober, error) {
	if dial != nil {
		return &connector{to: to.String(), dial: dial}, nil
	}
	e, err := newEcho(local, to.Addr())
	if err == nil {
		if _, err = e.Probe(ctx); err == nil {
			return e, nil
		}
		e.Close()
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if to.Port() == 0 {
		return nil, err
	}
	d := &net.Dialer{}
	if local.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
	}
	c := &connector{to: to.String(), dial: d.DialContext}
	if _, errConnect := c.Probe(ctx); errConnect != nil {
		return nil, errors.Join(err, errConnect)
	}
	return c, nil
}

// A connector opens TCP connections and closes them at once.
type connector struct {
	to   string
	dial DialFunc
}

// Probe implements Prober.
func (c *connector) Probe(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, Wait)
	defer cancel()
	start := time.Now()
	conn, err := c.dial(ctx, "tcp", c.to)
	if err != nil {
		return 0, err
	}
	took := time.Since(start)
	return took, conn.Close()
}

func (c *connector) Method() string       { return MethodConnect }
func (c *connector) Every() time.Duration { return 500 * time.Millisecond }
func (c *connector) Close() error         { return nil }

// A Watch is what the probes of a test have found. Its methods are safe for
// concurrent use; the zero Watch is ready.
type Watch struct {
	mu       sync.Mutex // guards what follows
	method   string
	idle     stat.Histogram
	loaded   stat.Histogram
	interval stat.Histogram
	lost     uint64
	load     bool
}

// Loaded says that the load begins now.
func (w *Watch) Loaded() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.load = true
}

// Idle probes for the given time, every so often, before the load.
func (w *Watch) Idle(ctx context.Context, p Prober, during time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, during)
	defer cancel()
	w.run(ctx, p, during/10)
}

// Run probes until ctx ends.
func (w *Watch) Run(ctx context.Context, p Prober) { w.run(ctx, p, p.Every()) }

func (w *Watch) run(ctx context.Context, p Prober, every time.Duration) {
	w.mu.Lock()
	w.method = p.Method()
	w.mu.Unlock()
	for range pace.Ticks(ctx, every) {
		took, err := p.Probe(ctx)
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

// Interval is the distribution since the last call, nil if there was no probe.
func (w *Watch) Interval() *result.Delay {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.interval.Delay()
	w.interval.Reset()
	return d
}

// IdleDelay is what the idle path showed, nil without an answer.
func (w *Watch) IdleDelay() *result.Delay {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.idle.Delay()
}

// Latency is all that was found, nil if nothing was.
func (w *Watch) Latency() *result.Latency {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.method == "" {
		return nil
	}
	return &result.Latency{Method: w.method, Idle: w.idle.Delay(), Loaded: w.loaded.Delay(), Lost: w.lost}
}
