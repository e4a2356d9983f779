package btest

import (
	"crypto/rand"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/stream"
	"github.com/sonde-net/sonde/result"
)

// tcpPhase is the data phase of a TCP test: lanes, one for each connection,
// the first of which is also the control connection. Lanes may come while the
// test runs.
type tcpPhase struct {
	*test
	limit  *pace.Limiter // of what all lanes send; nil without a limit
	intake *pace.Limiter // of what they receive, likewise
	block  []byte
	ring   *stream.Ring  // block as all lanes send it; nil when they only receive
	stray  atomic.Uint64 // bytes that came though none were to

	mu    sync.Mutex // guards what follows
	lanes []*lane
	live  int  // lanes that have not ended by themselves
	over  bool // no lane may come any more
}

func newTCPPhase(t *test) *tcpPhase {
	p := &tcpPhase{test: t, block: make([]byte, t.size)}
	if !t.zeros {
		wire.FillRandom(p.block, randomWords())
	}
	if t.transmits() {
		p.ring = stream.NewRing(p.block)
	}
	if rate := lower(t.rate, t.ceiling); rate > 0 {
		p.limit = pace.NewLimiter(pace.NewRate(rate))
	}
	if t.ceiling > 0 { // also for what comes unasked
		p.intake = pace.NewLimiter(pace.NewRate(t.ceiling))
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

// add starts l. When it ends and it was the first, or the last one left, the
// test ends.
func (p *tcpPhase) add(l *lane) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		l.conn.Close()
		return
	}
	l.first = len(p.lanes) == 0
	p.lanes = append(p.lanes, l)
	p.live++
	p.start(l)
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
		if !wanted { // it is no result, but it came, and a quota counts it
			p.stray.Add(uint64(n))
			if err := p.budget.In().Charge(n); err != nil {
				p.stop(err)
			}
			return 0
		}
		return n
	}
}

// sendStatuses implements phase: each lane tells what it received. Lanes may
// begin late, so each has its own numbers: within random data a reader knows a
// status by its number.
func (p *tcpPhase) sendStatuses(int) {
	if !p.sendsStatuses() {
		return
	}
	for _, l := range p.all() {
		got := l.recv.View().Bytes
		s := wire.Status{CPU: p.load.status(), Seq: l.number + 1, Received: wire.Saturate(got - l.told)}
		b, _ := s.AppendBinary(nil)
		if l.tell(b) { // else the next status tells these bytes too
			l.told = got
			l.number++
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

// hasData implements phase.
func (p *tcpPhase) hasData() bool {
	return slices.ContainsFunc(p.all(), func(l *lane) bool { return l.recv.View().Bytes > 0 })
}

// lastSign implements phase: bytes that came, from a peer that has them to
// send. From one that only listens, progress in sending: the kernel takes bytes
// for a while after the far end is gone, but gives up on those that are not
// acknowledged.
func (p *tcpPhase) lastSign() time.Time {
	lanes := p.all()
	var came, moved time.Time
	for _, l := range lanes {
		if p.intake != nil && sock.PeerClosed(l.conn) {
			p.ended(l, errPeerClosed) // what is left to read may take long
		}
		came = later(came, l.recv.Last())
		moved = later(moved, l.progress())
	}
	if came.IsZero() || !p.receives() && p.reported() == 0 {
		return later(came, moved)
	}
	for _, l := range lanes {
		l.wait()
	}
	return came
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
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

// unasked implements phase.
func (p *tcpPhase) unasked() uint64 { return p.stray.Load() }

// shut implements phase.
func (p *tcpPhase) shut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
}

// close implements phase.
func (p *tcpPhase) close() {
	p.shut()
	for _, l := range p.all() {
		l.conn.Close()
	}
}
