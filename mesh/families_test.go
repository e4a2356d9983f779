package mesh

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/mesh/wire"
)

// A node with both families is one node to the server and reaches those with
// either; those of different families are relayed by a server that has both, and
// told why.
func TestFamilies(t *testing.T) {
	t.Run("without a key", func(t *testing.T) { families(t, nil) })
	t.Run("with a key", func(t *testing.T) { families(t, NewKey()) })
}

func families(t *testing.T, key *Key) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Relay: &Relaying{}, Key: key}
		w := newWorld(t, s)
		defer w.end()
		start := func(name string, servers []string, addresses ...string) *resident {
			r := &resident{host: w.net.Host(testnet.Link{Delay: time.Millisecond}, testnet.Link{}, addresses...)}
			r.Node = &Node{Servers: servers, Name: name, Key: key, ListenPacket: r.listen}
			if len(addresses) == 1 {
				r.Listen = netip.AddrPortFrom(netip.MustParseAddr(addresses[0]), 5000)
			}
			w.run(r)
			return r
		}
		const six = "2001:db8::1"
		four := start("four", []string{serverAddress}, "198.51.100.1")
		old6 := start("six", []string{"[" + six + "]:23456"}, "2001:db8:1::1")
		other6 := start("other six", []string{"[" + six + "]:23456"}, "2001:db8:2::1")
		both := start("both", []string{serverAddress, "[" + six + "]:23456"}, "198.51.100.2", "2001:db8:3::1")
		time.Sleep(30 * time.Second)
		if st := s.Status(); len(st.Clients) != 4 {
			t.Errorf("%d clients: %+v", len(st.Clients), st.Clients)
		}
		if n := s.Status().Dropped[dropReplay]; n != 0 {
			t.Errorf("%d packets taken for old", n)
		}
		for _, tt := range []struct {
			from *resident
			to   string
			path string
			six  bool
		}{
			{both, "four", PathDirect, false}, {four, "both", PathDirect, false},
			{both, "six", PathDirect, true}, {old6, "both", PathDirect, true},
			{old6, "other six", PathDirect, true}, {other6, "six", PathDirect, true},
			{four, "six", PathRelayed, false}, {old6, "four", PathRelayed, false},
		} {
			p := tt.from.peer(t, tt.to)
			isUsable := p.Path == tt.path || tt.path == PathDirect && p.Path == PathPunched
			if !isUsable || p.State == "direct" && p.Address.Addr().Is6() != tt.six || p.Pings.Replies == 0 {
				t.Errorf("%s to %s: %s (%s) at %v, %d replies, %q", tt.from.Name, tt.to, p.Path, p.Kind, p.Address, p.Pings.Replies, p.Reason)
			}
			if tt.path == PathRelayed && p.Code != ReasonCode(wire.ReasonFamilies) {
				t.Errorf("%s to %s: relayed, because %q", tt.from.Name, tt.to, p.Reason)
			}
		}
	})
}
