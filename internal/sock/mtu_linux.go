package sock

import (
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// PathMTU is the largest IP packet that the kernel believes the path to an
// address carries; false where it does not tell. Nothing is sent.
func PathMTU(to netip.AddrPort) (mtu int, ok bool) {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return 0, false
	}
	defer c.Close()
	rc, err := c.SyscallConn()
	if err != nil {
		return 0, false
	}
	level, option := unix.IPPROTO_IP, unix.IP_MTU
	if !to.Addr().Unmap().Is4() {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_MTU
	}
	cerr := rc.Control(func(fd uintptr) { mtu, err = unix.GetsockoptInt(int(fd), level, option) })
	return mtu, cerr == nil && err == nil
}
