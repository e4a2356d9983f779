package testnet

import (
	"syscall"
	"time"
)

// A segment is one packet of TCP. Numbers have 64 bits and start at 0.
type segment struct {
	syn, ack, fin, rst bool
	probe              bool   // asks for an acknowledgement, as a zero window probe does
	seq                uint64 // of the first byte; a SYN and a FIN take one number each
	data               []byte
	next               uint64 // the next number expected, if ack
	window             int    // bytes beyond next that may come
	mss                int    // with syn: the longest data the other side may send
	number             uint64 // counts transmissions from 1, in place of a time stamp
	echo               uint64 // number of the segment that is answered; 0 if none
}

// end is the number behind the segment.
func (s *segment) end() uint64 {
	end := s.seq + uint64(len(s.data))
	if s.syn {
		end++
	}
	if s.fin {
		end++
	}
	return end
}

// Constants of the sender, those of Linux where nothing else is named.
const (
	firstWindow     = 10 // segments (RFC 6928)
	firstTimeout    = time.Second
	leastTimeout    = 200 * time.Millisecond
	longestTimeout  = 2 * time.Minute
	retries         = 15 // time-outs in a row until the connection is given up
	handshakeTries  = 6
	reorderingLimit = 3 // later transmissions acknowledged before one is taken for lost (RFC 6675)
)

// A sender is the sending half of a TCP connection. It does nothing but
// arithmetic; conn sends what it returns, and its lock guards it.
type sender struct {
	mss      int
	buffer   int    // bytes that a Write may leave behind
	unsent   []byte // written, not yet sent; segments share its memory
	more     bool   // a Write waits for room: do not send the small rest of unsent
	finish   bool   // FIN after unsent
	finished bool   // FIN was sent
	next     uint64 // number of the next byte to send
	edge     uint64 // the receiver takes numbers below

	flying   []*sent // sent and not acknowledged in order, by sequence
	journal  []*sent // by transmission; the first has the number logged
	logged   uint64
	held     int // bytes in flying
	inFlight int // bytes in flying neither acknowledged nor lost
	lost     int // segments to be sent again

	number uint64    // of the last transmission
	newest uint64    // highest number that was answered
	due    time.Time // time-out; zero if nothing is awaited

	cwnd, ssthresh int    // bytes
	cut            uint64 // transmissions up to here were sent before cwnd was last cut

	timeout  time.Duration // RTO
	srtt     time.Duration // 0 before the first sample
	rttvar   time.Duration
	timeouts int // in a row
}

// A sent is a segment on its way.
type sent struct {
	segment
	at    time.Time
	acked bool // has arrived, though something before it has not
	lost  bool // is to be sent again
}

func newSender(mss int) sender {
	return sender{mss: mss, buffer: 256 << 10, logged: 1, timeout: firstTimeout, ssthresh: 1 << 30, cwnd: firstWindow * mss}
}

// open returns the SYN.
func (s *sender) open(now time.Time) segment {
	return s.launch(segment{syn: true, mss: s.mss}, now)
}

// launch notes a new segment as sent at now.
func (s *sender) launch(seg segment, now time.Time) segment {
	f := &sent{segment: seg}
	s.flying = append(s.flying, f)
	s.held += len(seg.data)
	s.next = seg.end()
	return s.transmit(f, now)
}

// transmit notes f as sent at now, for the first time or again.
func (s *sender) transmit(f *sent, now time.Time) segment {
	s.number++
	f.number, f.at, f.lost = s.number, now, false
	s.inFlight += len(f.data)
	s.journal = append(s.journal, f)
	if s.due.IsZero() {
		s.due = now.Add(s.timeout)
	}
	return f.segment
}

// room is how many bytes more may be written.
func (s *sender) room() int { return max(0, s.buffer-s.held-len(s.unsent)) }

// ready returns what may be sent at now: what was lost goes first.
func (s *sender) ready(now time.Time) []segment {
	out := s.again(now)
	for len(s.unsent) > 0 && s.next < s.edge {
		n := min(len(s.unsent), s.mss, int(s.edge-s.next))
		isSmall := n < s.mss && (n < len(s.unsent) || s.more)
		if s.inFlight > 0 && (isSmall || s.inFlight+n > s.cwnd) {
			break
		}
		out = append(out, s.launch(segment{seq: s.next, data: s.unsent[:n:n]}, now))
		s.unsent = s.unsent[n:]
	}
	if s.finish && !s.finished && len(s.unsent) == 0 {
		s.finished = true
		out = append(out, s.launch(segment{seq: s.next, fin: true}, now))
	}
	if s.due.IsZero() && len(s.unsent) > 0 { // the window is shut
		s.due = now.Add(s.timeout)
	}
	return out
}

// again returns what of the lost may be sent at now.
func (s *sender) again(now time.Time) []segment {
	var out []segment
	for _, f := range s.flying {
		if s.lost == 0 || s.inFlight > 0 && s.inFlight+len(f.data) > s.cwnd {
			break
		}
		if f.lost {
			s.lost--
			out = append(out, s.transmit(f, now))
		}
	}
	return out
}

// acknowledged takes in what the receiver said at now.
func (s *sender) acknowledged(a segment, now time.Time) {
	before, bytes := s.inFlight, 0
	if a.echo >= s.logged && a.echo <= s.number {
		if f := s.journal[a.echo-s.logged]; f.number == a.echo && !f.acked {
			s.sample(now.Sub(f.at))
			bytes += s.arrived(f)
		}
	}
	for len(s.flying) > 0 && s.flying[0].end() <= a.next {
		bytes += s.arrived(s.flying[0])
		s.held -= len(s.flying[0].data)
		s.flying[0] = nil
		s.flying = s.flying[1:]
	}
	s.edge = max(s.edge, a.next+uint64(a.window))
	if bytes == 0 && len(s.flying) > 0 {
		return
	}
	s.timeouts = 0
	s.due = time.Time{}
	if len(s.flying) > 0 {
		s.due = now.Add(s.timeout) // RFC 6298, 5.3
	}
	s.grow(bytes, before)
	s.findLost()
}

// arrived notes that f has arrived, and returns its length if that is news.
func (s *sender) arrived(f *sent) int {
	if f.acked {
		return 0
	}
	f.acked = true
	s.newest = max(s.newest, f.number)
	if f.lost {
		f.lost = false
		s.lost--
	} else {
		s.inFlight -= len(f.data)
	}
	return int(f.end() - f.seq)
}

// grow opens the congestion window (RFC 5681, section 3.1) if it was in the way.
func (s *sender) grow(bytes, before int) {
	switch {
	case 2*before < s.cwnd:
	case s.cwnd < s.ssthresh:
		s.cwnd += bytes
	default:
		s.cwnd += max(1, s.mss*bytes/s.cwnd)
	}
}

// findLost takes out of the journal what was sent well before a transmission
// that has arrived. What of it has not arrived is lost.
func (s *sender) findLost() {
	for len(s.journal) > 0 && s.logged+reorderingLimit <= s.newest {
		f, number := s.journal[0], s.logged
		s.journal[0] = nil
		s.journal = s.journal[1:]
		s.logged++
		if f.acked || f.lost || f.number != number {
			continue
		}
		if number > s.cut { // one cut for all losses of a window
			s.ssthresh = max(s.inFlight/2, 2*s.mss)
			s.cwnd = s.ssthresh
			s.cut = s.number
		}
		s.lose(f)
	}
}

func (s *sender) lose(f *sent) {
	f.lost = true
	s.lost++
	s.inFlight -= len(f.data)
}

// sample takes in one round-trip time (RFC 6298, section 2).
func (s *sender) sample(rtt time.Duration) {
	if s.srtt == 0 {
		s.srtt, s.rttvar = rtt, rtt/2
	} else {
		s.rttvar += ((s.srtt - rtt).Abs() - s.rttvar) / 4
		s.srtt += (rtt - s.srtt) / 8
	}
	s.timeout = min(max(s.srtt+4*s.rttvar, leastTimeout), longestTimeout)
}

// timedOut is called at due. It returns a probe when the receiver's window is
// shut, and an error when there is no more hope.
func (s *sender) timedOut(now time.Time) (probe *segment, err error) {
	limit := retries
	if len(s.flying) > 0 && s.flying[0].syn {
		limit = handshakeTries
	}
	s.timeouts++
	if s.timeouts > limit {
		return nil, syscall.ETIMEDOUT
	}
	s.timeout = min(2*s.timeout, longestTimeout)
	s.due = now.Add(s.timeout)
	if len(s.flying) == 0 {
		return &segment{probe: true, seq: s.next}, nil
	}
	s.ssthresh = max(s.inFlight/2, 2*s.mss)
	s.cwnd, s.cut = s.mss, s.number
	for _, f := range s.flying {
		if !f.acked && !f.lost {
			s.lose(f)
		}
	}
	return nil, nil
}
