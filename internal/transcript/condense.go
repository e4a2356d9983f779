package transcript

import (
	"bytes"
	"sync"
	"time"
)

// How a Condenser condenses, as the golden recordings are.
const (
	literalHead  = 96   // bytes kept of one piece of TCP data
	datagramHead = 16   // bytes kept of a datagram
	singly       = 3    // datagrams per pair of ports listed one by one, then in runs
	leastZeros   = 64   // fewer zeros in a row are data like any other
	maxFlows     = 4096 // pairs of ports told apart; further datagrams are Omitted
)

// A Condenser makes a Recording of traffic that passes by. Zeros in TCP data
// are kept as their number, datagrams as runs, other data by its first bytes.
// Its memory is bounded by MaxEvents, however long the traffic lasts. The zero
// Condenser is ready to use, by several goroutines at once.
type Condenser struct {
	// MaxEvents is the most events kept; more are counted as Omitted. 0 means
	// 50,000.
	MaxEvents int
	// Message is the least length of a message that lies between zeros: as many
	// bytes are kept from the first that is not zero, zeros or not. 0 means 1.
	Message int
	// Head is the most bytes kept of one piece of TCP data. 0 means 96.
	Head int

	mu      sync.Mutex // guards all that follows
	start   time.Time
	events  []Event
	omitted int64
	streams map[streamKey]*stream
	flows   map[flowKey]*flow
	notes   map[Kind]int // index of the event that counts them
}

type streamKey struct {
	conn int
	from Side
}

// A stream is one direction of a TCP connection.
type stream struct {
	last   int // index of its last event, -1 when there is none
	need   int // bytes of a message that the end of a piece cut off
	cut    int // pieces cut in a row
	closed map[Kind]bool
}

type flowKey struct {
	from     Side
	src, dst uint16
}

// A flow is one direction of a pair of UDP ports.
type flow struct {
	seen int
	run  int // index of the open Run, -1 when there is none
}

// Open records that from opened connection conn.
func (c *Condenser) Open(at time.Time, conn int, from Side) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endRuns()
	c.add(Event{Kind: Open, From: from, At: c.since(at), Conn: conn})
}

// Close records that from closed its half of conn, or reset it: each once.
func (c *Condenser) Close(at time.Time, conn int, from Side, reset bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kind := Fin
	if reset {
		kind = Reset
	}
	s := c.stream(conn, from)
	if s.closed[kind] {
		return
	}
	s.closed[kind] = true
	s.last, s.need = -1, 0
	c.endRuns()
	c.add(Event{Kind: kind, From: from, At: c.since(at), Conn: conn})
}

// TCP records that from sent p on conn. It keeps no reference to p.
func (c *Condenser) TCP(at time.Time, conn int, from Side, p []byte) {
	if len(p) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s, t := c.stream(conn, from), c.since(at)
	if n := min(s.need, len(p)); n > 0 {
		c.extend(s, p[:n])
		s.need -= n
		p = p[n:]
	}
	whole := true // p is the piece as it came: keep it as one if it is short
	for len(p) > 0 {
		if n := leadingZeros(p); n >= leastZeros || n > 0 && c.inZeros(s) || n == len(p) && !whole {
			c.zeros(s, t, conn, from, int64(n))
			p, whole = p[n:], false
			continue
		}
		n := len(p)
		if !whole || n > leastZeros {
			n = untilZeros(p)
		}
		if !whole || n < len(p) {
			n = len(bytes.TrimRight(p[:n], "\x00"))
			n = max(n, min(c.Message, c.head()))
			s.need = max(0, n-len(p))
			n = min(n, len(p))
		}
		c.data(s, t, conn, from, p[:n], int64(n))
		p, whole = p[n:], false
	}
}

// Gap records that n bytes which from sent on conn were not seen.
func (c *Condenser) Gap(at time.Time, conn int, from Side, n int64) {
	if n <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stream(conn, from)
	s.need = 0
	c.data(s, c.since(at), conn, from, nil, n)
}

// UDP records a datagram of size bytes with the payload p, or its front.
func (c *Condenser) UDP(at time.Time, from Side, src, dst uint16, p []byte, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key, t := flowKey{from, src, dst}, c.since(at)
	f := c.flows[key]
	if f == nil {
		if len(c.flows) == maxFlows {
			c.omitted++
			return
		}
		if c.flows == nil {
			c.flows = map[flowKey]*flow{}
		}
		f = &flow{run: -1}
		c.flows[key] = f
	}
	f.seen++
	size = max(size, len(p))
	e := Event{Kind: Datagram, From: from, At: t, Src: port(src), Dst: port(dst), Len: int64(size)}
	if f.seen <= singly {
		e.Data = bytes.Clone(p[:min(len(p), datagramHead)])
		c.add(e)
		return
	}
	seq, numbered := uint32(0), len(p) >= 4
	if numbered {
		seq = uint32(p[0])<<24 | uint32(p[1])<<16 | uint32(p[2])<<8 | uint32(p[3])
	}
	if f.run >= 0 {
		if run := &c.events[f.run]; run.Len == e.Len && run.Numbered == numbered {
			run.Count++
			run.Final, run.Last, run.Joined = seq, t, true
			return
		}
	}
	e.Kind, e.Count, e.Numbered, e.First, e.Final = Run, 1, numbered, seq, seq
	f.run = c.add(e)
}

// Fragment records an IP fragment.
func (c *Condenser) Fragment(at time.Time) {
	c.count(at, Fragments, "IP fragments seen on the wire")
}

// Unreachable records an ICMP port unreachable.
func (c *Condenser) Unreachable(at time.Time) {
	c.count(at, Unreachable, "port unreachable: the peer socket is not open yet, or no longer")
}

func (c *Condenser) count(at time.Time, kind Kind, note string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i, ok := c.notes[kind]; ok {
		c.events[i].Count++
		return
	}
	i := c.add(Event{Kind: kind, At: c.since(at), Count: 1, Note: note})
	if i < 0 {
		return
	}
	if c.notes == nil {
		c.notes = map[Kind]int{}
	}
	c.notes[kind] = i
}

// Events returns what was recorded so far.
func (c *Condenser) Events() []Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	events := make([]Event, len(c.events), len(c.events)+1)
	for i, e := range c.events {
		e.Data = bytes.Clone(e.Data)
		events[i] = e
	}
	if c.omitted > 0 {
		events = append(events, Event{Kind: Omitted, Count: c.omitted})
	}
	return events
}

// The methods below are called with mu held.

// since is at on the clock of the recording, which starts with its first event.
func (c *Condenser) since(at time.Time) time.Duration {
	if c.start.IsZero() {
		c.start = at
	}
	return min(max(0, at.Sub(c.start)), maxTime).Round(time.Microsecond)
}

// add appends e and returns its index, or counts it as omitted and returns -1.
func (c *Condenser) add(e Event) int {
	most := c.MaxEvents
	if most == 0 {
		most = 50_000
	}
	if len(c.events) >= most {
		c.omitted++
		return -1
	}
	c.events = append(c.events, e)
	return len(c.events) - 1
}

func (c *Condenser) stream(conn int, from Side) *stream {
	key := streamKey{conn, from}
	s := c.streams[key]
	if s == nil {
		if c.streams == nil {
			c.streams = map[streamKey]*stream{}
		}
		s = &stream{last: -1, closed: map[Kind]bool{}}
		c.streams[key] = s
	}
	return s
}

// endRuns lets datagrams that come after an event of TCP begin new runs, so
// that the order of the two can be seen.
func (c *Condenser) endRuns() {
	for _, f := range c.flows {
		f.run = -1
	}
}

// head is the most bytes kept of one piece.
func (c *Condenser) head() int {
	if c.Head > 0 {
		return c.Head
	}
	return literalHead
}

func (c *Condenser) inZeros(s *stream) bool { return s.last >= 0 && c.events[s.last].Kind == Zeros }

// zeros adds n zeros to a stream.
func (c *Condenser) zeros(s *stream, t time.Duration, conn int, from Side, n int64) {
	if c.inZeros(s) {
		e := &c.events[s.last]
		e.Len += n
		e.Last, e.Joined = t, true
		return
	}
	s.cut, s.need = 0, 0
	s.last = c.add(Event{Kind: Zeros, From: from, At: t, Conn: conn, Len: n})
}

// data adds a piece of size bytes that begins with p. Of many long pieces in
// a row, bulk data that is not zeros, only the first are kept apart.
func (c *Condenser) data(s *stream, t time.Duration, conn int, from Side, p []byte, size int64) {
	kept := p[:min(len(p), c.head())]
	if int64(len(kept)) == size {
		s.cut = 0
		c.endRuns()
	} else if s.cut++; s.cut > singly && s.last >= 0 {
		e := &c.events[s.last]
		e.Len += size
		e.Last, e.Joined = t, true
		return
	}
	s.last = c.add(Event{Kind: Data, From: from, At: t, Conn: conn, Len: size, Data: bytes.Clone(kept)})
}

// extend adds to the last event of a stream the rest of a message.
func (c *Condenser) extend(s *stream, p []byte) {
	if s.last < 0 {
		return
	}
	e := &c.events[s.last]
	e.Data = append(e.Data, p...)
	e.Len += int64(len(p))
}

// leadingZeros counts the zeros at the front of p.
func leadingZeros(p []byte) int {
	var zeros [4096]byte
	n := 0
	for n < len(p) {
		part := p[n:min(len(p), n+len(zeros))]
		if !bytes.Equal(part, zeros[:len(part)]) {
			break
		}
		n += len(part)
	}
	for n < len(p) && p[n] == 0 {
		n++
	}
	return n
}

// untilZeros is the length of p up to its first leastZeros zeros in a row.
func untilZeros(p []byte) int {
	var zeros [leastZeros]byte
	if n := bytes.Index(p, zeros[:]); n >= 0 {
		return n
	}
	return len(p)
}
