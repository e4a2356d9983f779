package mesh

import (
	"time"

	"github.com/sonde-net/sonde/mesh/wire"
)

// A source is a peer that gives blocks of a file.
type source struct {
	exchange
	label  string
	pushed bool // it has offered unasked
	state  sourceState
	why    error // it is gone
	token  *uint64

	// while wanting:
	due   time.Time
	asked int
	limit int

	// while ready:
	window  *window
	began   time.Time
	heard   time.Time            // the latest block, or the offer
	flying  map[uint32]time.Time // blocks it owes, and when it was asked
	queue   []flight             // the same by time, with some that have come
	newest  [3]time.Time         // of the requests that blocks answered, the latest first
	silence time.Time            // noted last
	credit  float64              // blocks that may be asked for by the pace
	saved   time.Time            // credit was added
	looked  time.Time            // at the path
	slow    bool                 // the path is a relay
	held    bool                 // is not asked, see retrySingly

	bytes uint64
	wrong int
}

type sourceState uint8

const (
	wanting sourceState = iota // an offer
	unfound                    // not listed yet, or without a path
	ready
	gone
)

// A flight is a block that a source was asked for.
type flight struct {
	block uint32
	at    time.Time
}

func newSource(peer wire.ID, label string, request uint64, now time.Time) *source {
	return &source{exchange: exchange{peer, request}, label: label, due: now, flying: map[uint32]time.Time{}}
}

// arrived notes a block. Its packet echoes the stamp of the request, which is
// the time at which that left: base, and what had passed since started.
func (s *source) arrived(n note, base uint64, started time.Time) {
	s.heard = n.at
	var rtt time.Duration
	if n.echo != nil {
		since := time.Duration(*n.echo - base)
		if asked := started.Add(since); since >= 0 && !asked.After(n.at) && n.at.Sub(asked) < 2*maxTimeout {
			rtt = max(n.at.Sub(asked), 1)
			for i := range s.newest {
				if asked.After(s.newest[i]) {
					copy(s.newest[i+1:], s.newest[i:])
					s.newest[i] = asked
					break
				}
			}
		}
	}
	s.window.arrive(n.at, rtt)
}

// sent notes a request.
func (s *source) sent(now time.Time, blocks []uint32) {
	for _, b := range blocks {
		s.flying[b] = now
		s.queue = append(s.queue, flight{b, now})
	}
	s.credit -= float64(len(blocks))
}

// settle finds what is lost: asked for before three requests that were answered,
// or too long ago.
func (s *source) settle(now time.Time, a *asks) {
	timeout := s.window.timeout()
	for len(s.queue) > 0 {
		q := s.queue[0]
		if at, ok := s.flying[q.block]; ok && at.Equal(q.at) {
			passed := q.at.Before(s.newest[2])
			if !passed && now.Sub(q.at) < timeout {
				break
			}
			if !passed && s.heard.Before(q.at) && now.Sub(s.silence) >= timeout {
				s.silence = now
				s.window.silence(now)
			}
			delete(s.flying, q.block)
			s.window.lose()
			a.gone(q.block)
		}
		s.queue = s.queue[1:]
	}
	s.window.due(now)
}

// rest gives back all that the source owes.
func (s *source) rest(a *asks) {
	for b := range s.flying {
		a.gone(b)
	}
	clear(s.flying)
	s.queue = nil
}

// room is how many blocks more the source may owe.
func (s *source) room() int {
	if s.held {
		return 0
	}
	room := int(s.window.size) - len(s.flying)
	if room <= s.batch() {
		s.window.limits = true
	}
	return room
}

// save adds to what may be asked for by the pace.
func (s *source) save(now time.Time, path func(wire.ID) string) {
	if now.Sub(s.looked) >= 250*time.Millisecond {
		s.looked, s.slow = now, path(s.peer) == wire.CandidateRelay.String()
	}
	if !s.saved.IsZero() {
		s.credit += now.Sub(s.saved).Seconds() * s.pace()
	}
	s.saved = now
	s.credit = min(s.credit, max(2*float64(s.batch()), s.pace()*0.002, firstWindow))
}

// batch is how many blocks are worth a request.
func (s *source) batch() int {
	if s.slow {
		return 1
	}
	return s.window.batch()
}

// pace is in blocks per second; 0 if there is none yet.
func (s *source) pace() float64 {
	p := s.window.pace()
	if s.slow {
		const relayedBlocks = relayedRate / 8.0 / (wire.DefaultBlock + 128)
		if p == 0 || p > relayedBlocks {
			p = relayedBlocks
		}
	}
	return p
}

// allowed is how many of n blocks the pace lets us ask for now, and if none,
// when it will.
func (s *source) allowed(n int) (int, time.Duration) {
	p := s.pace()
	if p == 0 {
		return n, 0
	}
	if s.credit >= float64(n) {
		return int(s.credit), 0
	}
	return 0, max(time.Millisecond, time.Duration((float64(n)-s.credit)/p*float64(time.Second)))
}

// wake is when the oldest block that is owed may be lost.
func (s *source) wake(now time.Time) time.Duration {
	if len(s.queue) == 0 {
		return 100 * time.Millisecond
	}
	return min(100*time.Millisecond, max(time.Millisecond, s.queue[0].at.Add(s.window.timeout()).Sub(now)))
}

func (s *source) status(path func(wire.ID) string) Source {
	st := Source{Peer: s.label, Bytes: s.bytes}
	if s.peer != (wire.ID{}) {
		st.Path = path(s.peer)
	}
	if s.why != nil {
		st.Dropped = s.why.Error()
	}
	if w := s.window; w != nil && w.smoothed > 0 {
		st.Window = int(w.size)
		rtt, least := w.smoothed, w.least.value(s.heard)
		st.RTT, st.Least = &rtt, &least
	}
	return st
}
