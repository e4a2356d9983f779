package nat

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/testnet"
)

// A site is a host behind a router of the kernel, and a server outside.
type site struct {
	inside, router, outside *testnet.Namespace
}

func newSite(t *testing.T, mtu int, nat testnet.Masquerade) *site {
	s := &site{testnet.NewNamespace(t), testnet.NewNamespace(t), testnet.NewNamespace(t)}
	testnet.Wire(t, testnet.Cable{MTU: mtu}, testnet.End{In: s.router, Name: "wan", Addresses: []string{"192.0.2.1/24", "2001:db8:1::1/64"}},
		testnet.End{In: s.outside, Name: "eth0", Addresses: []string{"192.0.2.10/24", "192.0.2.11/24", "2001:db8:1::10/64", "2001:db8:1::11/64"}})
	testnet.Wire(t, testnet.Cable{}, testnet.End{In: s.router, Name: "lan", Addresses: []string{"192.168.1.1/24", "2001:db8:2::1/64"}},
		testnet.End{In: s.inside, Name: "eth0", Addresses: []string{"192.168.1.2/24", "2001:db8:2::2/64"}})
	s.inside.Route(t, "default", "192.168.1.1")
	s.inside.Route(t, "::/0", "2001:db8:2::1")
	s.outside.Route(t, "2001:db8:2::/64", "2001:db8:1::1")
	s.router.Forward(t)
	nat.Out = "wan"
	s.router.Masquerade(t, nat)
	return s
}

// survey has the host inside find out all there is.
func (s *site) survey(t *testing.T, servers ...string) *Findings {
	t.Helper()
	v := &Survey{
		Servers: addrs(servers...), Router: netip.MustParseAddr("192.168.1.1"),
		ListenPacket: s.inside.ListenPacket, Dial: s.inside.DialContext,
		ListenWhole: func(ctx context.Context, network, address string) (c net.PacketConn, err error) {
			s.inside.Do(func() {
				c, err = (&net.ListenConfig{Control: sock.ForbidFragments}).ListenPacket(ctx, network, address)
			})
			return c, err
		},
	}
	f, err := v.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// complete reports figures that are missing without a reason.
func complete(t *testing.T, v *View) {
	t.Helper()
	for figure, isMissing := range map[string]bool{
		"reflexive": v.Reflexive == nil, "mapping": v.Mapping == nil, "filtering": v.Filtering == nil, "rfc3489": v.Old == nil,
		"port_kept": v.PortKept == nil, "port_step": v.Step == nil, "hairpin": v.Hairpin == nil, "rtt_ns": v.RTT == nil, "mtu_bytes": v.MTU == nil,
	} {
		if isMissing != (v.Unknown[figure] != "") {
			t.Errorf("%s: missing %v, reason %q", figure, isMissing, v.Unknown[figure])
		}
	}
}

// TestSurvey: a narrow path behind a NAT of the kernel, over both families; a
// router that answers to nothing is said to be one.
func TestSurvey(t *testing.T) {
	testnet.NeedNamespaces(t)
	for _, tt := range []struct {
		name     string
		nat      testnet.Masquerade
		mapping  string
		isSilent bool // the router says nothing of packets that are too big
	}{
		{"port-restricted", testnet.Masquerade{}, "endpoint-independent", false},
		{"symmetric, black hole", testnet.Masquerade{FullyRandom: true}, "address and port-dependent", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, 1380, tt.nat)
			if tt.isSilent {
				s.inside.Drop(t, testnet.Match{In: "eth0", Protocol: "icmp"})
				s.inside.Drop(t, testnet.Match{In: "eth0", Protocol: "icmpv6"})
			}
			defer serve(t, s.outside.ListenPacket, four)()
			defer serve(t, s.outside.ListenPacket, addrs("[2001:db8:1::10]:3478", "[2001:db8:1::10]:3479", "[2001:db8:1::11]:3478", "[2001:db8:1::11]:3479"))()
			servers := []string{"192.0.2.10:3478", "[2001:db8:1::10]:3478"}
			f := s.survey(t, servers...)
			if isTold := func(v *View) bool { return v != nil && v.MTU != nil && *v.MTU == 1380 }; !isTold(f.IPv4) || !isTold(f.IPv6) {
				// An answer that a busy machine holds up for long is taken for none.
				t.Logf("once more after IPv4 %+v, IPv6 %+v", f.IPv4, f.IPv6)
				f = s.survey(t, servers...)
			}
			v, v6 := f.IPv4, f.IPv6
			if v == nil || v.Mapping == nil || v.Filtering == nil || v.MTU == nil || v6 == nil || v6.Mapping == nil || v6.MTU == nil {
				t.Fatalf("IPv4 %+v, IPv6 %+v", v, v6)
			}
			complete(t, v)
			complete(t, v6)
			if *v.Mapping != tt.mapping || *v.Filtering != "address and port-dependent" || *v.MTU != 1380 || v.Reflexive.Addr().String() != "192.0.2.1" {
				t.Errorf("mapping %s, filtering %s, MTU %d, seen at %v", *v.Mapping, *v.Filtering, *v.MTU, v.Reflexive)
			}
			if *v6.Mapping != "no NAT" || *v6.Filtering != "address and port-dependent" || *v6.MTU != 1380 {
				t.Errorf("IPv6: mapping %s, filtering %s, MTU %d", *v6.Mapping, *v6.Filtering, *v6.MTU)
			}
			if f.UDPBlocked == nil || *f.UDPBlocked || f.MappedPortsOK == nil || *f.MappedPortsOK || len(f.PortMappings) != 3 {
				t.Errorf("UDP blocked %v, port mapping works %v, %+v", f.UDPBlocked, f.MappedPortsOK, f.PortMappings)
			}
			for _, p := range f.PortMappings {
				if p.Answers == nil || *p.Answers || len(p.Dialogue) == 0 || !strings.Contains(p.Fault, "no answer") {
					t.Errorf("%+v", p)
				}
			}
		})
	}
}

// TestSurveySilence: a server that does not answer is not taken for one that is
// not there, where the host tells.
func TestSurveySilence(t *testing.T) {
	testnet.NeedNamespaces(t)
	yes, no := true, false
	for _, tt := range []struct {
		name    string
		prepare func(*testing.T, *site)
		want    *bool
	}{
		{"UDP is dropped", func(t *testing.T, s *site) { s.router.Drop(t, testnet.Match{In: "lan", Protocol: "udp"}) }, &yes},
		{"nobody listens", func(*testing.T, *site) {}, &no},
		{"all is dropped", func(t *testing.T, s *site) { s.router.Drop(t, testnet.Match{In: "lan"}) }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, 1500, testnet.Masquerade{})
			tt.prepare(t, s)
			f := s.survey(t, "192.0.2.10:3478")
			if (f.UDPBlocked == nil) != (tt.want == nil) || tt.want != nil && *f.UDPBlocked != *tt.want {
				t.Errorf("UDP blocked: %v, reasons %v", f.UDPBlocked, f.Unknown)
			}
			if f.UDPBlocked == nil && f.Unknown["udp_blocked"] == "" {
				t.Error("no reason is given")
			}
			complete(t, f.IPv4)
		})
	}
}
