package mesh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/sonde-net/sonde/internal/nat"
	"github.com/sonde-net/sonde/internal/sock"
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
	Key      *Key           // nil: talk to everybody; else only to who has it
	Verify   *VerifyKey     // lists count only if they are signed with its other half; nil believes all
	NoSTUN   bool           // do not find out how our NAT behaves
	Observe  bool           // only see who is there: nobody is told of us, nobody is pinged
	// Split talks to servers from a socket of its own; Listen is that for peers,
	// which registers with servers, too, so that they list it. Servers other than
	// those of sonde would take the two for two nodes: they are left, with a Note,
	// and Run fails when there is no other.
	Split   bool
	MapPort bool         // have the router map our port (PCP, NAT-PMP, UPnP)
	Router  netip.Addr   // that is asked; zero means that of the default route
	Log     *slog.Logger // nil discards

	// Bulk transfer: Get and Put. Nothing is given or taken unasked but what these say.
	Serve       string // folder whose files are given to peers that ask; empty gives none
	Accept      string // folder where files of peers land that were not asked for; empty takes none
	AcceptMax   uint64 // bytes of the largest such file; 0 means 1 GiB
	BulkRate    uint64 // bit/s of files, each way, all together; 0 is no limit
	BulkRelayed bool   // files may go by way of a server, slowly

	// ListenPacket opens the socket; nil means that of net.ListenConfig. Resolve
	// finds the addresses of a server; nil means that of net.Resolver.
	ListenPacket func(ctx context.Context, network, address string) (net.PacketConn, error)
	Resolve      func(ctx context.Context, host string) ([]netip.Addr, error)
	// Dial opens TCP connections to the router, for UPnP; nil means that of
	// net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	mu    sync.Mutex // guards agent and bulk
	agent *agent     // nil unless running
	bulk  *bulk      // moves files; nil unless running
}

// MinInterval is the least between two pings: it keeps a mistake from becoming a flood.
const MinInterval = 20 * time.Millisecond

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
	plain, err := listen(ctx, "udp", at)
	if err != nil {
		return &result.Error{Word: result.CodeLocal, Text: "mesh: open a UDP socket at " + at, Hint: "choose another port with --listen", Err: err}
	}
	conn := sock.Answering(&leaving{PacketConn: plain, leave: func() { n.with((*agent).leave) }})
	sockets := []*sock.AnswerConn{conn}
	if n.Split {
		at := n.freshAddress()
		control, err := listen(ctx, "udp", at)
		if err != nil {
			plain.Close()
			return &result.Error{Word: result.CodeLocal, Text: "mesh: open a UDP socket for servers at " + at, Err: err}
		}
		sockets = append(sockets, sock.Answering(control))
	}
	giveUp := func() {
		plain.Close() // without a goodbye: nobody knows us
		for _, s := range sockets[1:] {
			s.Close()
		}
	}
	a, err := n.start(ctx, sockets, sink)
	if err != nil {
		giveUp()
		return err
	}
	if c, ok := plain.(interface{ SetReadBuffer(int) error }); ok {
		// As much as the system allows: what a window brings comes faster than it
		// is taken now and then. If it allows nothing, more is asked for again.
		_ = c.SetReadBuffer(2 * windowBytes)
	}
	moving, stopMoving := context.WithCancel(ctx)
	defer stopMoving()
	files, err := n.startBulk(moving, a.log, func(to netip.AddrPort, b []byte) error { return sendTo(conn, netip.Addr{}, to, b) })
	if err != nil {
		giveUp()
		return err
	}
	a.bulk = files
	running, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	a.fail = fail
	n.mu.Lock()
	n.agent, n.bulk = a, files
	n.mu.Unlock()
	socket := &nat.Exchange{Local: a.local, Send: func(to netip.AddrPort, b []byte) error { return sendTo(conn, netip.Addr{}, to, b) }}
	probing, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	if !n.NoSTUN && !n.Observe {
		wg.Go(func() { n.classify(probing, socket, listen) })
	}
	if n.MapPort && !n.Observe {
		wg.Go(func() { n.mapPorts(probing, socket, listen) })
	}
	err = run(running, sockets,
		func(via door, from netip.AddrPort, b []byte) {
			switch {
			case via.socket == controlSocket:
				n.with(func(a *agent) { a.receiveControl(time.Now(), from, b) })
			case nat.IsSTUN(b):
				socket.Deliver(from, b)
			default:
				n.with(func(a *agent) { a.receive(time.Now(), from, b) })
			}
		},
		func() { n.with(func(a *agent) { a.due(time.Now()) }) })
	stop()
	stopMoving()
	wg.Wait()
	files.end()
	n.with(func(a *agent) { a.end(time.Now()) })
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return nil
	}
	if unsplit, ok := errors.AsType[*result.Error](err); ok {
		return unsplit
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
	case n.Split && n.Observe:
		return usage("a node that only looks has no peers, and needs one socket", "leave out Split")
	case n.Interval != 0 && n.Interval < MinInterval:
		return usage(fmt.Sprintf("interval %v, the least is %v", n.Interval, MinInterval), "choose a longer --interval")
	}
	return nil
}

// The sockets of a node, in this order.
const (
	peerSocket = iota
	controlSocket
)

// start makes the agent and finds the servers.
func (n *Node) start(ctx context.Context, sockets []*sock.AnswerConn, sink result.Sink) (*agent, error) {
	log := n.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	sender := func(c *sock.AnswerConn) func(netip.AddrPort, []byte) {
		return func(to netip.AddrPort, b []byte) {
			if err := sendTo(c, netip.Addr{}, to, b); err != nil {
				log.Warn("cannot send", "to", to, "err", err)
			}
		}
	}
	local, _ := addrPort(sockets[peerSocket].LocalAddr())
	a := &agent{
		id: wire.ID(uuid.New()), name: n.Name, interval: cmp.Or(n.Interval, pingEvery), noRelay: n.NoRelay, observe: n.Observe,
		sink: sink, log: log, local: local, keys: keys{mesh: n.Key}, verify: n.Verify, hosts: hostAddresses(local),
		peers: map[peerKey]*peer{}, byAddress: map[netip.AddrPort]*peer{}, drops: map[string]uint64{}, asks: map[wire.Ask]chan wire.Tolds{},
		out: sender(sockets[peerSocket]),
	}
	if n.Split {
		at, _ := addrPort(sockets[controlSocket].LocalAddr())
		a.control, a.controlPort = sender(sockets[controlSocket]), at.Port()
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
