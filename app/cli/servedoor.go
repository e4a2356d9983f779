//go:build !nano

package cli

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

// A door is a listening address that outlives the servers behind it: a reload
// gives it to a new one, and no client finds it shut in between.
type door struct {
	net.Listener
	log *slog.Logger

	mu   sync.Mutex // guards lane
	lane *lane      // nil: who comes waits in the kernel's queue
	turn *sync.Cond // lane has changed
	shut bool
}

func newDoor(l net.Listener, log *slog.Logger) *door {
	d := &door{Listener: l, log: log}
	d.turn = sync.NewCond(&d.mu)
	go d.run()
	return d
}

// run takes clients and hands each to the server that the door leads to.
func (d *door) run() {
	for {
		d.mu.Lock()
		for d.lane == nil && !d.shut {
			d.turn.Wait()
		}
		d.mu.Unlock()
		conn, err := d.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // such as too many open files: it may pass
			d.log.Warn("accept", "err", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		for !d.hand(conn) {
		}
	}
}

// hand gives conn to the present server; false when that one has just left.
func (d *door) hand(conn net.Conn) bool {
	d.mu.Lock()
	for d.lane == nil && !d.shut {
		d.turn.Wait()
	}
	lane, shut := d.lane, d.shut
	d.mu.Unlock()
	if shut {
		conn.Close()
		return true
	}
	select {
	case lane.conns <- conn:
		return true
	case <-lane.closed:
		d.leave(lane)
		return false
	}
}

// lead leads the door to a new server, whose listener it returns.
func (d *door) lead() *lane {
	l := &lane{conns: make(chan net.Conn), closed: make(chan struct{}), at: d.Addr()}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lane = l
	d.turn.Broadcast()
	return l
}

// leave leads the door nowhere if it leads to l.
func (d *door) leave(l *lane) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lane == l {
		d.lane = nil
	}
}

// vacate leads the door nowhere: who comes waits.
func (d *door) vacate() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lane = nil
}

// close shuts the door for good.
func (d *door) close() {
	d.mu.Lock()
	d.shut = true
	d.turn.Broadcast()
	d.mu.Unlock()
	d.Listener.Close()
}

// A lane is a door as one server sees it: its listener, which the server closes
// when it ends while the door stays.
type lane struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	at     net.Addr
}

// Accept implements net.Listener.
func (l *lane) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *lane) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *lane) Addr() net.Addr { return l.at }
