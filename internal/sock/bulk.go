package sock

import (
	"net"
	"time"
)

// Bulk takes c over for bulk traffic: from here on only the BulkConn may be
// used, and its Close closes the connection. Anything but a TCP connection of
// the system moves bytes by plain calls of c.
func Bulk(c net.Conn) (BulkConn, error) {
	return newPlainBulk(c), nil
}

// OnKernel reports whether c, a PacketConn or BulkConn, is a socket of the
// system: then time is real, and a thread of its own is worth having.
func OnKernel(c any) bool {
	switch c := c.(type) {
	case *plainPackets:
		return c.udp != nil
	case *plainBulk:
		return c.tcp != nil
	}
	return false
}

// NonBlocking reports whether a full queue makes WriteTrain of c return at once
// with an error, instead of waiting inside.
func NonBlocking(c PacketConn) bool { return false }

// Joins reports whether c may return trains of datagrams that the kernel
// joined: then each Message wants 64 KiB of room, unless only headers matter.
func Joins(c PacketConn) bool { return false }

// Waited is how long writes on c have waited so far for the kernel to take
// more; false where we cannot see it.
func Waited(c BulkConn) (time.Duration, bool) { return 0, false }
