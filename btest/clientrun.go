package btest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/rtt"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
)

// Run runs the test and returns when it is over: when the duration is, when ctx
// ends, when the server goes. It puts what was measured, and one result.End,
// into sink; the error is the one in the End.
func (c *Client) Run(ctx context.Context, sink result.Sink) error {
	r := &clientRun{Client: *c, log: c.Log, sink: sink}
	r.head = result.Head{Run: result.NewID(), Time: time.Now(), Protocol: Protocol, Role: result.Client}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.Direction == 0 {
		r.Direction = result.Down
	}
	if r.Interval == 0 {
		r.Interval = time.Second
	}
	end := r.run(ctx)
	sink.Put(end)
	return end.Err
}

// A clientRun is one run of a Client.
type clientRun struct {
	Client
	head result.Head
	sink result.Sink
	log  *slog.Logger
	load load

	mu   sync.Mutex // guards next
	next int        // number of the latest connection, for Trace

	watch *rtt.Watch // of round trips beside the test; nil for none

	target string // host:port
}

// run is the whole run; a failure before any data has an End without totals.
func (c *clientRun) run(ctx context.Context) result.End {
	end, err := c.attempt(ctx)
	if err != nil {
		end = result.End{Head: c.head, Err: c.place(ctx, err)}
		end.Time = time.Now()
		end.Reason = result.ReasonFailed
		if code := result.CodeOf(end.Err); code == result.CodeInterrupted || code == result.CodeTerminated {
			end.Reason = result.ReasonInterrupted
		}
	}
	return end
}

// attempt goes through the handshake and runs the data phase.
func (c *clientRun) attempt(ctx context.Context) (result.End, error) {
	if err := c.Validate(); err != nil {
		return result.End{}, &result.Error{Word: result.CodeUsage, Err: err}
	}
	host, port, _ := sock.SplitTarget(c.Target, wire.DefaultPort)
	c.target = net.JoinHostPort(host, port)
	sampling, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { c.load.run(sampling) })

	conn, err := c.dial(ctx, c.target)
	if err != nil {
		return result.End{}, err
	}
	c.probeIdle(ctx, conn)
	defer c.watch.Close()
	ctrl, release := newControl(ctx, conn)
	reply, method, err := c.handshake(ctrl)
	if err != nil {
		release()
		conn.Close()
		return result.End{}, err
	}
	c.warnOfRates()
	t := c.newTest(conn, method)
	t.begin(ctx)
	defer t.stop(nil)
	t.wg.Go(func() { c.watch.Run(t.ctx) })
	if c.UDP {
		return c.runUDP(ctx, t, ctrl, release)
	}
	release()
	return c.runTCP(ctx, t, conn, reply.Token)
}

// dial opens a TCP connection.
func (c *clientRun) dial(ctx context.Context, target string) (net.Conn, error) {
	limit := c.ConnectTime
	if limit == 0 {
		limit = 3 * time.Second
	}
	dial := c.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	network := c.Network
	if network == "" {
		network = "tcp"
	}
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	conn, err := dial(within, network, target)
	if err != nil {
		return nil, sock.Unreachable(ctx, err, target, limit, "enable it on the router: /tool/bandwidth-server set enabled=yes")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	return traced(conn, c.Trace, c.next), nil
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// handshake says what we want and logs in.
func (c *clientRun) handshake(ctrl *control) (wire.Reply, string, error) {
	if err := readHello(ctrl); err != nil {
		return wire.Reply{}, "", err
	}
	b, _ := c.command().AppendBinary(nil)
	if err := ctrl.write("command", b); err != nil {
		return wire.Reply{}, "", err
	}
	b, err := ctrl.read("answer to the command", wire.ReplyLen)
	if err != nil {
		return wire.Reply{}, "", c.closedEarly(err)
	}
	r, err := wire.ParseReply(b)
	if err != nil {
		return wire.Reply{}, "", protocolError(err, "")
	}
	return c.login(ctrl, r)
}

func readHello(ctrl *control) error {
	b, err := ctrl.read("hello", wire.HelloLen)
	if err != nil {
		if sock.IsGone(err) {
			return &result.Error{Word: result.CodeRefused, Text: "the server closed the connection at once",
				Hint: "it may be full, or allow other addresses only"}
		}
		return protocolError(err, "is that a bandwidth-test server?")
	}
	if [wire.HelloLen]byte(b) != wire.Hello {
		return protocolError(fmt.Errorf("not a btest server: it begins with % x", b), "the MikroTik bandwidth test usually listens on TCP port 2000")
	}
	return nil
}

// closedEarly explains a server that closes on the command.
func (c *clientRun) closedEarly(err error) error {
	if sock.IsGone(err) {
		return &result.Error{Word: result.CodeRefused, Text: "the server closed the connection when it was told what to test",
			Hint: "it may be full, or not know this kind of test"}
	}
	return err
}

// command is the order for the test, as RouterOS would give it.
func (c *clientRun) command() wire.Command {
	cmd := wire.Command{
		Transport:  wire.TCP,
		Direction:  seenByServer(c.Direction),
		Zeros:      !c.Random,
		Size:       wire.DefaultTCPSize,
		ServerRate: carried(c.DownRate),
		ClientRate: carried(c.UpRate),
	}
	if c.UDP {
		cmd.Transport, cmd.Size = wire.UDP, wire.DefaultUDPSize
	}
	if c.DownSize != 0 {
		cmd.Size = uint16(c.DownSize)
	}
	if c.Connections > 1 {
		cmd.Streams = uint8(c.Connections)
	}
	return cmd
}

// carried is a rate as the command carries it: 32 bits, and no limit beyond.
func carried(rate uint64) uint32 {
	if rate > wire.MaxRate {
		return 0
	}
	return uint32(rate)
}

// warnOfRates says what the command could not carry.
func (c *clientRun) warnOfRates() {
	if c.Direction.Has(result.Down) && c.DownRate > wire.MaxRate {
		c.note("rate_not_carried", fmt.Sprintf("a download limit of %d bit/s cannot be told to the server, which sends without one", c.DownRate),
			fmt.Sprintf("btest carries at most %d bit/s", uint64(wire.MaxRate)))
	}
	if c.Direction.Has(result.Up) && c.UpRate > wire.MaxRate {
		c.note("rate_not_carried", fmt.Sprintf("the upload limit of %d bit/s is held here but cannot be told to the server", c.UpRate),
			fmt.Sprintf("btest carries at most %d bit/s", uint64(wire.MaxRate)))
	}
}

func (c *clientRun) note(code, text, hint string) {
	n := result.Note{Head: c.head, Level: result.Warning, Code: code, Text: text, Hint: hint}
	n.Time = time.Now()
	c.sink.Put(n)
}

// upSize is the size of our writes or packets. Packets of the default size are
// made to fit our own network.
func (c *clientRun) upSize(server netip.AddrPort) int {
	switch {
	case c.UpSize != 0:
		return c.UpSize
	case !c.UDP:
		return wire.DefaultTCPSize
	case c.ListenPacket == nil:
		if mtu, ok := sock.PathMTU(server); ok {
			return min(mtu, wire.DefaultUDPSize)
		}
	}
	return wire.DefaultUDPSize
}

// newTest puts the Begin of the run and makes its data phase.
func (c *clientRun) newTest(conn net.Conn, method string) *test {
	b := result.Begin{
		Head: c.head, Transport: result.TCP, Direction: c.Direction, Target: c.target,
		Peer: sock.AddrPort(conn.RemoteAddr()), Local: sock.AddrPort(conn.LocalAddr()),
		Streams: max(1, c.Connections), DownRate: c.DownRate, UpRate: c.UpRate,
		Duration: c.Duration, Login: method, Idle: c.watch.IdleDelay(),
	}
	b.Time = time.Now()
	size := c.upSize(b.Peer)
	b.Size = size
	if method != LoginNone {
		b.Account = c.Account
	}
	if c.UDP {
		b.Transport = result.UDP
		b.Size = wire.PayloadLen(size, b.Peer.Addr())
	}
	c.sink.Put(b)
	return &test{
		head: c.head, sink: c.sink, log: c.log, direction: c.Direction, zeros: !c.Random,
		size: size, rate: c.UpRate, farRate: uint64(carried(c.DownRate)), interval: c.Interval, each: c.EachStream, duration: c.Duration,
		connections: max(1, c.Connections), counters: c.Counters, budget: c.Budget, load: &c.load, latency: c.watch,
	}
}

// place adds what was attempted to an error.
func (c *clientRun) place(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); ctx.Err() != nil && errors.Is(err, cause) {
		if _, ok := errors.AsType[result.Coder](cause); ok {
			return cause // whatever was going on is not what failed
		}
		return &result.Error{Word: result.CodeInterrupted, Text: "stopped before the test began"}
	}
	e, ok := errors.AsType[*result.Error](err)
	if !ok {
		word := result.CodeProtocol
		if sock.IsSilent(err) || isTimeout(err) {
			word = result.CodeUnreachable
		}
		e = &result.Error{Word: word, Err: err}
	}
	if e.Word == result.CodeUsage {
		return e
	}
	target := c.target
	if target == "" {
		target = c.Target
	}
	return &result.Error{Word: e.Word, Text: "btest " + target, Hint: e.Hint, Err: e}
}
