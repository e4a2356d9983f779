package btest

import "net"

// A Trace sees the bytes of a test's TCP connections as they pass: all of the
// handshake, and the statuses of a UDP test, but not bulk data. Logins are
// among them, so what prints them must mask secrets, as Describer does.
type Trace interface {
	// Sent and Received take what went over the n-th connection, from 1.
	Sent(n int, b []byte)
	Received(n int, b []byte)
}

// traced wraps c so that t sees what passes; c itself without a trace.
func traced(c net.Conn, t Trace, n int) net.Conn {
	if t == nil {
		return c
	}
	return &tracedConn{Conn: c, trace: t, n: n}
}

// untraced is the connection that the bulk traffic takes over.
func untraced(c net.Conn) net.Conn {
	if t, ok := c.(*tracedConn); ok {
		return t.Conn
	}
	return c
}

type tracedConn struct {
	net.Conn
	trace Trace
	n     int
}

func (c *tracedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.trace.Received(c.n, b[:n])
	}
	return n, err
}

func (c *tracedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if n > 0 {
		c.trace.Sent(c.n, b[:n])
	}
	return n, err
}
