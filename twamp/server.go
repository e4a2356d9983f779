package twamp

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
	"github.com/sonde-net/sonde/twamp/auth"
	"github.com/sonde-net/sonde/twamp/wire"
)

// A Server answers the control connections of TWAMP and reflects the test
// packets of the sessions it grants. The zero Server serves everybody without
// authentication, within the default limits. Its fields must not change once it
// serves.
type Server struct {
	Modes wire.Mode // offered; 0 means unauthenticated, and with Keys all security, with every feature
	Keys  auth.Keys // for the modes that need them
	Count uint32    // PBKDF2 rounds; 0 means auth.DefaultCount

	Only   []netip.Prefix // who may connect; empty means everybody
	DSCP   uint8          // of the control connections, 0 to 63
	Open   *Reflector     // also answers on the UDP port of the listener what belongs to no session; nil: nothing does
	Ports  PortRange      // of the sessions' UDP ports, when the proposed one is not to be had; the zero PortRange is 19000 to 19999
	Policy admit.Policy   // what a session may do; nil means everything

	// Duplicates has packets that come twice reflected twice also in sessions whose
	// packets have keys, so that the client sees what the network doubled. Without
	// it they are taken for replays and dropped; only the network and somebody who
	// recorded them can send them, and nothing tells the two apart. Packets without
	// keys anybody can make: those are always reflected.
	Duplicates bool

	// Correct has the replies of sessions, too, carry when they will leave: see
	// Reflector.Correct.
	Correct bool

	// Limits. 0 means the default, -1 none.
	Connections           int // open at once, 4096
	ConnectionsPerAddress int // 512
	Sessions              int // in all, 16384
	SessionsPerConnection int // 256
	Sockets               int // UDP sockets; sessions share them beyond, 256
	PacketsPerSecond      int // of one session, none
	Logins                int // set-ups with a key in progress at once, 32

	SetUpTime time.Duration // until the set-up is over; 0 means 10s
	ServWait  time.Duration // for the next command; 0 means 900s
	RefWait   time.Duration // a session without packets ends; 0 means 900s
	MaxGrace  time.Duration // the longest that a client may ask for after its stop; 0 means 60s

	ListenPacket ListenPacketFunc // nil means the system's network
	Log          *slog.Logger     // nil means none
	Sink         result.Sink      // is told of sessions and logins; nil means none

	once    sync.Once
	check   sync.Once
	invalid error // what Validate said
	conns   admit.Gate
	logins  admit.Gate
	backoff admit.Backoff
	ports   *sessionPorts
	started time.Time
	random  func([]byte) // fills with random octets; tests replace it
}

// A PortRange is a range of UDP ports, both ends included.
type PortRange struct{ First, Last uint16 }

func (s *Server) prepare() {
	s.once.Do(func() {
		if s.Modes == 0 {
			s.Modes = wire.Unauthenticated | wire.AllFeatures
			if s.Keys.Len() > 0 {
				s.Modes |= wire.AnySecurity
			}
		}
		if s.Count == 0 {
			s.Count = auth.DefaultCount
		}
		if s.Ports == (PortRange{}) {
			s.Ports = PortRange{19000, 19999}
		}
		if s.Log == nil {
			s.Log = slog.New(slog.DiscardHandler)
		}
		if s.Sink == nil {
			s.Sink = result.Discard
		}
		s.conns = admit.Gate{Total: admit.Limit(s.Connections, 4096), PerAddress: admit.Limit(s.ConnectionsPerAddress, 512)}
		s.logins = admit.Gate{Total: admit.Limit(s.Logins, 32), Word: admit.TooManyLogins, What: "logins"}
		s.ports = newSessionPorts(s)
		s.started = time.Now()
		if s.random == nil {
			s.random = func(b []byte) { rand.Read(b) }
		}
	})
}

// Validate checks the settings. The error names the value and the way out.
func (s *Server) Validate() error {
	var errs []error
	if keyed := s.Modes & (wire.Authenticated | wire.Encrypted | wire.Mixed); keyed != 0 && s.Keys.Len() == 0 {
		errs = append(errs, fmt.Errorf("modes %v need keys: give --key-file", keyed))
	}
	if s.Modes != 0 && s.Modes.Security() == 0 {
		errs = append(errs, fmt.Errorf("modes %v: none of unauthenticated, authenticated, encrypted, mixed", s.Modes))
	}
	if bad := s.Modes &^ (wire.AnySecurity | wire.AllFeatures); bad != 0 {
		errs = append(errs, fmt.Errorf("modes %v are not supported", bad))
	}
	if s.Count != 0 {
		if err := auth.CheckCount(s.Count, 1<<31); err != nil {
			errs = append(errs, err)
		}
	}
	if s.Ports.Last < s.Ports.First {
		errs = append(errs, fmt.Errorf("ports %d-%d: the last is below the first", s.Ports.First, s.Ports.Last))
	}
	if s.DSCP > 63 {
		errs = append(errs, fmt.Errorf("dscp %d: want 0 to 63", s.DSCP))
	}
	return errors.Join(errs...)
}

// Serve takes clients from l until ctx ends; then it ends their sessions, closes
// l and returns nil.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.check.Do(func() { s.invalid = s.Validate() }) // before prepare fills in defaults
	if s.invalid != nil {
		l.Close()
		return &result.Error{Word: result.CodeUsage, Err: s.invalid}
	}
	s.prepare()
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	if s.Open != nil {
		if err := s.ports.serveOpen(ctx, &wg, sock.AddrPort(l.Addr())); err != nil {
			l.Close()
			return err
		}
	}
	wg.Go(func() { s.ports.sweep(ctx) })
	return sock.Accept(ctx, l, Protocol, s.Log, func(conn net.Conn) { s.accept(ctx, &wg, conn) })
}

// accept serves conn, or closes it when there are too many.
func (s *Server) accept(ctx context.Context, wg *sync.WaitGroup, conn net.Conn) {
	peer := sock.AddrPort(conn.RemoteAddr())
	if len(s.Only) > 0 && !within(peer.Addr(), s.Only) {
		s.Log.Warn("connection refused", "peer", peer, "reason", "address_not_allowed")
		conn.Close()
		return
	}
	if err := markControl(conn, s.DSCP); err != nil {
		s.Log.Warn("dscp of the control connection", "peer", peer, "err", err)
	}
	leave, err := s.conns.Enter(peer.Addr())
	if err != nil {
		s.Log.Warn("connection refused", "peer", peer, "reason", result.CodeOf(err), "err", err)
		conn.Close()
		return
	}
	wg.Go(func() {
		defer leave()
		defer conn.Close()
		// A past deadline wakes whatever is blocked when the server ends.
		defer context.AfterFunc(ctx, func() { conn.SetDeadline(longAgo) })()
		c := &serverConn{server: s, control: newControl(conn), peer: peer, local: sock.AddrPort(conn.LocalAddr()), wg: wg,
			log: s.Log.With("peer", peer)}
		err := c.run(ctx)
		switch {
		case err == nil, ctx.Err() != nil:
			c.log.Debug("control connection closed")
		default:
			c.log.Info("control connection closed", "err", err)
		}
	})
}
