package iperf3

import (
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/host"
	"github.com/sonde-net/sonde/internal/stat"
	"github.com/sonde-net/sonde/internal/stream"
	"github.com/sonde-net/sonde/result"
)

// A flow is one stream as a test counts it.
type flow struct {
	part
	id        int // 1, 3, 4, …
	sends     bool
	direction result.Direction
	prev      result.View  // at the end of the last interval
	omitted   *result.View // what was counted in the omitted part; nil: there was none
	far       *result.View
}

// A meter turns the counters of a running test into intervals and, at the end,
// into totals. Intervals are differences of snapshots, so they add up to the
// totals; the omitted part is in neither. One goroutine at a time uses it.
type meter struct {
	sink     result.Sink
	head     result.Head
	counters *admit.Counters
	flows    []*flow
	cpu      *host.CPU
	rtt      func() *result.Delay // of probes beside the test since the last call
	queueing *stream.Queueing     // of what our end receives
	each     bool                 // intervals of each stream, too

	seq    int
	start  time.Time
	before time.Duration // end of the last interval
	busy   stat.Mean
	near   *reporter // of iperf3's own document; nil: nobody wants it
}

// begin starts the clock.
func (m *meter) begin(at time.Time) {
	m.start = at
	m.cpu = host.NewCPU()
	m.cpu.Busy() // the first sample only sets the start
}

// omit forgets what was counted so far.
func (m *meter) omit(at time.Time) {
	m.close(at, true)
	for _, f := range m.flows {
		f.prev = f.view()
		f.omitted = new(f.prev)
	}
	m.start, m.before = at, 0
	m.queueing.Reset()
	m.rtt() // those of the omitted part belong to no interval
}

// shortest is how long the last interval is at least, when something was
// counted after the one before it.
const shortest = time.Millisecond

// last ends the last interval: what was counted until now must be in it.
func (m *meter) last(at time.Time) {
	m.close(m.start.Add(max(at.Sub(m.start), m.before+shortest)), false)
}

// close ends an interval at a moment. An omitted one is in iperf3's document
// only.
func (m *meter) close(at time.Time, omitted bool) {
	end := at.Sub(m.start)
	if end <= m.before {
		return
	}
	var cpu result.CPU
	if p, ok := m.cpu.Busy(); ok {
		cpu.Local = &p
	}
	views := make([]result.View, len(m.flows))
	for n, f := range m.flows {
		now := f.view()
		views[n] = now.Sub(f.prev)
		f.prev = now
	}
	if m.near != nil {
		m.near.interval(m.flows, views, m.before, end, omitted)
	}
	if !omitted {
		m.put(views, end, at, cpu)
	}
	m.before = end
}

// put puts the interval of each direction.
func (m *meter) put(views []result.View, end time.Duration, at time.Time, cpu result.CPU) {
	m.seq++
	m.busy.Add(cpu.Local)
	rtt := m.rtt()
	for _, d := range []result.Direction{result.Down, result.Up} {
		var these []result.View
		var parts []result.Interval
		sends := false
		for n, f := range m.flows {
			if f.direction == d {
				part := result.Interval{Head: m.head, Seq: m.seq, Direction: d, Stream: len(these), Start: m.before, End: end}
				part.Time = at
				if sends = f.sends; sends {
					part.Sent = &views[n]
				} else {
					part.Received = &views[n]
				}
				these, parts = append(these, views[n]), append(parts, part)
			}
		}
		if len(these) == 0 {
			continue
		}
		sum := result.Sum(these...)
		i := result.Interval{Head: m.head, Seq: m.seq, Direction: d, Stream: result.AllStreams, Start: m.before, End: end, CPU: cpu, RTT: rtt}
		i.Time = at
		if sends {
			i.Sent = &sum
			m.counters.Add(sum.Bytes, 0)
		} else {
			sum.Queueing = m.queueing.Interval()
			i.Received = &sum
			m.counters.Add(0, sum.Bytes)
		}
		m.sink.Put(i)
		for _, part := range parts {
			if m.each && len(parts) > 1 {
				m.sink.Put(part)
			}
		}
	}
}

// measured is what a flow counted, without the omitted part.
func (f *flow) measured() result.View { return f.since(f.prev) }

// since is what is in a view without the omitted part.
func (f *flow) since(v result.View) result.View {
	if f.omitted == nil {
		return v
	}
	return v.Sub(*f.omitted)
}

// end is the End of the run, with the totals at its last interval.
func (m *meter) end(at time.Time) result.End {
	e := result.End{Head: m.head, Elapsed: m.before}
	e.Time = at
	if m.seq == 0 { // nothing was measured
		return e
	}
	e.CPU.Local = m.busy.Value()
	e.Down, e.Up = m.total(result.Down), m.total(result.Up)
	return e
}

// total is one direction, nil when nothing was to flow that way.
func (m *meter) total(d result.Direction) *result.Total {
	var near, far []result.View
	var streams []result.Total
	sends := false
	for _, f := range m.flows {
		if f.direction != d {
			continue
		}
		sends = f.sends
		near = append(near, f.measured())
		if f.far != nil {
			far = append(far, *f.far)
		}
		streams = append(streams, m.one(f.measured(), f.far, f.sends))
	}
	if len(near) == 0 {
		return nil
	}
	var told *result.View
	if len(far) == len(near) {
		told = result.Some(result.Sum(far...))
	}
	all := result.Sum(near...)
	if !sends {
		all.Queueing = m.queueing.Total()
	}
	t := m.one(all, told, sends)
	if len(streams) > 1 {
		t.Streams = streams
	}
	return &t
}

func (m *meter) one(near result.View, far *result.View, sends bool) result.Total {
	if sends {
		return result.Total{Sent: &near, Received: far, Elapsed: m.before}
	}
	return result.Total{Received: &near, Sent: far, Elapsed: m.before}
}
