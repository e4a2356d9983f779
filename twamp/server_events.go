package twamp

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/result"
)

// begin starts a session and puts that it did.
func (c *serverConn) begin(s *session, now time.Time) {
	head := result.Head{Run: s.id, Time: now, Protocol: Protocol, Role: result.Reflector}
	c.server.Sink.Put(result.Begin{
		Head: head, Transport: result.UDP, Direction: result.Both, Peer: s.sender, Local: s.local, Streams: 1,
		Size: s.size, Account: c.account, Login: c.mode.Security().String(),
	})
	if !s.home.start(s, head) { // the server ended meanwhile
		c.server.Sink.Put(result.End{Head: head, Reason: result.ReasonShutdown})
	}
}

// ending is how a session that was announced ended: Sent are the packets that
// came, Replies those that were answered, Dropped why the others were not. What
// was lost on the way only the sender knows.
func (s *session) ending() result.End {
	e := result.End{Head: s.head, Elapsed: max(0, s.latest.Sub(s.begun)), Reason: s.reason}
	r := result.RoundTrips{Dropped: map[string]uint64{}}
	for o, n := range s.counts {
		r.Sent += n
		if outcome(o) != reflected && n > 0 {
			r.Dropped[outcome(o).String()] = n
		}
	}
	r.Replies = s.counts[reflected]
	e.RoundTrips = []result.RoundTrips{r}
	e.Moved = &result.Moved{Sent: s.out, Received: s.in}
	return e
}

// put tells of sessions that ended.
func (p *sessionPorts) put(over []*session) {
	for _, s := range over {
		if !s.started {
			continue
		}
		e := s.ending()
		e.Time = time.Now()
		p.sink.Put(e)
	}
}

// login puts how an attempt to log in ended; why is empty when it succeeded.
func (s *Server) login(peer netip.AddrPort, account, method, why string) {
	n := result.Note{
		Head:  result.Head{Run: result.NewID(), Time: time.Now(), Protocol: Protocol, Role: result.Reflector},
		Level: result.Info, Code: result.NoteAuthSuccess, Text: fmt.Sprintf("login of %q from %v", account, peer),
		Login: &result.Login{Peer: peer, Account: account, Method: method, Reason: why},
	}
	if why != "" {
		n.Level, n.Code, n.Text = result.Warning, result.NoteAuthFailure, n.Text+" failed: "+why
	}
	s.Sink.Put(n)
}
