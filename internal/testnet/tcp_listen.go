package testnet

import (
	"net"
	"os"
	"sync"
	"time"
)

// backlog is how many connections may wait for Accept.
const backlog = 128

// A listener listens for TCP.
type listener struct {
	host *Host
	bind binding

	mu     sync.Mutex // guards what follows
	wake   sync.Cond  // on mu: anything below has changed
	queue  []*conn
	closed bool
	end    deadline
}

func (h *Host) listenTCP(b binding) (*listener, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b, err := h.settle(b, h.listeners.isFree)
	if err != nil {
		return nil, err
	}
	l := &listener{host: h, bind: b}
	l.wake.L = &l.mu
	l.end.wake = &l.wake
	h.listeners.add(l)
	return l, nil
}

func (l *listener) bound() binding { return l.bind }

func (l *listener) hasRoom() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue) < backlog
}

// put hands over a connection for Accept.
func (l *listener) put(c *conn) {
	l.mu.Lock()
	closed := l.closed
	if !closed {
		l.queue = append(l.queue, c)
		l.wake.Broadcast()
	}
	l.mu.Unlock()
	if closed {
		c.refuse()
	}
}

// refuse resets a connection that nobody accepts.
func (c *conn) refuse() {
	c.mu.Lock()
	c.closed = true
	if !c.dead {
		c.reset()
	}
	c.mu.Unlock()
	c.flush()
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case l.closed:
			return nil, l.fault("accept", net.ErrClosed)
		case l.end.passed:
			return nil, l.fault("accept", os.ErrDeadlineExceeded)
		case len(l.queue) > 0:
			c := l.queue[0]
			l.queue = l.queue[1:]
			return c, nil
		}
		l.wake.Wait()
	}
}

// Close implements net.Listener. Connections that nobody accepted are reset.
func (l *listener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return l.fault("close", net.ErrClosed)
	}
	l.closed = true
	l.end.set(time.Time{})
	left := l.queue
	l.queue = nil
	l.mu.Unlock()
	for _, c := range left {
		c.refuse()
	}
	l.host.mu.Lock()
	defer l.host.mu.Unlock()
	l.host.listeners.remove(l)
	return nil
}

// SetDeadline is as that of *net.TCPListener.
func (l *listener) SetDeadline(at time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return l.fault("set", net.ErrClosed)
	}
	l.end.set(at)
	return nil
}

// Addr returns a *net.TCPAddr.
func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.bind.at) }

func (l *listener) fault(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: l.Addr(), Err: err}
}
