package btest

import (
	"context"
	"net"
	"net/netip"

	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
)

// options are those of the sockets that t sends from. A server sends what the
// client asked for, in fragments where the path is narrower: sizes go up to 64000.
// A client's own packets are fragmented only if they were asked to be larger than
// Ethernet's.
func (t *test) options() sock.PacketOptions {
	return sock.PacketOptions{Fragment: t.head.Role == result.Server || t.size > wire.DefaultUDPSize}
}

// Slow flows are served well by the runtime's timers, and hundreds of them do not
// starve each other: so many packets a second of UDP, so many bit/s of TCP.
const (
	slowPackets = 200
	slowTCP     = 10_000_000
)

// slow reports whether each flow of t is limited to little: what we send to mine
// bit/s, what comes to theirs.
func (t *test) slow(mine, theirs uint64) bool {
	within := func(rate, most uint64) bool {
		rate = lower(rate, t.ceiling)
		return rate > 0 && rate/uint64(max(1, t.connections)) <= most
	}
	return (!t.transmits() || within(t.rate, mine)) && (!t.receives() || within(t.farRate, theirs))
}

// listenPackets opens a UDP socket at the given address: with listen, if the
// caller brought one, else on the system's network.
func (t *test) listenPackets(ctx context.Context, listen ListenPacketFunc, at netip.AddrPort) (sock.PacketConn, error) {
	switch {
	case listen != nil:
		c, err := listen(ctx, "udp", at.String())
		if err != nil {
			return nil, err
		}
		return sock.Packets(c), nil
	case t.slow(slowPackets*8*uint64(t.size), slowPackets*8*wire.DefaultUDPSize):
		return sock.ListenSlow(ctx, at, t.options())
	}
	return sock.ListenPackets(ctx, at, t.options())
}

// A ListenPacketFunc opens a UDP socket; net.ListenConfig has one.
type ListenPacketFunc func(ctx context.Context, network, address string) (net.PacketConn, error)

// A DialFunc opens a TCP connection; net.Dialer has one.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)
