package sock

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A kind is the level and type of a control message: cmsg(3).
type kind struct{ level, kind int32 }

// eachControl calls f with each control message in b.
func eachControl(b []byte, f func(k kind, data []byte)) {
	for len(b) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		if h.Len < unix.SizeofCmsghdr || uint64(h.Len) > uint64(len(b)) {
			return // cut short by the kernel: no more room
		}
		size := int(h.Len) - unix.CmsgLen(0)
		f(kind{h.Level, h.Type}, b[unix.CmsgLen(0):][:size])
		b = b[min(len(b), unix.CmsgSpace(size)):]
	}
}

// take reads one control message of a datagram that came.
func (a *Arrival) take(k kind, data []byte) {
	switch k {
	case kind{unix.SOL_SOCKET, unix.SCM_TIMESTAMPING}, kind{unix.SOL_SOCKET, unix.SCM_TIMESTAMPNS}:
		a.Stamp = stampIn(data)
	case kind{unix.SOL_UDP, unix.UDP_GRO}:
		if s := number(data); s > 0 && s < a.Len {
			a.Segment = s
		}
	case kind{unix.IPPROTO_IP, unix.IP_TTL}, kind{unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT}:
		a.TTL = uint8(number(data))
	case kind{unix.IPPROTO_IP, unix.IP_TOS}:
		if len(data) > 0 {
			a.Class, a.Classed = data[0], true
		}
	case kind{unix.IPPROTO_IPV6, unix.IPV6_TCLASS}:
		a.Class, a.Classed = uint8(number(data)), true
	case kind{unix.IPPROTO_IP, unix.IP_PKTINFO}:
		if len(data) >= unix.SizeofInet4Pktinfo {
			a.To = netip.AddrFrom4((*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0])).Addr)
		}
	case kind{unix.IPPROTO_IPV6, unix.IPV6_PKTINFO}:
		if len(data) >= unix.SizeofInet6Pktinfo && !a.To.IsValid() {
			a.To = netip.AddrFrom16([16]byte(data)).Unmap()
		}
	}
}

// number reads an int; -1 if there is none.
func number(data []byte) int {
	if len(data) < 4 {
		return -1
	}
	return int(int32(binary.NativeEndian.Uint32(data)))
}

// stampIn reads the first timespec, which is the software stamp; zero if there
// is none.
func stampIn(data []byte) time.Time {
	if len(data) < int(unsafe.Sizeof(unix.Timespec{})) {
		return time.Time{}
	}
	t := (*unix.Timespec)(unsafe.Pointer(&data[0]))
	if t.Sec == 0 && t.Nsec == 0 {
		return time.Time{}
	}
	return time.Unix(t.Unix())
}

// A departedQueue reads the stamps of departures: the kernel puts them on the
// error queue of the socket.
type departedQueue struct {
	vector
	asked atomic.Bool // for any stamp, ever
	now   Departed    // being read
	valid bool
}

const (
	mostDeparted = 16 // in one recvmmsg
	departedOOB  = 256
)

// read fills gone with the stamps that are there. Other errors on the queue, of
// ICMP, are dropped.
func (q *departedQueue) read(fd int, gone []Departed) (n int) {
	q.grow(mostDeparted, departedOOB)
	for n < len(gone) {
		want := min(mostDeparted, len(gone)-n)
		q.blank(want)
		got, e := q.receive(fd, want, unix.MSG_ERRQUEUE)
		if e == unix.EINTR {
			continue
		}
		for i := range got {
			q.now, q.valid = Departed{}, false
			eachControl(q.control(i), q.take)
			if q.valid && !q.now.At.IsZero() {
				gone[n] = q.now
				n++
			}
		}
		if got < want {
			break // empty, or an error that the next read tells of
		}
	}
	return n
}

// take reads one control message of a stamp.
func (q *departedQueue) take(k kind, data []byte) {
	switch k {
	case kind{unix.SOL_SOCKET, unix.SCM_TIMESTAMPING}:
		q.now.At = stampIn(data)
	case kind{unix.IPPROTO_IP, unix.IP_RECVERR}, kind{unix.IPPROTO_IPV6, unix.IPV6_RECVERR}:
		if len(data) < int(unsafe.Sizeof(unix.SockExtendedErr{})) {
			return
		}
		e := (*unix.SockExtendedErr)(unsafe.Pointer(&data[0]))
		if e.Origin == unix.SO_EE_ORIGIN_TIMESTAMPING && e.Info == unix.SCM_TSTAMP_SND {
			q.now.N, q.valid = e.Data, true
		}
	}
}
