package sock

import (
	"net"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A front reads the fronts of datagrams from a socket that the runtime polls.
// With MSG_TRUNC the kernel tells the length of what it does not copy, so a
// socket needs no room for a whole datagram while it waits for one.
type front struct {
	rc    syscall.RawConn
	name  sockaddr
	zones zones
	buf   []byte // of the call that runs
	n     int
	errno unix.Errno
	try   func(fd uintptr) (done bool) // a value, so that no call allocates one
}

// newFront is nil where c does not give its descriptor.
func newFront(c *net.UDPConn) *front {
	rc, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	f := &front{rc: rc}
	f.try = f.receive
	return f
}

// read reads the front of a datagram into b and returns its length.
func (f *front) read(b []byte) (n int, from netip.AddrPort, err error) {
	f.buf = b
	if err := f.rc.Read(f.try); err != nil {
		return 0, netip.AddrPort{}, err
	}
	if f.errno != 0 {
		return 0, netip.AddrPort{}, os.NewSyscallError("recvfrom", f.errno)
	}
	return f.n, f.name.get(&f.zones), nil
}

// receive is false when there is nothing to read yet.
func (f *front) receive(fd uintptr) (done bool) {
	for {
		size := uint32(len(f.name))
		n, _, e := unix.Syscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(f.buf))), uintptr(len(f.buf)),
			unix.MSG_DONTWAIT|unix.MSG_TRUNC, uintptr(unsafe.Pointer(&f.name)), uintptr(unsafe.Pointer(&size)))
		if e == unix.EINTR {
			continue
		}
		f.n, f.errno = int(n), e
		return e != unix.EAGAIN
	}
}

// A drain throws away what comes on a TCP connection that the runtime polls: with
// MSG_TRUNC the kernel copies nothing.
type drain struct {
	rc    syscall.RawConn
	none  byte // where nothing is written to
	most  int  // of the call that runs
	n     int
	errno unix.Errno
	try   func(fd uintptr) (done bool)
}

// newDrain is nil where c does not give its descriptor.
func newDrain(c *net.TCPConn) *drain {
	rc, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	d := &drain{rc: rc}
	d.try = d.receive
	return d
}

// discard throws away at most so many bytes, and returns how many there were; 0
// is the end.
func (d *drain) discard(most int) (n int, err error) {
	d.most = most
	if err := d.rc.Read(d.try); err != nil {
		return 0, err
	}
	if d.errno != 0 {
		return 0, os.NewSyscallError("recv", d.errno)
	}
	return d.n, nil
}

// receive is false when there is nothing to read yet.
func (d *drain) receive(fd uintptr) (done bool) {
	for {
		n, _, e := unix.Syscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&d.none)), uintptr(d.most),
			unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
		if e == unix.EINTR {
			continue
		}
		d.n, d.errno = int(n), e
		return e != unix.EAGAIN
	}
}
