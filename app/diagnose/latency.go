package diagnose

import (
	"cmp"
	"fmt"
	"time"

	"github.com/sonde-net/sonde/result"
)

// grades are the least delay that the load adds, median to median, for each
// grade after A. They are those that DSLReports set for bufferbloat and others
// have taken up; its A+, below 5 ms, is an A here.
var grades = []struct {
	added time.Duration
	grade string
}{
	{400 * time.Millisecond, "F"},
	{200 * time.Millisecond, "D"},
	{60 * time.Millisecond, "C"},
	{30 * time.Millisecond, "B"},
}

// Grade compares the delay of the idle path with that under load: a letter from
// A to D and F by the milliseconds that the load adds, and the responsiveness
// in round trips per minute under load.
//
// The responsiveness is that of draft-ietf-ippm-responsiveness for one kind of
// round trip: a minute over the mean delay under load. The draft takes a
// weighted mean over TCP, TLS and HTTP round trips on new and on loaded
// connections and trims the highest 5 %; figures can be compared with others of
// sonde, not with those of tools that follow it to the letter.
//
// The letter is "" with fewer than five round trips on either side, the number 0
// without any under load.
func Grade(idle, loaded result.Delay) (grade string, rpm float64) {
	if loaded.Count > 0 && loaded.Mean > 0 {
		rpm = float64(time.Minute) / float64(loaded.Mean)
	}
	if idle.Count < enoughTrips || loaded.Count < enoughTrips {
		return "", rpm
	}
	added := loaded.P50 - idle.P50
	for _, g := range grades {
		if added >= g.added {
			return g.grade, rpm
		}
	}
	return "A", rpm
}

// graded returns l with its grade and responsiveness, where they are missing and
// can be told.
func graded(l *result.Latency) *result.Latency {
	if l == nil || l.Loaded == nil || l.Grade != "" || l.RPM != nil {
		return l
	}
	g := *l
	var idle result.Delay
	if l.Idle != nil {
		idle = *l.Idle
	}
	grade, rpm := Grade(idle, *l.Loaded)
	if rpm > 0 {
		g.RPM = &rpm
	}
	switch {
	case mostUnanswered(l) && grade != "F":
		g.Remark = cmp.Or(g.Remark, fmt.Sprintf("no grade: %d probes got no answer, %d under load did", l.Lost, l.Loaded.Count))
	case grade == "":
		g.Remark = cmp.Or(g.Remark, fmt.Sprintf("no grade: it takes %d round trips idle and under load, there were %d and %d", enoughTrips, idle.Count, l.Loaded.Count))
	default:
		g.Grade = grade
	}
	return &g
}

// mostUnanswered reports whether the probes that were answered under load do not
// stand for all of them.
func mostUnanswered(l *result.Latency) bool { return l.Loaded == nil || l.Lost > l.Loaded.Count }
