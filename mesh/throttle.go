package mesh

import (
	"sync"
	"time"
)

// A throttle holds a rate over all that share it. A nil throttle has no limit;
// it is safe for concurrent use.
type throttle struct {
	rate uint64 // bit/s

	mu  sync.Mutex // guards due
	due time.Time  // when the next bytes may go
}

// throttleDebt is how much of its rate an idle throttle lets pass at once.
const throttleDebt = 20 * time.Millisecond

func newThrottle(rate uint64) *throttle {
	if rate == 0 {
		return nil
	}
	return &throttle{rate: rate}
}

// wait is how long nothing may go.
func (t *throttle) wait(now time.Time) time.Duration {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(0, t.due.Sub(now))
}

// book takes n bytes, now or from later on.
func (t *throttle) book(n int, now time.Time) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if from := now.Add(-throttleDebt); t.due.Before(from) {
		t.due = from
	}
	t.due = t.due.Add(time.Duration(float64(8*n) / float64(t.rate) * float64(time.Second)))
}
