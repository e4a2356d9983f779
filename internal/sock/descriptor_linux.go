package sock

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A descriptor is a socket that the Go runtime does not poll.
//
// The runtime watches every socket it knows for reading and writing, and each
// packet that comes and each buffer that gets free wakes one of its threads,
// even if nobody waits for it: half of the time of a busy pair of sockets. So a
// socket for bulk traffic is duplicated, the runtime's descriptor closed, and
// whoever has to wait sleeps in poll(2) on a thread of his own.
//
// The socket never blocks in read or write calls. Deadlines and Close wake a
// sleeper through an eventfd, one for each side.
type descriptor struct {
	fd      int
	closed  atomic.Bool
	control sync.Mutex // held while fd is used for anything but traffic
	in, out side
	fault   func(Call) syscall.Errno // for tests; nil otherwise
}

// A side is what the reader or the writer of a descriptor needs to wait.
type side struct {
	mu       sync.Mutex   // held during a call, so that Close can wait for its end
	deadline atomic.Int64 // on the clock of since(); 0 for none
	waited   atomic.Int64 // ns spent in poll
	event    int          // eventfd that wakes the sleeper
	poll     [2]unix.PollFd
	timeout  unix.Timespec
	nap      unix.Timespec
	empty    int // naps in a row that found nothing
}

var processStart = time.Now()

// since is a monotonic clock in ns; it starts at 1.
func since(t time.Time) int64 { return int64(t.Sub(processStart)) + 1 }

// detach takes the socket of c out of the runtime's poller: c is closed and a
// duplicate of its descriptor, which keeps the socket, is returned.
func detach(c interface {
	syscall.Conn
	io.Closer
}) (*descriptor, error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	d := &descriptor{in: side{event: -1}, out: side{event: -1}}
	cerr := rc.Control(func(s uintptr) { d.fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(cerr, os.NewSyscallError("dup", err)); err != nil {
		return nil, err
	}
	for _, s := range []*side{&d.in, &d.out} {
		if s.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
			d.closeAll()
			return nil, os.NewSyscallError("eventfd", err)
		}
		s.poll = [2]unix.PollFd{{Fd: int32(d.fd)}, {Fd: int32(s.event), Events: unix.POLLIN}}
	}
	d.in.poll[0].Events = unix.POLLIN
	d.out.poll[0].Events = unix.POLLOUT
	if err := c.Close(); err != nil { // this is what takes the socket out of epoll
		d.closeAll()
		return nil, err
	}
	return d, nil
}

func (d *descriptor) closeAll() error {
	for _, s := range []*side{&d.in, &d.out} {
		if s.event >= 0 {
			_ = unix.Close(s.event) // an eventfd has nothing to lose
		}
	}
	return os.NewSyscallError("close", unix.Close(d.fd))
}

// Close wakes whoever waits, lets calls finish and closes the socket.
func (d *descriptor) Close() error {
	if d.closed.Swap(true) {
		return net.ErrClosed
	}
	d.in.wake()
	d.out.wake()
	for _, mu := range []*sync.Mutex{&d.in.mu, &d.out.mu, &d.control} {
		mu.Lock()
		defer mu.Unlock()
	}
	return d.closeAll()
}

// with runs f on the descriptor unless it is closed.
func (d *descriptor) with(f func(fd int) error) error {
	d.control.Lock()
	defer d.control.Unlock()
	if d.closed.Load() {
		return net.ErrClosed
	}
	return f(d.fd)
}

func (d *descriptor) SetReadDeadline(t time.Time) error  { return d.setDeadline(&d.in, t) }
func (d *descriptor) SetWriteDeadline(t time.Time) error { return d.setDeadline(&d.out, t) }

func (d *descriptor) setDeadline(s *side, t time.Time) error {
	return d.with(func(int) error {
		at := int64(0)
		if !t.IsZero() {
			at = max(1, since(t))
		}
		s.deadline.Store(at)
		s.wake()
		return nil
	})
}

// wake makes the sleeper look at the deadline again. The event stays until
// then, so it does not matter who comes first.
func (s *side) wake() {
	one := [8]byte{1}
	if s.event >= 0 {
		// It fails only when the counter is full, and then the event is set.
		_, _ = unix.Write(s.event, one[:])
	}
}

// check returns why no call may begin or go on, or nil.
func (d *descriptor) check(s *side) error {
	if d.closed.Load() {
		return net.ErrClosed
	}
	if at := s.deadline.Load(); at != 0 && since(time.Now()) >= at {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// wait sleeps until the socket is ready for s, the deadline passes or the
// descriptor is closed.
func (d *descriptor) wait(s *side) error {
	began := time.Now()
	defer func() { s.waited.Add(int64(time.Since(began))) }()
	for {
		if err := d.check(s); err != nil {
			return err
		}
		var timeout *unix.Timespec
		if at := s.deadline.Load(); at != 0 {
			s.timeout = unix.NsecToTimespec(max(0, at-since(time.Now())))
			timeout = &s.timeout
		}
		s.poll[0].Revents, s.poll[1].Revents = 0, 0
		_, _, e := unix.Syscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&s.poll)), uintptr(len(s.poll)),
			uintptr(unsafe.Pointer(timeout)), 0, 0, 0)
		if e != 0 && e != unix.EINTR {
			return os.NewSyscallError("poll", e)
		}
		if s.poll[1].Revents != 0 {
			var count [8]byte
			_, _ = unix.Read(s.event, count[:]) // empty already: somebody else was quicker
		}
		if s.poll[0].Revents != 0 {
			return nil // an error or hang-up too: the next call tells which
		}
	}
}

// rest lets the reader sleep until there may be something to read. For as long
// as data flows it is a nap on a timer: nobody waits on the socket then, so the
// packets that come wake nobody. After most naps in vain it waits for good.
func (d *descriptor) rest(s *side, length time.Duration, most int) error {
	if s.empty >= most {
		return d.wait(s)
	}
	s.empty++
	if err := d.check(s); err != nil {
		return err
	}
	s.nap = unix.NsecToTimespec(int64(length))
	// Interrupted or not, the next read finds out whether it was enough.
	_, _, _ = unix.Syscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, 0,
		uintptr(unsafe.Pointer(&s.nap)), 0, 0, 0)
	return nil
}
