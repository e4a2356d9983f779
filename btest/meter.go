package btest

import (
	"math"
	"sync"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/stat"
	"github.com/sonde-net/sonde/result"
)

// A meter turns the counters of a running test into intervals and, at the end,
// into totals. Intervals are differences of snapshots, so they add up to the
// totals. One goroutine at a time uses it.
type meter struct {
	sink     result.Sink
	head     result.Head
	counters *admit.Counters
	ways     []*way
	rtt      func() *result.Delay // round trips since the last interval
	each     bool                 // intervals of each stream, too

	seq    int
	start  time.Time
	before time.Duration // end of the last interval
	local  stat.Mean     // CPU
	remote stat.Mean
}

// A way is one direction of the test.
type way struct {
	direction result.Direction
	near      func() []result.View // snapshots of our end, stream by stream
	far       func() *result.View  // what the far end told so far; nil if nothing

	prev    result.View
	prevFar result.View
	streams stat.Streams
}

// A snapshot is what our end had counted at a moment, way by way.
type snapshot struct {
	at   time.Time
	near [][]result.View
}

func (m *meter) snapshot(now time.Time) snapshot {
	s := snapshot{at: now}
	for _, w := range m.ways {
		s.near = append(s.near, w.near())
	}
	return s
}

// recount brings what we sent up to date.
func (m *meter) recount(s *snapshot) {
	for n, w := range m.ways {
		if w.direction == sent(m.head.Role) {
			s.near[n] = w.near()
		}
	}
}

// close ends an interval at a snapshot.
func (m *meter) close(s snapshot, cpu result.CPU) {
	end := s.at.Sub(m.start)
	if end <= m.before {
		return
	}
	m.seq++
	m.local.Add(cpu.Local)
	m.remote.Add(cpu.Remote)
	rtt := m.rtt()
	for n, w := range m.ways {
		near := result.Sum(s.near[n]...)
		mine := near.Sub(w.prev)
		w.prev = near
		i := result.Interval{
			Head: m.head, Seq: m.seq, Direction: w.direction, Stream: result.AllStreams,
			Start: m.before, End: end, CPU: cpu, RTT: rtt,
		}
		i.Time = s.at
		if w.direction == sent(m.head.Role) {
			i.Sent, i.Received = &mine, w.farInterval()
			m.counters.Add(mine.Bytes, 0)
		} else {
			i.Received = &mine
			m.counters.Add(0, mine.Bytes)
		}
		m.sink.Put(i)
		if m.each {
			for _, one := range w.streams.Intervals(i, w.direction == sent(m.head.Role), s.near[n]) {
				m.sink.Put(one)
			}
		}
	}
	m.before = end
}

// farInterval is what the far end reported since the last interval, or nil.
func (w *way) farInterval() *result.View {
	far := w.far()
	if far == nil || far.Covered == w.prevFar.Covered {
		return nil
	}
	d := far.Sub(w.prevFar)
	d.Covered = far.Covered - w.prevFar.Covered
	w.prevFar = *far
	return &d
}

// end is the End of the run, with the totals at the snapshot that closed its
// last interval.
func (m *meter) end(s snapshot) result.End {
	e := result.End{Head: m.head, Elapsed: m.before}
	e.Time = s.at
	if m.seq == 0 { // nothing was measured
		return e
	}
	e.CPU = result.CPU{Local: m.local.Value(), Remote: m.remote.Value()}
	for n, w := range m.ways {
		t := m.total(w, w.prev)
		if t.Sent != nil {
			t.Received = w.far()
		}
		if len(s.near[n]) > 1 {
			for _, v := range s.near[n] {
				t.Streams = append(t.Streams, *m.total(w, v))
			}
		}
		if w.direction == result.Down {
			e.Down = t
		} else {
			e.Up = t
		}
	}
	return e
}

// total is what our end counted of w.
func (m *meter) total(w *way, near result.View) *result.Total {
	if w.direction == sent(m.head.Role) {
		return &result.Total{Sent: &near, Elapsed: m.before}
	}
	return &result.Total{Received: &near, Elapsed: m.before}
}

// reports are the statuses of the far end: what it received, second by second.
type reports struct {
	perPacket int // header bytes that it counts for each datagram; 0 for TCP
	payload   int // of a datagram

	mu      sync.Mutex // guards what follows
	bytes   uint64     // as reported
	full    bool       // a report was saturated: it is not known how much came
	covered time.Duration
	cpu     *float64
	last    time.Time
	silent  int // reports of nothing, since the last one of something
}

// add takes a status.
func (r *reports) add(s wire.Status, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes += uint64(s.Received)
	r.full = r.full || s.Received == math.MaxUint32
	r.covered += statusEvery
	r.last = now
	r.silent++
	if s.Received > 0 {
		r.silent = 0
	}
	if cpu := told(s); cpu != nil {
		r.cpu = cpu
	}
}

// view is the sum of the reports, nil before the first and after one that was
// saturated. UDP reports count headers: the payload is reckoned from them for
// datagrams of one size.
func (r *reports) view() *result.View {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.covered == 0 || r.full {
		return nil
	}
	v := &result.View{Bytes: r.bytes, Covered: r.covered}
	if r.perPacket > 0 {
		v.WireBytes = result.Some(r.bytes)
		packets := r.bytes / uint64(r.payload+r.perPacket)
		v.Bytes = packets * uint64(r.payload)
		v.Packets = &packets
	}
	return v
}

// nothing reports whether the far end has not told of a single byte so far.
func (r *reports) nothing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes == 0
}

// starved reports whether the far end says that nothing arrives: the last two
// reports, or more, were of nothing.
func (r *reports) starved() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.silent >= 2
}

// seconds is the time that the reports cover.
func (r *reports) seconds() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.covered
}

// heard is when the latest report came, and the CPU load it told.
func (r *reports) heard() (last time.Time, cpu *float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last, r.cpu
}
