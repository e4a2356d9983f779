package twamp

import (
	"cmp"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonde-net/sonde/internal/sock"
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
	return &systemPort{conn: c, local: sock.AddrPort(c.LocalAddr()), in: make([]byte, 256), out: make([]byte, 0, 128)}, nil
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
	in := sock.Arrival{From: unmap(from), Len: n}
	in.Control(p.in[:oobn])
	d.arrived(&in, p.local.Port(), now, !p.watch.set(now))
	return 1, nil
}

// arrived takes what a socket told of a datagram that was read now.
func (d *datagram) arrived(in *sock.Arrival, port uint16, now time.Time, steady bool) {
	d.n, d.segment = in.Len, in.Segment
	d.arrival = arrival{
		From: in.From, To: netip.AddrPortFrom(in.To, port), At: now, Stamp: User, steady: steady,
		TTL: in.TTL, Class: in.Class, Classed: in.Classed,
	}
	if !in.Stamp.IsZero() {
		d.arrival.stamp(in.Stamp)
	}
}

func (p *systemPort) write(ps []parcel) (int, error) { return eachSegment(ps, p.send) }

func (p *systemPort) send(b []byte, one *parcel) error {
	p.out = sock.AppendControl(p.out[:0], one.to.Addr(), one.from, one.class, !p.local.Addr().Is4())
	_, _, err := p.conn.WriteMsgUDPAddrPort(b, p.out, one.to)
	return err
}

func (p *systemPort) stamps(func(uint32, time.Time)) bool { return false }
func (p *systemPort) recount() error                      { return nil }
func (p *systemPort) overruns() (uint64, bool)            { return 0, false }
func (p *systemPort) setTTL(ttl uint8) error              { return setTTLOf(p.conn, ttl) }
func (p *systemPort) setReadDeadline(t time.Time) error   { return p.conn.SetReadDeadline(t) }
func (p *systemPort) localAddr() netip.AddrPort           { return p.local }
func (p *systemPort) close() error                        { return p.conn.Close() }
