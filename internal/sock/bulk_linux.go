package sock

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sonde-net/sonde/result"
)

const (
	vectors = 32 // blocks in one writev: 2 MiB of 64 KiB blocks

	// A reader of a flowing connection sleeps on a timer; see descriptor.rest.
	// Ten times as long or a third measured the same.
	tcpNap   = 30 * time.Microsecond
	tcpNaps  = 32 // in vain, about 2 ms
	tcpTrunc = "writev+trunc+nap"
)

// mostDetached bounds the TCP connections that are out of the runtime's poller,
// since each may take a thread per direction while it waits. It leaves room for
// a few tests with RouterOS's 20 connections; with 20, being out is half again
// as fast as Write and Read. What comes beyond is served by the runtime.
const mostDetached = 64

var detached atomic.Int32

// bulkSocket is a BulkConn on a descriptor of its own.
type bulkSocket struct {
	*descriptor
	local, remote netip.AddrPort
	iov           [vectors]unix.Iovec // the writer's
	none          byte                // where discarded bytes are not written to
}

// bulkTCP takes a TCP connection out of the poller. It is nil, without an
// error, when enough connections are out already.
func bulkTCP(c *net.TCPConn) (BulkConn, error) {
	if detached.Add(1) > mostDetached {
		detached.Add(-1)
		return nil, nil
	}
	b := &bulkSocket{local: AddrPort(c.LocalAddr()), remote: AddrPort(c.RemoteAddr())}
	var err error
	if b.descriptor, err = detach(c); err != nil {
		detached.Add(-1)
		return nil, err
	}
	return b, nil
}

func (b *bulkSocket) Close() error {
	err := b.descriptor.Close()
	if err != net.ErrClosed {
		detached.Add(-1)
	}
	return err
}

func (b *bulkSocket) WriteBlocks(block []byte, total int) (int, error) {
	if len(block) == 0 || total <= 0 {
		return 0, nil
	}
	b.out.mu.Lock()
	defer b.out.mu.Unlock()
	n := 0
	for ; n < vectors && total > 0; n++ {
		size := min(len(block), total)
		b.iov[n].Base = &block[0]
		b.iov[n].SetLen(size)
		total -= size
	}
	return b.writev(n)
}

// Write writes all of p.
func (b *bulkSocket) Write(p []byte) (written int, err error) {
	b.out.mu.Lock()
	defer b.out.mu.Unlock()
	for written < len(p) && err == nil {
		var n int
		b.iov[0].Base = &p[written]
		b.iov[0].SetLen(len(p) - written)
		n, err = b.writev(1)
		written += n
	}
	return written, err
}

// writev writes some of the first n vectors, at least one byte.
func (b *bulkSocket) writev(n int) (int, error) {
	for {
		if err := b.check(&b.out); err != nil {
			return 0, err
		}
		e := b.injected(CallWrite)
		var wrote uintptr
		if e == 0 {
			wrote, _, e = unix.Syscall(unix.SYS_WRITEV, uintptr(b.fd), uintptr(unsafe.Pointer(&b.iov)), uintptr(n))
		}
		switch e {
		case 0:
			return int(wrote), nil
		case unix.EAGAIN:
			if err := b.wait(&b.out); err != nil {
				return 0, err
			}
		case unix.EINTR:
		default:
			return 0, os.NewSyscallError("writev", e)
		}
	}
}

func (b *bulkSocket) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if n, err := b.recv(&p[0], len(p), unix.MSG_DONTWAIT); n > 0 || err != nil {
			return n, err
		}
	}
}

// Discard has the kernel drop what came: with MSG_TRUNC it copies nothing.
func (b *bulkSocket) Discard(most int) (int, error) {
	if most <= 0 {
		return 0, nil
	}
	return b.recv(&b.none, most, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
}

// recv tries once. Where nothing has come it waits a little and returns 0.
func (b *bulkSocket) recv(p *byte, size, flags int) (int, error) {
	b.in.mu.Lock()
	defer b.in.mu.Unlock()
	if err := b.check(&b.in); err != nil {
		return 0, err
	}
	e := b.injected(CallRead)
	var n uintptr
	if e == 0 {
		n, _, e = unix.Syscall6(unix.SYS_RECVFROM, uintptr(b.fd), uintptr(unsafe.Pointer(p)), uintptr(size),
			uintptr(flags), 0, 0)
	}
	switch e {
	case 0:
		b.in.empty = 0
		if n == 0 {
			return 0, io.EOF
		}
		return int(n), nil
	case unix.EAGAIN:
		return 0, b.rest(&b.in, tcpNap, tcpNaps)
	case unix.EINTR:
		return 0, nil
	}
	return 0, os.NewSyscallError("recv", e)
}

func (b *bulkSocket) LocalAddrPort() netip.AddrPort  { return b.local }
func (b *bulkSocket) RemoteAddrPort() netip.AddrPort { return b.remote }
func (b *bulkSocket) Technique() string              { return tcpTrunc }

func (b *bulkSocket) Info() (info result.TCPInfo, ok bool) {
	err := b.with(func(fd int) (err error) {
		info, err = tcpInfo(fd)
		return err
	})
	return info, err == nil
}

func (b *bulkSocket) peerClosed() (closed bool, err error) {
	err = b.with(func(fd int) (err error) {
		closed, err = tcpClosed(fd)
		return err
	})
	return closed, err
}

func (b *bulkSocket) SetNotSentLowat(n int) error {
	return b.with(func(fd int) error { return setNotSentLowat(fd, n) })
}

func (b *bulkSocket) SetPacingRate(bps uint64) error {
	return b.with(func(fd int) error { return setPacingRate(fd, bps) })
}

func (b *bulkSocket) SetUserTimeout(d time.Duration) error {
	return b.with(func(fd int) error { return setUserTimeout(fd, d) })
}

func (b *bulkSocket) blockedFor() time.Duration { return time.Duration(b.out.waited.Load()) }
