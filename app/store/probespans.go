package store

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// spans gather what was at about the same time.
type spans struct {
	from   time.Time
	width  time.Duration
	at     map[int64]*ProbePoint
	oldest *time.Time // of the tests one by one
}

// point is the span of a moment. What is wider than the spans stands in one of
// its own width.
func (m *spans) point(start time.Time, width time.Duration) *ProbePoint {
	if width == m.width {
		start = m.from.Add(max(0, start.Sub(m.from)) / m.width * m.width)
	}
	p := m.at[ns(start)]
	if p == nil {
		p = &ProbePoint{Start: start, Width: width, OneByOne: true}
		none := probeSum{}
		none.units()
		p.RTT, p.Loaded, p.Down, p.Up = none.rtt, none.loaded, none.down, none.up
		m.at[ns(start)] = p
	}
	return p
}

// ran adds a test by itself.
func (m *spans) ran(r ProbeRun) {
	p := m.point(r.Started, m.width)
	p.Bytes += r.Bytes
	if r.Word == Stopped {
		return
	}
	p.Runs++
	if r.Success {
		p.Good++
	}
	p.Sent, p.Lost = sum(p.Sent, r.Sent), sum(p.Lost, r.Lost)
	p.RTT.addSpread(r.RTT)
	p.Loaded.addSpread(r.Loaded)
	p.Down.addRate(r.Down)
	p.Up.addRate(r.Up)
}

// add adds a sum of many.
func (m *spans) add(s *probeSum, width time.Duration) {
	p := m.point(s.start, width)
	p.OneByOne = false
	p.Runs, p.Good, p.Missed, p.Bytes = p.Runs+int(s.runs), p.Good+int(s.good), p.Missed+int(s.missed), p.Bytes+uint64(s.bytes)
	p.Sent, p.Lost = sum(p.Sent, unsigned(s.sent)), sum(p.Lost, unsigned(s.lost))
	p.RTT.merge(&s.rtt)
	p.Loaded.merge(&s.loaded)
	p.Down.merge(&s.down)
	p.Up.merge(&s.up)
}

func (m *spans) sorted() []ProbePoint {
	var all []ProbePoint
	for _, p := range slices.SortedFunc(maps.Values(m.at), func(a, b *ProbePoint) int { return cmp.Compare(ns(a.Start), ns(b.Start)) }) {
		all = append(all, *p)
	}
	return all
}
