package sock

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Poller watches sockets over which nothing passes for now. The runtime wants a
// goroutine for each that is waited for; with a Poller one goroutine, that of
// Run, waits for all. It is safe for concurrent use.
type Poller struct {
	file *os.File // an epoll instance, which the runtime watches as it does a socket
	conn syscall.RawConn
	fd   int

	mu      sync.Mutex // guards waiting, and what the epoll instance watches
	waiting map[int32]func()
}

// NewPoller makes a Poller; Close frees it.
func NewPoller() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or the runtime would not watch it
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &Poller{file: os.NewFile(uintptr(fd), "epoll"), fd: fd, waiting: map[int32]func(){}}
	if p.conn, err = p.file.SyscallConn(); err != nil {
		p.file.Close()
		return nil, err
	}
	return p, nil
}

// Enter has Run call ready once, as soon as c can be read, or written if write,
// or has an error to tell: at once if it can already. c is a PacketConn, a
// BulkConn or a listener that Polled says yes to.
func (p *Poller) Enter(c any, write bool, ready func()) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN}
	if write {
		event.Events = unix.EPOLLOUT
	}
	return p.control(c, func(fd int32) error {
		event.Fd = fd
		if err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, int(fd), &event); err != nil {
			return os.NewSyscallError("epoll_ctl", err)
		}
		p.waiting[fd] = ready
		return nil
	})
}

// Leave ends the wait of c, before it is closed or used again.
func (p *Poller) Leave(c any) {
	_ = p.control(c, func(fd int32) error { // closed: the kernel has forgotten it
		p.take(fd)
		return nil
	})
}

// control runs f on the descriptor of c, with p.mu held.
func (p *Poller) control(c any, f func(fd int32) error) error {
	on, err := polled(c)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var ferr error
	if err := on.Control(func(fd uintptr) { ferr = f(int32(fd)) }); err != nil {
		return err
	}
	return ferr
}

// take takes a descriptor out and returns what was to be called; nil when it has
// left. p.mu is held.
func (p *Poller) take(fd int32) (ready func()) {
	ready = p.waiting[fd]
	if ready != nil {
		delete(p.waiting, fd)
		_ = unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, int(fd), nil) // closed: it is out already
	}
	return ready
}

// Run waits until Close.
func (p *Poller) Run() {
	var events [64]unix.EpollEvent
	n := 0
	look := func(fd uintptr) (done bool) {
		// An error other than an interruption there is only for a bad descriptor.
		n, _ = unix.EpollWait(int(fd), events[:], 0)
		return n > 0
	}
	for p.conn.Read(look) == nil {
		for _, e := range events[:n] {
			p.mu.Lock()
			ready := p.take(e.Fd)
			p.mu.Unlock()
			if ready != nil {
				ready()
			}
		}
	}
}

// Close ends Run. Nobody may use p any more.
func (p *Poller) Close() error { return p.file.Close() }

// Polled reports whether a Poller can watch c: a socket of the system.
func Polled(c any) bool {
	_, err := polled(c)
	return err == nil
}

// A controller runs a function on its descriptor.
type controller interface {
	Control(f func(fd uintptr)) error
}

// polled is the socket under c.
func polled(c any) (controller, error) {
	switch c := c.(type) {
	case controller:
		return c, nil
	case *plainPackets:
		if udp, ok := c.conn.(*net.UDPConn); ok {
			return udp.SyscallConn()
		}
	case *plainBulk:
		if c.tcp != nil {
			return c.tcp.SyscallConn()
		}
	case *net.TCPListener:
		return c.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// Control runs f on the descriptor unless it is closed.
func (d *descriptor) Control(f func(fd uintptr)) error {
	return d.with(func(fd int) error {
		f(uintptr(fd))
		return nil
	})
}
