package testnet

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A Masquerade is the address translation of a home or carrier router (nft(8),
// masquerade). Linux maps a port independent of where packets go as long as the
// port is free outside, and keeps its number, unless the flags say otherwise.
type Masquerade struct {
	Out         string // the interface to the outside, such as "wan"
	Random      bool   // choose ports by a hash with a secret: the mapping depends on the destination
	FullyRandom bool   // choose ports by chance, as a symmetric NAT does
	Persistent  bool   // one client keeps one address
	// Leaky lets through what nobody inside has asked for, and answers it. Such
	// routers exist, but then a packet that comes too early takes the port
	// that the one inside is about to use.
	Leaky bool
}

// Masquerade translates the IPv4 addresses of what leaves by m.Out, and drops
// what comes in there unasked, IPv6 too. The namespace must Forward.
func (ns *Namespace) Masquerade(t testing.TB, m Masquerade) {
	t.Helper()
	nft, err := ns.nft()
	if err != nil {
		t.Fatalf("testnet: masquerade: %v", err)
	}
	table := nft.AddTable(newTable())
	add := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority, rules ...[]expr.Any) {
		chain := nft.AddChain(&nftables.Chain{Table: table, Name: name, Type: kind, Hooknum: hook, Priority: priority})
		for _, r := range rules {
			nft.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: r})
		}
	}
	add("post", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource, join(
		metaIs(expr.MetaKeyNFPROTO, []byte{unix.NFPROTO_IPV4}),
		metaIs(expr.MetaKeyOIFNAME, ifname(m.Out)),
		[]expr.Any{&expr.Masq{Random: m.Random, FullyRandom: m.FullyRandom, Persistent: m.Persistent}},
	))
	if !m.Leaky {
		drop := []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}
		fromOutside := metaIs(expr.MetaKeyIIFNAME, ifname(m.Out))
		add("unasked", nftables.ChainTypeFilter, nftables.ChainHookInput, nftables.ChainPriorityFilter,
			join(fromOutside, isNew(), protocolIs(unix.IPPROTO_UDP), drop))
		add("through", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter,
			join(fromOutside, isNew(), drop))
	}
	if err := nft.Flush(); err != nil {
		t.Fatalf("testnet: masquerade: %v", err)
	}
}

// A Match chooses packets. The zero Match chooses all, those by which
// neighbours find each other (ARP, IPv6 neighbour discovery) excepted.
type Match struct {
	In       string // interface they come in by; empty is any
	Protocol string // "tcp", "udp", "icmp", "icmpv6"; empty is any
	FromPort uint16 // of tcp or udp; 0 is any
	ToPort   uint16
	From     netip.Prefix // addresses; the zero Prefix is any
	To       netip.Prefix
	Every    uint32 // each nth of those; 0 and 1 are all
}

// A Drop is a rule at work.
type Drop struct {
	ns    *Namespace
	table *nftables.Table
	chain *nftables.Chain
	once  sync.Once
}

// Drop lets packets that come into the namespace, to it or through it, vanish
// from now on without a word to anybody. To lose what a namespace sends, drop it
// where it arrives: a rule at the sender makes the write fail with EPERM.
func (ns *Namespace) Drop(t testing.TB, m Match) *Drop {
	t.Helper()
	d, err := ns.drop(m)
	if err != nil {
		t.Fatalf("testnet: drop %+v: %v", m, err)
	}
	return d
}

func (ns *Namespace) drop(m Match) (*Drop, error) {
	exprs, err := m.exprs()
	if err != nil {
		return nil, err
	}
	nft, err := ns.nft()
	if err != nil {
		return nil, err
	}
	d := &Drop{ns: ns, table: nft.AddTable(newTable())}
	d.chain = nft.AddChain(&nftables.Chain{
		Table: d.table, Name: "drop", Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRaw,
	})
	for _, rule := range [][]expr.Any{
		// Neighbour discovery must not be lost, or the failure is another one.
		append(isDiscovery(), &expr.Verdict{Kind: expr.VerdictAccept}),
		append(exprs, &expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop}),
	} {
		nft.AddRule(&nftables.Rule{Table: d.table, Chain: d.chain, Exprs: rule})
	}
	return d, nft.Flush()
}

// Remove ends the rule. It may be called again.
func (d *Drop) Remove(t testing.TB) {
	t.Helper()
	d.once.Do(func() {
		nft, err := d.ns.nft()
		if err == nil {
			nft.DelTable(d.table)
			err = nft.Flush()
		}
		if err != nil {
			t.Fatalf("testnet: remove a rule: %v", err)
		}
	})
}

// Packets returns how many packets the rule has dropped, until it is removed.
// Without Cable.Single one of them may stand for many segments.
func (d *Drop) Packets(t testing.TB) uint64 {
	t.Helper()
	n, err := d.count()
	if err != nil {
		t.Fatalf("testnet: read a counter: %v", err)
	}
	return n
}

func (d *Drop) count() (uint64, error) {
	nft, err := d.ns.nft()
	if err != nil {
		return 0, err
	}
	rules, err := nft.GetRules(d.table, d.chain)
	if err != nil {
		return 0, err
	}
	for _, r := range rules {
		for _, e := range r.Exprs {
			if c, ok := e.(*expr.Counter); ok {
				return c.Packets, nil
			}
		}
	}
	return 0, fmt.Errorf("the rule has gone from table %s", d.table.Name)
}

func (ns *Namespace) nft() (*nftables.Conn, error) {
	return nftables.New(nftables.WithNetNSFd(int(ns.handle)))
}

var tables atomic.Uint64

// newTable names a table for IPv4 and IPv6.
func newTable() *nftables.Table {
	return &nftables.Table{Family: nftables.TableFamilyINet, Name: fmt.Sprintf("testnet%d", tables.Add(1))}
}

var protocols = map[string]byte{
	"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP,
	"icmp": unix.IPPROTO_ICMP, "icmpv6": unix.IPPROTO_ICMPV6,
}

// exprs is the match in the terms of nftables: each loads something into
// register 1 and goes on only if it is as wanted.
func (m Match) exprs() ([]expr.Any, error) {
	var all []expr.Any
	if m.In != "" {
		all = append(all, metaIs(expr.MetaKeyIIFNAME, ifname(m.In))...)
	}
	if m.Protocol != "" {
		number, ok := protocols[m.Protocol]
		if !ok {
			return nil, fmt.Errorf("the protocol %q is none of tcp, udp, icmp and icmpv6", m.Protocol)
		}
		all = append(all, protocolIs(number)...)
	}
	for _, p := range []struct {
		port   uint16
		offset uint32 // in the header of TCP and UDP
	}{{m.FromPort, 0}, {m.ToPort, 2}} {
		if p.port == 0 {
			continue
		}
		if m.Protocol != "tcp" && m.Protocol != "udp" {
			return nil, fmt.Errorf("the port %d needs the protocol tcp or udp", p.port)
		}
		all = append(all, payloadIs(expr.PayloadBaseTransportHeader, p.offset, binaryutil.BigEndian.PutUint16(p.port))...)
	}
	all = append(all, addressIs(m.From, 12, 8)...)
	all = append(all, addressIs(m.To, 16, 24)...)
	if m.Every > 1 {
		all = append(all,
			&expr.Numgen{Register: 1, Modulus: m.Every, Type: unix.NFT_NG_INCREMENTAL},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(m.Every - 1)})
	}
	return all, nil
}
