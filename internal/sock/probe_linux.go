package sock

import (
	"net"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A ProbeSocket is an unconnected UDP socket for packets of which it matters
// when they came and left, and how: it tells the kernel's own stamps of both
// ways, TTL, traffic class and destination. It is out of the runtime's poller.
// One goroutine may read while another writes; the rest of the methods may be
// called at any time.
type ProbeSocket struct {
	socket *packetSocket
	stamps StampKind
	joins  bool // trains come joined
	cuts   bool // the kernel cuts trains that leave
	in     probesIn
	out    probesOut
	queue  departedQueue
}

// A StampKind says which stamps of the kernel a socket offers.
type StampKind int

// The kinds, from the least.
const (
	NoStamps      StampKind = iota
	ArrivalStamps           // of what comes
	AllStamps               // and, where asked for, of what leaves
)

// An Arrival is a datagram that came, or a train of them that the kernel joined.
type Arrival struct {
	Data    []byte         // the caller's buffer; what does not fit is dropped
	Len     int            // how many bytes came
	Segment int            // size of each datagram of a train but the last; 0 when this is one
	From    netip.AddrPort // never a v4-mapped address
	To      netip.Addr     // where it was sent to; invalid if not known
	Stamp   time.Time      // of the kernel, on the wall clock; zero if there is none
	TTL     uint8          // TTL or hop limit; 0 if not known
	Class   uint8          // traffic class octet
	Classed bool           // Class is known
}

// A Departure is a datagram to send, or a train of them.
type Departure struct {
	Data    []byte
	Segment int // size of each datagram of a train but the last; 0 when this is one
	To      netip.AddrPort
	From    netip.Addr // one of our addresses; invalid leaves it to the kernel
	Class   uint8      // traffic class octet
	Stamp   bool       // have the kernel stamp it; not for a train
	// Ready, if it is there, is called when all is prepared, as late as can be
	// before the kernel takes what is sent. It may still change the octets of Data.
	Ready func()
}

// A Departed says when a datagram passed to the driver.
type Departed struct {
	N  uint32    // counts the datagrams that a stamp was asked for, from 0
	At time.Time // on the wall clock
}

// Probes takes the UDP socket c out of the runtime's poller and turns on what
// the kernel tells. With join, datagrams that come back to back may arrive as a
// train, which has one stamp. Nil, without an error, when too many sockets are
// out of the poller already: then c is as it was.
func Probes(c *net.UDPConn, join bool) (*ProbeSocket, error) {
	detached, err := detachPackets(c, PacketOptions{})
	if detached == nil || err != nil {
		return nil, err
	}
	p := &ProbeSocket{socket: detached.(*packetSocket), cuts: true}
	if err := p.init(join); err != nil {
		p.Close()
		return nil, err
	}
	if p.stamps != NoStamps {
		awaitStamps()
	}
	return p, nil
}

// init asks for all that an Arrival tells.
func (p *ProbeSocket) init(join bool) error {
	return p.socket.with(func(fd int) error {
		err := askEither(fd, []int{unix.IP_RECVTTL, unix.IP_RECVTOS, unix.IP_PKTINFO},
			[]int{unix.IPV6_RECVHOPLIMIT, unix.IPV6_RECVTCLASS, unix.IPV6_RECVPKTINFO})
		if err != nil {
			return err
		}
		p.joins = join && p.socket.catch.gro
		if !join && p.socket.catch.gro {
			if err := setOption(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 0); err != nil {
				return err
			}
		}
		p.stamps = askStamps(fd)
		resize(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, probeBuffer)
		return nil
	})
}

// probeBuffer, in bytes, holds 10 000 packets a second for as long as a busy
// machine may keep us from reading, a packet counting some 800 bytes. It costs
// nothing while it is empty.
const probeBuffer = 4 << 20

// allStamps has departures stamped one by one, where asked for, and numbered;
// only the stamp comes back, not the packet.
const allStamps = unix.SOF_TIMESTAMPING_RX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE |
	unix.SOF_TIMESTAMPING_OPT_ID | unix.SOF_TIMESTAMPING_OPT_TSONLY

// askStamps turns on the best stamps there are.
func askStamps(fd int) StampKind {
	if setOption(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, allStamps) == nil {
		return AllStamps
	}
	if setOption(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) == nil {
		return ArrivalStamps
	}
	return NoStamps
}

// Stamps says which stamps the kernel agreed to give. A driver may still never
// stamp what leaves.
func (p *ProbeSocket) Stamps() StampKind { return p.stamps }

// Joins reports whether trains may come joined: then each Arrival wants 64 KiB
// of room.
func (p *ProbeSocket) Joins() bool { return p.joins }

// Technique names how datagrams move, such as "mmsg+gro+gso".
func (p *ProbeSocket) Technique() string {
	way := "mmsg"
	if p.joins {
		way += "+gro+gso"
	}
	return way
}

// Dropped is how many datagrams, or trains, our own receive buffer had no room
// for so far. False where the system does not tell.
func (p *ProbeSocket) Dropped() (uint64, bool) { return p.socket.Dropped() }

// LocalAddrPort is where the socket is bound.
func (p *ProbeSocket) LocalAddrPort() netip.AddrPort { return p.socket.LocalAddrPort() }

// SetTTL sets the TTL and hop limit of what is sent.
func (p *ProbeSocket) SetTTL(ttl uint8) error {
	return p.socket.with(func(fd int) error {
		v4 := setOption(fd, unix.IPPROTO_IP, unix.IP_TTL, int(ttl))
		v6 := setOption(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, int(ttl))
		if v4 != nil && v6 != nil {
			return v4
		}
		return nil
	})
}

// SetReadDeadline wakes a Read that is already blocked.
func (p *ProbeSocket) SetReadDeadline(t time.Time) error { return p.socket.SetReadDeadline(t) }

// Close wakes whoever waits and closes the socket.
func (p *ProbeSocket) Close() error { return p.socket.Close() }

// mostProbes is the most that one call reads or writes.
const mostProbes = 64

// A vector is the memory of one recvmmsg or sendmmsg.
type vector struct {
	hdrs  []mmsghdr
	iov   []unix.Iovec
	names []sockaddr
	oob   []byte
	room  int // of oob for each message
}

// grow makes room for n messages.
func (v *vector) grow(n, room int) {
	if n <= len(v.hdrs) {
		return
	}
	v.hdrs, v.iov, v.names = make([]mmsghdr, n), make([]unix.Iovec, n), make([]sockaddr, n)
	v.oob, v.room = make([]byte, n*room), room
	for i := range v.hdrs {
		h := &v.hdrs[i].hdr
		h.Name, h.Iov, h.Control = &v.names[i][0], &v.iov[i], &v.oob[i*room]
		h.SetIovlen(1)
	}
}

// blank readies the first n messages for what comes: the kernel overwrites both
// lengths with what it used.
func (v *vector) blank(n int) {
	for i := range n {
		h := &v.hdrs[i].hdr
		h.Namelen = uint32(len(v.names[i]))
		h.SetControllen(v.room)
	}
}

// control is what the kernel told of message i.
func (v *vector) control(i int) []byte {
	return v.oob[i*v.room:][:min(v.room, int(v.hdrs[i].hdr.Controllen))]
}

// receive is recvmmsg(2) into the first n messages, without waiting.
func (v *vector) receive(fd, n, flags int) (int, unix.Errno) {
	got, _, e := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&v.hdrs[0])), uintptr(n),
		uintptr(unix.MSG_DONTWAIT|flags), 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(got), 0
}

type probesIn struct {
	vector
	zones zones
}

// arrivalOOB holds all control messages of a datagram: the stamps, and TTL,
// class, destination and segment size, of both families on a socket of both.
const arrivalOOB = 320

// Read waits until datagrams or stamps of departures are there and fills both
// from the front. The stamp of a datagram is there before any answer to it, so
// what came back with as answers has its stamps in gone, or in calls before,
// unless gone is full.
func (p *ProbeSocket) Read(as []Arrival, gone []Departed) (came, left int, err error) {
	d := p.socket.descriptor
	d.in.mu.Lock()
	defer d.in.mu.Unlock()
	as = as[:min(len(as), mostProbes)]
	for {
		if err := d.check(&d.in); err != nil {
			return 0, 0, err
		}
		came, e := p.arrivals(as)
		if e != 0 && e != unix.EAGAIN && e != unix.EINTR {
			return 0, 0, os.NewSyscallError("recvmmsg", e)
		}
		if p.stamps == AllStamps && p.queue.asked.Load() {
			left = p.queue.read(d.fd, gone)
		}
		if came > 0 || left > 0 {
			return came, left, nil
		}
		if e == unix.EAGAIN {
			if err := d.wait(&d.in); err != nil {
				return 0, 0, err
			}
		}
	}
}

func (p *ProbeSocket) arrivals(as []Arrival) (int, unix.Errno) {
	if len(as) == 0 {
		return 0, unix.EAGAIN
	}
	v := &p.in
	v.grow(len(as), arrivalOOB)
	v.blank(len(as))
	for i := range as {
		v.iov[i].Base = unsafe.SliceData(as[i].Data)
		v.iov[i].SetLen(len(as[i].Data))
	}
	n, e := v.receive(p.socket.fd, len(as), unix.MSG_TRUNC)
	for i := range n {
		a := &as[i]
		*a = Arrival{Data: a.Data, Len: int(v.hdrs[i].len), From: v.names[i].get(&v.zones)}
		eachControl(v.control(i), a.take)
	}
	return n, e
}

// Recount lets Departed.N start again at 0. Call it when a Write failed: whether
// what failed was counted is not known. Stamps that are still to come keep their
// old numbers.
func (p *ProbeSocket) Recount() error {
	if p.stamps != AllStamps {
		return nil
	}
	return p.socket.with(func(fd int) error {
		if err := setOption(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, allStamps&^unix.SOF_TIMESTAMPING_OPT_ID&^unix.SOF_TIMESTAMPING_OPT_TSONLY); err != nil {
			return err
		}
		return setOption(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, allStamps)
	})
}
