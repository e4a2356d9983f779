package iperf3

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonde-net/sonde/internal/sock"
)

// onSocket runs f on the descriptor of c.
func onSocket(c syscall.Conn, f func(fd int) error) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	if err := rc.Control(func(fd uintptr) { set = f(int(fd)) }); err != nil {
		return err
	}
	return set
}

// setUserTimeout has the kernel end a connection whose data stays
// unacknowledged for d (TCP_USER_TIMEOUT of tcp(7)).
func setUserTimeout(c *net.TCPConn, d time.Duration) error {
	return onSocket(c, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	})
}

// setCongestion chooses the congestion control (TCP_CONGESTION of tcp(7)).
func setCongestion(c *net.TCPConn, name string) error {
	return onSocket(c, func(fd int) error {
		return unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, name)
	})
}

// setTOS sets the IPv4 TOS or the IPv6 traffic class.
func setTOS(c *net.TCPConn, tos int) error {
	four := sock.AddrPort(c.LocalAddr()).Addr().Is4()
	return onSocket(c, func(fd int) error {
		if four {
			return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, tos)
		}
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, tos)
	})
}

// dialControl sets the largest segment before a connection is made
// (TCP_MAXSEG of tcp(7)).
func dialControl(mss int) func(network, address string, c syscall.RawConn) error {
	if mss == 0 {
		return nil
	}
	return func(_, _ string, c syscall.RawConn) error {
		var set error
		if err := c.Control(func(fd uintptr) {
			set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, mss)
		}); err != nil {
			return err
		}
		return set
	}
}
