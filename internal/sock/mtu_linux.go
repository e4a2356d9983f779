package sock

import (
	"net"
	"net/netip"
	"syscall"

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
	return ConnMTU(c)
}

// ConnMTU is PathMTU for a connection, such as one of UDP on which nothing is
// sent.
func ConnMTU(c net.Conn) (mtu int, ok bool) {
	sc, ok := c.(syscall.Conn)
	at, isUDP := c.RemoteAddr().(*net.UDPAddr)
	if !ok || !isUDP {
		return 0, false
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return 0, false
	}
	level, option := unix.IPPROTO_IP, unix.IP_MTU
	if !at.AddrPort().Addr().Unmap().Is4() {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_MTU
	}
	cerr := rc.Control(func(fd uintptr) { mtu, err = unix.GetsockoptInt(int(fd), level, option) })
	return mtu, cerr == nil && err == nil
}
