package testnet

import (
	"slices"
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
	finish   bool   // FIN after unsent
	finished bool   // FIN was sent
	next     uint64 // number of the next byte to send
	edge     uint64 // the receiver takes numbers below
	flying   []*sent
	number   uint64 // of the last transmission

	cwnd, ssthresh int    // bytes
	cut            uint64 // transmissions up to here were sent before cwnd was last cut

	timeout  time.Duration // RTO
	srtt     time.Duration // 0 before the first sample
	rttvar   time.Duration
	timeouts int // in a row
}

// A sent is a segment not yet acknowledged.
type sent struct {
	segment
	at   time.Time
	lost bool // is to be sent again
}

func newSender(mss int) sender {
	return sender{mss: mss, buffer: 256 << 10, timeout: firstTimeout, ssthresh: 1 << 30, cwnd: firstWindow * mss}
}

// open queues the SYN.
func (s *sender) open(now time.Time) segment {
	return s.launch(segment{syn: true, mss: s.mss}, now)
}

// launch notes a new segment as sent at now.
func (s *sender) launch(seg segment, now time.Time) segment {
	s.number++
	seg.number = s.number
	s.next = seg.end()
	s.flying = append(s.flying, &sent{segment: seg, at: now})
	return seg
}

// room is how many bytes more may be written.
func (s *sender) room() int {
	held := len(s.unsent)
	for _, f := range s.flying {
		held += len(f.data)
	}
	return max(0, s.buffer-held)
}

// inFlight is how many bytes are on the way as far as the sender can tell.
func (s *sender) inFlight() int {
	n := 0
	for _, f := range s.flying {
		if !f.lost {
			n += len(f.data)
		}
	}
	return n
}

// ready returns what may be sent at now: what was lost goes first.
func (s *sender) ready(now time.Time) []segment {
	var out []segment
	flight := s.inFlight()
	for _, f := range s.flying {
		if !f.lost || flight > 0 && flight+len(f.data) > s.cwnd {
			continue
		}
		s.number++
		f.number, f.at, f.lost = s.number, now, false
		flight += len(f.data)
		out = append(out, f.segment)
	}
	for len(s.unsent) > 0 && s.next < s.edge {
		n := min(len(s.unsent), s.mss, int(s.edge-s.next))
		isSmall := n < s.mss && n < len(s.unsent)
		if flight > 0 && (isSmall || flight+n > s.cwnd) {
			break
		}
		out = append(out, s.launch(segment{seq: s.next, data: s.unsent[:n:n]}, now))
		s.unsent = s.unsent[n:]
		flight += n
	}
	if s.finish && !s.finished && len(s.unsent) == 0 {
		s.finished = true
		out = append(out, s.launch(segment{seq: s.next, fin: true}, now))
	}
	return out
}

// acknowledged takes in what the receiver said at now.
func (s *sender) acknowledged(a segment, now time.Time) {
	before := s.inFlight()
	bytes, newest := 0, uint64(0)
	s.flying = slices.DeleteFunc(s.flying, func(f *sent) bool {
		if f.end() > a.next && f.number != a.echo {
			return false
		}
		if f.number == a.echo {
			s.sample(now.Sub(f.at))
		}
		bytes += len(f.data)
		newest = max(newest, f.number)
		return true
	})
	s.edge = max(s.edge, a.next+uint64(a.window))
	if newest == 0 && len(s.flying) > 0 {
		return
	}
	s.timeouts = 0
	s.grow(bytes, before)
	s.findLost(newest)
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

// findLost marks what was sent well before a transmission that has arrived.
func (s *sender) findLost(newest uint64) {
	for _, f := range s.flying {
		if f.lost || f.number+reorderingLimit > newest {
			continue
		}
		if f.number > s.cut { // one cut for all losses of a window
			s.ssthresh = max(s.inFlight()/2, 2*s.mss)
			s.cwnd = s.ssthresh
			s.cut = s.number
		}
		f.lost = true
	}
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

// alarm is when something has to be done if nothing is heard; false if never.
func (s *sender) alarm(now time.Time) (time.Time, bool) {
	var first time.Time
	for _, f := range s.flying {
		if !f.lost && (first.IsZero() || f.at.Before(first)) {
			first = f.at
		}
	}
	if first.IsZero() {
		return now.Add(s.timeout), len(s.unsent) > 0 || len(s.flying) > 0
	}
	return first.Add(s.timeout), true
}

// timedOut is called at alarm. It returns a probe when the receiver's window is
// shut, and an error when there is no more hope.
func (s *sender) timedOut() (probe *segment, err error) {
	limit := retries
	if len(s.flying) > 0 && s.flying[0].syn {
		limit = handshakeTries
	}
	s.timeouts++
	if s.timeouts > limit {
		return nil, syscall.ETIMEDOUT
	}
	s.timeout = min(2*s.timeout, longestTimeout)
	if len(s.flying) == 0 {
		return &segment{probe: true, seq: s.next}, nil
	}
	s.ssthresh = max(s.inFlight()/2, 2*s.mss)
	s.cwnd, s.cut = s.mss, s.number
	for _, f := range s.flying {
		f.lost = true
	}
	return nil, nil
}
