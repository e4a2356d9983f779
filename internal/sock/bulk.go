package sock

import (
	"net"
	"time"
)

// Bulk takes c over for bulk traffic: from here on only the BulkConn may be
// used, and its Close closes the connection. Anything but a TCP connection of
// the system moves bytes by plain calls of c.
func Bulk(c net.Conn) (BulkConn, error) {
	if tcp, ok := c.(*net.TCPConn); ok {
		if b, err := bulkTCP(tcp); b != nil || err != nil {
			return b, err
		}
	}
	return newPlainBulk(c), nil
}

// SlowBulk takes c over for a flow that is limited to little; see ListenSlow.
func SlowBulk(c net.Conn) BulkConn { return newPlainBulk(c) }

// OnKernel reports whether c, a PacketConn or BulkConn, is a socket of the
// system, or says that it stands on one: then time is real, exact waiting is worth
// its price, and timers are late.
func OnKernel(c any) bool {
	switch c := c.(type) {
	case interface{ OnKernel() bool }:
		return c.OnKernel()
	case *plainPackets:
		return c.system && !c.slow
	case *plainBulk:
		return c.tcp != nil
	}
	return Detached(c)
}

// Detached reports whether c, a PacketConn or BulkConn, is out of the runtime's
// poller: its calls sleep on their thread, so they want one of their own.
func Detached(c any) bool {
	_, ok := c.(interface{ blockedFor() time.Duration })
	return ok
}

// Waited is how long writes on c, a PacketConn or BulkConn, have waited so far
// for the kernel to take more; false where we cannot see it.
func Waited(c any) (time.Duration, bool) {
	if d, ok := c.(interface{ blockedFor() time.Duration }); ok {
		return d.blockedFor(), true
	}
	return 0, false
}

// PeerClosed reports whether the far end of c has closed, while there may still
// be much to read; false also where the system does not tell.
func PeerClosed(c BulkConn) bool {
	p, ok := c.(interface{ peerClosed() (bool, error) })
	if !ok {
		return false
	}
	closed, err := p.peerClosed()
	return closed && err == nil
}

// Await waits until there is something to read from c, so that its reader need
// not keep room for it meanwhile. Where c cannot tell it returns at once.
func Await(c PacketConn) error {
	if a, ok := c.(interface{ await() error }); ok {
		return a.await()
	}
	return nil
}

// ReadSome is c.ReadBatch that returns 0, without an error, when nothing has
// come for a few milliseconds. Where c cannot tell it waits.
func ReadSome(c PacketConn, ms []Message) (int, error) {
	if r, ok := c.(interface {
		readSome(ms []Message) (int, error)
	}); ok {
		return r.readSome(ms)
	}
	return c.ReadBatch(ms)
}

// Joins reports whether c may return trains of datagrams that the kernel
// joined: then each Message wants 64 KiB of room, unless only headers matter.
func Joins(c PacketConn) bool {
	j, ok := c.(interface{ joins() bool })
	return ok && j.joins()
}
