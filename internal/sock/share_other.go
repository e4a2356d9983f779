//go:build !linux

package sock

import (
	"context"
	"net"
)

// Share returns c alone: this system does not spread packets over sockets, or not
// in a way that keeps those of one sender together.
func Share(_ context.Context, c *net.UDPConn, _ int) ([]*net.UDPConn, error) {
	return []*net.UDPConn{c}, nil
}
