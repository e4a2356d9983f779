package rperf

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/result"
)

// TestQueueing: a load beyond the path's rate fills its queue of 80 ms, and both
// ends tell so, by the sender's stamps alone.
func TestQueueing(t *testing.T) {
	for _, d := range []result.Direction{result.Up, result.Down} {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t, bloated, &Server{})
			r, err := p.run(t.Context(), Client{UDP: true, Direction: d, Streams: 2, Duration: 3 * time.Second, Rate: 6_000_000})
			p.stop()
			if err != nil {
				t.Fatal(err)
			}
			sink := r // where data was received
			if d == result.Up {
				sink = p.sink
			}
			total := sink.End(t).Local(d).Queueing
			if total == nil || total.Max < 70*time.Millisecond || total.Max > 90*time.Millisecond || total.Min > time.Millisecond {
				t.Fatalf("%v: queueing %+v", d, total)
			}
			var count uint64
			for _, e := range sink.All() {
				if i, ok := e.(result.Interval); ok && i.Received.Queueing != nil {
					count += i.Received.Queueing.Count
				}
			}
			if count != total.Count {
				t.Errorf("%v: intervals have %d delays, the total %d", d, count, total.Count)
			}
			told := r.End(t).Total(d).Received.Queueing
			if told == nil || told.Max != total.Max {
				t.Errorf("%v: the client has %+v, want %+v", d, told, total)
			}
			for _, one := range r.End(t).Total(d).Streams {
				if one.Received.Queueing != nil {
					t.Errorf("%v: a stream has what belongs to all", d)
				}
			}
		})
	}
}
