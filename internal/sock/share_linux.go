package sock

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Share opens n-1 more sockets at the address of c, so that n readers can share
// what comes: the kernel gives all packets from one address and port to the same
// one. The network namespace must be that of the caller.
func Share(ctx context.Context, c *net.UDPConn, n int) ([]*net.UDPConn, error) {
	network := "udp"
	err := onSocket(c, func(fd int) error {
		domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		if err != nil {
			return os.NewSyscallError("getsockopt", err)
		}
		if domain == unix.AF_INET {
			network = "udp4"
		} else if only, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY); err == nil && only != 0 {
			network = "udp6"
		}
		return setOption(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
	if err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error {
		var failed error
		if err := rc.Control(func(fd uintptr) { failed = setOption(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }); err != nil {
			return err
		}
		return failed
	}}
	all := []*net.UDPConn{c}
	for len(all) < n {
		more, err := lc.ListenPacket(ctx, network, c.LocalAddr().String())
		if err != nil {
			for _, one := range all[1:] {
				one.Close()
			}
			return nil, fmt.Errorf("udp %v, socket %d of %d: %w", c.LocalAddr(), len(all)+1, n, err)
		}
		all = append(all, more.(*net.UDPConn))
	}
	return all, nil
}

// onSocket calls f with the descriptor of c.
func onSocket(c syscall.Conn, f func(fd int) error) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := rc.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil {
		return err
	}
	return failed
}
