package probe

import (
	"fmt"
	"strings"

	"github.com/sonde-net/sonde/app/verdict"
	"github.com/sonde-net/sonde/result"
)

// A judge keeps the state of a probe.
type judge struct {
	probe  *Probe
	series verdict.Series
	state  State // empty before the first test
}

func newJudge(p *Probe, before State) judge {
	j := judge{probe: p, series: verdict.Series{M: p.M, N: p.N}}
	j.restore(before)
	return j
}

// restore takes up a state from before. The tests that made it failed are its
// latest.
func (j *judge) restore(s State) {
	j.state = s
	if s == Failed {
		for range max(1, j.probe.M) {
			j.series.Add(result.Crossed)
		}
	}
}

func (j *judge) current() State {
	if j.state == "" {
		return Unknown
	}
	return j.state
}

// add takes a test, fills in what it means, and returns the change that it made
// of the state. The first success is none: nobody knew of anything else.
func (j *judge) add(r *Run) *Change {
	outcome := result.Passed
	switch {
	case r.Err != nil:
		outcome = result.Crossed
	case r.End != nil && r.End.Verdict != nil:
		outcome = r.End.Verdict.Outcome
	}
	r.Success = outcome == result.Passed
	if r.Err == nil && !r.Success {
		r.Err = crossed(r.End.Verdict)
	}
	now := map[result.Outcome]State{result.Passed: OK, result.Crossed: Failed, result.Unknown: Unknown}[j.series.Add(outcome)]
	before := j.state
	if before != OK && now == OK && !r.Success {
		r.State = j.current() // no alarm yet, and no success either
		return nil
	}
	j.state, r.State = now, now
	if now == before || before == "" && now != Failed {
		return nil
	}
	if before == "" {
		before = Unknown
	}
	return &Change{Probe: j.probe, Before: before, State: now, Text: j.text(r), Run: r.ID}
}

// text says what made a change.
func (j *judge) text(r *Run) string {
	if r.Err == nil {
		return "the test was a success"
	}
	if m, n := max(1, j.series.M), max(1, j.series.N); n > 1 {
		return fmt.Sprintf("%d of the last %d tests were no success; the latest: %v", m, n, r.Err)
	}
	return r.Err.Error()
}

// crossed is the error of a test whose thresholds were crossed, or could not be
// told.
func crossed(v *result.Verdict) error {
	var checks []string
	for _, c := range v.Checks {
		switch {
		case c.Outcome != v.Outcome:
		case c.Outcome == result.Crossed:
			checks = append(checks, c.Rule+" (it is "+c.Figure+")")
		default:
			checks = append(checks, c.Rule+" ("+c.Remark+")")
		}
	}
	if v.Outcome == result.Crossed {
		return &result.Error{Word: result.CodeThreshold, Text: "threshold crossed: " + strings.Join(checks, ", ")}
	}
	return &result.Error{Word: result.CodeUntold, Text: "cannot tell whether a threshold is crossed: " + strings.Join(checks, ", ")}
}
