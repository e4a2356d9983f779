//go:build !linux

package sock

import (
	"net"
	"net/netip"
)

// PathMTU is false: this system does not tell.
func PathMTU(netip.AddrPort) (mtu int, ok bool) { return 0, false }

// ConnMTU is false, too.
func ConnMTU(net.Conn) (mtu int, ok bool) { return 0, false }
