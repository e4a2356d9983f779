package quota

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/sonde-net/sonde/admit"
)

// How many may wait: beyond it the wait would be longer than anybody's patience.
const (
	mostWaiting = 256
	mostOfOne   = 32 // of one address, so that none fills the queue
)

// A queue gives out places. Who finds none waits for a bounded time. A place that
// comes free goes to the account, or address without one, that has the fewest,
// and among equals to who has waited longest.
type queue struct {
	mu      sync.Mutex // guards what follows
	tests   int        // places in all; 0 is no limit
	running []*place
	waiting []*place // in the order in which they came
}

// A place is that of one test, with the limits that hold for it; 0 is no limit.
type place struct {
	server          *Server
	account         string
	site            netip.Addr
	ofServer        int
	ofServerAddress int
	ofAccount       int
	ofAddress       int
	turn            chan struct{} // closed when the wait is over
	out             error         // why without a place: another one's turn to wait
}

// subject is whose share a place is counted into.
func (p *place) subject() string { return cmp.Or(p.account, p.site.String()) }

// enter waits for a place. It has waited if there was none at once.
func (q *queue) enter(ctx context.Context, mine *place, wait time.Duration, told func(position int, wait time.Duration) error) (waited bool, err error) {
	if err := q.join(mine, wait > 0); err != nil {
		return false, err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for ; ; waited = true {
		select {
		case <-mine.turn:
			return waited, mine.out
		default:
		}
		if told != nil {
			if err := told(q.position(mine), 0); err != nil {
				return true, err // the place is given back by whoever made it
			}
		}
		select {
		case <-mine.turn:
			return true, mine.out
		case <-ctx.Done():
			return true, context.Cause(ctx)
		case <-timer.C:
			return true, q.tired(mine, wait)
		case <-tick.C:
		}
	}
}

func (q *queue) join(mine *place, mayWait bool) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	mine.turn = make(chan struct{})
	q.waiting = append(q.waiting, mine)
	q.next()
	if !slices.Contains(q.waiting, mine) {
		return nil
	}
	same := 0
	for _, w := range q.waiting {
		if w.site == mine.site {
			same++
		}
	}
	var text string
	switch {
	case !mayWait:
		text = q.full(mine)
	case same > mostOfOne:
		text = fmt.Sprintf("%d tests of %v wait already", same-1, mine.site)
	case len(q.waiting) > mostWaiting:
		last := q.greediest()
		text = q.full(last) + fmt.Sprintf(", and %d wait", mostWaiting)
		if last != mine {
			last.out = &admit.RefusedError{Word: admit.TooManyConnections, Text: text}
			q.drop(last)
			close(last.turn)
			return nil
		}
	default:
		return nil
	}
	q.drop(mine)
	return &admit.RefusedError{Word: admit.TooManyConnections, Text: text}
}

// drop takes a place out of the queue.
func (q *queue) drop(one *place) {
	q.waiting = slices.DeleteFunc(q.waiting, func(p *place) bool { return p == one })
}

// greediest is who has to leave a queue that is too long: the latest of the subject that
// has the most in it, so that nobody fills it against the others.
func (q *queue) greediest() (latest *place) {
	waiting := map[string]int{}
	for _, w := range q.waiting {
		waiting[w.subject()]++
	}
	for _, w := range q.waiting {
		if latest == nil || waiting[w.subject()] >= waiting[latest.subject()] {
			latest = w
		}
	}
	return latest
}

// tired is the refusal of who has waited for so long.
func (q *queue) tired(mine *place, wait time.Duration) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	text := q.full(mine)
	if text == "" || mine.out != nil {
		return mine.out // the wait was over with the last moment
	}
	position := slices.Index(q.waiting, mine) + 1
	return &admit.RefusedError{Word: admit.TooManyConnections, Text: fmt.Sprintf("%s; no place came free within %v, %d of %d in the queue", text, wait, position, len(q.waiting))}
}

// full says which limit keeps a place waiting; empty if none does.
func (q *queue) full(mine *place) string {
	var server, serverAddress, account, address int
	for _, r := range q.running {
		if r == mine {
			return ""
		}
		if r.server == mine.server {
			server++
			if r.site == mine.site {
				serverAddress++
			}
		}
		if mine.account != "" && r.account == mine.account {
			account++
		}
		if r.site == mine.site {
			address++
		}
	}
	for _, l := range []struct {
		n, limit int
		whose    string
	}{
		{len(q.running), q.tests, "of all servers"},
		{server, mine.ofServer, "of this server"},
		{serverAddress, mine.ofServerAddress, "of " + mine.site.String()},
		{account, mine.ofAccount, fmt.Sprintf("of user %q", mine.account)},
		{address, mine.ofAddress, "of " + mine.site.String()},
	} {
		if l.limit > 0 && l.n >= l.limit {
			return fmt.Sprintf("%d tests %s run, of %d at once", l.n, l.whose, l.limit)
		}
	}
	return ""
}

// next gives free places to those who wait.
func (q *queue) next() {
	shares := map[string]int{}
	for _, r := range q.running {
		shares[r.subject()]++
	}
	for {
		var first *place
		for _, w := range q.waiting {
			if (first == nil || shares[w.subject()] < shares[first.subject()]) && q.full(w) == "" {
				first = w
			}
		}
		if first == nil {
			return
		}
		q.drop(first)
		q.running = append(q.running, first)
		shares[first.subject()]++
		close(first.turn)
	}
}

// position is the place in the queue, from 1; 0 when the turn has come.
func (q *queue) position(mine *place) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Index(q.waiting, mine) + 1
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
