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

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/stream"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/rperf/wire"
)

// A link makes the connection of one TCP stream.
type link interface {
	// connect returns the connection and how many bytes of data were read from
	// it already. Before that it may return a *stream.Pause.
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
	yields   bool
	within   time.Duration
	unproven *admit.Gate
	waits    waits
}

// connect takes the first connection that shows the id within its time. Others
// are closed; none can keep the rest waiting.
func (c *called) connect(ctx context.Context) (net.Conn, int, error) {
	if pause := c.waits.first(c.yields, c.listener, c.within); pause != nil {
		return nil, 0, pause
	}
	ctx, cancel := context.WithDeadlineCause(ctx, c.waits.until(c.within), errNotJoined)
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
		from, room := sock.AddrPort(conn.RemoteAddr()).Addr(), others
		if from.WithZone("") == c.peer.WithZone("") {
			room = own
		}
		leave, err := c.unproven.Enter(from)
		if err != nil {
			conn.Close()
			continue
		}
		select {
		case room <- struct{}{}:
		default:
			leave()
			conn.Close()
			continue
		}
		wg.Go(func() {
			defer func() { <-room }()
			defer leave()
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
	bulk sock.BulkConn // nil before the connection stands

	mu     sync.Mutex        // guards what follows
	sender *stream.TCPSender // likewise
	final  *result.View      // when the connection is closed, which knows no more then
	begun  time.Time
	diff   difference
}

// run sends for the plan's duration and closes, which is the end of the stream.
func (s *tcpSender) run(ctx context.Context) error {
	if s.bulk == nil {
		if err := s.begin(ctx); err != nil {
			if stream.Paused(err) == nil && ctx.Err() != nil {
				err = nil
			}
			return err
		}
	}
	timed, stop := context.WithDeadline(ctx, s.begun.Add(s.duration))
	defer stop()
	err := s.sender.Run(timed)
	if stream.Paused(err) != nil {
		return err
	}
	v := s.sender.View()
	s.mu.Lock()
	s.final = &v
	s.mu.Unlock()
	s.bulk.Close()
	return err
}

// begin makes the connection and what sends on it.
func (s *tcpSender) begin(ctx context.Context) (err error) {
	conn, _, err := s.link.connect(ctx)
	if err != nil {
		return err
	}
	s.tcpSocket(conn)
	bulk, err := sock.Bulk(conn)
	if err != nil {
		conn.Close()
		return fmt.Errorf("connection: %w", err)
	}
	defer func() {
		if err != nil {
			bulk.Close()
		}
	}()
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
	ring := s.ring()
	out := &stream.TCPSender{Conn: bulk, Block: ring.Block(), Ring: ring, Budget: s.budget.Out(), Yields: s.yields && sock.Polled(bulk)}
	if s.rate > 0 {
		out.Limit = pace.NewLimiter(pace.NewRate(s.rate))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bulk, s.sender, s.begun = bulk, out, time.Now()
	return nil
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sender != nil { // its bytes alone: the kernel need not be asked for more
		i.Bytes = s.diff.take(s.sender.Bytes() + head)
	}
}

func (s *tcpSender) last() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun
}

func (s *tcpSender) tend(now time.Time) (over bool) {
	s.mu.Lock()
	out, begun := s.sender, s.begun
	s.mu.Unlock()
	if out == nil {
		return false
	}
	out.Rest(now)
	return now.Sub(begun) >= s.duration
}

func (s *tcpSender) close() { s.link.close() }

// A tcpReceiver receives one stream over TCP.
type tcpReceiver struct {
	*plan
	link  link
	bulk  sock.BulkConn // nil before the connection stands
	vigil vigil

	mu       sync.Mutex // guards what follows; receiver is nil before the connection stands
	receiver *stream.TCPReceiver
	final    *result.View // when the connection is closed, which knows no more then
	read     uint64       // bytes of data read before the receiver began
	joined   time.Time
	diff     difference
}

// run receives until the sender closes.
func (r *tcpReceiver) run(ctx context.Context) error {
	if r.bulk == nil {
		if err := r.begin(ctx); err != nil {
			if stream.Paused(err) == nil && ctx.Err() != nil {
				err = nil
			}
			return err
		}
	}
	alive, stop := r.vigil.begin(ctx)
	defer stop()
	err := r.receiver.Run(alive)
	if stream.Paused(err) != nil {
		return err
	}
	v := r.receiver.View()
	r.mu.Lock()
	r.final = &v
	r.mu.Unlock()
	r.bulk.Close()
	switch {
	case errors.Is(err, io.EOF), ctx.Err() != nil && err == nil:
		return nil
	case err != nil:
		return err
	}
	return context.Cause(alive)
}

// begin makes the connection and what receives on it.
func (r *tcpReceiver) begin(ctx context.Context) error {
	conn, read, err := r.link.connect(ctx)
	if err != nil {
		return err
	}
	r.tcpSocket(conn)
	bulk, err := sock.Bulk(conn)
	if err != nil {
		conn.Close()
		return fmt.Errorf("connection: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bulk = bulk
	r.receiver = &stream.TCPReceiver{Conn: bulk, Budget: r.budget.In(), Limit: r.intake, Yields: r.yields && sock.Polled(bulk)}
	r.read, r.joined = uint64(read), time.Now()
	return nil
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

func (r *tcpReceiver) record(i *wire.Interval) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.receiver != nil {
		i.Bytes = r.diff.take(r.receiver.Bytes() + r.read)
	}
}

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

func (r *tcpReceiver) tend(now time.Time) (over bool) {
	r.mu.Lock()
	in := r.receiver
	r.mu.Unlock()
	if in == nil {
		return false
	}
	in.Rest(now)
	return r.vigil.look(now, r.last())
}

func (r *tcpReceiver) close() { r.link.close() }
