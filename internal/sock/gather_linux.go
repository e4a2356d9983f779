package sock

import (
	"encoding/binary"
	"errors"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	gatherLength = 32 // messages in one recvmmsg
	// Room for the control messages of one message: the segment size of a train
	// and a time stamp.
	gatherOOB = 64
	// joinedRoom holds any train; a smaller buffer is for headers.
	joinedRoom = 1 << 16
)

// errIdle says that nothing has come for a while.
var errIdle = errors.New("nothing has come")

// catch is the receiving half of a packetSocket: recvmmsg of datagrams, or of
// trains that the kernel has joined (GRO, UDP_GRO, Linux 5.0).
type catch struct {
	gro   bool
	naps  bool
	short atomic.Bool // the caller reads headers only
	hdrs  [gatherLength]mmsghdr
	iov   [gatherLength]unix.Iovec
	names [gatherLength]sockaddr
	oob   [gatherLength][gatherOOB]byte
	zones zones
}

// init asks for what helps; every refusal only means another technique.
func (c *catch) init(fd int, o PacketOptions) {
	c.gro = setOption(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1) == nil
	if size, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF); err == nil {
		c.naps = size >= enoughBuffer
	}
	if o.Stamp {
		_ = setOption(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) // Message.At stays zero without
	}
	for i := range c.hdrs {
		h := &c.hdrs[i].hdr
		h.Name = &c.names[i][0]
		h.Iov = &c.iov[i]
		h.SetIovlen(1)
		h.Control = &c.oob[i][0]
	}
}

// ReadBatch implements PacketConn.
func (p *packetSocket) ReadBatch(ms []Message) (int, error) { return p.read(ms, p.pause) }

// readSome is ReadBatch that gives up when it would have to wait for good.
func (p *packetSocket) readSome(ms []Message) (int, error) { return p.read(ms, p.napOnly) }

// read reads a batch. pause waits for one; its error, or errIdle, ends that.
func (p *packetSocket) read(ms []Message, pause func() error) (int, error) {
	if len(ms) == 0 {
		return 0, nil
	}
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	ms = ms[:min(len(ms), gatherLength)]
	for {
		if err := p.check(&p.in); err != nil {
			return 0, err
		}
		n, e := p.gather(ms)
		switch e {
		case 0:
			p.in.empty = 0
			return n, nil
		case unix.EAGAIN:
			if err := pause(); err == errIdle {
				return 0, nil
			} else if err != nil {
				return 0, err
			}
		case unix.EINTR:
		default:
			return 0, os.NewSyscallError("recvmmsg", e)
		}
	}
}

// pause waits for datagrams: a nap where the buffer is large enough for it.
func (p *packetSocket) pause() error {
	if p.catch.naps {
		return p.rest(&p.in, udpNap, udpNaps)
	}
	return p.wait(&p.in)
}

// napOnly is pause as far as it is a nap.
func (p *packetSocket) napOnly() error {
	if !p.catch.naps || p.in.empty >= udpNaps {
		for i := range p.catch.iov {
			p.catch.iov[i].Base = nil // it would keep the caller's room
		}
		return errIdle
	}
	return p.rest(&p.in, udpNap, udpNaps)
}

// await waits until there is something to read, or an error to be told.
func (p *packetSocket) await() error {
	p.in.mu.Lock()
	defer p.in.mu.Unlock()
	if err := p.check(&p.in); err != nil {
		return err
	}
	err := p.wait(&p.in)
	p.in.empty = 0
	return err
}

// gather fills ms with what has come already. MSG_TRUNC tells the length of
// what did not fit.
func (p *packetSocket) gather(ms []Message) (int, unix.Errno) {
	c := &p.catch
	if short := len(ms[0].Data) < joinedRoom; short != c.short.Load() {
		c.short.Store(short)
	}
	for i := range ms {
		h := &c.hdrs[i].hdr
		c.iov[i].Base = unsafe.SliceData(ms[i].Data)
		c.iov[i].SetLen(len(ms[i].Data))
		// The kernel overwrites both with what it used.
		h.Namelen = uint32(len(c.names[i]))
		h.SetControllen(gatherOOB)
	}
	if e := p.injected(CallReceive); e != 0 {
		return 0, e
	}
	n, _, e := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(p.fd), uintptr(unsafe.Pointer(&c.hdrs)), uintptr(len(ms)),
		unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
	if e != 0 {
		return 0, e
	}
	for i := range ms[:n] {
		m := &ms[i]
		m.Len = int(c.hdrs[i].len)
		m.From = c.names[i].get(&c.zones)
		m.Segment, m.At = 0, time.Time{}
		if used := c.hdrs[i].hdr.Controllen; used > 0 {
			m.control(c.oob[i][:min(int(used), gatherOOB)])
		}
	}
	return int(n), 0
}

// control reads the control messages of a datagram or train: cmsg(3).
func (m *Message) control(b []byte) {
	for len(b) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		data := b[unix.CmsgLen(0):]
		size := int(h.Len) - unix.CmsgLen(0)
		if size < 0 || size > len(data) {
			return // cut short by the kernel: no more room
		}
		switch {
		case h.Level == unix.SOL_UDP && h.Type == unix.UDP_GRO && size >= 4:
			if s := int(int32(binary.NativeEndian.Uint32(data))); s > 0 && s < m.Len {
				m.Segment = s
			}
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_TIMESTAMPNS && size >= int(unsafe.Sizeof(unix.Timespec{})):
			m.At = time.Unix((*unix.Timespec)(unsafe.Pointer(&data[0])).Unix())
		}
		next := unix.CmsgSpace(size)
		if next >= len(b) {
			return
		}
		b = b[next:]
	}
}

func setOption(fd, level, option, value int) error {
	if err := refused(level, option); err != nil {
		return err
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, level, option, value))
}
