package mesh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/sonde-net/sonde/internal/nat"
	"github.com/sonde-net/sonde/mesh/wire"
	"github.com/sonde-net/sonde/result"
)

// A Node registers with servers, pings all nodes and clients that they list,
// and tells how each fares. The zero Node needs Servers only.
type Node struct {
	Servers  []string       // host or host:port; all are used at once
	Name     string         // shown to others; at most 63 bytes
	Listen   netip.AddrPort // where to hear; zero is any address and port
	Interval time.Duration  // between two pings to one peer; 0 means 500 ms, the least is 20 ms
	NoRelay  bool           // never ask a server to relay
	Router   netip.Addr     // asked to map our port (PCP, NAT-PMP); zero asks nobody
	Log      *slog.Logger   // nil discards

	// ListenPacket opens the socket; nil means that of net.ListenConfig. Resolve
	// finds the addresses of a server; nil means that of net.Resolver.
	ListenPacket func(ctx context.Context, network, address string) (net.PacketConn, error)
	Resolve      func(ctx context.Context, host string) ([]netip.Addr, error)

	mu    sync.Mutex // guards agent
	agent *agent     // nil unless running
}

// minInterval keeps a mistake from becoming a flood.
const minInterval = 20 * time.Millisecond

// Run runs the node until ctx ends, which is no error. Each peer is a run of its
// own in sink: Begin when it is listed, an Interval each second over the latest
// 600 pings, End when it leaves. What concerns the servers are Notes.
func (n *Node) Run(ctx context.Context, sink result.Sink) error {
	if err := n.check(); err != nil {
		return err
	}
	listen := n.ListenPacket
	if listen == nil {
		listen = new(net.ListenConfig).ListenPacket
	}
	at := ":0"
	if n.Listen.IsValid() {
		at = n.Listen.String()
	} else if n.Listen.Port() != 0 {
		at = fmt.Sprintf(":%d", n.Listen.Port())
	}
	conn, err := listen(ctx, "udp", at)
	if err != nil {
		return &result.Error{Word: result.CodeLocal, Text: "mesh: open a UDP socket at " + at, Hint: "choose another port with --listen", Err: err}
	}
	a, err := n.start(ctx, conn, sink)
	if err != nil {
		conn.Close()
		return err
	}
	n.mu.Lock()
	n.agent = a
	n.mu.Unlock()
	socket := &nat.Exchange{Local: a.local, Send: func(to netip.AddrPort, b []byte) error { return sendTo(conn, to, b) }}
	probing, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { n.classify(probing, socket, listen) })
	if n.Router.IsValid() {
		wg.Go(func() { n.mapPort(probing, listen) })
	}
	err = run(ctx, []net.PacketConn{&leaving{PacketConn: conn, leave: func() { n.with((*agent).leave) }}},
		func(_ int, from netip.AddrPort, b []byte) {
			if nat.IsSTUN(b) {
				socket.Deliver(from, b)
				return
			}
			n.with(func(a *agent) { a.receive(time.Now(), from, b) })
		},
		func() { n.with(func(a *agent) { a.due(time.Now()) }) })
	stop()
	wg.Wait()
	n.with(func(a *agent) { a.end(time.Now()) })
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return nil
	}
	return &result.Error{Word: result.CodeLocal, Text: "mesh: node", Err: err}
}

// with calls f while nobody else uses the agent.
func (n *Node) with(f func(*agent)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(n.agent)
}

// A leaving socket says goodbye before it is closed.
type leaving struct {
	net.PacketConn
	leave func()
}

func (l *leaving) Close() error {
	l.leave()
	return l.PacketConn.Close()
}

func (n *Node) check() error {
	usage := func(text, hint string) error {
		return &result.Error{Word: result.CodeUsage, Text: "mesh: " + text, Hint: hint}
	}
	switch {
	case len(n.Servers) == 0:
		return usage("no server", "name one with --server HOST:PORT")
	case len(n.Servers) > maxServers:
		return usage(fmt.Sprintf("%d servers, at most %d can be used", len(n.Servers), maxServers), "name fewer")
	case len(n.Name) > wire.MaxName:
		return usage(fmt.Sprintf("the name has %d bytes, at most %d are allowed", len(n.Name), wire.MaxName), "choose a shorter --name")
	case n.Interval != 0 && n.Interval < minInterval:
		return usage(fmt.Sprintf("interval %v, the least is %v", n.Interval, minInterval), "choose a longer --interval")
	}
	return nil
}

// start makes the agent and finds the servers.
func (n *Node) start(ctx context.Context, conn net.PacketConn, sink result.Sink) (*agent, error) {
	log := n.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	local, _ := addrPort(conn.LocalAddr())
	a := &agent{
		id: wire.ID(uuid.New()), name: n.Name, interval: cmp.Or(n.Interval, pingEvery), noRelay: n.NoRelay,
		sink: sink, log: log, local: local, hosts: hostAddresses(local),
		peers: map[peerKey]*peer{}, byAddress: map[netip.AddrPort]*peer{}, drops: map[string]uint64{},
		out: func(to netip.AddrPort, b []byte) {
			if err := sendTo(conn, to, b); err != nil {
				log.Warn("cannot send", "to", to, "err", err)
			}
		},
	}
	for _, s := range n.Servers {
		addrs, err := n.resolve(ctx, s)
		if err != nil {
			if len(n.Servers) == 1 {
				return nil, err
			}
			a.note(result.Warning, "server_unknown", err.Error(), result.HintOf(err))
			continue
		}
		for _, at := range addrs {
			a.servers = append(a.servers, &home{name: s, at: at, lists: map[uint32]*pages{}})
		}
	}
	if len(a.servers) == 0 {
		return nil, &result.Error{Word: result.CodeUnreachable, Text: "mesh: none of the servers has an address", Hint: "check the names after --server"}
	}
	return a, nil
}

// resolve finds the addresses of a server: one of each family at most, since
// all are used at once.
func (n *Node) resolve(ctx context.Context, server string) ([]netip.AddrPort, error) {
	host, service, err := net.SplitHostPort(server)
	if err != nil {
		host, service = server, strconv.Itoa(DefaultPort)
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil || port == 0 {
		return nil, &result.Error{Word: result.CodeUsage, Text: fmt.Sprintf("mesh: server %q: the port is not a number of 1 to 65535", server)}
	}
	addrs := []netip.Addr{}
	if a, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, a)
	} else if addrs, err = n.lookup(ctx, host); err != nil {
		return nil, &result.Error{Word: result.CodeUnreachable, Text: "mesh: find server " + server, Hint: "check the name, or give an address", Err: err}
	}
	var found []netip.AddrPort
	var has [2]bool
	for _, a := range addrs {
		a = a.Unmap()
		if f := family(a); !has[f] {
			has[f] = true
			found = append(found, netip.AddrPortFrom(a, uint16(port)))
		}
	}
	return found, nil
}

func (n *Node) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if n.Resolve != nil {
		return n.Resolve(ctx, host)
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// hostAddresses are those of this machine at which the socket hears, without
// loopback and link-local ones.
func hostAddresses(local netip.AddrPort) []netip.Addr {
	if a := local.Addr(); !a.IsUnspecified() {
		return []netip.Addr{a}
	}
	var all []netip.Addr
	own, err := net.InterfaceAddrs()
	if err != nil {
		return nil // then the server's view is all there is
	}
	for _, o := range own {
		p, ok := o.(*net.IPNet)
		if !ok {
			continue
		}
		if a, ok := netip.AddrFromSlice(p.IP); ok && a.Unmap().IsGlobalUnicast() && len(all) < 8 {
			all = append(all, a.Unmap())
		}
	}
	return all
}

// A NodeStatus is what a node knows at a moment.
type NodeStatus struct {
	ID      string
	Local   netip.AddrPort
	NAT     NATStatus
	Servers []HomeStatus
	Peers   []PeerStatus
	Dropped map[string]uint64 // datagrams and records, by reason
}

// A HomeStatus is one server as the node knows it.
type HomeStatus struct {
	Name                  string
	Address               netip.AddrPort
	Up                    bool
	Original              bool           // speaks only the original protocol
	Seen                  netip.AddrPort // we, as the server sees us
	Sent, Received, Acked uint64
	RTT                   *time.Duration // the latest; nil if none
}

// A PeerStatus is one peer as the node knows it.
type PeerStatus struct {
	ID       string // empty until an original client has spoken
	Name     string
	Original bool           // knows only the original protocol
	State    string         // "trying", "direct", "relay", "failed"
	Path     string         // kind of the address in use, "relay", or empty
	Address  netip.AddrPort // in use; zero if none
	Reason   string         // why it is not direct; empty if it is
	Pings    result.RoundTrips
}

// Status tells what the node knows now; it is zero before Run. The sink must not
// call it from Put.
func (n *Node) Status() NodeStatus {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.agent
	if a == nil {
		return NodeStatus{}
	}
	st := NodeStatus{ID: a.id.String(), Local: a.local, NAT: a.found, Dropped: maps.Clone(a.drops)}
	for _, s := range a.servers {
		st.Servers = append(st.Servers, HomeStatus{
			Name: s.name, Address: s.at, Up: s.up, Original: s.up && !s.sonde, Seen: s.seen,
			Sent: s.sent, Received: s.received, Acked: s.acked, RTT: s.rtt,
		})
	}
	for _, p := range a.sorted() {
		st.Peers = append(st.Peers, p.status())
	}
	return st
}
