// Package rperf runs rperf's throughput test: a Client against rperf 0.1.8 or
// another sonde, and a Server for both.
//
// A test is one call of Client.Run, or one session of Server.Serve. It puts
// what it measured into a result.Sink and ends with a result.End, whatever
// happens: the time is over, the peer is gone, a budget is spent, the caller
// cancels. The wire format is in package wire; docs/protocols/rperf.md tells
// where it comes from.
//
// A forward test of rperf is an upload here, a reverse test a download.
package rperf

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/rperf/wire"
)

// Protocol is the name in results and requests.
const Protocol = "rperf"

const (
	connectTime = 3 * time.Second  // for the control connection
	answerTime  = 10 * time.Second // for each step before data, and for each message to be taken
	queueTime   = 10 * time.Minute // for a place at a busy server
	beginTime   = 10 * time.Second // for a client to say begin, and to say end; a real one waits 5 s for reports
	joinTime    = 5 * time.Second  // for a data connection; a real receiver waits 3 s
	silenceTime = 8 * time.Second  // without data, while it should flow, ends a stream
	ackTime     = 7 * time.Second  // without an acknowledgement ends a connection, so that all is free within 10 s
	graceTime   = 5 * time.Second  // for the far end's last reports, and for a late sender to end
	partingTime = 250 * time.Millisecond
	recordEvery = time.Second // the protocol's beat
)

// longAgo is a deadline that wakes whatever is blocked.
var longAgo = time.Unix(1, 0)

// Ways that a test or a stream ends: causes of cancelled contexts.
var (
	errOver        = errors.New("all streams are over")
	errMarker      = errors.New("the end marker came")
	errEnded       = errors.New("the client ended the test")
	errPeerClosed  = errors.New("the peer closed the control connection")
	errSilent      = errors.New("no data came")
	errNotJoined   = errors.New("no data connection came")
	errOverdue     = errors.New("the server sends beyond its time")
	errMaxDuration = errors.New("the longest test that this server allows is over")
	errShutdown    = errors.New("the server is stopping")
)

// A DialFunc opens a TCP connection; net.Dialer has one.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// A ListenFunc listens for TCP connections; net.ListenConfig has one.
type ListenFunc func(ctx context.Context, network, address string) (net.Listener, error)

// A ListenPacketFunc opens a UDP socket; net.ListenConfig has one.
type ListenPacketFunc func(ctx context.Context, network, address string) (net.PacketConn, error)

// A network is how an end reaches the other; nil fields are the system's.
type network struct {
	dial         DialFunc
	listen       ListenFunc
	listenPacket ListenPacketFunc
}

// ofSystem reports whether the network is the system's alone.
func (n network) ofSystem() bool { return n.dial == nil && n.listen == nil && n.listenPacket == nil }

func (n network) dialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	dial := n.dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	return dial(ctx, "tcp", to.String())
}

func (n network) listenTCP(ctx context.Context, at netip.AddrPort) (net.Listener, error) {
	listen := n.listen
	if listen == nil {
		listen = (&net.ListenConfig{}).Listen
	}
	return listen(ctx, "tcp"+familyOf(at.Addr()), at.String())
}

func (n network) listenUDP(ctx context.Context, at netip.AddrPort, o sock.PacketOptions) (sock.PacketConn, error) {
	if n.listenPacket == nil {
		return sock.ListenPackets(ctx, at, o)
	}
	c, err := n.listenPacket(ctx, "udp"+familyOf(at.Addr()), at.String())
	if err != nil {
		return nil, err
	}
	return sock.Packets(c), nil
}

func familyOf(a netip.Addr) string {
	if a.Is4() {
		return "4"
	}
	return "6"
}

// anyAddress is the unspecified address of peer's family.
func anyAddress(peer netip.Addr) netip.Addr {
	if peer.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// transport is the model's name of a configuration's.
func transport(c wire.Configuration) result.Transport {
	if c.UDP {
		return result.UDP
	}
	return result.TCP
}

// direction is the client's view of a configuration.
func direction(c wire.Configuration) result.Direction {
	if c.Reverse {
		return result.Down
	}
	return result.Up
}

// gone reports whether err only says that the far end is no longer there.
func gone(err error) bool { return sock.IsGone(err) || errors.Is(err, errPeerClosed) }

// silent reports whether err says that the far end, or the path to it, no
// longer answers.
func silent(err error) bool { return sock.IsSilent(err) || errors.Is(err, errSilent) }

// protocolError says that the far end does not keep to the protocol.
func protocolError(err error, hint string) error {
	return &result.Error{Word: result.CodeProtocol, Hint: hint, Err: err}
}
