package sock

import (
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// destinationOOB holds the control messages of a datagram, of both families on a
// socket of both.
const destinationOOB = 96

// askDestination has the kernel tell where what comes was sent to.
func askDestination(c syscall.Conn) error {
	return onSocket(c, func(fd int) error { return askEither(fd, []int{unix.IP_PKTINFO}, []int{unix.IPV6_RECVPKTINFO}) })
}

// askEither turns on options of IPv4 and of IPv6. On a socket of both families
// each is needed; on one of IPv4 those of IPv6 do not exist.
func askEither(fd int, v4, v6 []int) error {
	err4, err6 := askAll(fd, unix.IPPROTO_IP, v4), askAll(fd, unix.IPPROTO_IPV6, v6)
	if err4 != nil && err6 != nil {
		return err4
	}
	return nil
}

// askAll turns on as many options as it can, and returns the last error.
func askAll(fd, level int, options []int) (failed error) {
	for _, option := range options {
		if err := setOption(fd, level, option, 1); err != nil {
			failed = err
		}
	}
	return failed
}

// destination is what the kernel told.
func destination(oob []byte) netip.Addr {
	var a Arrival
	eachControl(oob, a.take)
	return a.To
}

// sourceControl names the address to send from.
func sourceControl(from netip.Addr, v6 bool) []byte { return appendSource(nil, from, v6) }
