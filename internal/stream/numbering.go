package stream

import (
	"net/netip"

	"github.com/sonde-net/sonde/internal/stat"
)

// Deciding how several sources number their packets.
const (
	decideAfter = 200     // packets of one source
	logLength   = 1 << 16 // runs of numbers kept until then
)

// A source is one address and port that datagrams come from.
type source struct {
	from   netip.AddrPort
	window *stat.Window // nil before the first number, and while one is common
	first  uint32       // the first number
	last   uint32       // the latest
	count  uint64       // numbers recorded
}

// A logged run: numbers in a row from one source, in order of arrival.
type logged struct {
	first uint32
	n     uint32
}

// numbering follows the sequence numbers of all sources of a test.
//
// A sender with several ports may number each port's packets from one, or count
// over all of them; the protocol does not say. So both are kept open until one
// source has sent 200 packets: if until then the numbers of a source grow by
// about the number of sources, and no number came from two of them, all is
// counted again with one window.
type numbering struct {
	sources []*source
	common  bool         // one window for all
	zero    bool         // its numbers begin at 0
	decided bool         // which of the two it is
	window  *stat.Window // of all sources, when common
	log     []logged
}

// record takes n numbers in a row from s.
func (u *numbering) record(s *source, first uint32, n int) {
	if n == 0 {
		return
	}
	if u.common {
		u.all().RecordRun(first, n)
		return
	}
	if s.count == 0 {
		s.first, s.window = first, &stat.Window{}
	}
	s.last = first + uint32(n) - 1
	s.count += uint64(n)
	s.window.RecordRun(first, n)
	if u.decided {
		return
	}
	u.log = append(u.log, logged{first, uint32(n)})
	if s.count >= decideAfter || len(u.log) >= logLength {
		u.decide()
	}
}

// beforeFirst is the number before 0.
const beforeFirst = 1<<32 - 1

func (u *numbering) all() *stat.Window {
	if u.window == nil {
		u.window = &stat.Window{}
		if u.zero {
			u.window.Record(beforeFirst)
		}
	}
	return u.window
}

// decide ends the doubt, and counts again if the numbering is common.
func (u *numbering) decide() {
	u.decided = true
	if u.looksCommon() {
		u.common = true
		for _, l := range u.log {
			u.all().RecordRun(l.first, int(l.n))
		}
	}
	u.log = nil
}

// looksCommon reports whether the numbers so far are shared by all sources.
func (u *numbering) looksCommon() bool {
	active, steps, growth := 0, uint64(0), uint64(0)
	for _, s := range u.sources {
		if s.count < 2 {
			continue
		}
		active++
		steps += s.count - 1
		growth += uint64(max(0, int32(s.last-s.first)))
	}
	// With numbers of its own each source grows by one and, where packets are
	// lost, a little more.
	if active < 2 || float64(growth) < 0.75*float64(active)*float64(steps) {
		return false
	}
	return !u.overlap()
}

// overlap reports whether more than one number in ten came more than once.
func (u *numbering) overlap() bool {
	total, twice := 0, 0
	seen := make(map[uint32]struct{}, decideAfter*len(u.sources))
	for _, l := range u.log {
		for i := range l.n {
			total++
			if _, again := seen[l.first+i]; again {
				twice++
			}
			seen[l.first+i] = struct{}{}
		}
	}
	return 10*twice > total
}

// counts sums the windows.
func (u *numbering) counts() stat.Counts {
	if u.common {
		return u.all().Counts()
	}
	var sum stat.Counts
	for _, s := range u.sources {
		if s.window == nil {
			continue
		}
		c := s.window.Counts()
		sum.Unique += c.Unique
		sum.Lost += c.Lost
		sum.Late += c.Late
		sum.Reordered += c.Reordered
		sum.Duplicate += c.Duplicate
		sum.Runs += c.Runs
		sum.Longest = max(sum.Longest, c.Longest)
	}
	return sum
}
