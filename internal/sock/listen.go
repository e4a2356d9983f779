package sock

import (
	"context"
	"fmt"
	"net"
	"net/netip"
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
	var lc net.ListenConfig
	c, err := lc.ListenPacket(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return Packets(c), nil
}
