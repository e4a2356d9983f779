package twamp

import (
	"net"
	"sync/atomic"
)

// A counted socket counts what is written to it.
type counted struct {
	net.PacketConn
	n atomic.Uint64
}

func (c *counted) WriteTo(b []byte, to net.Addr) (int, error) {
	n, err := c.PacketConn.WriteTo(b, to)
	if err == nil {
		c.n.Add(1)
	}
	return n, err
}
