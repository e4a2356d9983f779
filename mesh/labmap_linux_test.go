package mesh

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/sonde-net/sonde/internal/testnet"
	"golang.org/x/sys/unix"
)

// A mappingRouter is a symmetric NAT that maps ports when it is asked by
// NAT-PMP (RFC 6886).
type mappingRouter struct {
	t       *testing.T
	ns      *testnet.Namespace
	outside netip.Addr
	dead    bool // grants what it does not do

	mu     sync.Mutex // guards mapped
	mapped map[uint16]bool
}

func (r *mappingRouter) serve(c net.PacketConn) {
	b := make([]byte, 100)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		var answer []byte
		switch {
		case b[0] != 0:
			answer = []byte{0, 0x81, 0, 1, 0, 0, 0, 0} // no PCP here
		case b[1] == 0:
			answer = append([]byte{0, 0x80, 0, 0, 0, 0, 0, 9}, r.outside.AsSlice()...)
		case n >= 12:
			port, life := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint32(b[8:])
			r.set(port, life > 0, from.(*net.UDPAddr).AddrPort().Addr())
			answer = append([]byte{0, 0x81, 0, 0, 0, 0, 0, 9}, b[4:6]...)
			answer = append(append(answer, b[4:6]...), b[8:12]...)
		}
		c.WriteTo(answer, from)
	}
}

// set notes a mapping; the first one becomes a rule.
func (r *mappingRouter) set(port uint16, on bool, inside netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if on && !r.mapped[port] && !r.dead {
		rules(r.t, r.ns, func(c *nftables.Conn, _ *nftables.Table) {
			table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "mapped"})
			chain := c.AddChain(&nftables.Chain{Table: table, Name: "in", Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityNATDest})
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(udpOver(expr.MetaKeyIIFNAME, "wan"),
				&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
				&expr.Immediate{Register: 1, Data: inside.AsSlice()},
				&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1},
			)})
		})
	}
	if on {
		r.mapped[port] = true
	} else {
		delete(r.mapped, port)
	}
}

// symmetricNAT translates each flow to a port by chance and lets in only what
// was asked for, or is mapped.
func symmetricNAT(c *nftables.Conn, table *nftables.Table) {
	post := c.AddChain(&nftables.Chain{Table: table, Name: "post", Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource})
	c.AddRule(&nftables.Rule{Table: table, Chain: post, Exprs: append(udpOver(expr.MetaKeyOIFNAME, "wan"), &expr.Masq{FullyRandom: true})})
	dropUnasked(c, table)
}

// dropUnasked lets in over wan only what is of a flow from inside, or mapped.
func dropUnasked(c *nftables.Conn, table *nftables.Table) {
	through := c.AddChain(&nftables.Chain{Table: table, Name: "through", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter})
	unasked := c.AddChain(&nftables.Chain{Table: table, Name: "unasked", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter})
	const statusDNAT = 1 << 5 // IPS_DST_NAT
	is := func(key expr.CtKey, bit uint32) []expr.Any {
		return append(udpOver(expr.MetaKeyIIFNAME, "wan"),
			&expr.Ct{Key: key, Register: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bit), Xor: make([]byte, 4)},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)})
	}
	c.AddRule(&nftables.Rule{Table: table, Chain: through, Exprs: append(is(expr.CtKeySTATUS, statusDNAT), &expr.Verdict{Kind: expr.VerdictAccept})})
	for _, chain := range []*nftables.Chain{through, unasked} {
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(is(expr.CtKeySTATE, expr.CtStateBitNEW), &expr.Verdict{Kind: expr.VerdictDrop})})
	}
}

// Two sides with symmetric NATs, which cannot meet, do if the router of one maps
// a port; a mapping that leads nowhere is not believed. Nothing is left at the
// router afterwards.
func TestLaboratoryMapping(t *testing.T) {
	testnet.NeedNamespaces(t)
	for _, dead := range []bool{false, true} {
		t.Run(fmt.Sprint("dead ", dead), func(t *testing.T) {
			t.Parallel()
			labMapping(t, dead)
		})
	}
}

func labMapping(t *testing.T, dead bool) {
	public, server, host, router := testnet.NewNamespace(t), testnet.NewNamespace(t), testnet.NewNamespace(t), testnet.NewNamespace(t)
	testnet.Wire(t, testnet.Cable{}, testnet.End{In: public, Name: "srv"},
		testnet.End{In: server, Name: "eth0", Addresses: []string{"198.51.100.10/24", "198.51.100.11/24"}})
	other, own := side(t, public, symmetric, 1)
	testnet.Wire(t, testnet.Cable{}, testnet.End{In: router, Name: "lan", Addresses: []string{"192.168.1.1/24"}},
		testnet.End{In: host, Name: "eth0", Addresses: []string{"192.168.1.2/24"}})
	testnet.Wire(t, testnet.Cable{}, testnet.End{In: public, Name: "side0"}, testnet.End{In: router, Name: "wan", Addresses: []string{"198.51.100.101/24"}})
	host.Route(t, "default", "192.168.1.1")
	router.Forward(t)
	rules(t, router, symmetricNAT)
	public.Bridge(t, "br0", "srv", "side0", "side1")
	ask, err := router.ListenPacket(t.Context(), "udp", "192.168.1.1:5351")
	if err != nil {
		t.Fatal(err)
	}
	defer ask.Close()
	r := &mappingRouter{t: t, ns: router, outside: netip.MustParseAddr("198.51.100.101"), dead: dead, mapped: map[uint16]bool{}}
	go r.serve(ask)

	w := &world{t: t}
	defer w.end()
	conns, err := listenAll(server, "198.51.100.10:23456", "198.51.100.10:23457", "198.51.100.11:23456", "198.51.100.11:23457")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Relay: &Relaying{}}
	w.serveOn(s, conns)
	a := &resident{Node: &Node{Servers: []string{"198.51.100.10"}, Name: "a", Listen: netip.MustParseAddrPort("192.168.1.2:5000"), ListenPacket: host.ListenPacket, MapPort: true, Router: netip.MustParseAddr("192.168.1.1"), Dial: host.DialContext}}
	b := &resident{Node: &Node{Servers: []string{"198.51.100.10"}, Name: "b", Listen: netip.MustParseAddrPort(own + ":5001"), ListenPacket: other.ListenPacket}}
	w.run(a)
	w.run(b)
	want := PathMapped
	if dead {
		want = PathRelayed
	}
	isSo := func(r *resident) bool {
		st := r.Status()
		return len(st.Peers) == 1 && st.Peers[0].Path == want && (r == b || st.NAT.Mapped != nil)
	}
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end) && !(isSo(a) && isSo(b)); {
		time.Sleep(100 * time.Millisecond)
	}
	if p := b.peer(t, "a"); p.Path != want {
		t.Errorf("b reaches a: %+v; a's notes %v", p, a.notes())
	}
	if p := a.peer(t, "b"); p.Path != want {
		t.Errorf("a reaches b: %+v", p)
	}
	if m := a.Status().NAT.Mapped; m == nil || m.Reachable == nil || *m.Reachable == dead {
		t.Errorf("of the mapping is known: %+v", m)
	}
	a.stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.mapped) != 0 {
		t.Errorf("left at the router: %v", r.mapped)
	}
}
