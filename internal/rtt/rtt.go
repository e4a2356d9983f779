// Package rtt measures round trips beside a test: a light probe to the far end
// before and during the load, whatever protocol carries the load.
//
// An ICMP echo is tried first, without privileges where the system allows that.
// Where echoes do not come back it opens TCP connections to a port that is
// known to be open: the time from SYN to SYN/ACK. Times are those of this
// program, so a processor that is busy here adds to them; results say the load
// of the processor beside them.
package rtt

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

// The methods, as results name them.
const (
	methodEcho    = "icmp-echo"
	MethodConnect = "tcp-connect"
)

// probeTime is how long a probe waits for its answer; later ones count as lost. The
// first echo is waited for as long as echoTime.
const (
	probeTime = time.Second
	echoTime  = 700 * time.Millisecond
)

// A prober measures one round trip at a time.
type prober interface {
	// Probe measures one round trip; an error is a probe without an answer.
	Probe(ctx context.Context) (time.Duration, error)
	Method() string
	// Every is the time between two probes that the method can be trusted with.
	Every() time.Duration
	Close() error
}

// A DialFunc opens a TCP connection.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// pick returns the prober for the host and open TCP port at to: echoes from the
// local address if one comes back within echoTime, otherwise connections. With a
// dial function of the caller's only that is used. A port of 0 leaves only
// echoes: for servers that take every connection for a client.
func pick(ctx context.Context, local netip.Addr, to netip.AddrPort, dial DialFunc) (prober, error) {
	if dial != nil {
		return &connector{to: to.String(), dial: dial}, nil
	}
	e, err := newEcho(local, to.Addr())
	if err == nil {
		look, cancel := context.WithTimeout(ctx, echoTime)
		_, err = e.Probe(look)
		cancel()
		if err == nil {
			return e, nil
		}
		e.Close()
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if to.Port() == 0 {
		return nil, err
	}
	d := &net.Dialer{}
	if local.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))
	}
	c := &connector{to: to.String(), dial: d.DialContext}
	if _, errConnect := c.Probe(ctx); errConnect != nil {
		return nil, errors.Join(err, errConnect)
	}
	return c, nil
}

// A connector opens TCP connections and closes them at once.
type connector struct {
	to   string
	dial DialFunc
}

// Probe implements prober.
func (c *connector) Probe(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	start := time.Now()
	conn, err := c.dial(ctx, "tcp", c.to)
	if err != nil {
		return 0, err
	}
	took := time.Since(start)
	return took, conn.Close()
}

func (c *connector) Method() string       { return MethodConnect }
func (c *connector) Every() time.Duration { return 500 * time.Millisecond }
func (c *connector) Close() error         { return nil }
