package iperf3

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/iperf3/wire"
	"github.com/sonde-net/sonde/result"
)

// agree goes through the conversation until data may flow.
func (c *clientRun) agree(ctx context.Context) error {
	var random [wire.CookieLen - 1]byte
	rand.Read(random[:])
	c.cookie = wire.MakeCookie(random)
	if err := c.ctrl.write("cookie", c.cookie[:]); err != nil {
		return c.refused(err)
	}
	if err := c.ctrl.expect(ctx, wire.ParamExchange, answerTime); err != nil {
		return c.refused(err)
	}
	var err error
	if c.params, err = c.parameters(c.peer.Addr(), time.Now()); err != nil {
		return err
	}
	c.makePlan()
	json, err := c.params.AppendBinary(nil)
	if err != nil {
		return &result.Error{Word: result.CodeUsage, Err: err}
	}
	if err := c.ctrl.write("parameters", wire.AppendBlock(nil, json)); err != nil {
		return c.refused(err)
	}
	if err := c.ctrl.expect(ctx, wire.CreateStreams, answerTime); err != nil {
		return c.refused(err)
	}
	if err := c.open(ctx); err != nil {
		return err
	}
	for _, s := range []wire.State{wire.TestStart, wire.TestRunning} {
		if err := c.ctrl.expect(ctx, s, streamTime); err != nil {
			return c.refused(err)
		}
	}
	return nil
}

// makePlan is what our ends of the streams do.
func (c *clientRun) makePlan() {
	t := c.test
	c.plan = &plan{Parameters: c.params, rate: c.Rate, budget: c.Budget}
	t.plan, t.interval, t.counters = c.plan, c.Interval, c.Counters
	c.plan.volume = c.plan.volumeOf(c.Direction == result.Up)
}

// refused says in words why a server does not run the test.
func (c *clientRun) refused(err error) error {
	if e, ok := errors.AsType[*wire.PeerError](err); ok {
		r := &result.Error{Word: result.CodeRefused, Err: e}
		switch e.Number {
		case wire.NotAuthorized:
			r.Word = result.CodeAuth
			r.Hint = "check user, password and key, and that both clocks agree to 10 s; servers up to 3.16 want the PKCS1v15 padding, later ones OAEP"
		case wire.RateAboveLimit, wire.DurationTooLong:
			r.Word = result.CodeLimit
		}
		return r
	}
	switch {
	case errors.Is(err, errBusy):
		return &result.Error{Word: result.CodeRefused, Text: "the server is busy with another test",
			Hint: "try again later; sonde iperf3 server serves many at once"}
	case errors.Is(err, errServerStops):
		return &result.Error{Word: result.CodeRefused, Text: "the server is stopping"}
	case sock.IsGone(err):
		return &result.Error{Word: result.CodeRefused, Err: err,
			Hint: "the server closes: iperf3 says no more when the rate is above its limit"}
	}
	return err
}

// open opens all streams, one after the other: the server gives them their
// roles in that order.
func (c *clientRun) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, streamTime)
	defer cancel()
	for n := range c.params.Streams() {
		sends := !c.params.ServerSends(n)
		var p part
		var err error
		if c.UDP {
			p, err = c.openUDP(ctx, sends)
		} else {
			p, err = c.openTCP(ctx, sends)
		}
		if err != nil {
			return fmt.Errorf("stream %d of %d: %w", n+1, c.params.Streams(), err)
		}
		c.test.add(p, sends)
	}
	return nil
}

func (c *clientRun) openTCP(ctx context.Context, sends bool) (part, error) {
	conn, err := c.dial(ctx, "tcp", c.peer.String(), streamTime)
	if err != nil {
		return nil, err
	}
	if err := (&control{conn}).write("cookie", c.cookie[:]); err != nil {
		conn.Close()
		return nil, c.refused(err)
	}
	p, err := c.plan.newTCP(conn, sends)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return p, nil
}

// helloTimes are when we ask for a UDP stream. A real client asks once, and
// fails when that is lost.
var helloTimes = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}

func (c *clientRun) openUDP(ctx context.Context, sends bool) (part, error) {
	conn, err := listenPackets(ctx, c.ListenPacket, netip.AddrPortFrom(anyAddress(c.peer.Addr()), 0), c.plan.packetOptions())
	if err != nil {
		return nil, &result.Error{Word: result.CodeLocal, Err: err}
	}
	for _, wait := range helloTimes {
		_, err := conn.WriteTrain(wire.Hello[:], wire.HelloLen, c.peer)
		if err == nil {
			err = awaitHello(ctx, conn, c.peer, wait)
		}
		if err == nil {
			if sends {
				return c.plan.newUDPSender(conn, c.peer), nil
			}
			return c.plan.newUDPReceiver(conn, c.peer), nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	conn.Close()
	if err := ctx.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return nil, context.Cause(ctx)
	}
	return nil, &result.Error{Word: result.CodeUnreachable, Text: "no answer on UDP, although the server answers on TCP",
		Hint: fmt.Sprintf("let UDP port %d in at the server: a NAT or firewall on the way drops it", c.peer.Port())}
}

// awaitHello waits for the server's answer to our hello. In a reverse test
// data may overtake it: datagrams of another size are passed over, and lost to
// the count, as in the original.
func awaitHello(ctx context.Context, conn sock.PacketConn, server netip.AddrPort, wait time.Duration) error {
	deadline := time.Now().Add(wait)
	if err := conn.SetReadDeadline(deadline); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { conn.SetReadDeadline(longAgo) })()
	ms := []sock.Message{{Data: make([]byte, 64)}}
	for {
		_, err := conn.ReadBatch(ms)
		m := &ms[0]
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && !sock.IsLoss(err), err != nil && time.Now().After(deadline):
			return fmt.Errorf("hello: %w", err)
		case err == nil && m.From == server && wire.IsHelloReply(m.Data[:min(m.Len, len(m.Data))]):
			return nil
		}
	}
}
