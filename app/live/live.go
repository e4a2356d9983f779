// Package live knows what a daemon does just now: which tests run, how its probes
// are, what it has counted since its start. A Board takes the events of all tests
// and what probes say; a Snapshot is what is told of it, as JSON and on screens.
//
// What is kept is bounded, whoever tests and however often.
package live

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sonde-net/sonde/app/probe"
	"github.com/sonde-net/sonde/result"
)

// Bounds of a Board.
const (
	mostTests = 4096 // beyond these, tests run untold
	mostWords = 32   // for why tests were refused or failed
	mostText  = 200  // bytes of a text from outside
	otherWord = "other"
)

// A Board is a result.Sink and a probe.Watcher. It is safe for concurrent use.
type Board struct {
	mu     sync.Mutex // guards what follows
	began  time.Time
	tests  map[result.ID]*Test
	probes map[string]*Probe
	order  []string // of probes, as the configuration has them
	totals Totals
}

// NewBoard makes a Board of what began now.
func NewBoard(now time.Time) *Board {
	return &Board{began: now, tests: map[result.ID]*Test{}, probes: map[string]*Probe{}, totals: Totals{Refused: map[string]uint64{}}}
}

// Put implements result.Sink.
func (b *Board) Put(e result.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := e.(type) {
	case result.Begin:
		if len(b.tests) < mostTests {
			b.tests[e.Run] = newTest(e)
		}
	case result.Interval:
		if t := b.tests[e.Run]; t != nil {
			t.add(e)
		}
		b.totals.add(e)
	case result.Note:
		if e.Code == result.NoteAuthFailure {
			b.totals.LoginsFailed++
		}
	case result.End:
		b.end(e)
	}
}

// end counts a test that is over, or one that never began.
func (b *Board) end(e result.End) {
	began := b.tests[e.Run] != nil || e.Elapsed > 0
	delete(b.tests, e.Run)
	switch {
	case !began && e.Err != nil && (e.Role == result.Server || e.Role == result.Reflector):
		b.totals.refuse(cmp.Or(result.CodeOf(e.Err), e.Reason, otherWord))
	case e.Err != nil:
		b.totals.Tests++
		b.totals.Failed++
	default:
		b.totals.Tests++
	}
}

// Plan makes the probes those that are to run: what is known of them stays.
func (b *Board) Plan(all []Probe) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.probes
	b.probes, b.order = map[string]*Probe{}, nil
	for _, p := range all {
		b.order = append(b.order, p.Name)
		if known := old[p.Name]; known != nil && known.Protocol == p.Protocol && known.Target == p.Target {
			known.Every = p.Every
			b.probes[p.Name] = known
			continue
		}
		p.State = string(probe.Unknown)
		b.probes[p.Name] = &p
	}
}

// Ran implements probe.Watcher.
func (b *Board) Ran(r probe.Run) {
	b.of(r.Probe, func(p *Probe) {
		p.State, p.Runs = string(r.State), p.Runs+1
		p.Last, p.LastGood, p.Text = &r.Began, &r.Success, ""
		if r.Err != nil {
			p.Text = clip(r.Err.Error())
		} else if r.End != nil && r.End.Why != nil {
			p.Text = clip(r.End.Why.Text)
		}
	})
}

// Missed implements probe.Watcher.
func (b *Board) Missed(m probe.Missed) {
	b.of(m.Probe, func(p *Probe) {
		p.Missed += uint64(max(0, m.Runs))
		p.Text = "missed: " + m.Reason
	})
}

// Changed implements probe.Watcher.
func (b *Board) Changed(c probe.Change) {
	b.of(c.Probe, func(p *Probe) { p.State = string(c.State) })
}

// of changes what is known of a probe that is planned.
func (b *Board) of(which *probe.Probe, change func(*Probe)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.probes[which.Name]; p != nil {
		change(p)
	}
}

// Snapshot is what is known now.
func (b *Board) Snapshot(now time.Time) Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := Snapshot{Schema: Schema, Time: now, Began: &b.began, Tests: []Test{}, Probes: []Probe{}}
	for _, t := range b.tests {
		s.Tests = append(s.Tests, *t)
	}
	slices.SortFunc(s.Tests, func(a, b Test) int { return cmp.Or(a.Began.Compare(b.Began), cmp.Compare(a.ID, b.ID)) })
	for _, name := range b.order {
		s.Probes = append(s.Probes, *b.probes[name])
	}
	totals := b.totals
	totals.Refused = maps.Clone(totals.Refused)
	s.Totals = &totals
	return s
}

// clip is a text from outside within bounds.
func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), mostText)], "?") }
