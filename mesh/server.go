package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sonde-net/sonde/mesh/wire"
)

// A Server introduces clients and nodes to each other. The zero Server works.
type Server struct {
	Name   string // shown to nodes; at most 63 bytes
	Limits Limits
	Relay  *Relaying    // nil: does not relay
	Log    *slog.Logger // nil discards

	mu  sync.Mutex // guards hub
	hub *hub       // nil unless serving
}

// Serve serves on the sockets until ctx ends, and closes them. Nodes can tell
// how their router maps ports if there are several, on different ports or
// addresses. It returns nil when ctx ended it.
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
	h := newHub(time.Now(), s.Limits, log, func(via int, to netip.AddrPort, b []byte) {
		if err := sendTo(conns[via], to, b); err != nil {
			log.Warn("cannot send", "client", to, "err", err)
		}
	})
	h.name = s.Name
	if s.Relay != nil {
		h.relay = newRelaying(*s.Relay)
	}
	for _, c := range conns {
		if at, ok := addrPort(c.LocalAddr()); ok {
			h.reflect = append(h.reflect, at)
		}
	}
	s.mu.Lock()
	s.hub = h
	s.mu.Unlock()
	err := run(ctx, conns,
		func(via int, from netip.AddrPort, b []byte) {
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

// A ServerStatus is what a server knows at a moment.
type ServerStatus struct {
	Clients []ClientStatus
	Packets uint64            // datagrams sent
	Bytes   uint64            // of payload in them
	Dropped map[string]uint64 // datagrams and records, by reason
	Full    bool              // nobody more is admitted
	Relayed RelayStatus
}

// A RelayStatus is what was carried between nodes.
type RelayStatus struct {
	Packets, Bytes uint64
	Refused        uint64 // packets over a limit
}

// A ClientStatus is one client as its server knows it.
type ClientStatus struct {
	ID        string
	Name      string
	Addresses []netip.AddrPort // as the server sees them
	Local     netip.AddrPort   // as the client sees itself
	Original  bool             // knows only the original protocol
	Mapping   string           // as of RFC 4787; "unknown"
	Filtering string
	Sent      uint64 // lists
	Received  uint64 // packets
	Acked     uint64
	RTT       *time.Duration // the latest; nil if none
	Heard     time.Time
	Pairs     []PairStatus // what it reported
}

// A PairStatus is what a node reported of one peer.
type PairStatus struct {
	Peer   string
	State  string // "trying", "direct", "relay", "failed"
	Mine   string // kinds of the candidates in use
	Theirs string
	Reason string         // why it is not direct; empty if it is
	RTT    *time.Duration // nil if not measured
	Jitter *time.Duration
	Sent   uint64
	Lost   uint64
}

// Status tells what the server knows now; it is zero before Serve.
func (s *Server) Status() ServerStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hub
	if h == nil {
		return ServerStatus{}
	}
	st := ServerStatus{Packets: h.packets, Bytes: h.bytes, Dropped: maps.Clone(h.drops), Full: len(h.clients) >= h.limits.clients()}
	for _, c := range h.inOrder() {
		st.Clients = append(st.Clients, c.status())
	}
	if r := h.relay; r != nil {
		st.Relayed = RelayStatus{r.packets, r.bytes, r.refused}
	}
	return st
}

func (c *client) status() ClientStatus {
	st := ClientStatus{
		ID: c.id.String(), Name: c.hello.Name, Local: c.local, Original: !c.sonde,
		Mapping: behaviourWord(c.hello.Mapping), Filtering: behaviourWord(c.hello.Filtering),
		Sent: c.sent, Received: c.received, Acked: c.acked, RTT: c.rtt, Heard: c.main().heard,
	}
	for _, a := range c.at {
		if a.outside.IsValid() {
			st.Addresses = append(st.Addresses, a.outside)
		}
	}
	for id, f := range c.findings {
		st.Pairs = append(st.Pairs, pairStatus(id, f.Finding))
	}
	return st
}

func pairStatus(id wire.ID, f wire.Finding) PairStatus {
	p := PairStatus{
		Peer: id.String(), State: f.State.String(), Mine: f.Mine.String(), Theirs: f.Theirs.String(),
		Reason: ReasonText(f.Reason), Sent: uint64(f.Sent), Lost: uint64(f.Lost),
	}
	if f.RTT > 0 {
		rtt, jitter := time.Duration(f.RTT)*time.Microsecond, time.Duration(f.Jitter)*time.Microsecond
		p.RTT, p.Jitter = &rtt, &jitter
	}
	return p
}
