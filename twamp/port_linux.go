package twamp

import (
	"cmp"
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// A systemPort is a socket in the runtime's poller, for want of a better one: a
// server has more sockets than threads to give away. It tells of each datagram
// when the kernel got it, its TTL, its traffic class and the address it was sent
// to, and sends with the class and from the address that it is told.
type systemPort struct {
	conn  *net.UDPConn
	local netip.AddrPort
	watch stepWatch
	in    []byte // control messages of the datagram being read
	out   []byte // and of the one being written
}

// readBuffer holds what comes while a busy machine keeps us from reading.
const readBuffer = 4 << 20

// newSystemPort takes the socket out of the poller if it may.
func newSystemPort(c *net.UDPConn, join bool) (port, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	control := func(f func(fd int) error) error {
		var failed error
		err := raw.Control(func(fd uintptr) { failed = f(int(fd)) })
		return cmp.Or(err, failed)
	}
	if err := control(func(fd int) error { return setTTL(fd, testTTL) }); err != nil {
		return nil, err
	}
	if p, err := newProbePort(c, join); p != nil || err != nil {
		return p, err
	}
	if err := control(setOptions); err != nil {
		return nil, err
	}
	// The system may give less: then bursts are lost here that the path did not lose.
	_ = c.SetReadBuffer(readBuffer)
	return &systemPort{conn: c, local: addrPort(c.LocalAddr()), in: make([]byte, 256), out: make([]byte, 0, 128)}, nil
}

// setTTL sets the TTL of what is sent. On a socket of both families each option
// is needed once for IPv4 and once for IPv6; on one of IPv4 those of IPv6 do not
// exist.
func setTTL(fd int, ttl uint8) error {
	v4 := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, int(ttl))
	v6 := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, int(ttl))
	if v4 != nil && v6 != nil {
		return v4
	}
	return nil
}

// setTTLOf is setTTL of a socket in the poller.
func setTTLOf(c *net.UDPConn, ttl uint8) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = setTTL(int(fd), ttl) })
	return cmp.Or(err, failed)
}

// setOptions asks for what a systemPort tells, of both families like setTTL.
func setOptions(fd int) error {
	set := func(level, option, value int) error { return unix.SetsockoptInt(fd, level, option, value) }
	v4 := cmp.Or(
		set(unix.IPPROTO_IP, unix.IP_RECVTTL, 1),
		set(unix.IPPROTO_IP, unix.IP_RECVTOS, 1),
		set(unix.IPPROTO_IP, unix.IP_PKTINFO, 1),
	)
	v6 := cmp.Or(
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

func (p *systemPort) read(ds []datagram) (int, error) {
	d := &ds[0]
	n, oobn, _, from, err := p.conn.ReadMsgUDPAddrPort(d.room, p.in)
	if err != nil {
		return 0, err
	}
	now := readClock()
	d.n, d.segment = n, 0
	d.arrival = arrival{From: unmap(from), To: netip.AddrPortFrom(netip.Addr{}, p.local.Port()), At: now, Stamp: User}
	d.arrival.steady = !p.watch.set(now)
	for oob := p.in[:oobn]; len(oob) > 0; {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			break // a cut tail: what was read before it is right
		}
		d.arrival.take(h, data)
		oob = rest
	}
	return 1, nil
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

func (p *systemPort) write(ps []parcel) (int, error) { return eachSegment(ps, p.send) }

func (p *systemPort) send(b []byte, one *parcel) error {
	to, from, class := one.to, one.from, one.class
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

func (p *systemPort) stamps(func(uint32, time.Time)) bool { return false }
func (p *systemPort) recount() error                      { return nil }
func (p *systemPort) overruns() (uint64, bool)            { return 0, false }
func (p *systemPort) setTTL(ttl uint8) error              { return setTTLOf(p.conn, ttl) }
func (p *systemPort) setReadDeadline(t time.Time) error   { return p.conn.SetReadDeadline(t) }
func (p *systemPort) localAddr() netip.AddrPort           { return p.local }
func (p *systemPort) close() error                        { return p.conn.Close() }
