package mesh

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/mesh/wire"
	"github.com/sonde-net/sonde/result"
	"golang.org/x/sys/unix"
)

// The kinds of NAT in the laboratory. The kernel's own NAT has endpoint-
// independent mapping with a filter of address and port, unless told otherwise.
const (
	noNAT          = "none"
	firewalled     = "firewall"
	fullCone       = "full cone"
	restricted     = "restricted"
	portRestricted = "port-restricted"
	symmetric      = "symmetric"
	predictable    = "predictable"
	carrierPR      = "carrier port-restricted" // a port-restricted router behind another
	carrierSym     = "carrier symmetric"       // a port-restricted router behind a symmetric one
)

var kinds = []string{noNAT, firewalled, fullCone, restricted, portRestricted, symmetric, predictable, carrierPR, carrierSym}

// Outcomes of pairs, as states are named.
const (
	direct = "direct"
	relay  = "relay"
)

// expected is the outcome that the behaviours of two kinds allow. Ports that can
// be foretold help a peer that comes from the address that it was seen at.
func expected(x, y string) string {
	hard := func(k string) bool { return k == symmetric || k == carrierSym || k == predictable }
	switch {
	case isOpen(x), isOpen(y), !hard(x) && !hard(y):
		return direct
	case x == predictable && !hard(y), y == predictable && !hard(x):
		return direct
	}
	return relay
}

// isOpen reports whether a kind lets in whom it has sent to, whatever the port.
func isOpen(k string) bool { return k == noNAT || k == fullCone || k == restricted }

// foundAs is what a node behind a kind is to find.
var foundAs = map[string][2]string{
	noNAT:          {"no NAT", "endpoint-independent"},
	firewalled:     {"no NAT", "address and port-dependent"},
	fullCone:       {"endpoint-independent", "endpoint-independent"},
	restricted:     {"endpoint-independent", "address-dependent"},
	portRestricted: {"endpoint-independent", "address and port-dependent"},
	symmetric:      {"address and port-dependent", "address and port-dependent"},
	predictable:    {"address and port-dependent", "address and port-dependent"},
	carrierPR:      {"endpoint-independent", "address and port-dependent"},
	carrierSym:     {"address and port-dependent", "address and port-dependent"},
}

// A lab is one sealed world: a server and two sides at a public segment.
type lab struct {
	kinds [2]string
	seen  [2]*resident
	stop  []func()
}

// TestLaboratory: all pairs of kinds meet as the behaviours say, and a node
// finds out its own.
func TestLaboratory(t *testing.T) {
	testnet.NeedNamespaces(t)
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	var pairs [][2]string
	for i, x := range kinds {
		for _, y := range kinds[i:] {
			pairs = append(pairs, [2]string{x, y})
		}
	}
	// A machine that does nothing for a second has a node take a late answer for
	// none. Such a pair tries once more: what is wrong stays so.
	if pairs = tryPairs(t, pairs, t.Logf); len(pairs) > 0 {
		t.Logf("once more: %v", pairs)
		tryPairs(t, pairs, t.Errorf)
	}
}

// tryPairs has pairs of kinds meet, all at once, and returns those that did not as
// the behaviours say, which fault tells.
func tryPairs(t *testing.T, pairs [][2]string, fault func(format string, args ...any)) (failed [][2]string) {
	var labs []*lab
	for _, p := range pairs {
		labs = append(labs, newLab(t, p[:]...))
	}
	for end := time.Now().Add(40 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if !slices.ContainsFunc(labs, func(l *lab) bool { return !l.isSettled() }) {
			break
		}
	}
	time.Sleep(5 * time.Second) // a relayed pair that is to stay so does
	for _, l := range labs {
		if !l.judge(t, fault) {
			failed = append(failed, l.kinds)
		}
		for _, stop := range slices.Backward(l.stop) {
			stop()
		}
	}
	return failed
}

func newLab(t *testing.T, kinds ...string) *lab {
	l := &lab{kinds: [2]string(kinds)}
	w, sides := newSegment(t, l.kinds)
	for i, s := range sides {
		l.seen[i] = w.at(s, i)
	}
	l.stop = w.stop
	return l
}

// newSegment makes a public segment with a server and two sides.
func newSegment(t *testing.T, kinds [2]string) (w *world, sides [2]seat) {
	public, server := testnet.NewNamespace(t), testnet.NewNamespace(t)
	testnet.Wire(t, testnet.Cable{}, testnet.End{In: public, Name: "srv"},
		testnet.End{In: server, Name: "eth0", Addresses: []string{"198.51.100.10/24", "198.51.100.11/24"}})
	for i, kind := range kinds {
		sides[i].Namespace, sides[i].address = side(t, public, kind, i)
	}
	public.Bridge(t, "br0", "srv", "side0", "side1")
	w = &world{t: t}
	conns, err := listenAll(server, "198.51.100.10:23456", "198.51.100.10:23457", "198.51.100.11:23456", "198.51.100.11:23457")
	if err != nil {
		t.Fatal(err)
	}
	w.serveOn(&Server{Relay: &Relaying{}}, conns)
	return w, sides
}

// A seat is the host of one side.
type seat struct {
	*testnet.Namespace
	address string
}

// at starts a node on the host of a side.
func (w *world) at(s seat, i int) *resident {
	r := &resident{Node: &Node{Servers: []string{"198.51.100.10"}, Name: fmt.Sprint("side", i), Listen: netip.MustParseAddrPort(s.address + fmt.Sprint(":", 5000+i)), ListenPacket: s.ListenPacket}}
	w.run(r)
	return r
}

// side makes one side of the segment and returns its host and its address.
func side(t *testing.T, public *testnet.Namespace, kind string, i int) (*testnet.Namespace, string) {
	outside := fmt.Sprintf("198.51.100.%d", 101+i)
	host := testnet.NewNamespace(t)
	port := testnet.End{In: public, Name: fmt.Sprint("side", i)}
	switch kind {
	case noNAT, firewalled:
		testnet.Wire(t, testnet.Cable{}, port, testnet.End{In: host, Name: "eth0", Addresses: []string{outside + "/24"}})
		if kind == firewalled {
			rules(t, host, guard)
		}
		return host, outside
	}
	own := fmt.Sprintf("192.168.%d", i+1)
	router := testnet.NewNamespace(t)
	testnet.Wire(t, testnet.Cable{}, testnet.End{In: router, Name: "lan", Addresses: []string{own + ".1/24"}},
		testnet.End{In: host, Name: "eth0", Addresses: []string{own + ".2/24"}})
	host.Route(t, "default", own+".1")
	router.Forward(t)
	wan := testnet.End{In: router, Name: "wan", Addresses: []string{outside + "/24"}}
	masquerade := testnet.Masquerade{Out: "wan", FullyRandom: kind == symmetric}
	if kind == carrierPR || kind == carrierSym {
		carrier := testnet.NewNamespace(t)
		testnet.Wire(t, testnet.Cable{}, port, testnet.End{In: carrier, Name: "wan", Addresses: wan.Addresses})
		wan.Addresses = []string{fmt.Sprintf("100.64.%d.2/24", i+1)}
		port = testnet.End{In: carrier, Name: "lan", Addresses: []string{fmt.Sprintf("100.64.%d.1/24", i+1)}}
		carrier.Forward(t)
		carrier.Masquerade(t, testnet.Masquerade{Out: "wan", FullyRandom: kind == carrierSym})
		testnet.Wire(t, testnet.Cable{}, port, wan)
		router.Route(t, "default", fmt.Sprintf("100.64.%d.1", i+1))
	} else {
		testnet.Wire(t, testnet.Cable{}, port, wan)
	}
	if kind == predictable {
		rules(t, router, func(c *nftables.Conn, table *nftables.Table) { steps(c, table, netip.MustParseAddr(outside)) })
	}
	if kind == fullCone || kind == restricted {
		rules(t, router, func(c *nftables.Conn, table *nftables.Table) {
			cone(t, c, table, netip.MustParseAddr(own+".2"), kind == restricted)
		})
		return host, own + ".2"
	}
	router.Masquerade(t, masquerade)
	return host, own + ".2"
}

// rules adds a table to a namespace.
func rules(t *testing.T, ns *testnet.Namespace, add func(*nftables.Conn, *nftables.Table)) {
	t.Helper()
	var err error
	ns.Do(func() {
		var c *nftables.Conn
		if c, err = nftables.New(); err == nil {
			add(c, c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "lab"}))
			err = c.Flush()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// guard drops UDP that nobody inside has asked for.
func guard(c *nftables.Conn, table *nftables.Table) {
	chain := c.AddChain(&nftables.Chain{Table: table, Name: "guard", Type: nftables.ChainTypeFilter, Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(udpOver(expr.MetaKeyIIFNAME, "eth0"),
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitNEW), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
		&expr.Verdict{Kind: expr.VerdictDrop},
	)})
}

// steps translates each new flow of UDP to the next of 2000 ports.
func steps(c *nftables.Conn, table *nftables.Table, outside netip.Addr) {
	priority := *nftables.ChainPriorityNATSource - 1
	chain := c.AddChain(&nftables.Chain{Table: table, Name: "steps", Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting, Priority: &priority})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(udpOver(expr.MetaKeyOIFNAME, "wan"),
		&expr.Immediate{Register: 1, Data: outside.AsSlice()},
		&expr.Numgen{Register: 2, Modulus: 2000, Type: unix.NFT_NG_INCREMENTAL, Offset: 40000},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2},
	)})
}

// cone translates to the same port, and lets in what comes to it: from anybody,
// or from the addresses that the port has sent to.
func cone(t *testing.T, c *nftables.Conn, table *nftables.Table, inside netip.Addr, isRestricted bool) {
	post := c.AddChain(&nftables.Chain{Table: table, Name: "post", Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource})
	pre := c.AddChain(&nftables.Chain{Table: table, Name: "pre", Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityNATDest})
	// An address and a port are a key, in two registers of four bytes.
	const first, second = 8, 9
	pair := func(address, port uint32) []expr.Any {
		return []expr.Any{
			&expr.Payload{DestRegister: first, Base: expr.PayloadBaseNetworkHeader, Offset: address, Len: 4},
			&expr.Payload{DestRegister: second, Base: expr.PayloadBaseTransportHeader, Offset: port, Len: 2},
		}
	}
	var came []expr.Any
	if isRestricted {
		talked := &nftables.Set{Table: table, Name: "talked", Dynamic: true, HasTimeout: true, Timeout: 5 * time.Minute, Concatenation: true,
			KeyType: nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService)}
		if err := c.AddSet(talked, nil); err != nil {
			t.Error(err)
		}
		// Before the address is translated: the destination, and the port that is kept.
		c.AddRule(&nftables.Rule{Table: table, Chain: post, Exprs: append(append(udpOver(expr.MetaKeyOIFNAME, "wan"), pair(16, 0)...),
			&expr.Dynset{SrcRegKey: first, SetName: talked.Name, SetID: talked.ID, Operation: uint32(unix.NFT_DYNSET_OP_UPDATE), Timeout: 5 * time.Minute})})
		came = append(pair(12, 2), &expr.Lookup{SourceRegister: first, SetName: talked.Name, SetID: talked.ID})
	}
	c.AddRule(&nftables.Rule{Table: table, Chain: post, Exprs: append(udpOver(expr.MetaKeyOIFNAME, "wan"), &expr.Masq{})})
	c.AddRule(&nftables.Rule{Table: table, Chain: pre, Exprs: append(append(udpOver(expr.MetaKeyIIFNAME, "wan"), came...),
		&expr.Immediate{Register: 1, Data: inside.AsSlice()},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1},
	)})
	dropUnasked(c, table)
}

func udpOver(key expr.MetaKey, name string) []expr.Any {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return []expr.Any{
		&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: b},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}},
	}
}

// took is how long after a peer was listed it was reached directly; 0 if never.
func (r *resident) took() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	var begun time.Time
	for _, e := range r.events {
		switch e := e.(type) {
		case result.Begin:
			begun = e.Time
		case result.Note:
			if e.Code == "path_direct" {
				return e.Time.Sub(begun)
			}
		}
	}
	return 0
}

// isSettled reports whether both sides know themselves and have some path.
func (l *lab) isSettled() bool {
	for _, r := range l.seen {
		st := r.Status()
		if !st.NAT.Known || len(st.Peers) != 1 {
			return false
		}
		if s := st.Peers[0].State; s != direct && s != expected(l.kinds[0], l.kinds[1]) {
			return false
		}
	}
	return true
}

func (l *lab) judge(t *testing.T, fault func(format string, args ...any)) (ok bool) {
	ok = true
	wrong := func(format string, args ...any) { ok = false; fault(format, args...) }
	want := expected(l.kinds[0], l.kinds[1])
	for i, r := range l.seen {
		st := r.Status()
		name := fmt.Sprintf("%s with %s", l.kinds[i], l.kinds[1-i])
		if found := [2]string{st.NAT.Mapping, st.NAT.Filtering}; found != foundAs[l.kinds[i]] {
			wrong("%s: found %q, remarks %q, want %q", name, found, st.NAT.Remarks, foundAs[l.kinds[i]])
		}
		if len(st.Peers) != 1 {
			wrong("%s: %d peers", name, len(st.Peers))
			continue
		}
		p := st.Peers[0]
		if p.State != want {
			wrong("%s: %s to %v (%s) after %d pings: %s", name, p.State, p.Address, p.Path, p.Pings.Sent, p.Reason)
		}
		if p.State == relay && (p.Reason != ReasonText(wire.ReasonBothHard) || p.Hint == "" || p.Path != PathRelayed) {
			wrong("%s: relayed (%s), because %q", name, p.Path, p.Reason)
		}
		if p.Pings.Replies == 0 || p.Figures.Smoothed == nil {
			wrong("%s: not measured: %+v", name, p.Figures)
		}
		// A pair that can meet, at a port that is foretold or known, never goes over
		// the relay, which begins 2 s after it was listed: whatever keeps the machine
		// busy holds up both.
		if want == direct && slices.Contains(r.notes(), "path_relay") {
			wrong("%s: relayed at first, direct %v after it was listed", name, r.took())
		}
		t.Logf("%s: %s %s, direct %v after it was listed", name, p.State, p.Path, r.took())
	}
	return ok
}

// listenAll opens sockets in a namespace.
func listenAll(ns *testnet.Namespace, at ...string) ([]net.PacketConn, error) {
	var all []net.PacketConn
	for _, a := range at {
		c, err := ns.ListenPacket(context.Background(), "udp", a)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}
