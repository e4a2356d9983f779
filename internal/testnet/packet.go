package testnet

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// packetBuffer is the default receive buffer of a UDP socket, bytes of payload.
const packetBuffer = 4 << 20

// A packetConn is a UDP socket. Connected, it is a net.Conn too.
type packetConn struct {
	host   *Host
	bind   binding
	remote netip.AddrPort // not valid unless connected

	mu       sync.Mutex // guards what follows
	wake     sync.Cond  // on mu: anything below has changed
	queue    []datagram
	bytes    int // of payload in queue
	buffer   int // limit of bytes
	refused  bool
	closed   bool
	readEnd  deadline
	writeEnd deadline
}

type datagram struct {
	from    netip.AddrPort
	payload []byte
}

func (h *Host) listenUDP(b binding) (*packetConn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b, err := h.settle(b, h.sockets.isFree)
	if err != nil {
		return nil, err
	}
	c := &packetConn{host: h, bind: b, buffer: packetBuffer}
	c.wake.L = &c.mu
	c.readEnd.wake, c.writeEnd.wake = &c.wake, &c.wake
	h.sockets.add(c)
	return c, nil
}

func (h *Host) dialUDP(to netip.AddrPort) (*packetConn, error) {
	from, err := h.source(to.Addr())
	if err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	c, err := h.listenUDP(binding{at: netip.AddrPortFrom(from, 0)})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.remote = to
	c.mu.Unlock()
	return c, nil
}

func (c *packetConn) bound() binding { return c.bind }

// socketFor finds the socket that a packet is for, nil if there is none.
func (h *Host) socketFor(p packet) *packetConn {
	h.mu.Lock()
	defer h.mu.Unlock()
	c, ok := h.sockets.find(p.to)
	if !ok || !c.wants(p.from) {
		return nil
	}
	return c
}

func (h *Host) acceptDatagram(p packet) {
	c := h.socketFor(p)
	if c == nil {
		h.send(packet{from: p.to, to: p.from, refused: true})
		return
	}
	if !c.put(datagram{p.from, p.payload}) {
		h.overrun.Add(1)
	}
}

func (c *packetConn) wants(from netip.AddrPort) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.remote.IsValid() || c.remote == from
}

// put is false if the receive buffer is full.
func (c *packetConn) put(d datagram) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bytes+len(d.payload) > c.buffer && len(c.queue) > 0 {
		return false
	}
	c.queue = append(c.queue, d)
	c.bytes += len(d.payload)
	c.wake.Broadcast()
	return true
}

// refuse makes the next call return ECONNREFUSED, if the socket is connected.
func (c *packetConn) refuse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = c.remote.IsValid()
	c.wake.Broadcast()
}

// ReadFromUDPAddrPort is as that of *net.UDPConn; IPv4 addresses come unmapped.
// Of a datagram larger than p the rest is lost.
func (c *packetConn) ReadFromUDPAddrPort(p []byte) (int, netip.AddrPort, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, netip.AddrPort{}, c.fault("read", net.ErrClosed)
		case c.readEnd.passed:
			return 0, netip.AddrPort{}, c.fault("read", os.ErrDeadlineExceeded)
		case c.refused:
			c.refused = false
			return 0, netip.AddrPort{}, c.fault("read", os.NewSyscallError("recvfrom", syscall.ECONNREFUSED))
		case len(c.queue) > 0:
			d := c.queue[0]
			c.queue[0] = datagram{}
			c.queue = c.queue[1:]
			c.bytes -= len(d.payload)
			return copy(p, d.payload), d.from, nil
		}
		c.wake.Wait()
	}
}

// ReadFrom implements net.PacketConn.
func (c *packetConn) ReadFrom(p []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromUDPAddrPort(p)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// Read implements net.Conn.
func (c *packetConn) Read(p []byte) (int, error) {
	n, _, err := c.ReadFromUDPAddrPort(p)
	return n, err
}

// WriteToUDPAddrPort is as that of *net.UDPConn.
func (c *packetConn) WriteToUDPAddrPort(p []byte, to netip.AddrPort) (int, error) {
	if c.connected() {
		return 0, c.faultTo(to, net.ErrWriteToConnected)
	}
	return c.write(p, netip.AddrPortFrom(to.Addr().Unmap(), to.Port()))
}

// WriteTo implements net.PacketConn.
func (c *packetConn) WriteTo(p []byte, to net.Addr) (int, error) {
	u, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, c.fault("write", fmt.Errorf("%T is no *net.UDPAddr", to))
	}
	return c.WriteToUDPAddrPort(p, u.AddrPort())
}

// Write implements net.Conn.
func (c *packetConn) Write(p []byte) (int, error) {
	if !c.connected() {
		return 0, c.fault("write", os.NewSyscallError("write", syscall.EDESTADDRREQ))
	}
	return c.write(p, c.remote)
}

func (c *packetConn) connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.remote.IsValid()
}

func (c *packetConn) write(p []byte, to netip.AddrPort) (int, error) {
	from := c.bind.at.Addr()
	if from.IsUnspecified() {
		var err error
		if from, err = c.host.source(to.Addr()); err != nil {
			return 0, c.faultTo(to, os.NewSyscallError("sendto", err))
		}
	}
	if from.Is4() != to.Addr().Is4() {
		return 0, c.faultTo(to, os.NewSyscallError("sendto", syscall.EAFNOSUPPORT))
	}
	pkt := packet{from: netip.AddrPortFrom(from, c.bind.at.Port()), to: to, payload: slices.Clone(p)}
	for {
		if err := c.mayWrite(); err != nil {
			return 0, c.faultTo(to, err)
		}
		switch f := c.send(pkt); f.verdict {
		case tooBig:
			return 0, c.faultTo(to, os.NewSyscallError("sendto", syscall.EMSGSIZE))
		case full:
			c.waitUntil(f.due)
		default:
			return len(p), nil
		}
	}
}

// send is Host.send; it says tooBig only where the sender is told.
func (c *packetConn) send(p packet) fate {
	const most = 65535 // the length field of IP
	if headerOf(p.to.Addr())+udpHeader+len(p.payload) > most {
		return fate{verdict: tooBig}
	}
	f := c.host.send(p)
	if f.verdict == tooBig && c.host.Up.current().BlackHole {
		return fate{verdict: lost}
	}
	return f
}

// mayWrite returns why nothing can be sent.
func (c *packetConn) mayWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return net.ErrClosed
	case c.writeEnd.passed:
		return os.ErrDeadlineExceeded
	case c.refused:
		c.refused = false
		return os.NewSyscallError("sendto", syscall.ECONNREFUSED)
	}
	return nil
}

// waitUntil returns when it is at, or when the socket has something to say.
func (c *packetConn) waitUntil(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := deadline{wake: &c.wake}
	d.set(at)
	defer d.set(time.Time{})
	for !d.passed && !c.closed && !c.writeEnd.passed {
		c.wake.Wait()
	}
}

// Close implements net.PacketConn.
func (c *packetConn) Close() error {
	if err := c.markClosed(); err != nil {
		return err
	}
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	c.host.sockets.remove(c)
	return nil
}

func (c *packetConn) markClosed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.fault("close", net.ErrClosed)
	}
	c.closed = true
	c.readEnd.set(time.Time{})
	c.writeEnd.set(time.Time{})
	c.wake.Broadcast()
	return nil
}

// LocalAddr returns a *net.UDPAddr.
func (c *packetConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.bind.at) }

// RemoteAddr returns a *net.UDPAddr, nil unless connected.
func (c *packetConn) RemoteAddr() net.Addr {
	if !c.connected() {
		return nil
	}
	return net.UDPAddrFromAddrPort(c.remote)
}

// SetReadBuffer sets how many bytes of payload may wait to be read; what comes
// beyond is lost and counted by Host.Overrun. One datagram always fits.
func (c *packetConn) SetReadBuffer(bytes int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buffer = bytes
	return nil
}

// SetDeadline implements net.PacketConn.
func (c *packetConn) SetDeadline(at time.Time) error {
	return c.setDeadline(at, &c.readEnd, &c.writeEnd)
}

// SetReadDeadline implements net.PacketConn.
func (c *packetConn) SetReadDeadline(at time.Time) error { return c.setDeadline(at, &c.readEnd) }

// SetWriteDeadline implements net.PacketConn.
func (c *packetConn) SetWriteDeadline(at time.Time) error { return c.setDeadline(at, &c.writeEnd) }

func (c *packetConn) setDeadline(at time.Time, ends ...*deadline) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.fault("set", net.ErrClosed)
	}
	for _, d := range ends {
		d.set(at)
	}
	return nil
}

func (c *packetConn) fault(op string, err error) error {
	return &net.OpError{Op: op, Net: "udp", Source: c.LocalAddr(), Err: err}
}

func (c *packetConn) faultTo(to netip.AddrPort, err error) error {
	return &net.OpError{Op: "write", Net: "udp", Source: c.LocalAddr(), Addr: net.UDPAddrFromAddrPort(to), Err: err}
}
