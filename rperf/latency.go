package rperf

import (
	"context"
	"net"
	"time"

	"github.com/sonde-net/sonde/internal/rtt"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
)

// idleTime is how long the idle path is probed before the test, and pickTime
// how long a way to probe is looked for.
const (
	idleTime = 500 * time.Millisecond
	pickTime = 700 * time.Millisecond
)

// probeIdle measures the round trips of the idle path, while the server still
// waits for our configuration, and leaves the prober for the load. Without a
// way to probe the test goes on without.
func (c *clientRun) probeIdle(ctx context.Context, conn net.Conn) {
	if !c.Latency {
		return
	}
	look, cancel := context.WithTimeout(ctx, pickTime)
	defer cancel()
	p, err := rtt.Pick(look, sock.AddrPort(conn.LocalAddr()).Addr(), sock.AddrPort(conn.RemoteAddr()), rtt.DialFunc(c.Dial))
	if err != nil {
		c.Log.Debug("latency is not probed", "err", err)
		return
	}
	c.prober = p
	c.watch.Idle(ctx, p, idleTime)
}

// probeLoaded goes on probing while data flows, until ctx ends.
func (t *test) probeLoaded(ctx context.Context) {
	if t.prober == nil {
		return
	}
	t.watch.Loaded()
	t.wg.Go(func() { t.watch.Run(ctx, t.prober) })
}

// rtt is the round trips since the last interval, nil without probes.
func (t *test) rtt() *result.Delay {
	if t.prober == nil {
		return nil
	}
	return t.watch.Interval()
}

// latency is all round trips, nil without probes.
func (t *test) latency() *result.Latency {
	if t.prober == nil {
		return nil
	}
	return t.watch.Latency()
}
