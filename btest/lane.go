package btest

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/stream"
)

// What waits unsent in the kernel on connections that carry statuses is bounded,
// since a status queues behind it: bytes of all connections together, as they
// share the path, and of each at least.
const (
	notSent      = 128 << 10
	leastNotSent = 32 << 10
)

// Receive buffers of limited connections, bytes. With less than the least there
// is never room for a whole segment of 64 KB, and the window stays shut but for
// probes; more than the most is what the kernel finds by itself.
const (
	leastBuffer = 128 << 10
	mostBuffer  = 4 << 20
)

// A lane is one connection of a test.
type lane struct {
	conn    sock.BulkConn
	sender  *stream.TCPSender // nil when our end does not send
	recv    *stream.TCPReceiver
	insert  chan []byte // statuses between the blocks that sender sends
	first   bool        // of the test
	once    sync.Once   // a lane ends once, whichever of its halves notices
	reports reports     // statuses of the far end

	// Of the goroutine that sends statuses.
	told    uint64 // received bytes that our statuses have told
	number  uint32 // of the last status
	garbled bool   // a status went out in part: no other may follow

	// Of the goroutine that watches.
	moved   uint64    // bytes sent when last looked at
	movedAt time.Time // when they had last grown
	patient bool      // the kernel was told not to give up
}

// lane makes a lane of c, which it takes over.
func (p *tcpPhase) lane(c net.Conn) (*lane, error) {
	c = untraced(c)
	if p.intake != nil {
		p.narrow(c)
	}
	conn, err := p.bulk(c)
	if err != nil {
		c.Close()
		return nil, err
	}
	l := &lane{conn: conn}
	l.recv = &stream.TCPReceiver{Conn: conn, Budget: p.budget.In(), Limit: p.intake}
	if p.mayHoldStatus() {
		l.recv.Scan = p.scanner(l)
	}
	// Without these the system's own, longer, times hold: not worth failing.
	_ = conn.SetUserTimeout(silenceTime)
	if p.transmits() {
		l.sender = &stream.TCPSender{Conn: conn, Block: p.block, Ring: p.ring, Limit: p.limit, Budget: p.budget.Out()}
		if p.sendsStatuses() {
			l.insert = make(chan []byte, 4)
			l.sender.Insert = l.insert
			_ = conn.SetNotSentLowat(max(notSent/p.connections, leastNotSent))
		}
	}
	return l, nil
}

// bulk gives c over to bulk traffic. One that is limited to little stays with the
// runtime: see slow.
func (p *tcpPhase) bulk(c net.Conn) (sock.BulkConn, error) {
	if p.slow(slowTCP, slowTCP) {
		return sock.SlowBulk(c), nil
	}
	return sock.Bulk(c)
}

// narrow keeps what the kernel takes ahead of a limited receiver short: the
// limit would be felt only once its buffers are full.
func (p *tcpPhase) narrow(c net.Conn) {
	if tcp, ok := c.(interface{ SetReadBuffer(int) error }); ok {
		half := p.ceiling / 8 / 2 // of a second
		_ = tcp.SetReadBuffer(int(min(max(half, leastBuffer), mostBuffer)))
	}
}

// verdictTime is how long a sender that finds its connection gone waits for
// the receiver to say how.
const verdictTime = 100 * time.Millisecond

// start runs the goroutines of l. When a connection fails the kernel tells only
// one of its two halves why; the other finds it closed.
func (p *tcpPhase) start(l *lane) {
	ctx, end := context.WithCancel(p.ctx)
	sent, received := make(chan error, 1), make(chan struct{})
	if l.sender == nil {
		sent <- nil
	} else {
		p.sending.Go(func() {
			err := l.sender.Run(ctx)
			sent <- err
			if sock.IsGone(err) {
				select {
				case <-received: // it has the verdict
					return
				case <-time.After(verdictTime): // it still has much to read
				}
			}
			if err != nil {
				p.ended(l, err)
			}
		})
	}
	p.wg.Go(func() {
		err := l.recv.Run(p.hear)
		close(received)
		end()
		if other := <-sent; sock.IsGone(err) && sock.IsSilent(other) {
			err = other
		}
		if err != nil {
			p.ended(l, err)
		}
	})
}

// ended takes note that l ended by itself, with err.
func (p *tcpPhase) ended(l *lane, err error) {
	if errors.Is(err, io.EOF) {
		err = errPeerClosed
	}
	if lost := sock.IsGone(err) || errors.Is(err, errPeerClosed) || sock.IsSilent(err); !lost || l.first {
		p.stop(err)
		return
	}
	l.once.Do(func() {
		p.mu.Lock()
		p.live--
		last := p.live <= 0
		p.mu.Unlock()
		if last {
			p.stop(err)
		}
	})
}

// tell sends a status, unless what lies before it is held up.
func (l *lane) tell(b []byte) bool {
	if l.insert != nil {
		select {
		case l.insert <- b:
			return true
		default:
			return false
		}
	}
	if l.garbled {
		return false
	}
	_ = l.conn.SetWriteDeadline(time.Now().Add(statusEvery / 2)) // a closed connection fails below
	n, err := l.conn.Write(b)
	l.garbled = n > 0 && n < len(b)
	return err == nil
}

// progress is when what l sends had last moved on.
func (l *lane) progress() time.Time {
	if l.sender == nil {
		return time.Time{}
	}
	if n := l.sender.View().Bytes; n != l.moved {
		l.moved, l.movedAt = n, time.Now()
	}
	return l.movedAt
}

// wait lets the kernel bear a peer that takes nothing for long: one that talks
// to us is there, and may have a limit.
func (l *lane) wait() {
	if !l.patient {
		l.patient = true
		_ = l.conn.SetUserTimeout(0) // where it cannot be lifted it could not be set
	}
}
