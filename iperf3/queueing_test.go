package iperf3

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/result"
)

// bloated is a path of 10 Mbit/s with 10 ms of delay and a queue of 80 ms.
var bloated = testnet.Link{Rate: 10_000_000, Delay: 5 * time.Millisecond, Queue: 100_000}

// TestQueueing: a load beyond the path's rate fills its queue of 80 ms, and the
// end that receives tells so, by the sender's stamps alone. What is omitted is
// in no figure.
func TestQueueing(t *testing.T) {
	for _, d := range []result.Direction{result.Up, result.Down} {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t, bloated, &Server{})
			r, err := p.run(t.Context(), Client{UDP: true, Direction: d, Streams: 2, Duration: 2 * time.Second, Omit: time.Second, Rate: 6_000_000})
			p.stop()
			if err != nil {
				t.Fatal(err)
			}
			sink := r // where data was received
			if d == result.Up {
				sink = p.sink
			}
			total := sink.End(t).Local(d).Queueing
			if total == nil || total.Max < 70*time.Millisecond || total.Max > 90*time.Millisecond || total.Min < 20*time.Millisecond {
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
		})
	}
}
