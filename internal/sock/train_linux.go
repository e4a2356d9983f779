package sock

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	newSegments = 128   // of one GSO train, since Linux 6.9
	oldSegments = 64    // before
	aloneSize   = 32753 // above this a train would be of one segment
	mmsgLength  = 64    // datagrams in one sendmmsg
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// train is the sending half of a packetSocket. A train leaves as one piece that
// the kernel, or the device, cuts into datagrams (GSO, UDP_SEGMENT, Linux 4.18);
// where that is refused, datagram by datagram with sendmmsg.
type train struct {
	segments atomic.Int32 // most segments of a piece; 0: GSO was refused, for good
	fragment bool         // IP may cut what exceeds the path
	to       netip.AddrPort
	name     sockaddr // to, as the kernel wants it
	hdrs     [mmsgLength]mmsghdr
	iov      [mmsgLength]unix.Iovec
	oob      [24]byte // CMSG_SPACE(sizeof(uint16)), at most
}

func (t *train) init() {
	t.segments.Store(newSegments)
	c := (*unix.Cmsghdr)(unsafe.Pointer(&t.oob))
	c.Level = unix.SOL_UDP
	c.Type = unix.UDP_SEGMENT
	c.SetLen(unix.CmsgLen(2))
	for i := range t.hdrs {
		h := &t.hdrs[i].hdr
		h.Name = &t.name[0]
		h.Iov = &t.iov[i]
		h.SetIovlen(1)
	}
}

func (t *train) technique() string {
	if n := t.segments.Load(); n > 0 {
		return fmt.Sprintf("gso%d", n)
	}
	return "sendmmsg"
}

// aim prepares the destination; trains mostly go where the last one went.
func (t *train) aim(to netip.AddrPort, v6 bool) error {
	if to == t.to {
		return nil
	}
	n, err := t.name.put(to, v6)
	if err != nil {
		return err
	}
	for i := range t.hdrs {
		t.hdrs[i].hdr.Namelen = uint32(n)
	}
	t.to = to
	return nil
}

// WriteTrain implements PacketConn. A full send buffer is waited for; a queue
// below it that is full (ENOBUFS) is not, since nobody tells when it is not.
func (p *packetSocket) WriteTrain(buf []byte, size int, to netip.AddrPort) (n int, err error) {
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	if err := p.check(&p.out); err != nil {
		return 0, err
	}
	if err := p.train.aim(to, p.v6); err != nil {
		return 0, err
	}
	for {
		took, err := p.writeSome(buf, size)
		n += took
		if err != nil {
			return n, err
		}
		if buf = buf[min(took*size, len(buf)):]; len(buf) == 0 {
			return n, nil
		}
	}
}

// writeSome sends the front of buf in the best way that has not been refused.
// It returns 0 without an error when it has just been refused.
func (p *packetSocket) writeSome(buf []byte, size int) (datagrams int, err error) {
	t := &p.train
	segments := int(t.segments.Load())
	joined := segments > 0 && size <= aloneSize && len(buf) > size
	piece, call := size, CallSendMM
	if joined {
		piece, call = min(segments, MaxDatagram/size)*size, CallSend
	}
	n := t.load(buf, piece, size, joined)
	took, e := p.send(n, call)
	switch {
	case e == 0:
		return t.datagrams(took, size), nil
	case !joined:
	case e == unix.EINVAL && segments > oldSegments:
		t.segments.Store(oldSegments)
		return 0, nil
	case e == unix.EINVAL, e == unix.EIO, e == unix.ENOPROTOOPT, e == unix.EOPNOTSUPP, e == unix.EMSGSIZE && t.fragment:
		// EIO: an old kernel whose device computes no checksums. EMSGSIZE: a segment
		// larger than the path, which may leave in fragments, but not in a train.
		t.segments.Store(0)
		return 0, nil
	}
	return 0, os.NewSyscallError(string(call), e)
}

// load prepares the front of buf as messages of piece bytes, to be cut into
// datagrams of size bytes if they are joined, and returns how many there are.
func (t *train) load(buf []byte, piece, size int, joined bool) (n int) {
	if joined {
		binary.NativeEndian.PutUint16(t.oob[unix.CmsgLen(0):], uint16(size))
	}
	for ; n < mmsgLength && (len(buf) > 0 || n == 0); n++ {
		end := min(piece, len(buf))
		t.iov[n].Base = &t.oob[0] // anything, for an empty datagram
		if end > 0 {
			t.iov[n].Base = &buf[0]
		}
		t.iov[n].SetLen(end)
		buf = buf[end:]
		h := &t.hdrs[n].hdr
		if joined {
			h.Control = &t.oob[0]
			h.SetControllen(unix.CmsgSpace(2))
		} else {
			h.Control = nil
			h.SetControllen(0)
		}
	}
	return n
}

// datagrams is how many datagrams of size bytes the first n messages are.
func (t *train) datagrams(n, size int) (sum int) {
	for i := range t.iov[:n] {
		sum += max(1, (int(t.iov[i].Len)+size-1)/max(1, size))
	}
	return sum
}

// send sends n messages and returns how many the kernel took.
func (p *packetSocket) send(n int, call Call) (took int, e unix.Errno) {
	for waited := false; ; waited = true {
		if e = p.injected(call); e == 0 {
			var r uintptr
			r, _, e = unix.Syscall6(unix.SYS_SENDMMSG, uintptr(p.fd), uintptr(unsafe.Pointer(&p.train.hdrs)), uintptr(n), 0, 0, 0)
			took = int(r)
		}
		switch {
		case e == 0:
			return took, 0
		case e == unix.EINTR:
		case e == unix.EAGAIN && !waited:
			if p.wait(&p.out) != nil {
				return 0, e
			}
		default:
			return 0, e
		}
	}
}
