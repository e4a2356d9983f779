package twamp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/twamp/wire"
)

// A responder reflects what comes to one UDP socket: packets of the sessions
// attached to it, and others as far as open says.
type responder struct {
	port    port
	open    *openRules // nil: nothing but sessions
	correct bool       // write into replies when they will leave, as learnt, not when they were written
	stamped bool       // the port tells when replies left

	mu        sync.Mutex // guards what follows
	sessions  map[netip.AddrPort]*session
	over      []*session // ended and replaced, not yet swept
	counts    [outcomes]uint64
	estimate  wire.ErrorEstimate
	estimated time.Time
	waiting   [mostWaiting]leaving // replies that left, at their count
	asked     uint32               // stamps asked for
	lags      lags
	lag       time.Duration // that replies are corrected by
	last      unfinished    // the only reply that is about to leave
	finishes  func()        // is finish
}

// mostWaiting is how many stamps may be on their way. At one of more the oldest
// is forgotten.
const mostWaiting = 256

// A leaving reply waits for its stamp.
type leaving struct {
	of   *reflection
	n    uint32
	seq  uint32
	said time.Time // T3, without its correction
}

// A clock says when a reply leaves: when it is written, and some more; or all
// at a time that was set, for the replies to what came joined; or that somebody
// else will say so, which is the zero Time.
type clock struct {
	at   time.Time
	lag  time.Duration
	open bool
}

func (c clock) now() time.Time {
	switch {
	case c.open:
		return time.Time{}
	case c.at.IsZero():
		return time.Now().Add(c.lag)
	}
	return c.at
}

// An unfinished reply has no T3 yet: it is written when all else that takes time
// is done.
type unfinished struct {
	of    *reflection
	reply []byte
	stamp bool // a stamp of it will come
}

// estimateFor is how long what the clock says of itself is believed.
const estimateFor = 10 * time.Second

// mostAtOnce is how many requests are read in one call at most.
const mostAtOnce = 64

func newResponder(p port, open *openRules) *responder {
	r := &responder{port: p, open: open, sessions: map[netip.AddrPort]*session{}}
	r.stamped, r.finishes = p.stamps(r.departed), r.finish
	return r
}

// run reflects until ctx ends or the port is closed.
func (r *responder) run(ctx context.Context) error {
	shut := sync.OnceFunc(func() { r.port.close() })
	defer shut() // who waits for the end may want the port
	defer context.AfterFunc(ctx, shut)()
	if isSystem(r.port) {
		runtime.LockOSThread() // reading may sleep on its thread
		defer runtime.UnlockOSThread()
	}
	var box outbox
	in := newDatagrams(1)
	for {
		n, err := r.port.read(in)
		switch {
		case ctx.Err() != nil, errors.Is(err, net.ErrClosed):
			return nil
		case err != nil && sock.IsLoss(err):
			continue
		case err != nil:
			return fmt.Errorf("%s: reflector at %v: %w", Protocol, r.port.localAddr(), err)
		}
		for ds := in[:n]; len(ds) > 0; {
			ds = ds[r.answer(ds, &box):]
			r.send(&box)
		}
		if n == len(in) && n < mostAtOnce {
			in = append(in, newDatagrams(n)...) // room for a rush, once there is one
		}
	}
}

// answer fills the box with the replies to the first of ds and returns to how
// many.
func (r *responder) answer(ds []datagram, box *outbox) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refresh(ds[0].At)
	for i := range ds {
		if box.full() {
			return i
		}
		r.answerOne(&ds[i], box, len(ds) == 1)
	}
	return len(ds)
}

// answerOne answers a datagram, or each of several that came joined. An idle
// reflector is one whose replies leave as soon as they are written; those of a
// busy one leave together anyway, so they may as well leave joined.
func (r *responder) answerOne(d *datagram, box *outbox, idle bool) {
	c := clock{lag: r.lag, open: idle && d.segment == 0}
	if d.segment > 0 {
		c.at = c.now()
	}
	rest := d.octets()
	for joined := false; ; joined = true {
		size := len(rest)
		if d.segment > 0 {
			size = min(size, d.segment)
		}
		before := len(box.octets)
		var of *reflection
		var class uint8
		if box.octets, class, of = r.respond(box.octets, rest[:size], d.arrival, c); of != nil {
			p := parcel{to: d.From, from: d.To.Addr(), class: class}
			p.stamp = r.stamped && d.segment == 0 && (of.follows || r.correct && idle)
			switch {
			case c.open:
				r.last, p.ready = unfinished{of, box.octets[before:], p.stamp}, r.finishes
			case p.stamp:
				r.await(of, of.last.Time(of.ptp, d.At).Add(-r.lag))
			}
			box.add(len(box.octets)-before, p, joined || !idle && (r.open == nil || r.open.joins))
		}
		if rest = rest[size:]; len(rest) == 0 {
			return
		}
	}
}

// finish ends the only reply that is about to leave.
func (r *responder) finish() {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := &r.last
	now := time.Now()
	u.of.finish(u.reply, now.Add(r.lag))
	if u.stamp {
		r.await(u.of, now)
	}
}

// await remembers a reply whose stamp will come.
func (r *responder) await(of *reflection, said time.Time) {
	r.waiting[r.asked%mostWaiting] = leaving{of: of, n: r.asked, seq: of.lastSeq, said: said}
	r.asked++
}

// departed takes the stamp of a reply.
func (r *responder) departed(n uint32, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := &r.waiting[n%mostWaiting]
	if w.of == nil || w.n != n {
		return
	}
	if lag, ok := sendLag(w.said, at); ok {
		w.of.followUp = wire.FollowUp{Seq: w.seq, Sent: wire.Stamp(at, w.of.ptp), Method: wire.SoftwareLocal}
		r.lags.record(lag)
		if r.correct {
			r.lag = r.lags.median()
		}
	}
	w.of = nil
}

// send sends what is in the box. A reply that cannot be sent is a lost packet,
// and its sender counts it; the others still go.
func (r *responder) send(box *outbox) {
	for ps := box.parcels; len(ps) > 0; {
		n, err := r.port.write(ps)
		ps = ps[n:]
		if err == nil {
			break
		}
		r.unsent()
		ps = ps[min(1, len(ps)):]
	}
	box.empty()
}

// unsent counts a reply that the system refused, and numbers stamps afresh.
func (r *responder) unsent() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[unsent]++
	clear(r.waiting[:])
	r.asked = 0
	if r.port.recount() != nil {
		r.stamped = false
	}
}

// respond appends the reply to a request, or nothing, to dst. It returns the
// traffic class to send it with and whose it is, nil without a reply.
func (r *responder) respond(dst, request []byte, a arrival, c clock) ([]byte, uint8, *reflection) {
	s := r.sessions[a.From]
	if s == nil || s.finish(a.At) {
		if r.open == nil {
			r.counts[foreign]++
			return dst, 0, nil
		}
		out, of, o := r.open.respond(dst, request, a, c, &r.estimate)
		r.counts[o]++
		if o != reflected {
			return out, 0, nil
		}
		return out, of.class, of
	}
	out, o := s.respond(dst, request, a, c)
	s.counts[o]++
	r.counts[o]++
	if o != reflected {
		return out, 0, nil
	}
	return out, s.mark, &s.reflection
}

// refresh asks the clock how exact it is, now and then.
func (r *responder) refresh(now time.Time) {
	if r.estimated.IsZero() || now.Sub(r.estimated) > estimateFor {
		r.estimate, r.estimated = clockEstimate(), now
	}
}

// attach adds a session; false if there is one from the same address already.
func (r *responder) attach(s *session) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.sessions[s.sender]; old != nil {
		if old.until.IsZero() && !old.ended {
			return false
		}
		old.end(result.ReasonDone) // its grace is over: the client uses the port again
		old.settled()
		r.over = append(r.over, old)
	}
	s.est, s.home = &r.estimate, r
	r.sessions[s.sender] = s
	return true
}

// start lets the session reflect; false if it has ended already.
func (r *responder) start(s *session, head result.Head) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.ended {
		return false
	}
	s.started, s.head, s.begun, s.latest = true, head, head.Time, head.Time
	return true
}

// stop ends the session when its grace is over, or at once.
func (r *responder) stop(s *session, now time.Time, atOnce bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.until = now.Add(s.grace)
	if atOnce || s.grace == 0 || !s.started {
		s.until = now
	}
}

// latestOf returns when the session last got a packet; false if it has ended.
func (r *responder) latestOf(s *session) (time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return s.latest, !s.ended
}

// countsOf returns what became of the session's packets.
func (r *responder) countsOf(s *session) [outcomes]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return s.counts
}

// sweep forgets the sessions that have ended, after it ended those that got no
// packet for idle, or all of them. It returns those, and how many are left.
func (r *responder) sweep(now time.Time, idle time.Duration, all bool) (over []*session, left int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for from, s := range r.sessions {
		switch {
		case s.finish(now):
		case all && !s.until.IsZero():
			s.end(result.ReasonDone) // its client has stopped it
		case all:
			s.end(result.ReasonShutdown)
		case s.started && now.Sub(s.latest) > idle:
			s.end(result.ReasonPeerSilent)
		}
		if s.ended {
			delete(r.sessions, from)
			s.settled()
			r.over = append(r.over, s)
		}
	}
	over, r.over = r.over, nil
	return over, len(r.sessions)
}

// overruns is how often the socket's buffer had no room; 0 also if the system
// does not tell.
func (r *responder) overruns() uint64 {
	n, _ := r.port.overruns()
	return n
}

// all returns what became of all packets.
func (r *responder) all() [outcomes]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts
}
