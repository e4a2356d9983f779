package twamp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/twamp/wire"
)

// A session is one that was negotiated over a control connection. Its responder
// guards it once it is attached.
type session struct {
	reflection
	sid    wire.SID
	sender netip.AddrPort
	mark   uint8         // traffic class of the replies
	grace  time.Duration // goes on for so long after it was stopped
	home   *responder
	budget *admit.Budget
	settle func(sent, received uint64) // what was spent, once it has ended; may be nil
	pps    int                         // most packets per second; 0 is no limit

	rate    perSecond
	started bool
	ended   bool      // nothing is reflected any more
	until   time.Time // of a stopped session: when it ends
	expires time.Time // the policy gave it so long; zero is no limit
	latest  time.Time // packet, or the start
	counts  [outcomes]uint64
	in, out uint64 // octets of requests and replies
}

// A responder reflects what comes to one UDP socket: packets of the sessions
// attached to it, and others as far as open says.
type responder struct {
	port port
	open *openRules // nil: nothing but sessions

	mu        sync.Mutex // guards what follows
	sessions  map[netip.AddrPort]*session
	counts    [outcomes]uint64
	estimate  wire.ErrorEstimate
	estimated time.Time
}

// estimateFor is how long what the clock says of itself is believed.
const estimateFor = 10 * time.Second

func newResponder(p port, open *openRules) *responder {
	return &responder{port: p, open: open, sessions: map[netip.AddrPort]*session{}}
}

// run reflects until ctx ends or the port is closed.
func (r *responder) run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { r.port.close() })()
	in, out := make([]byte, wire.MaxPacketLen+1), make([]byte, 0, wire.MaxPacketLen+1)
	for {
		n, a, err := r.port.read(in)
		switch {
		case ctx.Err() != nil, errors.Is(err, net.ErrClosed):
			return nil
		case err != nil && sock.IsLoss(err):
			continue
		case err != nil:
			return fmt.Errorf("%s: reflector at %v: %w", Protocol, r.port.localAddr(), err)
		}
		var class uint8
		if out, class = r.respond(out[:0], in[:n], a); len(out) > 0 {
			// A reply that cannot be sent is a lost packet, and the sender counts it.
			_ = r.port.write(out, a.From, a.To.Addr(), class)
		}
	}
}

// respond appends the reply to a datagram, or nothing, to dst and returns the
// traffic class to send it with.
func (r *responder) respond(dst, request []byte, a arrival) ([]byte, uint8) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refresh(a.At)
	s := r.sessions[a.From]
	if s == nil || s.finish(a.At) {
		if r.open == nil {
			r.counts[foreign]++
			return dst, 0
		}
		out, class, o := r.open.respond(dst, request, a, &r.estimate)
		r.counts[o]++
		return out, class
	}
	out, o := s.respond(dst, request, a)
	s.counts[o]++
	r.counts[o]++
	return out, s.mark
}

// refresh asks the clock how exact it is, now and then.
func (r *responder) refresh(now time.Time) {
	if r.estimated.IsZero() || now.Sub(r.estimated) > estimateFor {
		r.estimate, r.estimated = clockEstimate(), now
	}
}

// respond answers a packet of the session.
func (s *session) respond(dst, request []byte, a arrival) ([]byte, outcome) {
	switch {
	case !s.started:
		return dst, notStarted
	case !s.rate.allow(a.At, s.pps):
		return dst, tooMany
	case s.budget.Spend(len(request)+max(len(request), s.layout.ReplyLen())) != nil:
		return dst, overQuota
	}
	s.latest = a.At
	s.in += uint64(len(request))
	out, o := s.reflect(dst, request, a, time.Now())
	s.out += uint64(len(out) - len(dst))
	return out, o
}

// finish ends the session if its time is over and reports whether it has ended.
func (s *session) finish(now time.Time) bool {
	for _, end := range []time.Time{s.until, s.expires} {
		if !end.IsZero() && !now.Before(end) {
			s.ended = true
		}
	}
	return s.ended
}

// attach adds a session; false if there is one from the same address already.
func (r *responder) attach(s *session) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.sessions[s.sender]; old != nil {
		if old.until.IsZero() && !old.ended {
			return false
		}
		old.ended = true // its grace is over: the client uses the port again
		old.settled()
	}
	s.est, s.home = &r.estimate, r
	r.sessions[s.sender] = s
	return true
}

// start lets the session reflect.
func (r *responder) start(s *session, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.started, s.latest = true, now
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
// packet for idle, or all of them. It returns how many are left.
func (r *responder) sweep(now time.Time, idle time.Duration, all bool) (left int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for from, s := range r.sessions {
		if all || s.started && now.Sub(s.latest) > idle {
			s.ended = true
		}
		if s.finish(now) {
			delete(r.sessions, from)
			s.settled()
		}
	}
	return len(r.sessions)
}

// settled books what the session moved, once.
func (s *session) settled() {
	if s.settle != nil {
		s.settle(s.out, s.in)
		s.settle = nil
	}
}

// all returns what became of all packets.
func (r *responder) all() [outcomes]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts
}

// perSecond counts packets within the present second.
type perSecond struct {
	since time.Time
	n     int
}

// allow counts a packet and reports whether it is within most per second; 0 is
// no limit.
func (p *perSecond) allow(now time.Time, most int) bool {
	if most <= 0 {
		return true
	}
	if now.Sub(p.since) >= time.Second {
		p.since, p.n = now, 0
	}
	p.n++
	return p.n <= most
}
