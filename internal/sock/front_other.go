//go:build !linux

package sock

import (
	"net"
	"net/netip"
)

// A front is for systems that tell the length of what they do not copy.
type front struct{}

func newFront(*net.UDPConn) *front { return nil }

func (*front) read([]byte) (int, netip.AddrPort, error) { panic("not on this system") }

// A drain is for systems that throw away without a copy.
type drain struct{}

func newDrain(*net.TCPConn) *drain { return nil }

func (*drain) discard(int) (int, error) { panic("not on this system") }
