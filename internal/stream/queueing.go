package stream

import (
	"sync"
	"time"

	"github.com/sonde-net/sonde/internal/stat"
	"github.com/sonde-net/sonde/result"
)

// A Queueing is the queueing delay of all flows that our end receives in a test:
// together, since each distribution takes its room. The zero Queueing is ready to
// use. It is safe for concurrent use.
type Queueing struct {
	mu    sync.Mutex // guards delay
	delay stat.Queueing
}

// Record takes the packet of a flow: the first of each train.
func (q *Queueing) Record(base *stat.Base, sent, came time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.delay.Record(base, sent, came)
}

// Interval is the distribution since the last call, nil if nothing came.
func (q *Queueing) Interval() *result.Delay {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.delay.Interval()
}

// Total is the distribution of all, nil if nothing came.
func (q *Queueing) Total() *result.Delay {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.delay.Total()
}

// Reset forgets all, such as what was omitted.
func (q *Queueing) Reset() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.delay.Reset()
}
