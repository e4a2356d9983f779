package stat

import (
	"math"
	"testing"
	"time"
)

func TestQueueing(t *testing.T) {
	base := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, offset := range []time.Duration{0, -5 * time.Hour, 30 * 24 * time.Hour} {
		var q Queueing
		var one, other Base
		if q.Interval() != nil || q.Total() != nil {
			t.Error("figures of nothing")
		}
		for n, delay := range []time.Duration{10, 12, 60, 10, 35} { // ms
			sent := base.Add(time.Duration(n) * 100 * time.Millisecond)
			came := sent.Add(offset + delay*time.Millisecond)
			q.Record(&one, sent, came)
			q.Record(&other, sent, came.Add(time.Hour)) // another clock reading
		}
		d := q.Interval()
		if d == nil || d.Count != 10 || d.Max != 50*time.Millisecond || d.Min > time.Microsecond || d.Mean < 15*time.Millisecond || d.Mean > 16*time.Millisecond {
			t.Errorf("offset %v: %+v", offset, d)
		}
		if q.Interval() != nil {
			t.Error("an interval without packets has figures")
		}
		if total := q.Total(); total == nil || *total != *d {
			t.Errorf("offset %v: total %+v, want %+v", offset, total, d)
		}
	}
}

// TestQueueingHostile: times that somebody made up break nothing.
func TestQueueingHostile(t *testing.T) {
	var q Queueing
	var b Base
	now := time.Now()
	for _, sent := range []time.Time{now, {}, time.Unix(math.MaxInt64, 999999999), time.Unix(math.MinInt64, 0), now} {
		q.Record(&b, sent, now)
	}
	if d := q.Total(); d.Count != 5 || d.Min < 0 || d.Max > LongestDelay {
		t.Errorf("total %+v", d)
	}
}
