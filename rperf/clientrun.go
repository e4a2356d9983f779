package rperf

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/rtt"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/rperf/wire"
)

// Run runs the test and returns when it is over: when the duration is, when ctx
// ends, when the server goes. It puts what was measured, and one result.End,
// into sink; the error is the one in the End.
func (c *Client) Run(ctx context.Context, sink result.Sink) error {
	r := &clientRun{Client: c.withDefaults(), sink: sink}
	r.head = result.Head{Run: result.NewID(), Time: time.Now(), Protocol: Protocol, Role: result.Client}
	end, err := r.attempt(ctx)
	if err != nil { // a failure before any data has an End without totals
		end = result.End{Head: r.head, Err: r.place(ctx, err), Reason: result.ReasonFailed}
		end.Time = time.Now()
		if code := result.CodeOf(end.Err); code == result.CodeInterrupted || code == result.CodeTerminated {
			end.Reason = result.ReasonInterrupted
		}
	}
	sink.Put(end)
	return end.Err
}

// A clientRun is one run of a Client.
type clientRun struct {
	Client
	head   result.Head
	sink   result.Sink
	target string // host:port
	yard   yard
	watch  *rtt.Watch // of round trips beside the test; nil for none
	told   *reports
	closed chan struct{} // closed when the server has closed, or we listen no more
	leave  atomic.Bool   // we have said end: the server may close
}

// attempt goes through the handshake and runs the data phase.
func (c *clientRun) attempt(ctx context.Context) (result.End, error) {
	if err := c.Validate(); err != nil {
		return result.End{}, &result.Error{Word: result.CodeUsage, Err: err}
	}
	host, port, err := sock.SplitTarget(c.Target, wire.DefaultPort)
	if err != nil {
		return result.End{}, &result.Error{Word: result.CodeUsage, Err: err}
	}
	c.target = net.JoinHostPort(host, port)
	conn, err := c.connect(ctx)
	if err != nil {
		return result.End{}, err
	}
	defer conn.Close()
	c.probeIdle(ctx, conn)
	defer c.watch.Close()
	c.yard = yard{
		net:   network{dial: c.Dial, listen: c.Listen, listenPacket: c.ListenPacket},
		pools: newPools(c.Ports), peer: sock.AddrPort(conn.RemoteAddr()).Addr(), unproven: &admit.Gate{}, // one test is bounded by itself
	}
	t := c.newTest(newControl(conn))
	t.begin(ctx)
	defer t.stop(nil)
	if err := c.agree(ctx, t); err != nil {
		return result.End{}, err
	}
	return c.measure(t)
}

// connect opens the control connection.
func (c *clientRun) connect(ctx context.Context) (net.Conn, error) {
	dial := c.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	within, cancel := context.WithTimeout(ctx, c.ConnectTime)
	defer cancel()
	conn, err := dial(within, c.Network, c.target)
	if err != nil {
		return nil, sock.Unreachable(ctx, err, c.target, c.ConnectTime, "start a server there: sonde rperf server, or rperf -s")
	}
	return conn, nil
}

// place puts the target before an error, and the user's wish before its cause.
func (c *clientRun) place(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return &result.Error{Word: result.CodeInterrupted, Text: "stopped before the test began"}
	}
	if e, ok := errors.AsType[*result.Error](err); ok {
		placed := *e
		if placed.Word != result.CodeUsage {
			placed.Text, placed.Err = "rperf "+c.target, err
		}
		return &placed
	}
	return &result.Error{Word: result.CodeProtocol, Text: "rperf " + c.target, Err: err, Hint: "is that an rperf server?"}
}

func (c *clientRun) newTest(ctrl *control) *test {
	t := &test{
		head: c.head, sink: c.sink, log: c.Log, cfg: c.configuration(), ctrl: ctrl,
		sends: c.Direction == result.Up, interval: c.Interval, each: c.EachStream, counters: c.Counters,
		cpus: &turn{cpus: c.CPUs}, watch: c.watch,
	}
	if c.Records != nil {
		t.record = func(i wire.Interval) error { c.Records(Record{Interval: i}); return nil }
		t.over = func(stream int, err error) error {
			c.Records(Record{Over: true, Failed: err != nil, Interval: wire.Interval{Stream: uint8(stream)}})
			return nil
		}
	}
	return t
}

// measure runs the data phase to its End.
func (c *clientRun) measure(t *test) (result.End, error) {
	c.told = newReports(len(t.parts))
	c.closed = make(chan struct{})
	c.sink.Put(c.beginning(t))
	t.ready()
	t.wg.Go(func() { c.listen(t) }) // before any data: a server that cannot report fails
	if err := t.ctrl.write(wire.Begin{}); err != nil {
		t.stop(err)
	}
	if t.cfg.Reverse {
		// A real server may send for ever.
		defer time.AfterFunc(c.Duration+joinTime+graceTime, func() { t.stop(errOverdue) }).Stop()
	}
	end := t.counters.Begin()
	defer end()
	t.start(c.told.views)
	c.awaitEnd(t)
	c.part(t)
	e := t.finish(errOver)
	c.check(t, &e)
	return e, nil
}

// beginning is the Begin event.
func (c *clientRun) beginning(t *test) result.Begin {
	b := result.Begin{
		Head: t.now(), Transport: transport(t.cfg), Direction: c.Direction, Target: c.target,
		Peer: sock.AddrPort(t.ctrl.conn.RemoteAddr()), Local: sock.AddrPort(t.ctrl.conn.LocalAddr()),
		Streams: c.Streams, Size: c.Length, Duration: c.Duration, Login: "none",
		Idle: c.watch.IdleDelay(),
	}
	total := c.Rate * uint64(c.Streams)
	if c.Direction == result.Down {
		b.DownRate = total
	} else {
		b.UpRate = total
	}
	return b
}

// listen takes what the server says until it closes or the test is over.
func (c *clientRun) listen(t *test) {
	defer close(c.closed)
	for {
		m, err := t.ctrl.read(t.ctx, "report", 0)
		if err == nil {
			err = c.take(t, m)
		}
		if err == nil {
			continue
		}
		if _, open := c.told.heard(); gone(err) && (open == 0 || c.leave.Load()) {
			return // it has said all that it had to
		}
		t.stop(err)
		return
	}
}

// take takes one message of the server's.
func (c *clientRun) take(t *test, m wire.Message) error {
	switch m := m.(type) {
	case wire.Interval:
		if err := c.told.add(m, time.Now()); err != nil {
			return protocolError(err, "")
		}
		if c.Records != nil {
			c.Records(Record{Server: true, Interval: m})
		}
	case wire.StreamEnd:
		if err := c.told.end(m, time.Now()); err != nil {
			return protocolError(err, "")
		}
		if c.Records != nil {
			c.Records(Record{Server: true, Over: true, Failed: m.Failed, Interval: wire.Interval{Stream: m.Stream}})
		}
		c.endStream(t, m)
	default:
		return protocolError(fmt.Errorf("got %s in the middle of the test", m.Kind()), "")
	}
	return nil
}

// endStream ends our end of a stream that the server has ended: at once when
// it receives no more, a little later when its last data may be on the way.
func (c *clientRun) endStream(t *test, m wire.StreamEnd) {
	if t.sends {
		t.ends[m.Stream]()
		return
	}
	time.AfterFunc(graceTime/2, t.ends[m.Stream])
}

// awaitEnd waits until all streams are over at both ends, or something else
// ends the test. A server that reports no more is not waited for.
func (c *clientRun) awaitEnd(t *test) {
	select {
	case <-t.own:
	case <-t.ctx.Done():
		return
	}
	ownOver := time.Now()
	tick := time.NewTicker(graceTime / 50)
	defer tick.Stop()
	for {
		select {
		case <-c.told.over:
			return
		case <-t.ctx.Done():
			return
		case now := <-tick.C:
			latest, _ := c.told.heard()
			if latest.Before(ownOver) {
				latest = ownOver
			}
			if now.Sub(latest) >= graceTime || now.Sub(ownOver) >= 2*graceTime {
				return
			}
		}
	}
}

// part says end, and gives the server a moment to close first.
func (c *clientRun) part(t *test) {
	if cause := context.Cause(t.ctx); gone(cause) || silent(cause) {
		return
	}
	c.leave.Store(true)
	if err := t.ctrl.write(wire.End{}); err != nil {
		t.log.Debug("end", "err", err) // the test is over either way
		return
	}
	select {
	case <-c.closed:
	case <-time.After(partingTime):
	}
}

// check adds what is wrong with the server's part of the result.
func (c *clientRun) check(t *test, e *result.End) {
	total := e.Total(c.Direction)
	if total == nil {
		return
	}
	settleLoss(total)
	if errors.Is(context.Cause(t.ctx), errOverdue) {
		c.sink.Put(result.Note{Head: t.now(), Level: result.Warning, Code: "overdue",
			Text: "the server did not end in time and was stopped",
			Hint: "real rperf servers send for ever when a fast test is longer than about 2 minutes"})
		return
	}
	latest, open := c.told.heard()
	switch failed := len(c.told.failed()); {
	case e.Err != nil:
	case failed > 0:
		e.Reason = result.ReasonFailed
		e.Err = &result.Error{Word: result.CodePeerLost, Text: fmt.Sprintf("the server gave up %d of %d streams", failed, c.Streams),
			Hint: "it heard nothing for some seconds, or could not go on; what was measured is above"}
	case open > 0 && time.Since(latest) >= graceTime:
		e.Reason = result.ReasonPeerSilent
		e.Err = &result.Error{Word: result.CodePeerLost, Text: fmt.Sprintf("the server has not reported the end of %d of %d streams", open, c.Streams),
			Hint: "the path or the server was lost; what we counted is above"}
	case open > 0:
		c.sink.Put(result.Note{Head: t.now(), Level: result.Warning, Code: "no_report",
			Text: fmt.Sprintf("the server has not reported the end of %d of %d streams: its figures are not complete", open, c.Streams)})
	}
}

// settleLoss counts what was lost at the very end, where no later number shows
// it: what was sent less what came.
func settleLoss(t *result.Total) {
	s, r := t.Sent, t.Received
	if s == nil || r == nil || s.Packets == nil || r.Packets == nil || r.Duplicate == nil || r.Lost == nil {
		return
	}
	lost := int64(*s.Packets) - int64(*r.Packets) + int64(*r.Duplicate)
	if lost > *r.Lost {
		r.Lost = &lost
	}
}
