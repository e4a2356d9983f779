package twamp

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/twamp/auth"
	"github.com/sonde-net/sonde/twamp/wire"
)

// A Client asks a TWAMP server for sessions and sends their packets: a
// Control-Client with its Session-Senders.
type Client struct {
	Addr     string      // host, or host and port; the port is 862 if it is missing
	Mode     wire.Mode   // the security wanted, one of the four; 0 means the strongest offered that Secret allows
	Features wire.Mode   // wanted, such as wire.Symmetrical; the server must offer them
	KeyID    string      // names the key at the server
	Secret   auth.Secret // of the modes that need one

	Sessions     int           // at once; 0 means 1
	ReceiverPort uint16        // proposed for the first session, counting up; 0 means the sender's own
	Explicit     bool          // name both addresses in the request, not zero
	StartTime    time.Time     // of the sessions, less than 15 minutes ahead: no packet leaves before; the zero Time is sent as 0, at once
	Grace        time.Duration // asked of the server: to go on reflecting after the stop; 0 means Wait
	MostRounds   uint32        // PBKDF2 rounds a server may ask for; 0 means auth.MostCount

	Probe

	ControlDSCP  uint8            // of the control connection, 0 to 63
	ConnectTime  time.Duration    // for the TCP connection; 0 means 3s
	ReplyTime    time.Duration    // for each answer of the server; 0 means 10s
	Network      string           // "tcp", "tcp4" or "tcp6"; empty means "tcp"
	Dial         DialFunc         // nil means the system's network
	ListenPacket ListenPacketFunc // nil means the system's network
	Log          *slog.Logger     // nil means none

	random func([]byte) // fills with random octets; nil means crypto/rand
}

// Run measures and puts what it finds into sink. When ctx ends early it stops
// the sessions at the server and reports what there is: the end of ctx is no
// error, and neither is loss, unless nothing came back at all.
func (c *Client) Run(ctx context.Context, sink result.Sink) error {
	r := newRun(Protocol, sink, c.Every)
	return r.end(ctx, c.measure(ctx, r))
}

func (c *Client) measure(ctx context.Context, r *run) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	x, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer x.conn.Close()
	defer x.closePorts()
	if err := x.prepare(ctx); err != nil {
		return err
	}
	pace.NewWaiter().Until(ctx, c.StartTime) // at once if it is over
	begin := result.Begin{
		Target: c.Addr, Peer: x.peer, Local: x.local, Size: x.senders[0].size(), Account: c.KeyID, Login: x.mode.Security().String(),
	}
	err = x.attended(ctx, r, begin)
	if result.CodeOf(err) == result.CodePeerLost {
		return err // there is nobody to tell
	}
	// Also after the caller gave up: the server is to know.
	if stopErr := x.stop(context.WithoutCancel(ctx), err == nil); stopErr != nil {
		x.log.Warn("stop-sessions", "err", stopErr)
	}
	return err
}

// mostAhead is how far ahead a session may start: a server ends one that gets
// no packets for REFWAIT, 900 s (RFC 5357, section 4.2).
const mostAhead = 900 * time.Second

// check checks the settings that are not the Probe's.
func (c *Client) check() error {
	bad := func(format string, args ...any) error {
		return &result.Error{Word: result.CodeUsage, Text: fmt.Sprintf(format, args...)}
	}
	beyond := max(0, c.Sessions-1) // the ports of further sessions are the next ones
	switch {
	case c.ControlDSCP > 63:
		return bad("dscp %d of the control connection: want 0 to 63", c.ControlDSCP)
	case c.Source.Port() != 0 && int(c.Source.Port())+beyond > 0xffff:
		return bad("source port %d: %d sessions need a port each, and the last port is 65535", c.Source.Port(), c.Sessions)
	case c.ReceiverPort != 0 && int(c.ReceiverPort)+beyond > 0xffff:
		return bad("receiver port %d: %d sessions need a port each, and the last port is 65535", c.ReceiverPort, c.Sessions)
	case time.Until(c.StartTime) >= mostAhead:
		return bad("start time %v: want less than %v ahead; a server gives a session up that gets no packets for so long", c.StartTime.Format(time.RFC3339), mostAhead)
	}
	return nil
}

// prepare asks for all sessions and starts them.
func (x *exchange) prepare(ctx context.Context) error {
	// Whoever gives up need not wait for an answer.
	defer context.AfterFunc(ctx, func() { x.conn.SetDeadline(longAgo) })()
	for range max(1, x.client.Sessions) {
		if err := x.request(ctx); err != nil {
			return cmp.Or(ctx.Err(), err)
		}
	}
	if err := x.start(ctx); err != nil {
		return cmp.Or(ctx.Err(), err)
	}
	return nil
}

// An exchange is one control connection as its client sees it.
type exchange struct {
	*control
	client   *Client
	log      *slog.Logger
	addr     string
	greeting wire.ServerGreeting
	mode     wire.Mode
	keys     auth.SessionKeys
	local    netip.AddrPort
	peer     netip.AddrPort
	senders  []*sender
}

// fail says what was asked of whom.
func (x *exchange) fail(word, what, hint string, err error) error {
	return &result.Error{Word: word, Text: fmt.Sprintf("%s %s: %s", Protocol, x.addr, what), Hint: hint, Err: err}
}

// lost judges an error of the control connection.
func (x *exchange) lost(what string, err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return x.fail(result.CodeUnreachable, "no "+what+" within "+x.replyTime().String(),
			"the server may not speak TWAMP, or refuses without a word: try sonde twamp doctor", nil)
	case sock.IsGone(err):
		return x.fail(result.CodeRefused, "the server closed the connection instead of sending its "+what, "", nil)
	case errors.Is(err, auth.ErrHMAC):
		return x.fail(result.CodeAuth, what, "somebody changes the control connection, or the server's keys are not ours", err)
	}
	return x.fail(result.CodeProtocol, what, "", err)
}

func (x *exchange) replyTime() time.Duration { return cmp.Or(x.client.ReplyTime, 10*time.Second) }

// expect sets the deadline for the next answer. It fails if ctx has ended:
// whoever ends it sets a past deadline, which this one must not undo.
func (x *exchange) expect(ctx context.Context) error {
	if err := x.conn.SetReadDeadline(time.Now().Add(x.replyTime())); err != nil {
		return err
	}
	return ctx.Err()
}

// connect opens the control connection and sets it up.
func (c *Client) connect(ctx context.Context) (*exchange, error) {
	x := &exchange{client: c, addr: withPort(c.Addr), log: c.Log}
	if x.log == nil {
		x.log = slog.New(slog.DiscardHandler)
	}
	dial := c.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	limited, cancel := context.WithTimeout(ctx, cmp.Or(c.ConnectTime, 3*time.Second))
	defer cancel()
	conn, err := dial(limited, cmp.Or(c.Network, "tcp"), x.addr)
	if err != nil {
		return nil, cmp.Or(ctx.Err(), x.unconnected(err))
	}
	if err := markControl(conn, c.ControlDSCP); err != nil {
		conn.Close()
		return nil, &result.Error{Word: result.CodeLocal, Text: fmt.Sprintf("dscp %d of the control connection", c.ControlDSCP), Err: err}
	}
	x.control = newControl(conn)
	x.local, x.peer = sock.AddrPort(conn.LocalAddr()), sock.AddrPort(conn.RemoteAddr())
	// Whoever gives up while we shake hands need not wait for it.
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(longAgo) })()
	if err := x.setUp(ctx); err != nil {
		conn.Close()
		return nil, cmp.Or(ctx.Err(), err)
	}
	return x, nil
}

func (x *exchange) unconnected(err error) error {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return x.fail(result.CodeRefused, "connection refused", "is a TWAMP server running there? TWAMP Light and STAMP need none: sonde stamp ping", nil)
	case errors.Is(err, context.DeadlineExceeded):
		return x.fail(result.CodeUnreachable, "no answer", "is a server running there, and TCP port 862 open on the way?", nil)
	}
	return x.fail(result.CodeUnreachable, "connect", "", err)
}

// withPort adds the default port to a host that has none.
func withPort(addr string) string {
	if _, _, err := net.SplitHostPort(addr); err == nil {
		return addr
	}
	return net.JoinHostPort(strings.Trim(addr, "[]"), strconv.Itoa(wire.Port))
}

// setUp agrees with the server on a mode and on keys.
func (x *exchange) setUp(ctx context.Context) error {
	if err := x.expect(ctx); err != nil {
		return err
	}
	b, err := x.clear(wire.ServerGreetingLen)
	if err != nil {
		return x.lost("greeting", err)
	}
	g, err := wire.ParseServerGreeting(b)
	if err != nil {
		return err
	}
	x.greeting = g
	if x.mode, err = x.choose(g.Modes); err != nil {
		return errors.Join(err, x.sendClear(wire.SetUpResponse{}))
	}
	r := wire.SetUpResponse{Mode: x.mode}
	if x.mode.ControlKeyed() {
		if err := x.makeKeys(g, &r); err != nil {
			return err
		}
	}
	if err := x.sendClear(r); err != nil {
		return x.lost("set-up", err)
	}
	return x.started(r)
}

// choose picks the mode: never a weaker one than was asked for.
func (x *exchange) choose(offered wire.Mode) (wire.Mode, error) {
	if offered == 0 {
		return 0, x.fail(result.CodeRefused, "the server offers no mode: it does not want to talk to us", "", nil)
	}
	want := x.client.Mode
	if want == 0 {
		if want = offered.Strongest(!x.client.Secret.IsZero()); want == 0 {
			return 0, x.fail(result.CodeAuth, fmt.Sprintf("the server offers only %v", offered.Security()), "give --key-id and --key-file", nil)
		}
	}
	want |= x.client.Features
	if !want.Chosen(offered) {
		return 0, x.fail(result.CodeUnsupported, fmt.Sprintf("the server does not offer %v", want&^offered),
			fmt.Sprintf("it offers %v", offered), nil)
	}
	if want.ControlKeyed() && x.client.Secret.IsZero() {
		return 0, x.fail(result.CodeUsage, fmt.Sprintf("mode %v needs a key", want.Security()), "give --key-id and --key-file", nil)
	}
	return want, nil
}

// makeKeys answers the challenge with fresh session keys.
func (x *exchange) makeKeys(g wire.ServerGreeting, r *wire.SetUpResponse) error {
	if err := auth.CheckCount(g.Count, x.client.MostRounds); err != nil {
		return x.fail(result.CodeProtocol, "set-up", "", err)
	}
	if g.Challenge == [16]byte{} || g.Salt == [16]byte{} {
		return x.fail(result.CodeProtocol, "set-up: the server's challenge or salt is all zeros, not random", "", nil)
	}
	derived, err := auth.DeriveKey(x.client.Secret, g.Salt, g.Count)
	if err != nil {
		return err
	}
	random := x.client.random
	if random == nil {
		random = func(b []byte) { rand.Read(b) }
	}
	random(x.keys.AES[:])
	random(x.keys.HMAC[:])
	random(r.ClientIV[:])
	r.KeyID, r.Token = x.client.KeyID, auth.NewToken(derived, g.Challenge, x.keys)
	return nil
}

// started reads the Server-Start and begins to encrypt.
func (x *exchange) started(r wire.SetUpResponse) error {
	b, err := x.clear(wire.ServerStartLen)
	if err != nil {
		return x.lost("server-start", err)
	}
	s, err := wire.ParseServerStart(b)
	if err != nil {
		return err
	}
	if s.Accept != wire.OK {
		word, hint := result.CodeRefused, ""
		if x.mode.ControlKeyed() && s.Accept == wire.Failure {
			word, hint = result.CodeAuth, "check --key-id and the key file: the server does not say which of the two is wrong"
		}
		return x.fail(word, fmt.Sprintf("the server refused the set-up: %v", s.Accept), hint, nil)
	}
	if x.mode.ControlKeyed() {
		x.seal = auth.NewSealer(x.keys, r.ClientIV)
		x.open = auth.NewOpener(x.keys, s.ServerIV)
		x.open.Open(b[wire.ServerStartClear:])
	}
	return nil
}

func (x *exchange) closePorts() {
	for _, s := range x.senders {
		s.port.close()
	}
}
