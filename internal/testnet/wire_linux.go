package testnet

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// An End is an interface: one end of a wire.
type End struct {
	In        *Namespace
	Name      string   // such as "eth0"; at most 15 bytes
	Addresses []string // with the length of the prefix, such as "192.0.2.1/24"
}

// A Cable says how a wire is.
type Cable struct {
	MTU int // bytes of the largest IP packet; 0 means 1500
	// Single lets each packet pass alone. Otherwise the kernel hands a train of
	// segments over as one packet of up to 64 KB, and Drop counts that as one.
	Single bool
}

// Wire joins two namespaces by a pair of interfaces (veth), which are up when it
// returns. They go with the namespaces.
func Wire(t testing.TB, cable Cable, a, b End) {
	t.Helper()
	if err := wire(cable, a, b); err != nil {
		t.Fatalf("testnet: wire %s to %s: %v", a.Name, b.Name, err)
	}
}

func wire(cable Cable, a, b End) error {
	mtu := cmp.Or(cable.MTU, 1500)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.Namespace = a.Name, mtu, netlink.NsFd(a.In.handle)
	pair := netlink.NewVeth(attrs)
	pair.PeerName, pair.PeerMTU, pair.PeerNamespace = b.Name, uint32(mtu), netlink.NsFd(b.In.handle)
	if err := a.In.kernel.LinkAdd(pair); err != nil {
		return err
	}
	if cable.Single {
		for _, e := range []End{a, b} {
			if err := e.single(); err != nil {
				return fmt.Errorf("%s: %w", e.Name, err)
			}
		}
	}
	// One step after the other at both ends: a packet that one end sends before
	// the other is ready is lost, and with it a second.
	for _, step := range []func(End) error{End.rise, End.awaitCarrier, End.address, End.awaitAddresses} {
		for _, e := range []End{a, b} {
			if err := step(e); err != nil {
				return fmt.Errorf("%s: %w", e.Name, err)
			}
		}
	}
	return nil
}

// single makes the interface send each packet by itself.
func (e End) single() error {
	link, err := e.In.kernel.LinkByName(e.Name)
	if err != nil {
		return err
	}
	return e.In.kernel.LinkSetGSOMaxSegs(link, 1)
}

func (e End) rise() error { return e.In.up(e.Name) }

// address gives the interface its addresses.
func (e End) address() error {
	link, err := e.In.kernel.LinkByName(e.Name)
	if err != nil {
		return err
	}
	for _, s := range e.Addresses {
		addr, err := netlink.ParseAddr(s)
		if err != nil {
			return err
		}
		if err := e.In.kernel.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("address %s: %w", s, err)
		}
	}
	return nil
}

// awaitCarrier returns when the interface can send.
func (e End) awaitCarrier() error {
	return await("a carrier", func() (bool, error) {
		link, err := e.In.kernel.LinkByName(e.Name)
		return err == nil && link.Attrs().OperState == netlink.OperUp, err
	})
}

// awaitAddresses returns when the kernel answers for all its addresses.
func (e End) awaitAddresses() error {
	return await("its addresses", func() (bool, error) {
		link, err := e.In.kernel.LinkByName(e.Name)
		if err != nil {
			return false, err
		}
		all, err := e.In.kernel.AddrList(link, netlink.FAMILY_V6)
		isTentative := func(a netlink.Addr) bool { return a.Flags&unix.IFA_F_TENTATIVE != 0 }
		return err == nil && !slices.ContainsFunc(all, isTentative), err
	})
}

// await asks again and again until is says yes.
func await(what string, is func() (bool, error)) error {
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		ok, err := is()
		if ok || err != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("waited 5 s for %s", what)
		}
	}
}

// Bridge joins interfaces of the namespace as a switch does.
func (ns *Namespace) Bridge(t testing.TB, name string, interfaces ...string) {
	t.Helper()
	if err := ns.bridge(name, interfaces); err != nil {
		t.Fatalf("testnet: bridge %s: %v", name, err)
	}
}

func (ns *Namespace) bridge(name string, interfaces []string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	if err := ns.kernel.LinkAdd(bridge); err != nil {
		return err
	}
	for _, i := range interfaces {
		link, err := ns.kernel.LinkByName(i)
		if err == nil {
			err = ns.kernel.LinkSetMaster(link, bridge)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", i, err)
		}
	}
	return ns.kernel.LinkSetUp(bridge)
}

// Route sends what is for a prefix, such as "198.51.100.0/24", or for "default",
// via a neighbour, whose family also says which default is meant.
func (ns *Namespace) Route(t testing.TB, to, via string) {
	t.Helper()
	if err := ns.route(to, via); err != nil {
		t.Fatalf("testnet: route %s via %s: %v", to, via, err)
	}
}

func (ns *Namespace) route(to, via string) error {
	gateway, err := netip.ParseAddr(via)
	if err != nil {
		return err
	}
	if to == "default" {
		to = "0.0.0.0/0"
		if gateway.Is6() {
			to = "::/0"
		}
	}
	_, prefix, err := net.ParseCIDR(to)
	if err != nil {
		return err
	}
	return ns.kernel.RouteAdd(&netlink.Route{Dst: prefix, Gw: gateway.AsSlice()})
}

// Forward makes the namespace a router for both families. It does not ask
// whether a packet came in by the interface that leads back (rp_filter).
func (ns *Namespace) Forward(t testing.TB) {
	t.Helper()
	for _, s := range []struct{ key, value string }{
		{"net.ipv4.ip_forward", "1"},
		{"net.ipv6.conf.all.forwarding", "1"},
		{"net.ipv4.conf.all.rp_filter", "0"},
		{"net.ipv4.conf.default.rp_filter", "0"},
	} {
		if err := ns.sysctl(s.key, s.value); err != nil {
			t.Fatalf("testnet: forward: %v", err)
		}
	}
}
