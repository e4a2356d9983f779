package sock

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// ListenPackets opens a UDP socket at the given address; port 0 takes any free
// one, and the zero AddrPort any address of either family. An occupied port is
// recognised with errors.Is(err, syscall.EADDRINUSE).
func ListenPackets(ctx context.Context, at netip.AddrPort, o PacketOptions) (PacketConn, error) {
	network, address := "udp", at.String()
	switch {
	case !at.Addr().IsValid():
		address = fmt.Sprintf(":%d", at.Port())
	case at.Addr().Unmap().Is4():
		network, address = "udp4", unmap(at).String()
	}
	lc := net.ListenConfig{Control: func(network, _ string, rc syscall.RawConn) error {
		var err error
		if cerr := rc.Control(func(fd uintptr) { err = o.apply(network, int(fd)) }); cerr != nil {
			return cerr
		}
		return err
	}}
	c, err := lc.ListenPacket(ctx, network, address)
	if err != nil {
		return nil, err
	}
	p, err := packetsOn(c.(*net.UDPConn), o)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("udp %s: %w", address, err)
	}
	return p, nil
}

// ListenSlow is ListenPackets for a socket over which little passes: a few
// hundred datagrams a second. It is left to the runtime, and senders on it wait
// on the runtime's timers. A thread for each that sleeps in the kernel would cost
// a server of many such flows more than their packets: with two processors and
// 150 flows of 1 Mbit/s each sleeper keeps others from running, and they reach a
// third of their rates.
func ListenSlow(ctx context.Context, at netip.AddrPort, o PacketOptions) (PacketConn, error) {
	o.Plain = true
	c, err := ListenPackets(ctx, at, o)
	if p, ok := c.(*plainPackets); ok {
		p.slow = true
	}
	return c, err
}
