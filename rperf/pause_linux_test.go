package rperf

import (
	"sync"
	"testing"
	"time"

	"github.com/sonde-net/sonde/internal/testserve"
	"github.com/sonde-net/sonde/result"
)

// TestPauses: streams that pause between their datagrams, or until they are
// opened, move what others do, and end as others do.
func TestPauses(t *testing.T) {
	target, _, _ := serveReal(t, &Server{})
	var wg sync.WaitGroup
	for _, udp := range []bool{false, true} {
		for _, d := range []result.Direction{result.Up, result.Down} {
			wg.Go(func() {
				// 5 datagrams a second on each stream
				c := Client{Target: target, UDP: udp, Direction: d, Duration: 2 * time.Second,
					Rate: 50_000, Length: 1000, Streams: 2 * fewStreams, Classic: udp}
				r := &testserve.Record{}
				if err := c.Run(t.Context(), r); err != nil {
					t.Errorf("udp=%v %v: %v", udp, d, err)
					return
				}
				total := r.End(t).Total(d)
				if total.Received == nil || total.Sent == nil || total.Sent.Bytes != total.Received.Bytes || total.Sent.Bytes == 0 {
					t.Errorf("udp=%v %v: sent %+v, received %+v", udp, d, total.Sent, total.Received)
				}
				for n, s := range total.Streams {
					if s.Received == nil || s.Received.Bytes == 0 {
						t.Errorf("udp=%v %v: nothing came on stream %d", udp, d, n)
					}
				}
			})
		}
	}
	wg.Wait()
}
