package sock

import (
	"net"
	"net/netip"
)

// AddrPort is a as an unmapped AddrPort, the zero one if it is not of an IP
// network.
func AddrPort(a net.Addr) netip.AddrPort {
	if a == nil {
		return netip.AddrPort{}
	}
	if t, ok := a.(interface{ AddrPort() netip.AddrPort }); ok {
		return unmap(t.AddrPort())
	}
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{} // such as the addresses of net.Pipe
	}
	return unmap(p)
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
