package rperf

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sonde-net/sonde/admit"
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
	ConnectionsPerAddress int // 512
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

	once    sync.Once
	pools   *pools
	conns   admit.Gate
	streams admit.Gate
	queue   queue
	cpus    turn
}

// limit is n, or the default d for 0, or none for -1.
func limit(n, d int) int {
	switch {
	case n == 0:
		return d
	case n < 0:
		return 0
	}
	return n
}

func (s *Server) prepare() {
	s.once.Do(func() {
		s.pools = newPools(s.Ports)
		s.cpus.cpus = s.CPUs
		s.conns = admit.Gate{Total: limit(s.Connections, 4096), PerAddress: limit(s.ConnectionsPerAddress, 512)}
		s.streams = admit.Gate{Total: limit(s.Streams, 4096), PerAddress: limit(s.StreamsPerAddress, 1024), Word: admit.TooManyTests, What: "streams"}
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
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for pause := time.Duration(0); ; {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return &result.Error{Word: result.CodeLocal, Text: "rperf: listener " + l.Addr().String(), Err: err}
		case err != nil: // such as too many open files: it may pass
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.Log.Warn("accept", "err", err, "retry_in", pause)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			continue
		}
		pause = 0
		s.accept(ctx, &wg, conn)
	}
}

// accept runs a session for conn, or closes it when there are too many.
func (s *Server) accept(ctx context.Context, wg *sync.WaitGroup, conn net.Conn) {
	peer := addrPort(conn.RemoteAddr())
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
		pools: s.pools, peer: peer.Addr(),
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
