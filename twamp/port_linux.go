package twamp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// A systemPort is a socket that tells of each datagram when the kernel got it,
// its TTL, its traffic class and the address it was sent to, and sends with the
// class and from the address that it is told.
type systemPort struct {
	conn  *net.UDPConn
	local netip.AddrPort
	in    []byte // control messages of the datagram being read
	out   []byte // and of the one being written
}

// readBuffer holds 10 000 packets a second for as long as a busy machine may keep
// us from reading, a packet counting some 800 bytes. It costs nothing while it
// is empty.
const readBuffer = 4 << 20

// maxStampAge is how long a datagram may have waited for us. An older stamp is
// of a clock that was set in between.
const maxStampAge = 10 * time.Second

func newSystemPort(c *net.UDPConn) (port, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = setOptions(int(fd)) }); err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, failed
	}
	// The system may give less: then bursts are lost here that the path did not lose.
	_ = c.SetReadBuffer(readBuffer)
	return &systemPort{conn: c, local: addrPort(c.LocalAddr()), in: make([]byte, 256), out: make([]byte, 0, 128)}, nil
}

// setOptions asks for what a systemPort tells. On a socket of both families
// each option is needed once for IPv4 and once for IPv6; on one of IPv4 those of
// IPv6 do not exist.
func setOptions(fd int) error {
	set := func(level, option, value int) error { return unix.SetsockoptInt(fd, level, option, value) }
	v4 := errorOf(
		set(unix.IPPROTO_IP, unix.IP_TTL, testTTL),
		set(unix.IPPROTO_IP, unix.IP_RECVTTL, 1),
		set(unix.IPPROTO_IP, unix.IP_RECVTOS, 1),
		set(unix.IPPROTO_IP, unix.IP_PKTINFO, 1),
	)
	v6 := errorOf(
		set(unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, testTTL),
		set(unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1),
		set(unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, 1),
		set(unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1),
	)
	if v4 != nil && v6 != nil {
		return v4
	}
	// Without it our own clock is read instead, and the result says so.
	_ = set(unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	return nil
}

// errorOf returns the first error, or nil.
func errorOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *systemPort) read(b []byte) (int, arrival, error) {
	n, oobn, _, from, err := p.conn.ReadMsgUDPAddrPort(b, p.in)
	if err != nil {
		return 0, arrival{}, err
	}
	a := arrival{From: unmap(from), To: netip.AddrPortFrom(netip.Addr{}, p.local.Port()), At: time.Now(), Stamp: User}
	for oob := p.in[:oobn]; len(oob) > 0; {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			break // a cut tail: what was read before it is right
		}
		a.take(h, data)
		oob = rest
	}
	return n, a, nil
}

// take reads one control message.
func (a *arrival) take(h unix.Cmsghdr, data []byte) {
	switch {
	case h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_TIMESTAMPNS && len(data) >= 16:
		a.stamp(time.Unix(int64(binary.NativeEndian.Uint64(data)), int64(binary.NativeEndian.Uint64(data[8:]))))
	case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_TTL && len(data) >= 4:
		a.TTL = uint8(binary.NativeEndian.Uint32(data))
	case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_TOS && len(data) >= 1:
		a.Class, a.Classed = data[0], true
	case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= 12:
		a.To = netip.AddrPortFrom(netip.AddrFrom4([4]byte(data[8:])), a.To.Port()) // ipi_addr of struct in_pktinfo
	case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_HOPLIMIT && len(data) >= 4:
		a.TTL = uint8(binary.NativeEndian.Uint32(data))
	case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_TCLASS && len(data) >= 4:
		a.Class, a.Classed = uint8(binary.NativeEndian.Uint32(data)), true
	case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= 16:
		a.To = netip.AddrPortFrom(netip.AddrFrom16([16]byte(data)).Unmap(), a.To.Port())
	}
}

// stamp moves At back to when the kernel got the datagram. At keeps its
// monotonic reading, so that a step of the clock cannot bend a difference.
func (a *arrival) stamp(kernel time.Time) {
	if waited := a.At.Round(0).Sub(kernel); waited >= 0 && waited < maxStampAge {
		a.At, a.Stamp = a.At.Add(-waited), Kernel
	}
}

func (p *systemPort) write(b []byte, to netip.AddrPort, from netip.Addr, class uint8) error {
	p.out = p.out[:0]
	switch {
	case to.Addr().Unmap().Is4():
		p.control(unix.IPPROTO_IP, unix.IP_TOS, 4)
		p.out = binary.NativeEndian.AppendUint32(p.out, uint32(class))
		p.pad()
		if from.Is4() && p.local.Addr().Is4() {
			p.control(unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo)
			a := from.As4()
			p.out = append(p.out, 0, 0, 0, 0)
			p.out = append(p.out, a[:]...) // ipi_spec_dst
			p.out = append(p.out, 0, 0, 0, 0)
			p.pad()
		} else if from.Is4() {
			p.source6(from)
		}
	default:
		p.control(unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 4)
		p.out = binary.NativeEndian.AppendUint32(p.out, uint32(class))
		p.pad()
		if from.Is6() {
			p.source6(from)
		}
	}
	_, _, err := p.conn.WriteMsgUDPAddrPort(b, p.out, to)
	return err
}

// source6 names the address to send from on an IPv6 socket.
func (p *systemPort) source6(from netip.Addr) {
	p.control(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo)
	a := from.As16()
	p.out = append(p.out, a[:]...)
	p.out = append(p.out, 0, 0, 0, 0) // any interface
	p.pad()
}

// control appends the header of a control message with n octets of data.
func (p *systemPort) control(level, kind, n int) {
	if unix.SizeofPtr == 8 {
		p.out = binary.NativeEndian.AppendUint64(p.out, uint64(unix.CmsgLen(n)))
	} else {
		p.out = binary.NativeEndian.AppendUint32(p.out, uint32(unix.CmsgLen(n)))
	}
	p.out = binary.NativeEndian.AppendUint32(p.out, uint32(level))
	p.out = binary.NativeEndian.AppendUint32(p.out, uint32(kind))
}

// pad fills up to where the next control message begins.
func (p *systemPort) pad() {
	for len(p.out)%unix.SizeofPtr != 0 {
		p.out = append(p.out, 0)
	}
}

func (p *systemPort) setReadDeadline(t time.Time) error { return p.conn.SetReadDeadline(t) }
func (p *systemPort) localAddr() netip.AddrPort         { return p.local }
func (p *systemPort) close() error                      { return p.conn.Close() }
