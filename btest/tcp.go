package btest

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/stream"
	"github.com/sonde-net/sonde/result"
)

// notSent bounds what waits unsent in the kernel on connections that carry
// statuses: a status queues behind it.
const notSent = 128 << 10

// tcpPhase is the data phase of a TCP test: lanes, one for each connection,
// the first of which is also the control connection. Lanes may come while the
// test runs.
type tcpPhase struct {
	*test
	limit *pace.Limiter // over all lanes; nil without a limit
	block []byte

	mu    sync.Mutex // guards lanes and live
	lanes []*lane
	live  int
	over  bool
}

// A lane is one connection of a test.
type lane struct {
	conn    sock.BulkConn
	sender  *stream.TCPSender // nil when our end does not send
	recv    *stream.TCPReceiver
	insert  chan []byte // statuses between the blocks that sender sends
	told    uint64      // received bytes that our statuses have told
	moved   uint64      // bytes sent when last looked at
	movedAt time.Time   // when they had last grown
	reports reports     // statuses of the far end
}

func newTCPPhase(t *test) *tcpPhase {
	p := &tcpPhase{test: t, block: make([]byte, t.size)}
	if !t.zeros {
		wire.FillRandom(p.block, randomWords())
	}
	if t.rate > 0 {
		p.limit = pace.NewLimiter(pace.NewRate(t.rate))
	}
	return p
}

// randomWords is a source of random numbers for payload.
func randomWords() func() uint64 {
	var b [4096]byte
	at := len(b)
	return func() uint64 {
		if at == len(b) {
			rand.Read(b[:])
			at = 0
		}
		at += 8
		return binary.LittleEndian.Uint64(b[at-8:])
	}
}

// add starts a lane on c, which it takes over. When the lane ends and it was
// the first, or the last one left, the test ends.
func (p *tcpPhase) add(c net.Conn) error {
	conn, err := sock.Bulk(untraced(c))
	if err != nil {
		c.Close()
		return err
	}
	l := &lane{conn: conn}
	l.recv = &stream.TCPReceiver{Conn: conn}
	if p.receives() {
		l.recv.Budget = p.budget
	}
	if p.mayHoldStatus() {
		l.recv.Scan = p.scanner(l)
	}
	// Without these the system's own, longer, times hold: not worth failing.
	_ = conn.SetUserTimeout(silenceTime)
	if p.transmits() {
		l.sender = &stream.TCPSender{Conn: conn, Block: p.block, Limit: p.limit, Budget: p.budget}
		if p.sendsStatuses() {
			l.insert = make(chan []byte, 4)
			l.sender.Insert = l.insert
			_ = conn.SetNotSentLowat(notSent)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		conn.Close()
		return nil
	}
	first := len(p.lanes) == 0
	p.lanes = append(p.lanes, l)
	p.live++
	p.start(l, first)
	return nil
}

// start runs the goroutines of l.
func (p *tcpPhase) start(l *lane, first bool) {
	ctx, end := context.WithCancel(p.ctx)
	if l.sender != nil {
		p.wg.Go(func() {
			if err := l.sender.Run(ctx); err != nil {
				p.ended(l, first, err)
			}
		})
	}
	p.wg.Go(func() {
		defer end()
		if err := l.recv.Run(p.hear); err != nil {
			p.ended(l, first, err)
		}
	})
}

// ended takes note that l ended by itself, with err.
func (p *tcpPhase) ended(l *lane, first bool, err error) {
	if errors.Is(err, io.EOF) {
		err = errPeerClosed
	}
	if !gone(err) && !errors.Is(err, errPeerClosed) && !silent(err) || first {
		p.stop(err)
		return
	}
	p.mu.Lock()
	p.live--
	last := p.live <= 0
	p.mu.Unlock()
	if last {
		p.stop(err)
	}
}

// mayHoldStatus reports whether statuses can lie in what our end receives: a
// server tells what it received; a client tells nothing that is known of, but
// in a test both ways, or when it only listens, it costs little to look.
func (p *tcpPhase) mayHoldStatus() bool { return p.transmits() }

// sendsStatuses reports whether our end puts statuses into the stream: only a
// server that receives does. RouterOS clients were never seen to.
func (p *tcpPhase) sendsStatuses() bool { return p.head.Role == result.Server && p.receives() }

// scanner returns the function that tells data from statuses on l. Where no
// data is wanted nothing counts: some peers send zeros whatever the direction.
func (p *tcpPhase) scanner(l *lane) func([]byte) int {
	s := &wire.Scanner{Random: !p.zeros}
	wanted := p.receives()
	return func(b []byte) int {
		n := s.Scan(b, func(st wire.Status) {
			l.reports.add(st, time.Now())
		})
		if !wanted {
			return 0
		}
		return n
	}
}

// sendStatuses implements phase: each lane tells what it received.
func (p *tcpPhase) sendStatuses(n uint32) {
	if !p.sendsStatuses() {
		return
	}
	for _, l := range p.all() {
		got := l.recv.View().Bytes
		s := wire.Status{CPU: p.load.status(), Seq: n, Received: wire.Saturate(got - l.told)}
		b, _ := s.AppendBinary(nil)
		if l.insert == nil {
			_ = l.conn.SetWriteDeadline(time.Now().Add(statusEvery / 2))
			if _, err := l.conn.Write(b); err == nil {
				l.told = got
			}
			continue
		}
		select {
		case l.insert <- b:
			l.told = got
		default: // the sender is held up; the next status tells these bytes too
		}
	}
}

// all is the lanes so far.
func (p *tcpPhase) all() []*lane {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lanes[:len(p.lanes):len(p.lanes)]
}

// ways implements phase.
func (p *tcpPhase) ways() []*way {
	var ways []*way
	for _, d := range p.direction.Each() {
		w := &way{direction: d, far: func() *result.View { return nil }}
		if d == sent(p.head.Role) {
			w.near = func() []result.View { return views(p.all(), func(l *lane) result.View { return l.sender.View() }) }
			w.far = p.far
		} else {
			w.near = func() []result.View { return views(p.all(), func(l *lane) result.View { return l.recv.View() }) }
		}
		ways = append(ways, w)
	}
	return ways
}

func views(lanes []*lane, view func(*lane) result.View) []result.View {
	all := make([]result.View, len(lanes))
	for i, l := range lanes {
		all[i] = view(l)
	}
	return all
}

// far sums what the far end reported, nil while it reported nothing and when a
// report of one lane is not known.
func (p *tcpPhase) far() *result.View {
	var told []result.View
	for _, l := range p.all() {
		v := l.reports.view()
		if v == nil && l.reports.seconds() > 0 {
			return nil
		}
		if v != nil {
			told = append(told, *v)
		}
	}
	if told == nil {
		return nil
	}
	v := result.Sum(told...)
	return &v
}

// firstData implements phase.
func (p *tcpPhase) firstData() time.Time {
	var first time.Time
	for _, l := range p.all() {
		if v := l.recv.View(); v.Bytes == 0 {
			continue
		}
		if at := l.recv.Last(); first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

// lastSign implements phase. Something received is a sign; so is progress in
// sending, but only with a peer that never says anything: the kernel takes
// bytes for a while after the far end is gone.
func (p *tcpPhase) lastSign() time.Time {
	var last time.Time
	for _, l := range p.all() {
		if at := l.recv.Last(); at.After(last) {
			last = at
		}
	}
	if !last.IsZero() {
		return last
	}
	for _, l := range p.all() {
		if l.sender == nil {
			continue
		}
		if n := l.sender.View().Bytes; n != l.moved {
			l.moved, l.movedAt = n, time.Now()
		}
		if l.movedAt.After(last) {
			last = l.movedAt
		}
	}
	return last
}

// remoteCPU implements phase.
func (p *tcpPhase) remoteCPU() *float64 {
	var newest time.Time
	var cpu *float64
	for _, l := range p.all() {
		if at, c := l.reports.heard(); c != nil && at.After(newest) {
			newest, cpu = at, c
		}
	}
	return cpu
}

// reported implements phase.
func (p *tcpPhase) reported() time.Duration {
	var most time.Duration
	for _, l := range p.all() {
		most = max(most, l.reports.seconds())
	}
	return most
}

// close implements phase.
func (p *tcpPhase) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	for _, l := range p.lanes {
		l.conn.Close()
	}
}
