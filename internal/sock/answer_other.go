//go:build !linux

package sock

import (
	"errors"
	"net/netip"
	"syscall"
)

const destinationOOB = 0

func askDestination(syscall.Conn) error           { return errors.ErrUnsupported }
func destination([]byte) netip.Addr               { return netip.Addr{} }
func sourceControl(netip.Addr, bool) (oob []byte) { return nil }
