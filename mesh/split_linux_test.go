package mesh

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/sonde-net/sonde/internal/testnet"
)

// Behind NATs, what a split node finds out, and where others reach it, is the
// socket for peers; that for servers has a mapping of its own, which nobody hears
// of.
func TestSplitBehindNAT(t *testing.T) {
	testnet.NeedNamespaces(t)
	for _, kinds := range [][]string{{portRestricted, portRestricted}, {symmetric, noNAT}} {
		t.Run(fmt.Sprint(kinds[0], " with ", kinds[1]), func(t *testing.T) { splitBehindNAT(t, kinds) })
	}
}

func splitBehindNAT(t *testing.T, kinds []string) {
	public, server := testnet.NewNamespace(t), testnet.NewNamespace(t)
	testnet.Wire(t, testnet.Cable{}, testnet.End{In: public, Name: "srv"},
		testnet.End{In: server, Name: "eth0", Addresses: []string{"198.51.100.10/24", "198.51.100.11/24"}})
	var hosts [2]*testnet.Namespace
	var own [2]string
	for i, kind := range kinds {
		hosts[i], own[i] = side(t, public, kind, i)
	}
	public.Bridge(t, "br0", "srv", "side0", "side1")
	w := &world{t: t}
	defer w.end()
	conns, err := listenAll(server, "198.51.100.10:23456", "198.51.100.10:23457", "198.51.100.11:23456", "198.51.100.11:23457")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{}
	w.serveOn(s, conns)
	var seen [2]*resident
	var controls [2]*spied
	for i, h := range hosts {
		r := &resident{}
		var opened []*spied
		r.Node = &Node{
			Servers: []string{"198.51.100.10"}, Name: fmt.Sprint("side", i), Split: true, Listen: netip.MustParseAddrPort(own[i] + ":5000"),
			ListenPacket: func(ctx context.Context, network, address string) (net.PacketConn, error) {
				c, err := h.ListenPacket(ctx, network, address)
				if err != nil {
					return nil, err
				}
				one := &spied{PacketConn: c, sent: map[netip.AddrPort]int{}, received: map[netip.AddrPort]int{}}
				if opened = append(opened, one); len(opened) == controlSocket+1 {
					controls[i] = one
				}
				return one, nil
			},
		}
		w.run(r)
		seen[i] = r
	}
	for i, r := range seen {
		waitFor(t, r.Name+" is reached and knows its NAT", func() bool {
			st := r.Status()
			return st.NAT.Known && st.Servers[0].Control.IsValid() && len(st.Peers) == 1 && st.Peers[0].State == "direct" && st.Peers[0].Pings.Replies > 3
		})
		st := r.Status()
		if found := [2]string{st.NAT.Mapping, st.NAT.Filtering}; found != foundAs[kinds[i]] {
			t.Errorf("%s: found %q, want %q", kinds[i], found, foundAs[kinds[i]])
		}
		home := st.Servers[0]
		if home.Seen == home.Control || home.Seen.Addr() != home.Control.Addr() {
			t.Errorf("%s: seen at %v and %v", kinds[i], home.Seen, home.Control)
		}
		if met := append(controls[i].others(controls[i].sent), controls[i].others(controls[i].received)...); len(met) > 0 {
			t.Errorf("%s: the socket for servers meets %v", kinds[i], met)
		}
		if kinds[i] == symmetric {
			continue // each destination sees another port
		}
		if outside := netip.MustParseAddrPort(fmt.Sprintf("198.51.100.%d:5000", 101+i)); home.Seen != outside || st.NAT.Reflexive != outside {
			t.Errorf("%s: seen at %v, STUN says %v, want %v", kinds[i], home.Seen, st.NAT.Reflexive, outside)
		}
		if got := seen[1-i].Status().Peers[0].Address; kinds[1-i] != symmetric && got.Port() != 5000 {
			t.Errorf("%s is reached at %v", kinds[i], got)
		}
	}
	for _, c := range s.Status().Clients {
		i := slices.IndexFunc(seen[:], func(r *resident) bool { return r.Name == c.Name })
		if i < 0 || len(c.Addresses) != 1 || c.Addresses[0] != seen[i].Status().Servers[0].Seen {
			t.Errorf("%s is listed at %v", c.Name, c.Addresses)
		}
	}
}
