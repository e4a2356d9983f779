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
