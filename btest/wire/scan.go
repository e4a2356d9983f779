package wire

import "bytes"

// A Scanner tells the data of a TCP test from the statuses that lie between
// its blocks, across reads of any size. The zero Scanner is ready to use.
//
// A candidate begins with 07, tells a CPU load of at most 100 % or none, and
// has zeros in bytes 2 and 3. Within zeros a told CPU load is proof enough;
// otherwise the number must be the one that is due: 1 or 0 first, then one more
// than the last. (btest-opensource begins each block with 07 00 00 00 01: its
// first looks like a status, the rest do not.)
type Scanner struct {
	// Random says that the data is not zeros.
	Random bool

	pending [StatusLen]byte // the front of a candidate cut by the end of a read
	have    int
	last    uint32
	seen    bool
}

// Scan reads b, hands each status to found and returns how many bytes of b,
// and of what earlier reads held back, are data. Bytes that may yet turn out
// to be a status are counted by a later Scan, or by Rest.
func (s *Scanner) Scan(b []byte, found func(Status)) (data int) {
	for len(b) > 0 {
		if s.have == 0 {
			at := bytes.IndexByte(b, statusMark)
			if at < 0 {
				return data + len(b)
			}
			data += at
			b = b[at:]
		}
		n := copy(s.pending[s.have:], b)
		s.have += n
		b = b[n:]
		// Give up as much of the candidate as cannot begin a status.
		for s.have > 0 && !s.possible() {
			skip := bytes.IndexByte(s.pending[1:s.have], statusMark) + 1
			if skip == 0 {
				skip = s.have
			}
			data += skip
			s.have = copy(s.pending[:], s.pending[skip:s.have])
		}
		if s.have < StatusLen {
			continue
		}
		status, err := ParseStatus(s.pending[:])
		s.have = 0
		if err == nil {
			s.last, s.seen = status.Seq, true
			found(status)
		}
	}
	return data
}

// Rest returns how many bytes are held back; after the last Scan they are data.
func (s *Scanner) Rest() int { return s.have }

// possible reports whether pending may be the front of a status.
func (s *Scanner) possible() bool {
	p := s.pending[:s.have]
	known := len(p) > 1 && p[1]&cpuKnown != 0
	switch {
	case p[0] != statusMark,
		len(p) > 1 && p[1] != 0 && !known,
		known && p[1]&^cpuKnown > 100,
		len(p) > 2 && p[2] != 0,
		len(p) > 3 && p[3] != 0:
		return false
	case len(p) <= 4 || known && !s.Random:
		return true
	}
	seq := p[4:min(len(p), 8)]
	if s.seen {
		return begins(s.last+1, seq)
	}
	return begins(1, seq) || begins(0, seq)
}

// begins reports whether b is the front of n, little-endian.
func begins(n uint32, b []byte) bool {
	for i, v := range b {
		if v != byte(n>>(8*i)) {
			return false
		}
	}
	return true
}
