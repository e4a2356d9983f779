package nat

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/stun/v3"
)

// ErrNoAnswer says that nothing came back in time.
var ErrNoAnswer = errors.New("no answer")

// retries are when a request is sent again; answerWait is when it is given up.
var retries = []time.Duration{0, 150 * time.Millisecond, 450 * time.Millisecond}

const answerWait = time.Second

// An Exchange pairs requests with answers on a socket that carries other
// traffic too: whoever reads the socket gives what IsSTUN to Deliver. It is
// safe for concurrent use.
type Exchange struct {
	Local netip.AddrPort
	Send  func(to netip.AddrPort, datagram []byte) error

	mu      sync.Mutex // guards waiting
	waiting map[[stun.TransactionIDSize]byte]chan<- arrival
}

// An arrival is a message that was waited for.
type arrival struct {
	from    netip.AddrPort
	at      time.Time
	message *stun.Message
}

// Deliver takes a datagram. It is false if nobody waits for it.
func (e *Exchange) Deliver(from netip.AddrPort, datagram []byte) bool {
	m, err := parse(datagram)
	if err != nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	to, ok := e.waiting[m.TransactionID]
	if !ok {
		return false
	}
	delete(e.waiting, m.TransactionID)
	to <- arrival{from, time.Now(), m} // has room: one for each transaction
	return true
}

// expect waits for a message of a transaction until ctx ends.
func (e *Exchange) expect(id [stun.TransactionIDSize]byte) (<-chan arrival, func()) {
	c := make(chan arrival, 1)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.waiting == nil {
		e.waiting = map[[stun.TransactionIDSize]byte]chan<- arrival{}
	}
	e.waiting[id] = c
	return c, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.waiting, id)
	}
}

// ask sends a Binding request until it is answered, or until answerWait. The
// round trip is that of the last time it was sent, at least.
func (e *Exchange) ask(ctx context.Context, to netip.AddrPort, change byte) (arrival, time.Duration, error) {
	var id [stun.TransactionIDSize]byte
	rand.Read(id[:]) // never fails: crypto/rand
	datagram, err := request(id, change)
	if err != nil {
		return arrival{}, 0, fmt.Errorf("nat: make a request: %w", err)
	}
	answers, done := e.expect(id)
	defer done()
	return e.repeat(ctx, answers, func() error { return e.Send(to, datagram) })
}

// repeat calls send at the times of retries until something arrives. What cannot
// be sent is lost; only if nothing could be, that is the error.
func (e *Exchange) repeat(ctx context.Context, answers <-chan arrival, send func() error) (arrival, time.Duration, error) {
	start := time.Now()
	var sent time.Time
	var failed error
	failures := 0
	for i := 0; ; i++ {
		next := answerWait
		if i < len(retries) {
			sent = time.Now()
			if err := send(); err != nil {
				failed = err
				failures++
			}
			if i+1 < len(retries) {
				next = retries[i+1]
			}
		}
		timer := time.NewTimer(time.Until(start.Add(next)))
		select {
		case a := <-answers:
			timer.Stop()
			return a, a.at.Sub(sent), nil
		case <-ctx.Done():
			timer.Stop()
			if a, ok := there(answers); ok {
				return a, a.at.Sub(sent), nil
			}
			return arrival{}, 0, context.Cause(ctx)
		case <-timer.C:
			if a, ok := there(answers); ok {
				return a, a.at.Sub(sent), nil
			}
			if next == answerWait && failures == len(retries) {
				return arrival{}, 0, fmt.Errorf("nat: send a request: %w", failed)
			}
			if next == answerWait {
				return arrival{}, 0, ErrNoAnswer
			}
		}
	}
}

// there is an answer that has come, when the time to wait for it is over as well.
func there(answers <-chan arrival) (a arrival, ok bool) {
	select {
	case a = <-answers:
		return a, true
	default:
		return a, false
	}
}

// Listen makes an Exchange of a socket that carries nothing else, and reads it
// until the socket is closed; done is closed then.
func Listen(c net.PacketConn) (e *Exchange, done <-chan struct{}) {
	over := make(chan struct{})
	e = &Exchange{Send: func(to netip.AddrPort, b []byte) error {
		_, err := c.WriteTo(b, net.UDPAddrFromAddrPort(to))
		return err
	}}
	if u, ok := c.LocalAddr().(*net.UDPAddr); ok {
		e.Local, _ = addrPort(u.IP, u.Port)
	}
	go func() {
		defer close(over)
		b := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFrom(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if u, ok := from.(*net.UDPAddr); err == nil && ok && IsSTUN(b[:n]) {
				at, _ := addrPort(u.IP, u.Port)
				e.Deliver(at, b[:n])
			}
		}
	}()
	return e, over
}
