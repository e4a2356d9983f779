package iperf3

import (
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/host"
	"github.com/sonde-net/sonde/result"
)

// A flow is one stream as a test counts it.
type flow struct {
	part
	id        int // 1, 3, 4, …
	sends     bool
	direction result.Direction
	prev      result.View // at the end of the last interval
	base      result.View // at the end of the omitted part
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
	queueing *queueing            // of what our end receives

	seq    int
	start  time.Time
	before time.Duration // end of the last interval
	busy   mean
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
		f.base = f.view()
		f.prev = f.base
	}
	m.start, m.before = at, 0
	m.queueing.reset()
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
	if m.near != nil {
		m.near.interval(m.flows, m.before, end, omitted)
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
	if !omitted {
		m.put(views, end, at, cpu)
	}
	m.before = end
}

// put puts the interval of each direction.
func (m *meter) put(views []result.View, end time.Duration, at time.Time, cpu result.CPU) {
	m.seq++
	m.busy.add(cpu.Local)
	rtt := m.rtt()
	for _, d := range []result.Direction{result.Down, result.Up} {
		var these []result.View
		sends := false
		for n, f := range m.flows {
			if f.direction == d {
				these = append(these, views[n])
				sends = f.sends
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
			sum.Queueing = m.queueing.interval()
			i.Received = &sum
			m.counters.Add(0, sum.Bytes)
		}
		m.sink.Put(i)
	}
}

// measured is what a flow counted, without the omitted part.
func (f *flow) measured() result.View { return f.prev.Sub(f.base) }

// end is the End of the run, with the totals at its last interval.
func (m *meter) end(at time.Time) result.End {
	e := result.End{Head: m.head, Elapsed: m.before}
	e.Time = at
	if m.seq == 0 { // nothing was measured
		return e
	}
	e.CPU.Local = m.busy.value()
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
		all.Queueing = m.queueing.total()
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

// A mean is of figures that may be unknown.
type mean struct {
	sum float64
	n   int
}

func (m *mean) add(v *float64) {
	if v != nil {
		m.sum += *v
		m.n++
	}
}

func (m *mean) value() *float64 {
	if m.n == 0 {
		return nil
	}
	return result.Some(m.sum / float64(m.n))
}
