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

// probeIdle measures the round trips of the idle path, while the server still
// waits for our cookie. Only echoes will do: a real server takes every connection
// for a client or a stream, and a caller's Dial reaches nothing but the server.
// Without them the test goes on without.
func (c *clientRun) probeIdle(ctx context.Context, conn net.Conn) {
	if !c.Latency {
		return
	}
	if c.Dial != nil {
		c.notProbed("the caller's network carries no echoes")
		return
	}
	host := sock.AddrPort(conn.RemoteAddr()).Addr()
	w, err := rtt.Begin(ctx, sock.AddrPort(conn.LocalAddr()).Addr(), netip.AddrPortFrom(host, 0), nil)
	if err != nil {
		c.Log.Debug("latency is not probed", "err", err)
		if ctx.Err() == nil {
			c.notProbed("ICMP echoes to " + host.String() + " do not come back")
		}
	}
	c.watch = w
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
	t.watch.Loaded()
	t.wg.Go(func() { t.watch.Run(t.sending) })
}
