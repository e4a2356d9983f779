package transcript

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// A Message is a piece of TCP data in its place in a recording.
type Message struct {
	Event  *Event
	Index  int    // of the event in the recording
	Offset int64  // of the event's first byte among what its sender says on the connection
	Data   []byte // what is to be said, or what came in place of it
}

// A Player plays one side of a recording against a live peer, in the order of
// the recording: what the side said is sent, what the far end said is waited
// for and compared, over all connections, so that whatever followed from
// something else does so again.
//
// From the first bulk event of a connection on (see Bulk) the far end's bytes
// there are no longer compared, but handed to Watch, and ours are sent at the
// times of the recording. A replay ends when each connection was closed by
// either side.
//
// Time is real time, or that of a synctest bubble; connections may be net.Pipes.
type Player struct {
	Recording *Recording
	Side      Side // who is played

	// Connect returns connection n, counted from 1 as in the recording. The
	// client's player dials, the server's accepts.
	Connect func(ctx context.Context, n int) (net.Conn, error)
	// Packets returns the socket that stands for a port of the recording, our
	// side's, when its first datagram is due. Nil leaves datagrams out.
	Packets func(ctx context.Context, port uint16) (net.PacketConn, error)
	// Address is where the far end's port of the recording is now.
	Address func(port uint16) net.Addr

	// Say may change what is sent, such as a token or a hash that depends on
	// what the live peer said. Nil sends what was recorded.
	Say func(m Message) ([]byte, error)
	// Mask returns which bits of what comes are compared: nil all of them, else
	// as many bytes as the event has, 0 where anything is right. Nil compares all.
	Mask func(m Message) []byte
	// Hear is called with what came, once it was compared. It may be nil.
	Hear func(m Message) error
	// Bulk says where the free part of a connection begins. Nil means with its
	// first Zeros, or the first Data of which only the front is known.
	Bulk func(e *Event, index int) bool
	// Until, if not nil, ends the replay before the first event for which it is
	// true. The connections are then left open, for the caller to go on with.
	Until func(e *Event, index int) bool

	// Watch sees bytes that are not compared, and WatchPacket the datagrams
	// that came to a port of the recording. Each connection and port has its
	// goroutine. They may be nil.
	Watch       func(conn int, b []byte)
	WatchPacket func(port uint16, b []byte, from net.Addr)

	Patience time.Duration // for each thing awaited; 0 means 10 s
	Hurry    bool          // do not keep the times of the recording
}

// Played is what a replay did.
type Played struct {
	Sent, Received        map[int]int64    // bytes of each connection
	PacketsOut, PacketsIn map[uint16]int64 // datagrams of each of our ports
	// Early lists the connections that the far end closed before we had said
	// all that the recording has.
	Early []int
	// Conns are the connections left open by Until.
	Conns map[int]net.Conn
}

// Play plays one side of r, a handshake, on a single connection and compares
// every byte of the other side. It closes conn only where its side does so in
// the recording.
func Play(conn net.Conn, side Side, r *Recording) error {
	p := Player{Recording: r, Side: side, Bulk: func(*Event, int) bool { return false },
		Connect: func(_ context.Context, n int) (net.Conn, error) {
			if n != 1 {
				return nil, errors.New("there is only one connection to play on")
			}
			return conn, nil
		}}
	run, stop := p.newReplay(context.Background())
	defer stop(nil)
	_, err := run.run()
	run.leaveOpen()
	return err
}

// Play runs the replay. What the far end said wrongly is a *MismatchError.
func (p *Player) Play(ctx context.Context) (*Played, error) {
	if p.Packets != nil && p.Address == nil {
		return nil, errors.New("transcript: Packets without Address")
	}
	r, stop := p.newReplay(ctx)
	defer stop(nil)
	until, err := r.run()
	if err == nil && until {
		if err = r.handOver(); err == nil {
			return r.played, nil
		}
	}
	if err == nil {
		err = r.finish()
	}
	r.close(err)
	return r.played, err
}

func (p *Player) newReplay(ctx context.Context) (*replay, context.CancelCauseFunc) {
	ctx, stop := context.WithCancelCause(ctx)
	return &replay{Player: p, ctx: ctx, stop: stop, lanes: map[int]*lane{}, ports: map[uint16]*portLane{}, base: time.Now(),
		played: &Played{Sent: map[int]int64{}, Received: map[int]int64{}, PacketsOut: map[uint16]int64{}, PacketsIn: map[uint16]int64{}}}, stop
}

// A replay is one run of a Player.
type replay struct {
	*Player
	ctx   context.Context
	stop  context.CancelCauseFunc
	wg    sync.WaitGroup
	lanes map[int]*lane
	ports map[uint16]*portLane

	mu     sync.Mutex // guards what follows
	played *Played
	base   time.Time // when the recording's clock was at 0
}

func (r *replay) patience() time.Duration { return cmp.Or(r.Patience, 10*time.Second) }

// run goes through the events in order. It is true when Until ended it.
func (r *replay) run() (until bool, err error) {
	events := r.Recording.Events
	for i := range events {
		e := &events[i]
		if r.Until != nil && r.Until(e, i) {
			return true, nil
		}
		if err := r.ctx.Err(); err != nil {
			return false, context.Cause(r.ctx)
		}
		switch {
		case e.Kind.TCP():
			err = r.tcp(e, i)
		case e.Kind.UDP() && r.Packets != nil:
			err = r.udp(e)
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// tcp plays one event of a connection.
func (r *replay) tcp(e *Event, i int) error {
	l, err := r.lane(e.Conn)
	if err != nil {
		return err
	}
	defer func() { l.offset[e.From] += e.Len }()
	if !l.free && r.bulk(e, i) {
		l.free = true
		r.wg.Go(l.listen)
		r.wg.Go(l.talk)
	}
	m := Message{Event: e, Index: i, Offset: l.offset[e.From], Data: e.Data}
	switch {
	case e.Kind == Open:
	case l.free && e.From == r.Side:
		l.todo <- m
	case l.free:
	case e.From == r.Side:
		if err := r.sleep(r.ctx, e.At); err != nil {
			return err
		}
		return l.say(m)
	default:
		if err := l.hear(m); err != nil {
			return err
		}
		r.keepPace(e)
	}
	return nil
}

// keepPace lets the clock of the recording wait for a far end that took
// longer than the recorded one.
func (r *replay) keepPace(e *Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if late := time.Since(r.base) - e.End(); late > 0 {
		r.base = r.base.Add(late)
	}
}

// sleep waits until the recording's clock is at t, or ctx ends.
func (r *replay) sleep(ctx context.Context, t time.Duration) error {
	if r.Hurry {
		return context.Cause(ctx)
	}
	r.mu.Lock()
	due := r.base.Add(t)
	r.mu.Unlock()
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ours counts the events of our side for which match is true.
func (r *replay) ours(match func(*Event) bool) int {
	n := 0
	for i := range r.Recording.Events {
		if e := &r.Recording.Events[i]; e.From == r.Side && match(e) {
			n++
		}
	}
	return n
}

func (r *replay) bulk(e *Event, i int) bool {
	if r.Bulk != nil {
		return r.Bulk(e, i)
	}
	return e.Kind == Zeros || e.Cut()
}

// lane returns connection n, which it opens at the first event.
func (r *replay) lane(n int) (*lane, error) {
	if l := r.lanes[n]; l != nil {
		return l, nil
	}
	ctx, cancel := context.WithTimeoutCause(r.ctx, r.patience(), fmt.Errorf("transcript: connection %d: not opened within %v", n, r.patience()))
	defer cancel()
	conn, err := r.Connect(ctx, n)
	if err != nil {
		return nil, fmt.Errorf("transcript: connection %d: %w", n, err)
	}
	most := r.ours(func(e *Event) bool { return e.Kind.TCP() && e.Conn == n })
	l := &lane{replay: r, n: n, conn: conn, offset: map[Side]int64{}, todo: make(chan Message, most), gone: make(chan struct{})}
	l.ctx, l.stop = context.WithCancelCause(r.ctx)
	l.unhook = context.AfterFunc(l.ctx, func() { conn.SetDeadline(longAgo) })
	r.lanes[n] = l
	return l, nil
}

// finish lets the lanes say what they still have to, and waits for the far
// end to close them.
func (r *replay) finish() error {
	wait := 0
	for _, l := range r.lanes {
		close(l.todo)
		if l.free {
			wait++
			continue
		}
		l.stop(nil)
		l.conn.Close()
	}
	for _, p := range r.ports {
		close(p.todo)
	}
	for _, l := range r.lanes {
		if l.free {
			<-l.gone
		}
	}
	if wait == 0 && len(r.ports) > 0 { // nothing tells the end but the clock
		for _, p := range r.ports {
			<-p.said
		}
		events := r.Recording.Events
		return r.sleep(r.ctx, events[len(events)-1].End())
	}
	return context.Cause(r.ctx)
}

// close ends everything and waits for all goroutines.
func (r *replay) close(cause error) {
	r.stop(cause)
	for _, l := range r.lanes {
		l.conn.Close()
	}
	for _, p := range r.ports {
		p.conn.Close()
	}
	r.wg.Wait()
}

// handOver gives the connections to the caller of a replay that Until ended.
func (r *replay) handOver() error {
	for _, l := range r.lanes {
		if l.free {
			return fmt.Errorf("transcript: connection %d: its bulk began before the event that Until names", l.n)
		}
	}
	r.leaveOpen()
	return nil
}

func (r *replay) leaveOpen() {
	r.played.Conns = map[int]net.Conn{}
	for n, l := range r.lanes {
		l.unhook()
		if !l.shut {
			l.conn.SetDeadline(time.Time{})
			r.played.Conns[n] = l.conn
		}
	}
}

// longAgo is a deadline that wakes whatever is blocked.
var longAgo = time.Unix(1, 0)

// closed reports whether err says that the far end closed a connection.
func closed(err error) bool {
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF)
}
