package iperf3

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/rtt"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/iperf3/wire"
	"github.com/sonde-net/sonde/result"
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
	if end.Err != nil {
		r.reporter().fail(end.Err)
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
	peer   netip.AddrPort
	ctrl   *control
	cookie wire.Cookie
	params wire.Parameters
	plan   *plan
	test   *test
	rep    *reporter
	watch  *rtt.Watch // of round trips beside the test; nil for none
}

// reporter is nil when nobody wants iperf3's document.
func (c *clientRun) reporter() *reporter {
	if c.rep == nil && c.Report != nil {
		c.rep = &reporter{emit: c.Report, params: c.params, role: result.Client}
	}
	return c.rep
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
	conn, err := c.dial(ctx, c.Network, c.target, c.ConnectTime)
	if err != nil {
		return result.End{}, sock.Unreachable(ctx, err, c.target, c.ConnectTime, "start a server there: sonde iperf3 server, or iperf3 -s")
	}
	defer conn.Close()
	c.probeIdle(ctx, conn)
	defer c.watch.Close()
	c.ctrl, c.peer = newControl(conn), sock.AddrPort(conn.RemoteAddr())
	c.test = newTest(ctx, c.head, c.sink, c.Log, nil)
	c.test.each = c.EachStream
	defer c.test.stop(nil)
	c.test.watch = c.watch
	if err := c.agree(ctx); err != nil {
		for _, f := range c.test.flows {
			f.close()
		}
		return result.End{}, err
	}
	return c.measure(), nil
}

// dial opens a TCP connection.
func (c *clientRun) dial(ctx context.Context, network, target string, within time.Duration) (net.Conn, error) {
	dial := c.Dial
	if dial == nil {
		dial = (&net.Dialer{Control: dialControl(c.MSS)}).DialContext
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	return dial(ctx, network, target)
}

// place puts the target before an error, and the user's wish before its cause.
func (c *clientRun) place(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return &result.Error{Word: result.CodeInterrupted, Text: "stopped before the test began"}
	}
	if e, ok := errors.AsType[*result.Error](err); ok {
		placed := *e
		if placed.Word != result.CodeUsage {
			placed.Text, placed.Err = "iperf3 "+c.target, err
		}
		return &placed
	}
	return &result.Error{Word: result.CodeProtocol, Text: "iperf3 " + c.target, Err: err, Hint: "is that an iperf3 server?"}
}

// measure runs the data phase to its End.
func (c *clientRun) measure() result.End {
	t := c.test
	c.sink.Put(c.beginning())
	host, _, _ := net.SplitHostPort(c.target)
	c.reporter().start(t.flows, wire.ReportHost{Host: host, Port: c.peer.Port()}, c.cookie, time.Now())
	ended := t.counters.Begin()
	defer ended()
	// The server says nothing more before we do, unless something is wrong.
	news := make(chan heard, 1)
	go func() {
		s, err := c.ctrl.state(t.ctx, "state", 0)
		news <- heard{s, err}
	}()
	t.start(c.reporter())
	over := c.await(news)
	var far *wire.Results
	if over {
		var err error
		if far, err = c.exchange(news); err != nil {
			t.stop(err)
		}
	} else {
		c.giveUp()
	}
	e := t.finish(errOver)
	c.reporter().end(t.flows, t.meter.before, t.cpu.share(), far)
	if far != nil {
		e.CPU.Remote = result.Some(min(100, max(0, far.CPU.Total)))
	}
	return e
}

// heard is a state that the server sent.
type heard struct {
	state wire.State
	err   error
}

// await waits until the test has reached its end; false when something else
// ended it.
func (c *clientRun) await(news chan heard) bool {
	t := c.test
	var timer <-chan time.Time
	select {
	case <-t.counted:
		if c.Duration > 0 {
			timer = time.After(c.Duration)
		}
	case <-t.sent:
		return true
	case <-t.ctx.Done():
		return false
	case n := <-news:
		t.stop(c.unexpected(n))
		return false
	}
	volume, stop := context.WithCancel(t.ctx)
	defer stop()
	reached := make(chan struct{})
	go func() {
		c.watchVolume(volume, reached)
	}()
	select {
	case <-timer:
	case <-t.sent:
	case <-reached:
	case <-t.ctx.Done():
		return false
	case n := <-news:
		t.stop(c.unexpected(n))
		return false
	}
	return true
}

// watchVolume closes reached when one direction has moved what was asked for.
func (c *clientRun) watchVolume(ctx context.Context, reached chan<- struct{}) {
	want := c.Bytes
	if c.Blocks > 0 {
		want = c.Blocks * uint64(c.params.Length)
	}
	if want == 0 || c.plan.volume != nil {
		return
	}
	for range pace.Ticks(ctx, time.Millisecond) {
		moved := map[result.Direction]uint64{}
		for _, f := range c.test.flows {
			moved[f.direction] += f.since(f.view()).Bytes
		}
		if moved[result.Up] >= want || moved[result.Down] >= want {
			close(reached)
			return
		}
	}
}

// unexpected is what it means that the server says something in the middle of
// the test.
func (c *clientRun) unexpected(n heard) error {
	if n.err != nil {
		return n.err
	}
	return protocolError(&wire.StateError{Got: n.state, Want: wire.ExchangeResults}, "")
}

// exchange ends the test and swaps results.
func (c *clientRun) exchange(news chan heard) (*wire.Results, error) {
	t := c.test
	t.stopSending()
	end := time.Now()
	if err := c.ctrl.say(wire.TestEnd); err != nil {
		return nil, err
	}
	select {
	case n := <-news:
		if n.err != nil || n.state != wire.ExchangeResults {
			return nil, c.unexpected(n)
		}
	case <-time.After(answerTime):
		return nil, errSilent
	case <-t.ctx.Done():
		return nil, context.Cause(t.ctx)
	}
	if c.Direction.Has(result.Down) {
		t.drain(t.ctx, drainQuiet, func() bool { return false })
	}
	t.settle(end)
	json, err := t.results().AppendBinary(nil)
	if err != nil {
		return nil, err
	}
	if err := c.ctrl.write("results", wire.AppendBlock(nil, json)); err != nil {
		return nil, err
	}
	b, err := c.ctrl.block(t.ctx, "results", wire.MaxServerResults)
	if err != nil {
		return nil, err
	}
	far, err := wire.ParseResults(b)
	if err != nil {
		return nil, protocolError(err, "")
	}
	t.hear(&far)
	if err := c.ctrl.expect(t.ctx, wire.DisplayResults, answerTime); err != nil {
		return &far, err
	}
	if err := c.ctrl.say(wire.IperfDone); err != nil {
		c.Log.Debug("last word", "err", err) // everything has been said
		return &far, nil
	}
	// A real server takes the next client only when it has closed.
	if _, err := c.ctrl.state(t.ctx, "close", partingTime); err != nil && !sock.IsGone(err) {
		c.Log.Debug("close", "err", err)
	}
	return &far, nil
}

// giveUp tells the server that there will be no more.
func (c *clientRun) giveUp() {
	cause := context.Cause(c.test.ctx)
	if sock.IsGone(cause) || silent(cause) {
		return
	}
	s := wire.IperfDone
	if coder, ok := errors.AsType[result.Coder](cause); errors.Is(cause, context.Canceled) ||
		ok && (coder.Code() == result.CodeInterrupted || coder.Code() == result.CodeTerminated) {
		s = wire.ClientTerminate
	}
	if err := c.ctrl.say(s); err != nil {
		c.Log.Debug("last word", "err", err) // the close that follows says the same
	}
}

// beginning is the Begin event.
func (c *clientRun) beginning() result.Begin {
	b := result.Begin{
		Head: c.test.now(), Transport: transport(c.params), Direction: c.Direction, Target: c.target,
		Peer: c.peer, Local: sock.AddrPort(c.ctrl.conn.LocalAddr()), Streams: c.Streams, Size: c.params.Length,
		Duration: c.Duration, Account: c.Account, Login: "none",
		Idle: c.watch.IdleDelay(),
	}
	if c.Account != "" {
		b.Login = "rsa-" + c.Padding.String()
	}
	total := c.Rate * uint64(c.Streams)
	if c.Direction.Has(result.Up) {
		b.UpRate = total
	}
	if c.Direction.Has(result.Down) {
		b.DownRate = total
	}
	return b
}
