package cli

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// bindTo returns the socket control that ties a socket to an interface.
func bindTo(iface string) (func(network, address string, c syscall.RawConn) error, error) {
	return func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) {
			err = unix.BindToDevice(int(fd), iface)
		}), err)
	}, nil
}
