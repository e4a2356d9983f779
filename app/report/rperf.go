package report

import (
	"io"
	"time"

	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/rperf/wire"
)

// An RperfKind is one of the forms of rperf's own report.
type RperfKind string

// The forms, by the words of rperf's --format.
const (
	RperfJSON     RperfKind = "json"
	RperfMegabit  RperfKind = "megabit"
	RperfMegabyte RperfKind = "megabyte"
)

// An RperfConfig says how Rperf writes, and what its document tells of a test
// besides the results.
type RperfConfig struct {
	Kind          RperfKind // empty means RperfMegabit
	Indent        bool      // documents over many lines, as rperf prints them
	UDP, Reverse  bool
	NoDelay       bool
	Length        int
	Streams       int
	Bandwidth     uint64 // bytes/s of each stream; 0 is no limit, which rperf does not know
	Duration      time.Duration
	SendInterval  time.Duration
	SendBuffer    int // bytes; 0 is the system's
	ReceiveBuffer int
	Omit          int // records at the start of each stream that the sums leave out
}

// An RperfSink writes the report of rperf 0.1.8. Its results are those that
// rperf's arithmetic makes, so that they can be compared with a real rperf's;
// they come by Record. From the events it takes the rest: whom the test is
// with, and that it is over.
type RperfSink struct {
	out
	c         RperfConfig
	ipVersion int // of the control connection; 0 if there was none
	streams   []rperfStream
}

// An rperfStream is what both ends reported of one stream.
type rperfStream struct {
	sent, received []wire.Interval
	ended          bool // our end is over
	failed         bool // either end says so
}

// Rperf writes rperf's own report: text as results come and sums at the end, or
// one JSON document at the end.
func Rperf(w io.Writer, c RperfConfig) *RperfSink {
	if c.Kind == "" {
		c.Kind = RperfMegabit
	}
	s := &RperfSink{out: out{w: w}, c: c}
	s.reset()
	return s
}

// reset makes room for the next run.
func (s *RperfSink) reset() {
	s.streams = make([]rperfStream, max(1, s.c.Streams))
	s.ipVersion = 0
}

// An RperfRecord is one of a stream's results, or its end.
type RperfRecord struct {
	Server   bool // the server's, not ours
	Over     bool // the stream has ended there; of the Interval only Stream is set
	Failed   bool // and not as it should
	Interval wire.Interval
}

// Record takes a result of one stream, by the server or by us.
func (s *RperfSink) Record(r RperfRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := r.Interval
	if int(i.Stream) >= len(s.streams) {
		return // the engine refuses such a server
	}
	one := &s.streams[i.Stream]
	switch {
	case r.Over:
		one.ended = one.ended || !r.Server && !r.Failed
		one.failed = one.failed || r.Failed
		if !r.Server && !r.Failed && s.c.Kind != RperfJSON {
			s.write(rperfStreamEnd(i.Stream))
		}
		return
	case i.Sent:
		one.sent = keepRecord(one.sent, i)
	default:
		one.received = keepRecord(one.received, i)
	}
	if s.c.Kind != RperfJSON {
		s.write(rperfBlock(s.c.Kind, i))
	}
}

// mostRecords is how many records of one stream and direction are kept as they
// are, the first day; later ones are added up in the last.
const mostRecords = 86400

// keepRecord appends i to all, or adds it to the last when there is no room.
func keepRecord(all []wire.Interval, i wire.Interval) []wire.Interval {
	if len(all) < mostRecords {
		return append(all, i)
	}
	last := &all[len(all)-1]
	last.End, last.Duration = i.End, last.Duration+i.Duration
	last.Bytes += i.Bytes
	last.Blocked += i.Blocked
	last.Packets += i.Packets
	last.Counts.Lost += i.Counts.Lost
	last.Counts.OutOfOrder += i.Counts.OutOfOrder
	last.Counts.Duplicated += i.Counts.Duplicated
	return all
}

// Put implements result.Sink.
func (s *RperfSink) Put(e result.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e := e.(type) {
	case result.Begin:
		s.ipVersion = 6
		if e.Peer.Addr().Unmap().Is4() {
			s.ipVersion = 4
		}
	case result.End:
		s.end(e)
		s.reset()
	}
}

// end writes the sums. Without a test there is nothing to write as text; JSON
// is written always.
func (s *RperfSink) end(e result.End) {
	switch {
	case s.c.Kind == RperfJSON:
		s.write(s.document(e.Err))
	case s.ipVersion != 0:
		s.write(rperfSummary(s.c, s.streams))
	}
}

// success is whether all our ends of the streams ended, and none failed.
func rperfSuccess(streams []rperfStream) bool {
	for _, one := range streams {
		if !one.ended || one.failed {
			return false
		}
	}
	return true
}

// An rperfSum is what one direction adds up to over one stream, or several.
type rperfSum struct {
	duration float64 // sum over the streams, seconds
	longest  float64 // of one stream
	streams  int

	bytes, blocked, packets uint64
	late, again             uint64
	jitter                  float64 // weighted with the length of the runs
	jittered                uint64  // packets in those runs
}

// addStream adds the records of one stream to the sum, without the first omit.
func (t *rperfSum) addStream(records []wire.Interval, omit int) {
	t.streams++
	var duration float64
	for _, i := range records[min(omit, len(records)):] {
		duration += float64(i.Duration)
		t.bytes += i.Bytes
		t.blocked += i.Blocked
		t.packets += i.Packets
		t.late += i.Counts.OutOfOrder
		t.again += i.Counts.Duplicated
		if j := i.Counts.Jitter; j != nil {
			t.jitter += float64(*j) * float64(i.Counts.Unbroken)
			t.jittered += i.Counts.Unbroken
		}
	}
	t.duration += duration
	t.longest = max(t.longest, duration)
}

// sumsOf adds up both directions of some streams.
func sumsOf(streams []rperfStream, omit int) (sent, received rperfSum) {
	for _, one := range streams {
		sent.addStream(one.sent, omit)
		received.addStream(one.received, omit)
	}
	return sent, received
}

// averageJitter is the mean over the runs; false without any.
func (t rperfSum) averageJitter() (seconds float64, ok bool) {
	if t.jittered == 0 {
		return 0, false
	}
	return t.jitter / float64(t.jittered), true
}

// per is n over the time, 0 when there was none, as rperf prints it.
func per(n, seconds float64) float64 {
	if seconds <= 0 {
		return 0
	}
	return n / seconds
}
