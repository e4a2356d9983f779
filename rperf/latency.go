package rperf

import (
	"context"
	"net"

	"github.com/sonde-net/sonde/internal/rtt"
	"github.com/sonde-net/sonde/internal/sock"
)

// probeIdle measures the round trips of the idle path, while the server still
// waits for our configuration. Without a way to probe the test goes on without.
func (c *clientRun) probeIdle(ctx context.Context, conn net.Conn) {
	if !c.Latency {
		return
	}
	w, err := rtt.Begin(ctx, sock.AddrPort(conn.LocalAddr()).Addr(), sock.AddrPort(conn.RemoteAddr()), rtt.DialFunc(c.Dial))
	if err != nil {
		c.Log.Debug("latency is not probed", "err", err)
	}
	c.watch = w
}

// probeLoaded goes on probing while data flows, until ctx ends.
func (t *test) probeLoaded(ctx context.Context) {
	t.watch.Loaded()
	t.wg.Go(func() { t.watch.Run(ctx) })
}
