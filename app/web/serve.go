package web

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/sonde-net/sonde/admit"
)

// Bounds of one request; what takes longer, such as live events, lifts them for
// itself with Unbounded.
const (
	headerTime  = 10 * time.Second
	readTime    = 15 * time.Second
	answerTime  = 30 * time.Second
	idleTime    = 2 * time.Minute
	headerBytes = 32 << 10
)

// perAddress is how many connections one address has open at once.
const perAddress = 64

// perConnection is how many requests one HTTP/2 connection carries at once.
const perConnection = 16

// A Server serves browsers and programs over HTTP: every connection and every
// request is bounded.
type Server struct {
	Handler     http.Handler
	TLS         *tls.Config // nil: plain HTTP
	Connections int         // at once; 0 means 1024
	// Proxies, and this host, may have any number of them.
	Proxies []netip.Prefix
	Log     *slog.Logger
}

// Serve serves a listener until ctx ends; requests have a second to finish.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	total := s.Connections
	if total == 0 {
		total = 1024
	}
	bounded := &gated{Listener: l, gate: &admit.Gate{Total: total}, each: &admit.Gate{PerAddress: perAddress}, proxies: s.Proxies}
	server := &http.Server{
		Handler: s.Handler, ReadHeaderTimeout: headerTime, ReadTimeout: readTime, WriteTimeout: answerTime, IdleTimeout: idleTime,
		MaxHeaderBytes: headerBytes, TLSConfig: s.TLS, BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog: slog.NewLogLogger(quiet(s.Log), slog.LevelDebug),
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: perConnection},
	}
	done := make(chan struct{})
	off := context.AfterFunc(ctx, func() {
		defer close(done)
		short, stop := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer stop()
		if server.Shutdown(short) != nil {
			server.Close()
		}
	})
	var err error
	if s.TLS != nil {
		err = server.ServeTLS(bounded, "", "")
	} else {
		err = server.Serve(bounded)
	}
	if !off() {
		<-done
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// quiet is where package http says what clients do wrong: of no interest, unless
// asked for.
func quiet(log *slog.Logger) slog.Handler {
	if log == nil {
		return slog.DiscardHandler
	}
	return log.Handler()
}

// Unbounded lets next take as long as it wants.
func Unbounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		// One that cannot be lifted has no bounds.
		_ = c.SetReadDeadline(time.Time{})
		_ = c.SetWriteDeadline(time.Time{})
		next.ServeHTTP(w, r)
	})
}

// A gated listener closes the connections that are too many.
type gated struct {
	net.Listener
	gate, each *admit.Gate
	proxies    []netip.Prefix
}

// Accept implements net.Listener.
func (g *gated) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if leave, ok := g.enter(conn); ok {
			return &leaving{conn, leave}, nil
		}
		conn.Close()
	}
}

func (g *gated) enter(conn net.Conn) (leave func(), ok bool) {
	all, err := g.gate.Enter(netip.Addr{})
	if err != nil {
		return nil, false
	}
	at, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	a := at.Addr().Unmap()
	if err != nil || a.IsLoopback() || slices.ContainsFunc(g.proxies, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return all, true
	}
	one, err := g.each.Enter(a)
	if err != nil {
		all()
		return nil, false
	}
	return func() { one(); all() }, true
}

// A leaving connection gives its place back.
type leaving struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (l *leaving) Close() error {
	l.leave() // may be called more than once
	return l.Conn.Close()
}
