package btest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
)

// Auth is which login a server asks for.
type Auth string

// The ways to log in.
const (
	AuthNone Auth = "none"
	AuthMD5  Auth = "md5"
	AuthSRP5 Auth = "ecsrp5"
	// AuthAuto offers EC-SRP5; an address that hangs up on the offer gets MD5
	// on its next try, because RouterOS before 6.43 knows nothing else.
	AuthAuto Auth = "auto"
)

// A Server serves bandwidth tests to many clients at once. The zero Server
// lets everybody test, within the default limits. Its fields must not change
// once it serves.
type Server struct {
	Accounts Accounts // who may log in; nil means that nobody has to
	Auth     Auth     // how; empty means AuthAuto with Accounts, AuthNone without
	// Decoys is the secret that answers for names nobody has are made of. Keep it
	// as long as the records of Accounts, and the same for all servers that share
	// them, or names can be told by what changes at a restart. Zero is a new one.
	Decoys   [32]byte
	Policy   admit.Policy // what a test may do; nil means &admit.Limits{}
	UDPPorts PortRange    // the zero PortRange is 2001 to 2100

	// Limits on what comes before a test. 0 means the default, -1 none.
	Connections           int // open at once, 4096
	ConnectionsPerAddress int // 512
	Logins                int // in progress at once, 1024: those who only begin hold their places for seconds
	LoginsPerAddress      int // 8

	Interval     time.Duration    // between results; 0 means 1s
	Sink         result.Sink      // nil means none
	Counters     *admit.Counters  // live, may be shared; may be nil
	ListenPacket ListenPacketFunc // nil means the system's network
	Log          *slog.Logger     // nil means none
	Trace        Trace            // sees the messages of the TCP connections; may be nil

	once     sync.Once
	check    sync.Once
	invalid  error // what Validate said
	load     load
	ports    *portPool
	tokens   tokens
	conns    admit.Gate
	logins   admit.Gate
	backoff  admit.Backoff        // of addresses
	guessed  admit.AccountBackoff // of names
	fallback fallback

	mu       sync.Mutex // guards sessions and next
	sessions map[result.ID]*session
	next     int
}

// Validate checks the settings. The error names the value and the way out.
func (s *Server) Validate() error {
	var errs []error
	switch s.Auth {
	case "", AuthNone, AuthMD5, AuthSRP5, AuthAuto:
	default:
		errs = append(errs, fmt.Errorf("auth %q: want none, md5, ecsrp5 or auto", s.Auth))
	}
	if s.Accounts == nil && s.Auth != "" && s.Auth != AuthNone {
		errs = append(errs, fmt.Errorf("auth %s: a login needs users: give --user and --password-file, or --users", s.Auth))
	}
	if s.Accounts != nil && s.Auth == AuthNone {
		errs = append(errs, errors.New("auth none: there are users; leave them out, or the auth"))
	}
	return errors.Join(append(errs, s.UDPPorts.Validate())...)
}

func (s *Server) prepare() {
	s.once.Do(func() {
		s.ports = newPortPool(s.UDPPorts, func(ctx context.Context, t *test, at netip.AddrPort) (sock.PacketConn, error) {
			return t.listenPackets(ctx, s.ListenPacket, at)
		})
		s.conns = admit.Gate{Total: admit.Limit(s.Connections, 4096), PerAddress: admit.Limit(s.ConnectionsPerAddress, 512)}
		s.logins = admit.Gate{Total: admit.Limit(s.Logins, 1024), PerAddress: admit.Limit(s.LoginsPerAddress, 8), Word: admit.TooManyLogins, What: "logins"}
		if s.Decoys == [32]byte{} {
			rand.Read(s.Decoys[:])
		}
		if s.Policy == nil {
			s.Policy = &admit.Limits{}
		}
		if s.Sink == nil {
			s.Sink = result.Discard
		}
		if s.Log == nil {
			s.Log = slog.New(slog.DiscardHandler)
		}
		if s.Auth == "" {
			s.Auth = AuthNone
			if s.Accounts != nil {
				s.Auth = AuthAuto
			}
		}
	})
}

// Serve takes clients from l until ctx ends; then it ends the running tests,
// closes l and returns nil. A cause of ctx that is neither a cancellation nor an
// interruption is the error of those tests. Serve may be called for several
// listeners at once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.check.Do(func() { s.invalid = s.Validate() }) // before prepare fills in defaults
	if s.invalid != nil {
		l.Close()
		return &result.Error{Word: result.CodeUsage, Err: s.invalid}
	}
	s.prepare()
	outside := ctx
	ctx, stop := context.WithCancelCause(context.WithoutCancel(outside))
	defer context.AfterFunc(outside, func() { stop(shutdown(context.Cause(outside))) })()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop(errShutdown)
	wg.Go(func() { s.load.run(ctx) })
	return sock.Accept(ctx, l, Protocol, s.Log, func(conn net.Conn) { s.accept(ctx, &wg, conn) })
}

// shutdown is what ends the tests of a server that is stopped for a cause. An
// operator who stops it is not worth an error.
func shutdown(cause error) error {
	switch code := result.CodeOf(cause); {
	case code == result.CodeInterrupted, code == result.CodeTerminated, errors.Is(cause, context.Canceled):
		return errShutdown
	}
	return fmt.Errorf("%w: %w", errShutdown, cause)
}

// accept runs a session for conn, or closes it when there are too many.
func (s *Server) accept(ctx context.Context, wg *sync.WaitGroup, conn net.Conn) {
	peer := sock.AddrPort(conn.RemoteAddr())
	leave, err := s.conns.Enter(peer.Addr())
	if err != nil {
		s.Log.Warn("connection refused", "peer", peer, "reason", result.CodeOf(err), "err", err)
		conn.Close()
		return
	}
	s.mu.Lock()
	s.next++
	n := s.next
	s.mu.Unlock()
	wg.Go(func() {
		defer leave()
		s.serveConn(ctx, traced(conn, s.Trace, n), peer)
	})
}

// A Session is a running test as the server sees it.
type Session struct {
	Run       result.ID
	Peer      netip.AddrPort
	Account   string
	Transport result.Transport
	Direction result.Direction
	Since     time.Time
	Sent      uint64 // bytes of payload so far
	Received  uint64
}

// Sessions lists the running tests.
func (s *Server) Sessions() []Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Session
	for _, one := range s.sessions {
		all = append(all, one.describe())
	}
	return all
}

// End ends a running test; its End carries cause. It is false when there is no
// such test.
func (s *Server) End(run result.ID, cause error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.sessions[run]
	if one != nil {
		one.test.stop(cause)
	}
	return one != nil
}

func (s *Server) enlist(one *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions == nil {
		s.sessions = map[result.ID]*session{}
	}
	s.sessions[one.test.head.Run] = one
}

func (s *Server) delist(one *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, one.test.head.Run)
}
