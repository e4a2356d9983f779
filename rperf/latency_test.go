package rperf

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/result"
)

// bloated is a path of 10 Mbit/s with 10 ms of delay and a queue of 80 ms.
var bloated = testnet.Link{Rate: 10_000_000, Delay: 5 * time.Millisecond, Queue: 100_000}

// TestLatency: round trips of the idle path are the path's, those under a load
// that fills the queue have its length too; each interval tells.
func TestLatency(t *testing.T) {
	for _, udp := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t, bloated, &Server{})
			c := Client{UDP: udp, Duration: 4 * time.Second, Latency: true, Rate: 11_000_000}
			r, err := p.run(t.Context(), c)
			p.stop()
			if err != nil {
				t.Fatal(err)
			}
			l := r.End(t).Latency
			if l == nil || l.Idle == nil || l.Loaded == nil || l.Method != "tcp-connect" {
				t.Fatalf("udp=%v: latency %+v", udp, l)
			}
			if l.Idle.Max > 15*time.Millisecond || l.Loaded.Max < 50*time.Millisecond || l.Loaded.Max > 150*time.Millisecond {
				t.Errorf("udp=%v: idle %+v, loaded %+v", udp, *l.Idle, *l.Loaded)
			}
			probed := 0
			for _, e := range r.All() {
				switch e := e.(type) {
				case result.Begin:
					if e.Idle == nil || *e.Idle != *l.Idle {
						t.Errorf("begins with %+v idle", e.Idle)
					}
				case result.Interval:
					if e.RTT != nil {
						probed++
					}
				}
			}
			if probed < 2 {
				t.Errorf("udp=%v: %d intervals with a round trip", udp, probed)
			}
		})
	}
}

// TestNoLatency: who does not ask for it gets none, and no probes are made.
func TestNoLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, slow, &Server{})
		r, err := p.run(t.Context(), Client{Duration: time.Second, Rate: 1e6})
		p.stop()
		if err != nil || r.End(t).Latency != nil {
			t.Errorf("latency %+v, %v", r.End(t).Latency, err)
		}
	})
}
