//go:build !linux

package cli

import "syscall"

// bindTo is not possible: only Linux ties a socket to an interface by name.
func bindTo(iface string) (func(network, address string, c syscall.RawConn) error, error) {
	return nil, misuse("", "--bind %%%s: this system ties sockets to addresses only; give an address of that interface", iface)
}
