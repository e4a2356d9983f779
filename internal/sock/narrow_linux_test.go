package sock

import (
	"net"
	"net/netip"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// narrowPeer is an address beyond an interface of MTU 1500.
var narrowPeer = netip.MustParseAddrPort("10.98.0.2:9")

// narrowNetwork makes a namespace with an interface of MTU 1500, for the
// test's thread, and returns how to open a socket there.
func narrowNetwork(t *testing.T) func(PacketOptions) PacketConn {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		t.Skipf("no network namespaces: %v", err)
	}
	back := func() {
		netns.Set(home)
		home.Close()
		runtime.UnlockOSThread()
	}
	ns, err := netns.New()
	if err != nil {
		back()
		t.Skipf("a network namespace needs root: %v", err)
	}
	t.Cleanup(func() { ns.Close(); back() })
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = "narrow0", 1500
	link := &netlink.Veth{LinkAttrs: attrs, PeerName: "narrow1"}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	peer, err := netlink.LinkByName("narrow1")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(peer); err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 98, 0, 1), Mask: net.CIDRMask(24, 32)}}); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		t.Fatal(err)
	}
	return func(o PacketOptions) PacketConn { return listenOn(t, "10.98.0.1:0", o) }
}
