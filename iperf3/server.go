package iperf3

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/iperf3/auth"
	"github.com/sonde-net/sonde/iperf3/wire"
	"github.com/sonde-net/sonde/result"
)

// A Server serves iperf3 tests to many clients at once. The zero Server lets
// everybody test, within the default limits. Its fields must not change once
// it serves.
type Server struct {
	Policy     admit.Policy    // what a test may do; nil means &admit.Limits{}
	OneAtATime bool            // others are told that the server is busy, as by iperf3
	Key        *rsa.PrivateKey // with Users: who may log in; nil means that nobody has to
	Users      auth.Users
	Skew       time.Duration // between the clocks at a login; 0 means 10s
	JSON       bool          // a client that asks for our output gets a document, not text

	// Limits on what comes before a test. 0 means the default, -1 none.
	Connections           int // open at once, 4096
	ConnectionsPerAddress int // 512
	// Limits on the streams of all tests. Likewise.
	Streams           int // 4096
	StreamsPerAddress int // 1024

	// Report is told what stands in iperf3's own document of each test, as at a
	// Client, between the test's Begin and its End in Sink. Nil: nobody wants to
	// know.
	Report func(run result.ID, event string, data any)

	Interval     time.Duration    // between results; 0 means 1s
	Sink         result.Sink      // nil means none
	Counters     *admit.Counters  // live, may be shared; may be nil
	ListenPacket ListenPacketFunc // nil means the system's network
	Log          *slog.Logger     // nil means none

	once    sync.Once
	conns   admit.Gate
	streams admit.Gate
	backoff admit.Backoff        // of addresses
	guessed admit.AccountBackoff // of names

	mu    sync.Mutex // guards what follows
	busy  int        // sessions that have a cookie
	tests map[wire.Cookie]chan arrival
	next  int // number of the next connection
}

// An arrival is a connection with its number. Roles go by the order in which a
// client opened its streams, and cookies may be read in another one.
type arrival struct {
	net.Conn
	number int
}

func (s *Server) prepare() {
	s.once.Do(func() {
		s.conns = admit.Gate{Total: admit.Limit(s.Connections, 4096), PerAddress: admit.Limit(s.ConnectionsPerAddress, 512)}
		s.streams = admit.Gate{Total: admit.Limit(s.Streams, 4096), PerAddress: admit.Limit(s.StreamsPerAddress, 1024), Word: admit.TooManyConnections, What: "streams"}
		s.tests = map[wire.Cookie]chan arrival{}
		if s.Policy == nil {
			s.Policy = &admit.Limits{}
		}
		if s.Sink == nil {
			s.Sink = result.Discard
		}
		if s.Log == nil {
			s.Log = slog.New(slog.DiscardHandler)
		}
		if s.Interval == 0 {
			s.Interval = time.Second
		}
		if s.Skew == 0 {
			s.Skew = auth.DefaultSkew
		}
	})
}

// Serve takes clients from l, and UDP on the same address and port, until ctx
// ends; then it ends the running tests, closes l and returns nil. It may be
// called for several listeners at once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.prepare()
	ctx, stop := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop(errShutdown)
	at := sock.AddrPort(l.Addr())
	if at.Addr() == netip.IPv6Unspecified() {
		at = netip.AddrPortFrom(netip.Addr{}, at.Port()) // either family
	}
	packets, err := listenPackets(ctx, s.ListenPacket, at, sock.PacketOptions{Fragment: true, Stamp: true})
	if err != nil {
		l.Close()
		return &result.Error{Word: result.CodeLocal, Text: fmt.Sprintf("iperf3: UDP port %d", at.Port()), Err: err,
			Hint: "another program, or another iperf3 server, has it"}
	}
	defer packets.Close()
	h := newHub(packets)
	wg.Go(func() {
		if err := h.run(ctx); err != nil {
			stop(&result.Error{Word: result.CodeLocal, Text: "iperf3: UDP socket", Err: err})
		}
	})
	err = sock.Accept(ctx, l, Protocol, s.Log, func(conn net.Conn) { s.accept(ctx, &wg, h, conn) })
	if e, ok := errors.AsType[*result.Error](context.Cause(ctx)); ok && e.Word == result.CodeLocal {
		return e // of the UDP socket
	}
	return err
}

// accept serves conn, or closes it when there are too many.
func (s *Server) accept(ctx context.Context, wg *sync.WaitGroup, h *hub, conn net.Conn) {
	peer := sock.AddrPort(conn.RemoteAddr())
	leave, err := s.conns.Enter(peer.Addr())
	if err != nil {
		s.Log.Warn("connection refused", "peer", peer, "reason", result.CodeOf(err), "err", err)
		conn.Close()
		return
	}
	s.mu.Lock()
	s.next++
	a := arrival{conn, s.next}
	s.mu.Unlock()
	wg.Go(func() {
		defer leave()
		s.serveConn(ctx, h, a, peer)
	})
}

// serveConn reads the cookie: it is that of a test whose streams are being
// opened, or of a new one.
func (s *Server) serveConn(ctx context.Context, h *hub, conn arrival, peer netip.AddrPort) {
	ctrl := newControl(conn.Conn)
	var b [wire.CookieLen]byte
	err := ctrl.fill(ctx, "cookie", b[:], answerTime)
	var cookie wire.Cookie
	if err == nil {
		cookie, err = wire.ParseCookie(b[:])
	}
	if err != nil {
		conn.Close()
		s.Log.Debug("no test", "peer", peer, "err", err)
		return
	}
	if s.hand(cookie, conn) {
		return
	}
	defer conn.Close()
	if !s.enter() {
		if err := ctrl.say(wire.AccessDenied); err != nil {
			s.Log.Debug("access denied", "peer", peer, "err", err) // the close that follows says the same
		}
		return
	}
	defer s.leave()
	one := &session{server: s, hub: h, ctrl: ctrl, peer: peer, cookie: cookie}
	switch err := one.run(ctx); {
	case err == nil || ctx.Err() != nil:
	case result.CodeOf(err) != "error":
		s.Log.Warn("test refused", "peer", peer, "account", one.account, "reason", result.CodeOf(err), "err", err)
	default:
		s.Log.Info("no test", "peer", peer, "err", err)
	}
}

// hand gives a data connection to its test.
func (s *Server) hand(cookie wire.Cookie, conn arrival) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.tests[cookie] <- conn: // a nil channel takes nothing
		return true
	default:
		return false
	}
}

// enter takes the place of a test, if there is one.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.OneAtATime && s.busy > 0 {
		return false
	}
	s.busy++
	return true
}

func (s *Server) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy--
}

// await lets a test have so many data connections. A cookie that is in use
// belongs to somebody else.
func (s *Server) await(cookie wire.Cookie, streams int) (conns <-chan arrival, done func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tests[cookie] != nil {
		return nil, nil, errors.New("iperf3: cookie: another test has it")
	}
	c := make(chan arrival, streams)
	s.tests[cookie] = c
	return c, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.tests, cookie)
		for {
			select {
			case conn := <-c: // nobody took it
				conn.Close()
			default:
				return
			}
		}
	}, nil
}
