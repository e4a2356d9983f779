package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/mesh/wire"
)

// A Server introduces clients and nodes to each other. The zero Server works.
type Server struct {
	Name   string // shown to nodes; at most 63 bytes
	Limits Limits
	Relay  *Relaying    // nil: does not relay
	Key    *Key         // nil: everybody may register; else who has it, which no original client does
	Sign   *SigningKey  // signs what nodes are told of each other; nil does not
	Log    *slog.Logger // nil discards

	mu  sync.Mutex // guards hub
	hub *hub       // nil unless serving
}

// Serve serves on the sockets until ctx ends, and closes them. Nodes can tell
// how their router maps ports if there are several, on different ports or
// addresses. What came to one of several addresses of a socket is answered from
// there, on Linux. It returns nil when ctx ended it.
func (s *Server) Serve(ctx context.Context, conns ...net.PacketConn) error {
	if len(s.Name) > wire.MaxName {
		for _, c := range conns {
			c.Close()
		}
		return fmt.Errorf("mesh: the name %q has %d bytes, at most %d are allowed", s.Name, len(s.Name), wire.MaxName)
	}
	log := s.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	doors := answering(conns)
	h := newHub(time.Now(), s.Limits, log, func(via door, to netip.AddrPort, b []byte) {
		if err := sendTo(doors[via.socket], via.own, to, b); err != nil {
			log.Warn("cannot send", "client", to, "err", err)
		}
	})
	h.name = s.Name
	if s.Relay != nil {
		h.relay = newRelaying(*s.Relay)
	}
	h.keys.mesh = s.Key
	if s.Sign != nil {
		h.keys.sign = s.Sign.private()
	}
	for _, c := range conns {
		if at, ok := addrPort(c.LocalAddr()); ok {
			h.reflect = append(h.reflect, at)
		}
	}
	s.mu.Lock()
	s.hub = h
	s.mu.Unlock()
	err := run(ctx, doors,
		func(via door, from netip.AddrPort, b []byte) {
			s.mu.Lock()
			defer s.mu.Unlock()
			h.receive(time.Now(), via, from, b)
		},
		func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			h.due(time.Now())
		})
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return nil
	}
	return fmt.Errorf("mesh: server: %w", err)
}

// answering are sockets that answer from the address that was asked.
func answering(conns []net.PacketConn) []*sock.AnswerConn {
	all := make([]*sock.AnswerConn, len(conns))
	for i, c := range conns {
		all[i] = sock.Answering(c)
	}
	return all
}
