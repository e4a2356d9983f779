package iperf3

import (
	"sync"
	"time"

	"github.com/sonde-net/sonde/internal/stat"
	"github.com/sonde-net/sonde/result"
)

// A queueing is the queueing delay of all UDP streams that our end receives in
// a test: together, since each distribution takes its room. It is safe for
// concurrent use.
type queueing struct {
	mu    sync.Mutex // guards delay
	delay stat.Queueing
}

// record takes the packet of a stream: the first of each train.
func (q *queueing) record(base *stat.Base, sent, came time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.delay.Record(base, sent, came)
}

// interval is the distribution since the last call, nil if nothing came.
func (q *queueing) interval() *result.Delay {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.delay.Interval()
}

// total is the distribution of all, nil if nothing came.
func (q *queueing) total() *result.Delay {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.delay.Total()
}

// reset forgets what was omitted.
func (q *queueing) reset() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.delay.Reset()
}
