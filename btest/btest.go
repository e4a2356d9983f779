// Package btest runs the MikroTik bandwidth test: a Client against RouterOS,
// btest-rs, btest-opensource or another sonde, and a Server for all of them.
//
// A test is one call of Client.Run, or one session of Server.Serve. It puts
// what it measured into a result.Sink and ends with a result.End, whatever
// happens: the time is over, the peer is gone, a budget is spent, the caller
// cancels. The wire format is in package wire, the logins are in package auth;
// docs/protocols/btest.md tells where both come from.
package btest

import (
	"errors"
	"time"

	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/result"
)

// Protocol is the name in results and requests.
const Protocol = "btest"

const (
	handshakeTime  = 10 * time.Second       // for each step of the handshake
	silenceTime    = 7 * time.Second        // without a sign of the peer ends a test
	lastWords      = 300 * time.Millisecond // a client waits for the last status
	joinTime       = 10 * time.Second       // for further connections to join
	statusEvery    = time.Second            // the protocol's beat
	noDatagramTime = 3 * time.Second        // without a UDP datagram is worth a warning
)

// longAgo is a deadline that wakes whatever is blocked.
var longAgo = time.Unix(1, 0)

// Ways that a test ends as it should: causes of cancelled contexts.
var (
	errDone        = errors.New("time is over")
	errPeerClosed  = errors.New("the peer closed the connection")
	errPeerSilent  = errors.New("nothing came from the peer")
	errMaxDuration = errors.New("the longest test that this server allows is over")
	errShutdown    = errors.New("the server is stopping")
)

// seenByClient turns the server's view of the directions into the client's.
func seenByClient(d wire.Direction) result.Direction {
	var r result.Direction
	if d&wire.Transmit != 0 {
		r |= result.Down
	}
	if d&wire.Receive != 0 {
		r |= result.Up
	}
	return r
}

// seenByServer turns the client's view of the directions into the server's.
func seenByServer(d result.Direction) wire.Direction {
	var w wire.Direction
	if d.Has(result.Down) {
		w |= wire.Transmit
	}
	if d.Has(result.Up) {
		w |= wire.Receive
	}
	return w
}

// sent is the direction that role sends in; the other one it receives.
func sent(role result.Role) result.Direction {
	if role == result.Client {
		return result.Up
	}
	return result.Down
}

// lower is the lower one of two limits, 0 being none.
func lower(a, b uint64) uint64 {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}
