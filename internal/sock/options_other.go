//go:build !linux

package sock

import (
	"cmp"
	"errors"
	"fmt"
	"net"
)

// plainBuffer is asked for both ways. Most systems grant less, which is then
// in use.
const plainBuffer = 4 << 20

// apply sets up a new UDP socket before it is bound.
func (o PacketOptions) apply(network string, fd int) error {
	if o.Interface != "" {
		return fmt.Errorf("interface %s: %w on this system; bind to its address instead", o.Interface, errors.ErrUnsupported)
	}
	if !o.Fragment {
		if err := forbidFragments(network, fd); err != nil {
			return fmt.Errorf("forbid fragments: %w", err)
		}
	}
	if o.TrafficClass != 0 {
		if err := setTrafficClass(network, fd, o.TrafficClass); err != nil {
			return fmt.Errorf("traffic class %#x: %w", o.TrafficClass, err)
		}
	}
	return nil
}

// packetsOn makes the best PacketConn of a socket that apply has set up.
func packetsOn(c *net.UDPConn, o PacketOptions) (PacketConn, error) {
	// A wish: what the system grants is in use.
	_ = c.SetWriteBuffer(cmp.Or(o.SendBuffer, plainBuffer))
	_ = c.SetReadBuffer(cmp.Or(o.ReceiveBuffer, plainBuffer))
	return Packets(c), nil
}
