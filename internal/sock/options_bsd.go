//go:build darwin || freebsd

package sock

import "golang.org/x/sys/unix"

// forbidFragments sets the DF bit. A socket for both families has both settings.
func forbidFragments(network string, fd int) error {
	if network != "udp6" {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_DONTFRAG, 1)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1)
}

func setTrafficClass(network string, fd, class int) error {
	if network != "udp6" {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, class)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, class)
}
