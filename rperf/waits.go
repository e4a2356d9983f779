package rperf

import (
	"time"

	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/stream"
)

// A waits is the wait of one stream for the far end's first sign, which need not
// take a goroutine. The zero waits is ready to use.
type waits struct {
	since time.Time // zero before
}

// until is when a wait of so long ends, from its first call on.
func (w *waits) until(long time.Duration) time.Time {
	if w.since.IsZero() {
		w.since = time.Now()
	}
	return w.since.Add(long)
}

// first is a pause until c can be read, on the first call only; nil where the
// stream does not yield.
func (w *waits) first(yields bool, c any, long time.Duration) *stream.Pause {
	if !yields || !w.since.IsZero() || !sock.Polled(c) {
		return nil
	}
	return &stream.Pause{Conn: c, Until: w.until(long)}
}

// pauseUntil is p, but not longer than until end.
func pauseUntil(p *stream.Pause, end time.Time) *stream.Pause {
	if p.Until.IsZero() || end.Before(p.Until) {
		p.Until = end
	}
	return p
}
