package rperf

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/sonde-net/sonde/admit"
)

// mostWaiting is how long a queue may become: beyond it the wait would be
// longer than anybody's patience.
const mostWaiting = 256

// mostOfOne is how many of one address may wait, so that none fills the queue.
const mostOfOne = 32

// A queue lets so many tests run at once and the others wait their turn, first
// come, first served.
type queue struct {
	places int // 0 is no limit
	most   int // that may wait

	mu      sync.Mutex // guards what follows
	running []*place
	waiting []*place
}

// A place is that of one test.
type place struct {
	turn  chan struct{} // closed when the test may run
	site  netip.Addr    // of the client, as limits count it
	until time.Time     // when it will be over; zero if that is not known
}

// enter waits for a place for a client of peer and returns the function that gives it back. lasts
// is how long the test will take, 0 if that is not known. While it waits enter
// calls told, at once and then each second, with the place in the queue, from
// 1, and the expected wait, 0 if that is not known.
func (q *queue) enter(ctx context.Context, peer netip.Addr, lasts time.Duration, told func(position int, wait time.Duration) error) (leave func(), err error) {
	mine, err := q.join(admit.Site(peer))
	if err != nil {
		return nil, err
	}
	leave = sync.OnceFunc(func() { q.leave(mine) })
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if position, wait := q.outlook(mine); position > 0 {
			if err := told(position, wait); err != nil {
				leave()
				return nil, err
			}
		}
		select {
		case <-mine.turn:
			q.mu.Lock()
			defer q.mu.Unlock()
			if lasts > 0 {
				mine.until = time.Now().Add(lasts)
			}
			return leave, nil
		case <-ctx.Done():
			leave()
			return nil, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func (q *queue) join(site netip.Addr) (*place, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.places > 0 && len(q.running) >= q.places && len(q.waiting) >= q.most {
		return nil, &admit.RefusedError{Word: admit.TooManyConnections, Text: "the server is busy and its queue is full"}
	}
	same := 0
	for _, w := range q.waiting {
		if w.site == site {
			same++
		}
	}
	if same >= mostOfOne {
		return nil, &admit.RefusedError{Word: admit.TooManyConnections, Text: fmt.Sprintf("%d tests of %v wait already", same, site)}
	}
	mine := &place{turn: make(chan struct{}), site: site}
	q.waiting = append(q.waiting, mine)
	q.next()
	return mine, nil
}

// next gives free places to those who wait.
func (q *queue) next() {
	for len(q.waiting) > 0 && (q.places == 0 || len(q.running) < q.places) {
		first := q.waiting[0]
		q.waiting = q.waiting[1:]
		q.running = append(q.running, first)
		close(first.turn)
	}
}

// outlook is the place in the queue, 0 when the turn has come, and the wait
// that can be expected.
func (q *queue) outlook(mine *place) (position int, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	position = slices.Index(q.waiting, mine) + 1
	var ends []time.Time
	for _, r := range q.running {
		if !r.until.IsZero() {
			ends = append(ends, r.until)
		}
	}
	if position == 0 || position > len(ends) {
		return position, 0
	}
	slices.SortFunc(ends, time.Time.Compare)
	return position, max(0, time.Until(ends[position-1]))
}

// leave gives up a place, running or waiting.
func (q *queue) leave(mine *place) {
	q.mu.Lock()
	defer q.mu.Unlock()
	gone := func(p *place) bool { return p == mine }
	q.running = slices.DeleteFunc(q.running, gone)
	q.waiting = slices.DeleteFunc(q.waiting, gone)
	q.next()
}
