// Package twamp measures delay, loss and order of a path by test packets that
// come back: TWAMP with its control connection (RFC 5357), TWAMP Light without
// one, and STAMP (RFC 8762, 8972).
//
// A Client asks a server for a session and runs it; a Pinger sends to a
// reflector that needs no asking. Server and Reflector are the other ends. What
// was measured is a Report.
//
// The wire formats are in package wire, the cryptography in package auth;
// docs/protocols/twamp.md tells where both come from.
package twamp

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// Protocol names in results, requests and logs.
const (
	Protocol      = "twamp"
	LightProtocol = "twamp-light"
	StampProtocol = "stamp"
)

// DialFunc opens a connection, as net.Dialer.DialContext does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// ListenPacketFunc opens a UDP socket, as net.ListenConfig.ListenPacket does.
type ListenPacketFunc func(ctx context.Context, network, address string) (net.PacketConn, error)

// longAgo is a deadline that wakes whatever is blocked.
var longAgo = time.Unix(1, 0)

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
