package twamp

import (
	"context"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/result"
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
	ended   bool            // nothing is reflected any more
	until   time.Time       // of a stopped session: when it ends
	revoked context.Context // its cause is why the policy ended the session; nil is never
	expires time.Time       // the policy gave it so long; zero is no limit
	latest  time.Time       // packet, or the start
	counts  [outcomes]uint64
	in, out uint64 // octets of requests and replies

	// For the events of a server.
	id     result.ID
	head   result.Head // zero until it starts
	local  netip.AddrPort
	size   int // octets of its requests
	begun  time.Time
	reason string // why it ended
}

// respond answers a packet of the session.
func (s *session) respond(dst, request []byte, a arrival, c clock) ([]byte, outcome) {
	switch {
	case !s.started:
		return dst, notStarted
	case !s.rate.allow(a.At, s.pps):
		return dst, tooMany
	case !s.afford(len(request), max(len(request), s.layout.ReplyLen())):
		return dst, overQuota
	}
	s.latest = a.At
	s.in += uint64(len(request))
	out, o := s.reflect(dst, request, a, c.now())
	s.out += uint64(len(out) - len(dst))
	return out, o
}

// afford spends what a request and its reply take, or nothing. It does not wait:
// all sessions share the loop that calls it.
func (s *session) afford(request, reply int) bool {
	if !s.budget.In().Try(request) {
		return false
	}
	if !s.budget.Out().Try(reply) {
		s.budget.In().Return(request)
		return false
	}
	return true
}

// finish ends the session if its time is over and reports whether it has ended.
func (s *session) finish(now time.Time) bool {
	if !s.until.IsZero() && !now.Before(s.until) {
		s.end(result.ReasonDone)
	}
	if s.revoked != nil && s.revoked.Err() != nil {
		s.end(result.CodeOf(context.Cause(s.revoked)))
	}
	if !s.expires.IsZero() && !now.Before(s.expires) {
		s.end(result.ReasonMaxDuration)
	}
	return s.ended
}

// end ends the session for a reason, of which the first counts.
func (s *session) end(reason string) {
	if !s.ended {
		s.ended, s.reason = true, reason
	}
}

// settled books what the session moved, once.
func (s *session) settled() {
	if s.settle != nil {
		s.settle(s.out, s.in)
		s.settle = nil
	}
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
