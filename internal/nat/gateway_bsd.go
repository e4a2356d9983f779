//go:build darwin || freebsd

package nat

import (
	"fmt"
	"net/netip"
	"syscall"

	"golang.org/x/net/route"
)

func gateway() (netip.Addr, error) {
	rib, err := route.FetchRIB(syscall.AF_INET, route.RIBTypeRoute, 0)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("nat: find the default route: %w", err)
	}
	all, err := route.ParseRIB(route.RIBTypeRoute, rib)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("nat: find the default route: %w", err)
	}
	for _, m := range all {
		r, ok := m.(*route.RouteMessage)
		if !ok || r.Flags&syscall.RTF_UP == 0 || r.Flags&syscall.RTF_GATEWAY == 0 || len(r.Addrs) <= syscall.RTAX_NETMASK {
			continue
		}
		to, ok := r.Addrs[syscall.RTAX_DST].(*route.Inet4Addr)
		if !ok || to.IP != [4]byte{} {
			continue
		}
		if mask, ok := r.Addrs[syscall.RTAX_NETMASK].(*route.Inet4Addr); ok && mask.IP != [4]byte{} {
			continue
		}
		if via, ok := r.Addrs[syscall.RTAX_GATEWAY].(*route.Inet4Addr); ok {
			return netip.AddrFrom4(via.IP), nil
		}
	}
	return netip.Addr{}, nil
}
