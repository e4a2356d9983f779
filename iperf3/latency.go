package iperf3

import (
	"context"
	"net"
	"net/netip"
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
// waits for our cookie, and leaves the prober for the load. Only echoes will do:
// a real server takes every connection for a client or a stream, and a caller's
// Dial reaches nothing but the server. Without them the test goes on without.
func (c *clientRun) probeIdle(ctx context.Context, conn net.Conn) {
	if !c.Latency {
		return
	}
	if c.Dial != nil {
		c.notProbed("the caller's network carries no echoes")
		return
	}
	look, cancel := context.WithTimeout(ctx, pickTime)
	defer cancel()
	host := sock.AddrPort(conn.RemoteAddr()).Addr()
	p, err := rtt.Pick(look, sock.AddrPort(conn.LocalAddr()).Addr(), netip.AddrPortFrom(host, 0), nil)
	if err != nil {
		c.Log.Debug("latency is not probed", "err", err)
		if ctx.Err() == nil {
			c.notProbed("ICMP echoes to " + host.String() + " do not come back")
		}
		return
	}
	c.prober = p
	c.watch.Idle(ctx, p, idleTime)
}

// notProbed says why there will be no latency.
func (c *clientRun) notProbed(why string) {
	head := c.head
	head.Time = time.Now()
	c.sink.Put(result.Note{Head: head, Level: result.Info, Code: "no_latency", Text: "latency is not measured: " + why,
		Hint: "let ICMP echoes pass; connections as probes would disturb an iperf3 server"})
}

// probeLoaded goes on probing while data flows.
func (t *test) probeLoaded() {
	if t.prober == nil {
		return
	}
	t.watch.Loaded()
	t.wg.Go(func() { t.watch.Run(t.sending, t.prober) })
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
