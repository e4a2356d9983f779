package sock

import "golang.org/x/sys/windows"

// From ws2ipdef.h; x/sys/windows does not have them.
const (
	ipDontFragment   = 14
	ipv6DontFragment = 14
	ipv6TrafficClass = 39
)

// forbidFragments sets the DF bit.
func forbidFragments(network string, fd int) error {
	if network != "udp6" {
		return windows.SetsockoptInt(windows.Handle(fd), windows.IPPROTO_IP, ipDontFragment, 1)
	}
	return windows.SetsockoptInt(windows.Handle(fd), windows.IPPROTO_IPV6, ipv6DontFragment, 1)
}

func setTrafficClass(network string, fd, class int) error {
	if network != "udp6" {
		return windows.SetsockoptInt(windows.Handle(fd), windows.IPPROTO_IP, windows.IP_TOS, class)
	}
	return windows.SetsockoptInt(windows.Handle(fd), windows.IPPROTO_IPV6, ipv6TrafficClass, class)
}
