package iperf3

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/testserve"
	"github.com/sonde-net/sonde/result"
)

// TestLatency: round trips of echoes before and under the load, over the real
// loopback interface.
func TestLatency(t *testing.T) {
	r := &testserve.Record{}
	c := Client{Target: fmt.Sprintf("127.0.0.1:%d", ourServer(t, &Server{})), Duration: time.Second, Rate: 1e6, Latency: true}
	if err := c.Run(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if r.HasNote("no_latency") {
		t.Skip("this system lets us send no ICMP echoes")
	}
	l := r.End(t).Latency
	if l == nil || l.Idle == nil || l.Loaded == nil || l.Method != "icmp-echo" {
		t.Fatalf("latency %+v", l)
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
	if probed == 0 {
		t.Error("no interval has a round trip")
	}
}

// TestNoEchoes: a caller's network carries none, and no connection is made as a
// probe, which a real server would take for a client.
func TestNoEchoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, slow, &Server{OneAtATime: true})
		r, err := p.run(t.Context(), Client{Duration: time.Second, Rate: 1e6, Latency: true})
		p.stop()
		if err != nil || r.End(t).Latency != nil || !r.HasNote("no_latency") {
			t.Errorf("latency %+v, note %v, %v", r.End(t).Latency, r.HasNote("no_latency"), err)
		}
	})
}
