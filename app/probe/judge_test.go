package probe

import (
	"errors"
	"testing"

	"github.com/sonde-net/sonde/result"
)

// A probe that had failed before a restart or a change of its settings does not
// recover by a failure, and reports no second alarm.
func TestFailedBefore(t *testing.T) {
	p := &Probe{Name: "a", M: 3, N: 5}
	j := newJudge(p, Failed)
	for range 7 {
		if c := j.add(&Run{Err: errors.New("no answer")}); c != nil {
			t.Fatalf("a failure of a failed probe: %+v", c)
		}
	}
	var changes []*Change
	for range 5 {
		if c := j.add(&Run{End: &result.End{}}); c != nil {
			changes = append(changes, c)
		}
	}
	if len(changes) != 1 || changes[0].Before != Failed || changes[0].State != OK {
		t.Errorf("five successes: %+v", changes)
	}
	late := newJudge(p, "")
	late.restore(Failed)
	if c := late.add(&Run{Err: errors.New("no answer")}); c != nil || late.current() != Failed {
		t.Errorf("recalled later: %+v, %s", c, late.current())
	}
}
