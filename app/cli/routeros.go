package cli

import (
	"net"
	"net/netip"
	"strconv"

	"github.com/sonde-net/sonde/btest/wire"
)

// mostRouterOS is for how many of its addresses a server says what to type.
const mostRouterOS = 3

// routerOSLines are what to type on a router to test against a server that
// listens there, whose own addresses are these. There are none for a port other
// than the protocol's: RouterOS has no word for it.
func routerOSLines(listen []string, own []netip.Addr, login bool) []string {
	var lines []string
	add := func(a netip.Addr) {
		if a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified() || len(lines) == mostRouterOS {
			return
		}
		line := "/tool/bandwidth-test address=" + a.String() + " direction=both"
		if login {
			line += " user=NAME password=SECRET"
		}
		lines = append(lines, line)
	}
	for _, at := range listen {
		host, port, err := net.SplitHostPort(at)
		if err != nil || port != strconv.Itoa(wire.DefaultPort) {
			continue
		}
		a, err := netip.ParseAddr(host)
		if err == nil && !a.IsUnspecified() {
			add(a)
			continue
		}
		for _, o := range own {
			if err != nil || a.Is4() == o.Is4() {
				add(o)
			}
		}
	}
	return lines
}

// ownAddresses are those of this machine; none where the system does not tell.
func ownAddresses() []netip.Addr {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var own []netip.Addr
	for _, a := range all {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, prefix.Addr().Unmap())
		}
	}
	return own
}
