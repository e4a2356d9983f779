package nat

import (
	"net/netip"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/sonde-net/sonde/internal/testnet"
	"golang.org/x/sys/unix"
)

// TestHairpin: a router that leads what is sent to its outside address from
// inside back in, with its outside address as the source (RFC 4787, REQ-9).
func TestHairpin(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1500, testnet.Masquerade{Leaky: true})
	outside, inside := netip.MustParseAddr("192.0.2.1").AsSlice(), netip.MustParseAddr("192.168.1.2").AsSlice()
	udp := []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}}}
	lan := make([]byte, unix.IFNAMSIZ)
	copy(lan, "lan")
	const isTranslated = 1 << 5 // IPS_DST_NAT
	var err error
	s.router.Do(func() {
		var c *nftables.Conn
		if c, err = nftables.New(); err != nil {
			return
		}
		table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "hairpin"})
		before, after := *nftables.ChainPriorityNATDest, *nftables.ChainPriorityNATSource-1
		pre := c.AddChain(&nftables.Chain{Table: table, Name: "pre", Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPrerouting, Priority: &before})
		post := c.AddChain(&nftables.Chain{Table: table, Name: "post", Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPostrouting, Priority: &after})
		c.AddRule(&nftables.Rule{Table: table, Chain: pre, Exprs: append(udp,
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}, // destination
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: outside},
			&expr.Immediate{Register: 1, Data: inside},
			&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1})})
		c.AddRule(&nftables.Rule{Table: table, Chain: post, Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: lan},
			&expr.Ct{Key: expr.CtKeySTATUS, Register: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(isTranslated), Xor: make([]byte, 4)},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
			&expr.Immediate{Register: 1, Data: outside},
			&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1}}})
		err = c.Flush()
	})
	if err != nil {
		t.Fatal(err)
	}
	defer serve(t, s.outside.ListenPacket, four)()
	r := discover(t, s.inside.ListenPacket, "192.168.1.2", four[0], nil)
	if r.Mapping != EndpointIndependent || r.Filtering != EndpointIndependent || r.Hairpin == nil || !*r.Hairpin || r.Old() != "Full Cone" {
		t.Errorf("mapping %v, filtering %v, hairpin %v, remarks %q", r.Mapping, r.Filtering, r.Hairpin, r.Remarks)
	}
}
