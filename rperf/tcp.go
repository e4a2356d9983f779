package rperf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/stream"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/rperf/wire"
)

// A link makes the connection of one TCP stream.
type link interface {
	// connect returns the connection and how many bytes of data were read from
	// it already.
	connect(ctx context.Context) (conn net.Conn, read int, err error)
	close()
}

// A caller opens the connection.
type caller struct {
	dial   func(ctx context.Context) (net.Conn, error)
	tell   []byte // said first: the test id, where the caller is the receiver
	within time.Duration
}

func (c *caller) connect(ctx context.Context) (net.Conn, int, error) {
	ctx, cancel := context.WithTimeout(ctx, c.within)
	defer cancel()
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, 0, fmt.Errorf("connect: %w", err)
	}
	if len(c.tell) > 0 {
		_ = conn.SetWriteDeadline(time.Now().Add(c.within))
		if _, err := conn.Write(c.tell); err != nil {
			conn.Close()
			return nil, 0, fmt.Errorf("connect: %w", err)
		}
	}
	return conn, 0, nil
}

func (c *caller) close() {}

// Connections that may be looked at together: anybody can open one, so
// strangers must not take the places of the far end's own address.
const (
	strangers = 8
	ownOnes   = 16
)

// A called one waits for the connection that begins with the test's id.
type called struct {
	listener net.Listener
	id       wire.TestID
	peer     netip.Addr // whose connection is expected; the id is the credential
	data     bool       // the id is part of the data
	within   time.Duration
}

// connect takes the first connection that shows the id within its time. Others
// are closed; none can keep the rest waiting.
func (c *called) connect(ctx context.Context) (net.Conn, int, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.within, errNotJoined)
	found := make(chan net.Conn)
	var wg sync.WaitGroup
	wg.Go(func() { c.accept(ctx, &wg, found) })
	defer wg.Wait()
	defer c.listener.Close()
	defer cancel()
	select {
	case conn := <-found:
		if c.data {
			return conn, wire.TestIDLen, nil
		}
		return conn, 0, nil
	case <-ctx.Done():
		return nil, 0, context.Cause(ctx)
	}
}

func (c *called) accept(ctx context.Context, wg *sync.WaitGroup, found chan<- net.Conn) {
	others, own := make(chan struct{}, strangers), make(chan struct{}, ownOnes)
	for {
		conn, err := c.listener.Accept()
		if err != nil {
			return // closed by connect, or unusable: then connect's time runs out
		}
		room := others
		if addrPort(conn.RemoteAddr()).Addr().WithZone("") == c.peer.WithZone("") {
			room = own
		}
		select {
		case room <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		wg.Go(func() {
			defer func() { <-room }()
			if !c.shown(ctx, conn) {
				conn.Close()
				return
			}
			select {
			case found <- conn:
			case <-ctx.Done():
				conn.Close()
			}
		})
	}
}

// shown reads what must be the id. Like a real receiver it wants it soon, but
// not in one segment.
func (c *called) shown(ctx context.Context, conn net.Conn) bool {
	if err := conn.SetReadDeadline(time.Now().Add(joinTime)); err != nil {
		return false
	}
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(longAgo) })
	defer stop()
	var id wire.TestID
	if _, err := io.ReadFull(conn, id[:]); err != nil || id != c.id {
		return false
	}
	return stop() && conn.SetReadDeadline(time.Time{}) == nil
}

func (c *called) close() { c.listener.Close() }

// head is how long the id is that begins a stream.
const head = wire.TestIDLen

// A tcpSender sends one stream over TCP.
type tcpSender struct {
	*plan
	link link

	mu     sync.Mutex        // guards what follows but diff
	sender *stream.TCPSender // nil before the connection stands
	final  *result.View      // when the connection is closed, which knows no more then
	begun  time.Time
	diff   difference
}

// run sends for the plan's duration and closes, which is the end of the stream.
func (s *tcpSender) run(ctx context.Context) error {
	conn, _, err := s.link.connect(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	s.tcpSocket(conn)
	bulk, err := sock.Bulk(conn)
	if err != nil {
		conn.Close()
		return fmt.Errorf("connection: %w", err)
	}
	defer bulk.Close()
	_ = bulk.SetUserTimeout(ackTime) // where it can; else the stream ends with its duration
	// The receiver wants the id whole, however small the writes of a slow
	// stream are.
	if err := s.budget.Out().Spend(head); err != nil {
		return err
	}
	_ = bulk.SetWriteDeadline(time.Now().Add(answerTime))
	if _, err := bulk.Write(s.id[:]); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	out := &stream.TCPSender{Conn: bulk, Block: wire.Block(s.id, min(s.length, maxBlock)), Budget: s.budget.Out()}
	if s.rate > 0 {
		out.Limit = pace.NewLimiter(pace.NewRate(s.rate))
	}
	s.mu.Lock()
	s.sender, s.begun = out, time.Now()
	s.mu.Unlock()
	ctx, stop := context.WithTimeout(ctx, s.duration)
	defer stop()
	defer func() {
		v := out.View()
		s.mu.Lock()
		s.final = &v
		s.mu.Unlock()
	}()
	return out.Run(ctx)
}

func (s *tcpSender) view() result.View {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sender == nil {
		return result.View{}
	}
	v := s.final
	if v == nil {
		v = result.Some(s.sender.View())
	}
	all := *v
	all.Bytes += head
	return all
}

func (s *tcpSender) record(i *wire.Interval) {
	i.Sent = true
	i.Bytes = s.diff.take(s.view()).Bytes
}

func (s *tcpSender) last() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun
}

func (s *tcpSender) close() { s.link.close() }

// A tcpReceiver receives one stream over TCP.
type tcpReceiver struct {
	*plan
	link link

	mu       sync.Mutex // guards what follows but diff; receiver is nil before the connection stands
	receiver *stream.TCPReceiver
	final    *result.View // when the connection is closed, which knows no more then
	read     uint64       // bytes of data read before the receiver began
	joined   time.Time
	diff     difference
}

// run receives until the sender closes.
func (r *tcpReceiver) run(ctx context.Context) error {
	conn, read, err := r.link.connect(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	r.tcpSocket(conn)
	bulk, err := sock.Bulk(conn)
	if err != nil {
		conn.Close()
		return fmt.Errorf("connection: %w", err)
	}
	defer bulk.Close()
	in := &stream.TCPReceiver{Conn: bulk, Budget: r.budget.In(), Limit: r.intake}
	r.mu.Lock()
	r.receiver, r.read, r.joined = in, uint64(read), time.Now()
	r.mu.Unlock()
	alive, stop := untilSilent(ctx, silenceTime, r.last)
	defer stop()
	defer func() {
		v := in.View()
		r.mu.Lock()
		r.final = &v
		r.mu.Unlock()
	}()
	switch err := in.Run(alive); {
	case errors.Is(err, io.EOF), ctx.Err() != nil && err == nil:
		return nil
	case err != nil:
		return err
	}
	return context.Cause(alive)
}

func (r *tcpReceiver) view() result.View {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.receiver == nil {
		return result.View{}
	}
	v := r.final
	if v == nil {
		v = result.Some(r.receiver.View())
	}
	all := *v
	all.Bytes += r.read
	return all
}

func (r *tcpReceiver) record(i *wire.Interval) { i.Bytes = r.diff.take(r.view()).Bytes }

func (r *tcpReceiver) last() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.receiver == nil {
		return time.Time{}
	}
	if at := r.receiver.Last(); !at.IsZero() {
		return at
	}
	return r.joined
}

func (r *tcpReceiver) close() { r.link.close() }
