// Package iperf3 runs iperf3's throughput test: a Client against the iperf3
// servers that stand everywhere or another sonde, and a Server for both.
//
// A test is one call of Client.Run, or one session of Server.Serve. It puts
// what it measured into a result.Sink and ends with a result.End, whatever
// happens: the time is over, the peer is gone, a budget is spent, the caller
// cancels. The wire format is in package wire, the login in package auth;
// docs/protocols/iperf3.md tells where both come from.
package iperf3

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/iperf3/wire"
	"github.com/sonde-net/sonde/result"
)

// Protocol is the name in results and requests.
const Protocol = "iperf3"

const (
	connectTime = 3 * time.Second        // for the control connection
	answerTime  = 10 * time.Second       // for each step of the conversation
	streamTime  = 10 * time.Second       // for all streams to be opened
	silenceTime = 8 * time.Second        // without data, while it should flow, ends a test
	drainTime   = 5 * time.Second        // for data on the way at the end
	drainQuiet  = 300 * time.Millisecond // without any of it
	graceTime   = 10 * time.Second       // beyond a test's own time, at a server
	doneTime    = 5 * time.Second        // for a client's last byte
	partingTime = time.Second            // for a server to close then
)

// longAgo is a deadline that wakes whatever is blocked.
var longAgo = time.Unix(1, 0)

// Ways that a test ends: causes of cancelled contexts.
var (
	errOver          = errors.New("the test is over")
	errBusy          = errors.New("the server is busy, or does not know our cookie")
	errServerStops   = errors.New("the server was interrupted")
	errClientStops   = errors.New("the client was interrupted")
	errClientGivesUp = errors.New("the client has given up")
	errSilent        = errors.New("no data came")
	errExpired       = errors.New("the test took longer than it should")
	errMaxDuration   = errors.New("the longest test that this server allows is over")
	errShutdown      = errors.New("the server is stopping")
)

// A DialFunc opens a TCP connection; net.Dialer has one.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// A ListenPacketFunc opens a UDP socket; net.ListenConfig has one.
type ListenPacketFunc func(ctx context.Context, network, address string) (net.PacketConn, error)

// listenPackets opens a UDP socket at the given address: with listen, if the
// caller brought one, else on the system's network.
func listenPackets(ctx context.Context, listen ListenPacketFunc, at netip.AddrPort, o sock.PacketOptions) (sock.PacketConn, error) {
	if listen == nil {
		return sock.ListenPackets(ctx, at, o)
	}
	network := "udp6"
	switch {
	case !at.Addr().IsValid():
		network = "udp"
		at = netip.AddrPortFrom(netip.IPv6Unspecified(), at.Port())
	case at.Addr().Is4():
		network = "udp4"
	}
	c, err := listen(ctx, network, at.String())
	if err != nil {
		return nil, err
	}
	return sock.Packets(c), nil
}

// anyAddress is the unspecified address of peer's family.
func anyAddress(peer netip.Addr) netip.Addr {
	if peer.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// direction is the client's view of parameters.
func direction(p wire.Parameters) result.Direction {
	switch {
	case p.Bidirectional:
		return result.Both
	case p.Reverse:
		return result.Down
	}
	return result.Up
}

// transport is the model's name of a test's transport.
func transport(p wire.Parameters) result.Transport {
	if p.UDP {
		return result.UDP
	}
	return result.TCP
}

// silent reports whether err says that the far end, or the path to it, no
// longer answers.
func silent(err error) bool { return sock.IsSilent(err) || errors.Is(err, errSilent) }

// protocolError says that the far end does not keep to the protocol.
func protocolError(err error, hint string) error {
	return &result.Error{Word: result.CodeProtocol, Hint: hint, Err: err}
}
