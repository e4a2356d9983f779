package mesh

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/mesh/wire"
	"github.com/sonde-net/sonde/result"
)

// A spied socket remembers where it sent, and what came to it was from.
type spied struct {
	net.PacketConn
	mu       sync.Mutex // guards what follows
	sent     map[netip.AddrPort]int
	received map[netip.AddrPort]int
}

func (s *spied) count(m map[netip.AddrPort]int, a net.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, _ := addrPort(a)
	m[at]++
}

func (s *spied) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := s.PacketConn.ReadFrom(b)
	if err == nil {
		s.count(s.received, from)
	}
	return n, from, err
}

func (s *spied) WriteTo(b []byte, to net.Addr) (int, error) {
	s.count(s.sent, to)
	return s.PacketConn.WriteTo(b, to)
}

// port is the number of the socket's own.
func (s *spied) port() uint16 {
	at, _ := addrPort(s.LocalAddr())
	return at.Port()
}

// others are the addresses in m whose port is not of a server.
func (s *spied) others(m map[netip.AddrPort]int) (all []netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at := range m {
		if at.Port() != DefaultPort && at.Port() != DefaultPort+1 {
			all = append(all, at)
		}
	}
	return all
}

// A splitResident is a split node whose sockets are spied on: for peers, for
// servers, and those that STUN opens.
type splitResident struct {
	*resident
	sockets []*spied
}

func (w *world) splitNode(name, at string, with func(*Node)) *splitResident {
	r := &splitResident{resident: &resident{host: w.net.Host(testnet.Link{Delay: time.Millisecond}, testnet.Link{}, at)}}
	r.Node = &Node{Servers: []string{serverAddress}, Name: name, Split: true, Listen: netip.AddrPortFrom(netip.MustParseAddr(at), 5000)}
	r.ListenPacket = func(ctx context.Context, network, address string) (net.PacketConn, error) {
		c, err := r.listen(ctx, network, address)
		if err != nil {
			return nil, err
		}
		r.sockets = append(r.sockets, &spied{PacketConn: c, sent: map[netip.AddrPort]int{}, received: map[netip.AddrPort]int{}})
		return r.sockets[len(r.sockets)-1], nil
	}
	if with != nil {
		with(r.Node)
	}
	w.run(r.resident)
	return r
}

// A split node is one node to its server, which lists the socket for peers and
// talks to the other one.
func TestSplit(t *testing.T) {
	t.Run("without a key", func(t *testing.T) { testSplit(t, nil) })
	t.Run("with a key", func(t *testing.T) { testSplit(t, NewKey()) })
}

func testSplit(t *testing.T, key *Key) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Key: key}
		w := newWorld(t, s)
		defer w.end()
		withKey := func(n *Node) { n.Key = key }
		a := w.splitNode("a", "198.51.100.1", withKey)
		b := w.splitNode("b", "198.51.100.2", withKey)
		c := &resident{host: w.net.Host(testnet.Link{}, testnet.Link{}, "198.51.100.3")}
		c.Node = &Node{Servers: []string{serverAddress}, Name: "c", Key: key, Listen: netip.MustParseAddrPort("198.51.100.3:5000"), ListenPacket: c.listen}
		w.run(c)
		time.Sleep(40 * time.Second)
		clients := s.Status().Clients
		if len(clients) != 3 {
			t.Errorf("%d clients: %+v", len(clients), clients)
		}
		for _, c := range clients {
			if len(c.Addresses) != 1 || c.Addresses[0].Port() != 5000 || c.Local.Port() != 5000 || c.Observes {
				t.Errorf("%s is listed at %v, itself %v", c.Name, c.Addresses, c.Local)
			}
		}
		for _, r := range []*splitResident{a, b} {
			st := r.Status()
			home := st.Servers[0]
			control := r.sockets[controlSocket]
			if !home.Up || home.Seen.Port() != 5000 || home.Control.Port() != control.port() {
				t.Errorf("%s: seen at %v and %v, want ports 5000 and %d", r.Name, home.Seen, home.Control, control.port())
			}
			if !st.NAT.Known || st.NAT.Reflexive.Port() != 5000 {
				t.Errorf("%s: STUN says %v", r.Name, st.NAT.Reflexive)
			}
			if got := append(control.others(control.sent), control.others(control.received)...); len(got) > 0 {
				t.Errorf("%s: the socket for servers meets %v", r.Name, got)
			}
			for _, name := range []string{"a", "b", "c"} {
				if name == r.Name {
					continue
				}
				p := r.peer(t, name)
				if p.State != "direct" || p.Address.Port() != 5000 || p.Pings.Replies < 50 {
					t.Errorf("%s to %s: %s at %v, %d replies", r.Name, name, p.State, p.Address, p.Pings.Replies)
				}
			}
		}
		if p := c.peer(t, "a"); p.State != "direct" || p.Address.Port() != 5000 {
			t.Errorf("c to a: %s at %v", p.State, p.Address)
		}
		for reason, n := range s.Status().Dropped {
			t.Errorf("server dropped %d: %s", n, reason)
		}
	})
}

// Lists, and what is relayed, come to the socket for servers.
func TestSplitIsTalkedToAtControl(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Relay: &Relaying{}}
		w := newWorld(t, s)
		defer w.end()
		a := w.splitNode("a", "198.51.100.1", func(n *Node) { n.NoSTUN = true })
		b := w.splitNode("b", "198.51.100.2", func(n *Node) { n.NoSTUN = true })
		a.walled.Store(true)
		b.walled.Store(true)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		for _, r := range []*splitResident{a, b} {
			p := r.Status().Peers
			if len(p) != 1 || p[0].Path != PathRelayed || p[0].Pings.Replies < 20 {
				t.Fatalf("%s: %+v", r.Name, p)
			}
			// A registration each 7 s, each second at first, and what admits it.
			home := netip.AddrPortFrom(netip.MustParseAddr(serverAddress), DefaultPort)
			if n := r.sockets[peerSocket].received[home]; n > 40 {
				t.Errorf("%s: %d packets of the server came to the socket for peers", r.Name, n)
			}
			if n := r.sockets[controlSocket].received[home]; n < 80 {
				t.Errorf("%s: %d packets of the server came to the socket for servers", r.Name, n)
			}
		}
	})
}

// A server that starts again, and one that no longer answers the socket for
// servers, cost a split node nothing.
func TestSplitServerRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t}
		h := w.net.Host(testnet.Link{}, testnet.Link{}, serverAddress)
		defer w.end()
		stop := w.serve(h, &Server{})
		a := w.splitNode("a", "198.51.100.1", nil)
		b := w.splitNode("b", "198.51.100.2", nil)
		time.Sleep(20 * time.Second)
		stop()
		time.Sleep(5 * time.Second)
		s := &Server{}
		w.serve(h, s)
		time.Sleep(60 * time.Second)
		if n := len(s.Status().Clients); n != 2 {
			t.Errorf("%d clients", n)
		}
		for _, r := range []*splitResident{a, b} {
			if !slices.Equal(r.names(), map[bool][]string{true: {"b"}, false: {"a"}}[r == a]) {
				t.Errorf("%s lists %v", r.Name, r.names())
			}
			r.with(func(a *agent) {
				if !a.servers[0].control {
					t.Errorf("%s: the socket for servers is not in use", r.Name)
				}
			})
		}
	})
}

// original is a server as of old: it lists whoever registers. It tells from which
// ports that was, and who said goodbye.
func (w *world) original(at string) (registered, left map[uint16]bool) {
	registered, left = map[uint16]bool{}, map[uint16]bool{}
	c, err := w.net.Host(testnet.Link{}, testnet.Link{}, at).ListenPacket(w.t.Context(), "udp", ":23456")
	if err != nil {
		w.t.Fatal(err)
	}
	w.start(func(ctx context.Context) error {
		context.AfterFunc(ctx, func() { c.Close() })
		b := make([]byte, 2048)
		for {
			n, addr, err := c.ReadFrom(b)
			if err != nil {
				return nil
			}
			from, _ := addrPort(addr)
			p, err := wire.ParsePacket(b[:n])
			if err != nil {
				w.t.Errorf("the original got %v", err)
				continue
			}
			registered[from.Port()] = true
			if p.Shutdown {
				left[from.Port()] = true
			}
			if p.Stamp == nil {
				continue
			}
			token := uint64(7)
			list := wire.Packet{Role: wire.FromServer, Release: 2, ID: p.ID, Stamp: &token, Seen: from, Whole: true}
			d, err := list.Append(nil, from.Addr())
			if err != nil {
				w.t.Error(err)
			}
			if _, err := c.WriteTo(d, addr); err != nil {
				w.t.Error(err)
			}
		}
	})
	return registered, left
}

// An original server would list a split node twice: it is left, and what to do
// is said. It never hears of the socket for servers.
func TestSplitAtOriginal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t}
		defer w.end()
		registered, left := w.original(serverAddress)
		host := w.net.Host(testnet.Link{}, testnet.Link{}, "198.51.100.1")
		n := &Node{Servers: []string{serverAddress}, Split: true, Listen: netip.MustParseAddrPort("198.51.100.1:5000"), ListenPacket: host.ListenPacket}
		begun := time.Now()
		err := n.Run(t.Context(), result.Discard)
		if result.CodeOf(err) != result.CodeUnsupported || result.HintOf(err) == "" {
			t.Errorf("Run: %v, hint %q", err, result.HintOf(err))
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if len(registered) != 1 || !registered[5000] || !left[5000] {
			t.Errorf("heard ports %v, goodbye from %v", registered, left)
		}
	})
}

// With another server the node goes on.
func TestSplitWithOriginalAndSonde(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Server{})
		defer w.end()
		registered, left := w.original("192.0.2.2")
		two := func(n *Node) { n.Servers = []string{"192.0.2.2", serverAddress} }
		a, b := w.splitNode("a", "198.51.100.1", two), w.splitNode("b", "198.51.100.2", two)
		time.Sleep(20 * time.Second)
		for _, r := range []*splitResident{a, b} {
			st := r.Status()
			if len(st.Servers) != 1 || !slices.Contains(r.notes(), "split_unsupported") {
				t.Errorf("%s: servers %+v, notes %v", r.Name, st.Servers, r.notes())
			}
			if len(st.Peers) != 1 || st.Peers[0].State != "direct" {
				t.Errorf("%s: %+v", r.Name, st.Peers)
			}
		}
		synctest.Wait()
		if len(registered) != 1 || !left[5000] {
			t.Errorf("heard ports %v, goodbye from %v", registered, left)
		}
	})
}

// An original client is told of the socket for peers, and answered from there.
func TestSplitMeetsOriginalClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Server{})
		defer w.end()
		a := w.splitNode("a", "198.51.100.1", nil)
		c, err := w.net.Host(testnet.Link{}, testnet.Link{}, "198.51.100.9").ListenPacket(t.Context(), "udp", ":5000")
		if err != nil {
			t.Fatal(err)
		}
		old := newOldClient(c)
		w.start(old.run)
		time.Sleep(30 * time.Second)
		want := netip.MustParseAddrPort("198.51.100.1:5000")
		if !slices.Equal(old.listed(), []netip.AddrPort{want}) || old.pongs(want) < 20 {
			t.Errorf("the original lists %v, %d answers of %v", old.listed(), old.pongs(want), want)
		}
		if p := a.Status().Peers; len(p) != 1 || !p[0].Original || p[0].State != "direct" {
			t.Errorf("%+v", p)
		}
	})
}

// An oldClient does what the original does: it registers, pings whom the list
// names, and echoes.
type oldClient struct {
	conn     net.PacketConn
	id       wire.ID
	sequence uint32

	mu       sync.Mutex // guards what follows
	peers    []netip.AddrPort
	answered map[netip.AddrPort]int
}

func newOldClient(c net.PacketConn) *oldClient {
	return &oldClient{conn: c, id: wire.ID{1, 2, 3}, answered: map[netip.AddrPort]int{}}
}

func (o *oldClient) listed() []netip.AddrPort {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.peers)
}

func (o *oldClient) pongs(of netip.AddrPort) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.answered[of]
}

func (o *oldClient) send(to netip.AddrPort, p wire.Packet) {
	p.Role, p.Release, p.ID, p.Sequence = wire.FromClient, 2, o.id, o.sequence
	o.sequence++
	if b, err := p.Append(nil, to.Addr()); err == nil {
		_, _ = o.conn.WriteTo(b, net.UDPAddrFromAddrPort(to)) // closed: the test is over
	}
}

func (o *oldClient) run(ctx context.Context) error {
	server := netip.AddrPortFrom(netip.MustParseAddr(serverAddress), DefaultPort)
	context.AfterFunc(ctx, func() { o.conn.Close() })
	var beat sync.Mutex // held while o sends
	var beating sync.WaitGroup
	defer beating.Wait()
	beating.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			now := uint64(i)
			beat.Lock()
			if i%14 == 0 {
				o.send(server, wire.Packet{Local: netip.MustParseAddrPort("198.51.100.9:5000"), Stamp: &now, Meta: []byte(`{"as long as usual":"` + strings.Repeat("x", 150) + `"}`)})
			}
			for _, p := range o.listed() {
				o.send(p, wire.Packet{Stamp: &now})
			}
			beat.Unlock()
			time.Sleep(500 * time.Millisecond)
		}
	})
	b := make([]byte, 2048)
	for {
		n, addr, err := o.conn.ReadFrom(b)
		if err != nil {
			return nil
		}
		from, _ := addrPort(addr)
		p, err := wire.ParsePacket(b[:n])
		if err != nil {
			continue
		}
		o.mu.Lock()
		isListed := slices.Contains(o.peers, from)
		if from == server && p.Whole {
			o.peers = nil
			for _, l := range p.Peers {
				o.peers = append(o.peers, l.Outside)
			}
		}
		if isListed && p.Echo != nil {
			o.answered[from]++
		}
		o.mu.Unlock()
		if p.Stamp != nil && (from == server || isListed) {
			beat.Lock()
			o.send(from, wire.Packet{Echo: p.Stamp})
			beat.Unlock()
		}
	}
}
