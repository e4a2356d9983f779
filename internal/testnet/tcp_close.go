package testnet

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// Reset closes c with a RST instead of a FIN: what the other end has not read
// may be lost to it, and its next call fails with ECONNRESET. c is a TCP
// connection of any of the three networks.
func Reset(c net.Conn) error {
	l, ok := c.(interface{ SetLinger(sec int) error })
	if !ok {
		return fmt.Errorf("testnet: reset: %T has no SetLinger", c)
	}
	return errors.Join(l.SetLinger(0), c.Close())
}

// Close implements net.Conn. What was written is still sent, then a FIN; but if
// something was left unread, or after SetLinger(0), it is a RST at once.
func (c *conn) Close() error {
	defer c.flush()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.fault("close", net.ErrClosed)
	}
	c.closed = true
	c.readEnd.set(time.Time{})
	c.writeEnd.set(time.Time{})
	switch {
	case c.dead:
	case c.abort || c.recv.bytes > 0:
		c.reset()
	default:
		c.send.finish = true
		c.advance()
	}
	c.wake.Broadcast()
	return nil
}

// CloseWrite sends a FIN after what was written.
func (c *conn) CloseWrite() error {
	defer c.flush()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.fault("close", net.ErrClosed)
	}
	if c.dead {
		return c.fault("close", os.NewSyscallError("shutdown", syscall.ENOTCONN))
	}
	c.send.finish = true
	c.advance()
	c.wake.Broadcast()
	return nil
}

// SetLinger with 0 makes Close send a RST; with anything else a FIN.
func (c *conn) SetLinger(sec int) error { return c.change(func() { c.abort = sec == 0 }) }

// SetReadBuffer sets how many bytes may wait to be read.
func (c *conn) SetReadBuffer(bytes int) error { return c.change(func() { c.recv.buffer = bytes }) }

// SetWriteBuffer sets how many bytes may be written and not yet acknowledged.
func (c *conn) SetWriteBuffer(bytes int) error { return c.change(func() { c.send.buffer = bytes }) }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(at time.Time) error {
	return c.change(func() {
		c.readEnd.set(at)
		c.writeEnd.set(at)
	})
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(at time.Time) error { return c.change(func() { c.readEnd.set(at) }) }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(at time.Time) error { return c.change(func() { c.writeEnd.set(at) }) }

// change does what f says unless the connection was closed.
func (c *conn) change(f func()) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.fault("set", net.ErrClosed)
	}
	f()
	c.wake.Broadcast()
	return nil
}

// LocalAddr returns a *net.TCPAddr.
func (c *conn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.flow.local) }

// RemoteAddr returns a *net.TCPAddr.
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.flow.remote) }
