package rperf

import (
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/stat"
	"github.com/sonde-net/sonde/internal/stream"
	"github.com/sonde-net/sonde/result"
)

// A meter turns the counters of a running test into intervals and, at the end,
// into the total. Intervals are differences of snapshots, so they add up to
// the total. One goroutine at a time uses it.
type meter struct {
	sink      result.Sink
	head      result.Head
	counters  *admit.Counters
	direction result.Direction
	sends     bool
	near      func() []result.View // snapshots of our end, stream by stream
	far       func() []result.View // what the far end told so far; nil if nothing
	cpu       func() result.CPU
	rtt       func() *result.Delay // of probes beside the test since the last call
	queueing  *stream.Queueing     // of what our end receives
	each      bool                 // intervals of each stream, too

	seq     int
	start   time.Time
	before  time.Duration // end of the last interval
	prev    result.View
	prevFar result.View
	streams stat.Streams
	busy    stat.Mean
}

// shortest is how long the last interval is at least, when something was
// counted after the one before it.
const shortest = time.Millisecond

// last ends the last interval: what was counted until now must be in it.
func (m *meter) last(at time.Time) {
	m.close(m.start.Add(max(at.Sub(m.start), m.before+shortest)))
}

// close ends an interval at a moment.
func (m *meter) close(at time.Time) {
	end := at.Sub(m.start)
	if end <= m.before {
		return
	}
	m.seq++
	streams := m.near()
	near := result.Sum(streams...)
	mine := near.Sub(m.prev)
	m.prev = near
	i := result.Interval{
		Head: m.head, Seq: m.seq, Direction: m.direction, Stream: result.AllStreams,
		Start: m.before, End: end, CPU: m.cpu(), RTT: m.rtt(),
	}
	i.Time = at
	m.busy.Add(i.CPU.Local)
	if m.sends {
		i.Sent, i.Received = &mine, m.farInterval()
		m.counters.Add(mine.Bytes, 0)
	} else {
		mine.Queueing = m.queueing.Interval()
		i.Received, i.Sent = &mine, m.farInterval()
		m.counters.Add(0, mine.Bytes)
	}
	m.sink.Put(i)
	if m.each {
		for _, one := range m.streams.Intervals(i, m.sends, streams) {
			m.sink.Put(one)
		}
	}
	m.before = end
}

// farInterval is what the far end reported since the last interval, or nil.
func (m *meter) farInterval() *result.View {
	all := m.far()
	if all == nil {
		return nil
	}
	far := result.Sum(all...)
	if far.Covered == m.prevFar.Covered {
		return nil
	}
	d := far.Sub(m.prevFar)
	d.Covered = far.Covered - m.prevFar.Covered
	m.prevFar = far
	return &d
}

// end is the End of the run, with the totals at its last interval.
func (m *meter) end(at time.Time) result.End {
	e := result.End{Head: m.head, Elapsed: m.before}
	e.Time = at
	if m.seq == 0 { // nothing was measured
		return e
	}
	e.CPU.Local = m.busy.Value()
	near, far := m.near(), m.far()
	all := m.prev
	all.Queueing = m.queueing.Total()
	t := m.total(all, nil)
	if far != nil {
		told := result.Sum(far...)
		told.Queueing = takeQueueing(far)
		t = m.total(all, &told)
	}
	for n := 0; len(near) > 1 && n < len(near); n++ {
		var told *result.View
		if n < len(far) {
			told = &far[n]
		}
		t.Streams = append(t.Streams, *m.total(near[n], told))
	}
	if m.direction == result.Down {
		e.Down = t
	} else {
		e.Up = t
	}
	return e
}

// takeQueueing takes what the far end told of queueing out of the views of
// single streams: it is of all of them, as each knew it at its last report.
func takeQueueing(far []result.View) (latest *result.Delay) {
	for n := range far {
		if q := far[n].Queueing; q != nil && (latest == nil || q.Count > latest.Count) {
			latest = q
		}
		far[n].Queueing = nil
	}
	return latest
}

// total is one total seen from both ends.
func (m *meter) total(near result.View, far *result.View) *result.Total {
	if m.sends {
		return &result.Total{Sent: &near, Received: far, Elapsed: m.before}
	}
	return &result.Total{Received: &near, Sent: far, Elapsed: m.before}
}
