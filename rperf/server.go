package rperf

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
)

// A Server serves rperf tests to many clients at once. The zero Server lets
// everybody test, within the default limits. Its fields must not change once
// it serves.
type Server struct {
	Policy admit.Policy // what a test may do; nil means &admit.Limits{}
	Ports  Ports        // where forward tests are received
	CPUs   []int        // processors that the streams of all tests run on, in turn; none: any
	// Tests is how many run at once; the others wait in a queue. 0 is no limit.
	Tests int
	// Refuse closes clients beyond Tests at once, as rperf's client limit does.
	Refuse bool

	// Limits on what comes before a test. 0 means the default, -1 none.
	Connections           int // open at once, 4096
	ConnectionsPerAddress int // 512; as many again to streams' ports that have not shown yet that they belong there
	// Limits on the streams of all tests, each of which is a socket. Likewise.
	Streams           int // 4096
	StreamsPerAddress int // 1024

	Interval     time.Duration   // between results; 0 means 1s
	Sink         result.Sink     // nil means none
	Counters     *admit.Counters // live, may be shared; may be nil
	Dial         DialFunc        // nil means the system's network
	Listen       ListenFunc
	ListenPacket ListenPacketFunc
	Log          *slog.Logger // nil means none

	once     sync.Once
	pools    *pools
	conns    admit.Gate
	streams  admit.Gate
	unproven admit.Gate
	queue    queue
	cpus     turn
}

func (s *Server) prepare() {
	s.once.Do(func() {
		s.pools = newPools(s.Ports)
		s.cpus.cpus = s.CPUs
		s.conns = admit.Gate{Total: admit.Limit(s.Connections, 4096), PerAddress: admit.Limit(s.ConnectionsPerAddress, 512)}
		s.unproven = admit.Gate{Total: s.conns.Total, PerAddress: s.conns.PerAddress}
		s.streams = admit.Gate{Total: admit.Limit(s.Streams, 4096), PerAddress: admit.Limit(s.StreamsPerAddress, 1024), Word: admit.TooManyConnections, What: "streams"}
		s.queue = queue{places: s.Tests, most: mostWaiting}
		if s.Refuse {
			s.queue.most = 0
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
		if s.Interval == 0 {
			s.Interval = time.Second
		}
	})
}

// Serve takes clients from l until ctx ends; then it ends the running tests,
// closes l and returns nil. It may be called for several listeners at once.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.prepare()
	ctx, stop := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop(errShutdown)
	return sock.Accept(ctx, l, Protocol, s.Log, func(conn net.Conn) { s.accept(ctx, &wg, conn) })
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
	wg.Go(func() {
		defer leave()
		defer conn.Close()
		s.serveConn(ctx, conn, peer)
	})
}

// serveConn runs the session of one client.
func (s *Server) serveConn(ctx context.Context, conn net.Conn, peer netip.AddrPort) {
	one := &session{server: s, ctrl: newControl(conn), peer: peer}
	one.yard = yard{
		net:   network{dial: s.Dial, listen: s.Listen, listenPacket: s.ListenPacket},
		pools: s.pools, peer: peer.Addr(), near: sock.AddrPort(conn.LocalAddr()).Addr(), unproven: &s.unproven,
	}
	err := one.run(ctx)
	switch code := result.CodeOf(err); {
	case err == nil || ctx.Err() != nil:
	case code != "error":
		s.Log.Warn("test refused", "peer", peer, "reason", code, "err", err)
	default:
		s.Log.Info("no test", "peer", peer, "err", err)
	}
}
