package mesh

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sonde-net/sonde/internal/nat"
	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/result"
)

// A world is a network in memory with a server and nodes; it must be made and
// ended within one synctest bubble.
type world struct {
	t    *testing.T
	net  testnet.Network
	stop []func()
}

const serverAddress = "192.0.2.1"

func newWorld(t *testing.T, s *Server) *world {
	w := &world{t: t}
	h := w.net.Host(testnet.Link{}, testnet.Link{}, serverAddress, "2001:db8::1")
	w.serve(h, s)
	return w
}

// serve starts a server on a host and returns what stops it.
func (w *world) serve(h *testnet.Host, s *Server) (stop func()) {
	w.t.Helper()
	var conns []net.PacketConn
	for _, at := range []string{":23456", ":23457"} {
		c, err := h.ListenPacket(w.t.Context(), "udp", at)
		if err != nil {
			w.t.Fatal(err)
		}
		conns = append(conns, c)
	}
	return w.serveOn(s, conns)
}

func (w *world) serveOn(s *Server, conns []net.PacketConn) (stop func()) {
	return w.start(func(ctx context.Context) error { return s.Serve(ctx, conns...) })
}

// start runs f until the returned function or end is called.
func (w *world) start(f func(context.Context) error) func() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("ended: %v", err)
		}
	})
	w.stop = append(w.stop, stop)
	return stop
}

func (w *world) end() {
	for _, stop := range slices.Backward(w.stop) {
		stop()
	}
}

// A resident is a node on a host of its own.
type resident struct {
	*Node
	host   *testnet.Host
	stop   func()
	walled atomic.Bool // hears nobody but servers
	lossy  atomic.Bool // no answer by STUN comes

	mu     sync.Mutex // guards events
	events []result.Event
}

// node starts a node at an address.
func (w *world) node(name, at string, up, down testnet.Link, servers ...string) *resident {
	if len(servers) == 0 {
		servers = []string{serverAddress}
	}
	r := &resident{host: w.net.Host(up, down, at)}
	r.Node = &Node{Servers: servers, Name: name, Listen: netip.AddrPortFrom(netip.MustParseAddr(at), 5000), ListenPacket: r.listen}
	w.run(r)
	return r
}

func (w *world) run(r *resident) {
	r.stop = w.start(func(ctx context.Context) error { return r.Node.Run(ctx, result.Func(r.put)) })
}

func (r *resident) put(e result.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// notes are the codes of all notes so far.
func (r *resident) notes() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var codes []string
	for _, e := range r.events {
		if n, ok := e.(result.Note); ok {
			codes = append(codes, n.Code)
		}
	}
	return codes
}

// peer is what the node knows of the peer with a name.
func (r *resident) peer(t *testing.T, name string) PeerStatus {
	t.Helper()
	peers := r.Status().Peers
	for _, p := range peers {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("%s does not list %s: %+v", r.Name, name, peers)
	return PeerStatus{}
}

func (r *resident) names() []string {
	var all []string
	for _, p := range r.Status().Peers {
		all = append(all, p.Name)
	}
	slices.Sort(all)
	return all
}

func place(n int) string { return fmt.Sprintf("198.51.%d.%d", 100+n/200, 1+n%200) }

// A walled socket hears only servers while its node is walled, and no STUN while that
// is lossy.
type walled struct {
	net.PacketConn
	of *resident
}

func (w walled) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := w.PacketConn.ReadFrom(b)
		switch {
		case err == nil && w.of.lossy.Load() && nat.IsSTUN(b[:n]):
		case err != nil || !w.of.walled.Load() || from.(*net.UDPAddr).Port == DefaultPort:
			return n, from, err
		}
	}
}

func (r *resident) listen(ctx context.Context, network, address string) (net.PacketConn, error) {
	c, err := r.host.ListenPacket(ctx, network, address)
	return walled{c, r}, err
}
