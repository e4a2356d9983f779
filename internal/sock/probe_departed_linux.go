package sock

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

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
