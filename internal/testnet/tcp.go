package testnet

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// lingering is how long a connection that was closed at this end is remembered,
// to answer what the other end still sends (RFC 9293, section 3.6, TIME-WAIT).
const lingering = time.Minute

// A conn is one end of a TCP connection. Whoever changes its state under mu
// leaves the segments to send in outbox and calls flush once mu is unlocked.
type conn struct {
	host *Host
	flow flow

	mu       sync.Mutex // guards what follows
	wake     sync.Cond  // on mu: anything below has changed
	send     sender
	recv     receiver
	err      error     // what ended the connection; told once, as on Linux
	dead     bool      // err was set, or all is said
	told     bool      // err was told
	closed   bool      // by Close
	abort    bool      // SetLinger(0): Close sends RST
	lingers  bool      // is closed, and all it sent was acknowledged
	listener *listener // whose Accept is to have it; nil from then on
	alarm    *time.Timer
	alarmAt  time.Time
	readEnd  deadline
	writeEnd deadline
	outbox   []segment
	flushing bool
}

func newConn(h *Host, f flow, mss int) *conn {
	c := &conn{host: h, flow: f, send: newSender(mss), recv: receiver{buffer: streamBuffer}}
	c.wake.L = &c.mu
	c.readEnd.wake, c.writeEnd.wake = &c.wake, &c.wake
	return c
}

// mss is the longest data of a segment that fits the host's interface.
func (h *Host) mss(to netip.Addr) int { return h.mtu() - headerOf(to) - tcpHeader }

func (h *Host) dialTCP(ctx context.Context, to netip.AddrPort) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	from, err := h.source(to.Addr())
	if err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	c := newConn(h, flow{remote: to}, h.mss(to.Addr()))
	if err := h.register(c, from); err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	c.mu.Lock()
	c.post(c.send.open(time.Now()))
	c.mu.Unlock()
	c.flush()
	if err := c.awaitHandshake(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// register gives c a port of its own.
func (h *Host) register(c *conn, from netip.Addr) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	port, err := h.freePort(func(port uint16) bool {
		_, taken := h.conns[flow{netip.AddrPortFrom(from, port), c.flow.remote}]
		return !taken && len(h.listeners[port]) == 0
	})
	if err != nil {
		return err
	}
	c.flow.local = netip.AddrPortFrom(from, port)
	h.conns[c.flow] = c
	return nil
}

func (c *conn) awaitHandshake(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.wake.Broadcast()
	})()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.isEstablished() {
		if c.dead {
			c.told = true
			return os.NewSyscallError("connect", c.err)
		}
		if err := ctx.Err(); err != nil {
			c.end(nil)
			return err
		}
		c.wake.Wait()
	}
	return nil
}

// isEstablished reports whether both SYNs have come through.
func (c *conn) isEstablished() bool {
	mine := len(c.send.flying) > 0 && c.send.flying[0].syn
	return !c.dead && c.recv.next > 0 && c.send.next > 0 && !mine
}

// acceptSegment hands a segment to its connection, makes a connection of a SYN
// that somebody listens for, and answers all else with RST.
func (h *Host) acceptSegment(p packet) {
	s := *p.segment
	h.mu.Lock()
	f := flow{local: p.to, remote: p.from}
	c := h.conns[f]
	if c == nil && s.syn && !s.ack {
		if l, ok := h.listeners.find(p.to); ok {
			if !l.hasRoom() {
				h.mu.Unlock()
				return // the peer tries again
			}
			c = newConn(h, f, min(s.mss, h.mss(p.from.Addr())))
			c.listener = l
			h.conns[f] = c
		}
	}
	h.mu.Unlock()
	switch {
	case c != nil:
		c.receive(s)
	case !s.rst:
		h.send(packet{from: p.to, to: p.from, segment: &segment{rst: true}})
	}
}

// receive takes in a segment.
func (c *conn) receive(s segment) {
	c.mu.Lock()
	c.handle(s)
	var grown *listener
	if c.listener != nil && c.isEstablished() {
		grown, c.listener = c.listener, nil
	}
	c.mu.Unlock()
	c.flush()
	if grown != nil {
		grown.put(c)
	}
}

func (c *conn) handle(s segment) {
	defer c.wake.Broadcast()
	switch {
	case c.dead:
		return
	case s.rst:
		c.end(c.resetError())
		return
	case c.closed && len(s.data) > 0 && s.end() > c.recv.next:
		c.reset() // nobody will read it
		return
	case c.send.next == 0: // the SYN of a connection to be accepted
		c.recv.take(s)
		syn := c.send.open(time.Now())
		syn.echo = s.number
		c.post(syn)
		return
	case c.recv.next == 0 && s.syn:
		c.send.mss = min(c.send.mss, s.mss)
	}
	if s.ack {
		c.send.acknowledged(s, time.Now())
	}
	if s.probe || s.end() > s.seq {
		c.recv.take(s)
		c.post(segment{seq: c.send.next, echo: s.number})
	}
	c.advance()
	if c.closed && c.send.finished && len(c.send.flying) == 0 && !c.lingers {
		c.lingers = true
		time.AfterFunc(lingering, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.end(nil)
		})
	}
}

// resetError is what a RST means now.
func (c *conn) resetError() error {
	switch {
	case c.recv.next == 0:
		return syscall.ECONNREFUSED
	case c.recv.finished:
		return syscall.EPIPE
	}
	return syscall.ECONNRESET
}

// post puts a segment into the outbox, with the state of the receiver.
func (c *conn) post(s segment) {
	s.ack = c.recv.next > 0
	s.next = c.recv.next
	s.window = c.recv.window()
	c.outbox = append(c.outbox, s)
	c.setAlarm()
}

// advance posts what may be sent now.
func (c *conn) advance() {
	for _, s := range c.send.ready(time.Now()) {
		c.post(s)
	}
	c.setAlarm()
}

// flush sends the outbox. Only one flush of a connection runs at a time, so that
// segments leave in order, and no lock is held meanwhile.
func (c *conn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flushing {
		return
	}
	c.flushing = true
	for len(c.outbox) > 0 {
		out := c.outbox
		c.outbox = nil
		c.mu.Unlock()
		for i := range out {
			c.host.send(packet{from: c.flow.local, to: c.flow.remote, segment: &out[i]})
		}
		c.mu.Lock()
	}
	c.flushing = false
}

func (c *conn) setAlarm() {
	if c.alarmAt == c.send.due {
		return
	}
	c.alarmAt = c.send.due
	switch {
	case c.alarmAt.IsZero():
		c.alarm.Stop()
	case c.alarm == nil:
		c.alarm = time.AfterFunc(time.Until(c.alarmAt), c.onAlarm)
	default:
		c.alarm.Reset(time.Until(c.alarmAt))
	}
}

func (c *conn) onAlarm() {
	c.mu.Lock()
	if !c.dead && !c.alarmAt.IsZero() && time.Until(c.alarmAt) <= 0 {
		probe, err := c.send.timedOut(time.Now())
		switch {
		case err != nil:
			c.end(err)
		case probe != nil:
			c.post(*probe)
		default:
			c.advance()
		}
	}
	c.mu.Unlock()
	c.flush()
}

// reset posts a RST and ends the connection.
func (c *conn) reset() {
	c.post(segment{rst: true})
	c.end(nil)
}

// end ends the connection; err is why, nil if this end wanted it.
func (c *conn) end(err error) {
	if c.dead {
		return
	}
	c.dead, c.err, c.told = true, err, err == nil
	c.send.unsent, c.send.flying, c.send.journal = nil, nil, nil
	if c.alarm != nil {
		c.alarm.Stop()
	}
	c.wake.Broadcast()
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	if c.host.conns[c.flow] == c {
		delete(c.host.conns, c.flow)
	}
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.read(p)
	c.flush()
	return n, err
}

func (c *conn) read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, c.fault("read", net.ErrClosed)
		case c.readEnd.passed:
			return 0, c.fault("read", os.ErrDeadlineExceeded)
		case len(p) == 0:
			return 0, nil
		case c.recv.bytes > 0:
			n := c.recv.read(p)
			if !c.dead && c.recv.isWider(c.send.mss) {
				c.post(segment{seq: c.send.next})
			}
			return n, nil
		case c.dead && !c.told:
			c.told = true
			return 0, c.fault("read", os.NewSyscallError("read", c.err))
		case c.recv.finished || c.dead:
			return 0, io.EOF
		}
		c.wake.Wait()
	}
}

// Write implements net.Conn. It returns when the last of p is in the send buffer.
func (c *conn) Write(p []byte) (int, error) {
	n := 0
	for {
		wrote, err := c.writeSome(p[n:])
		c.flush()
		if n += wrote; err != nil || n == len(p) {
			return n, err
		}
	}
}

// writeSome waits until it can take a part of p.
func (c *conn) writeSome(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.send.more = false
	for {
		switch {
		case c.closed:
			return 0, c.fault("write", net.ErrClosed)
		case c.writeEnd.passed:
			c.send.more = false
			c.advance()
			return 0, c.fault("write", os.ErrDeadlineExceeded)
		case c.dead && !c.told:
			c.told = true
			return 0, c.fault("write", os.NewSyscallError("write", c.err))
		case c.dead || c.send.finish:
			return 0, c.fault("write", os.NewSyscallError("write", syscall.EPIPE))
		case len(p) == 0:
			return 0, nil
		}
		if n := min(len(p), c.send.room()); n > 0 {
			c.send.unsent = append(c.send.unsent, p[:n]...)
			c.send.more = n < len(p)
			c.advance()
			return n, nil
		}
		c.send.more = true
		c.wake.Wait()
	}
}

func (c *conn) fault(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
