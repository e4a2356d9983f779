//go:build !nano

package cli

import (
	"cmp"
	"time"

	"github.com/sonde-net/sonde/app/probe"
	"github.com/sonde-net/sonde/app/store"
	"github.com/sonde-net/sonde/result"
)

// stored keeps what probes do in a store.
type stored struct{ sink *store.Sink }

func probeName(p *probe.Probe) store.ProbeName {
	return store.ProbeName{Name: p.Name, Protocol: p.Protocol, Target: p.Target, Every: p.Every}
}

// Ran implements probe.Watcher.
func (w stored) Ran(r probe.Run) { w.sink.Ran(storedRun(r)) }

// Missed implements probe.Watcher.
func (w stored) Missed(m probe.Missed) {
	w.sink.Missed(store.ProbeMissed{Probe: probeName(m.Probe), Time: m.Time, Reason: m.Reason, Runs: m.Runs})
}

// Changed implements probe.Watcher.
func (w stored) Changed(c probe.Change) {
	w.sink.Changed(store.ProbeChange{Probe: probeName(c.Probe), Time: c.Time, Before: string(c.Before), State: string(c.State), Text: c.Text})
}

// storedRun is a test as a store has it. What a test that failed measured is in
// its document alone: half a test is no figure.
func storedRun(r probe.Run) store.ProbeRun {
	s := store.ProbeRun{
		ID: r.ID, Probe: probeName(r.Probe), Started: r.Began, Took: r.Took, Bytes: r.Bytes, Success: r.Success, State: string(r.State),
		Word: result.CodeOf(r.Err), Document: r.Document,
	}
	if r.Err != nil {
		s.Error = r.Err.Error()
	}
	if r.Stopped {
		s.Word, s.Success = store.Stopped, false
	}
	if r.End == nil {
		return s
	}
	if r.End.Why != nil {
		s.Why = r.End.Why.Text
	}
	if r.End.Err == nil && !r.Stopped {
		addFigures(&s, *r.End)
	}
	return s
}

func addFigures(s *store.ProbeRun, e result.End) {
	s.Down, s.Up = rateOf(e, e.Down), rateOf(e, e.Up)
	for _, d := range result.Both.Each() {
		t := e.Total(d)
		if t == nil || t.Received == nil || t.Received.Packets == nil || t.Received.Lost == nil {
			continue
		}
		lost := uint64(max(0, *t.Received.Lost))
		addPackets(s, *t.Received.Packets+lost, lost)
	}
	for _, r := range e.RoundTrips {
		addPackets(s, r.Sent, r.Lost)
		if s.RTT == nil && r.RTT != nil && r.RTT.Delay.Count > 0 {
			d := r.RTT.Delay
			s.RTT = &store.Spread{Count: d.Count, Min: d.Min, P50: d.P50, P90: d.P90, P99: d.P99, Max: d.Max}
		}
	}
	if l := e.Latency; l != nil {
		s.RTT, s.Loaded = cmp.Or(s.RTT, spread(l.Idle)), spread(l.Loaded)
	}
}

func addPackets(s *store.ProbeRun, sent, lost uint64) {
	if s.Sent == nil {
		s.Sent, s.Lost = new(uint64), new(uint64)
	}
	*s.Sent += sent
	*s.Lost += lost
}

func spread(d *result.Delay) *store.Spread {
	if d == nil || d.Count == 0 {
		return nil
	}
	return &store.Spread{Count: d.Count, Min: d.Min, P50: d.P50, P90: d.P90, P99: d.P99, Max: d.Max}
}

// rateOf is the rate of one direction, by the receiver's count where it is known.
func rateOf(e result.End, t *result.Total) *uint64 {
	if t == nil {
		return nil
	}
	v := cmp.Or(t.Received, t.Sent)
	if v == nil {
		return nil
	}
	return result.Rate(v.Bytes, time.Duration(cmp.Or(t.Elapsed, e.Elapsed)))
}
