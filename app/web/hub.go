package web

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sonde-net/sonde/result"
)

// Bounds of a Hub.
const (
	mostTests    = 4096 // beyond these, tests run unseen
	mostSamples  = 120  // of one test: what its chart shows
	mostEnded    = 256  // that are remembered, to be told of
	mostWatchers = 256
)

// A Hub is a result.Sink that knows what runs just now. It keeps of each test
// its last two minutes.
//
// Every change has a number. A watcher asks for what has changed since the one it
// knows: nothing queues up for a slow one, which finds the newest figures and as
// many samples as are kept.
type Hub struct {
	boot string // numbers of another process mean nothing here

	mu       sync.Mutex // guards what follows
	last     uint64     // number of the last change
	tests    map[result.ID]*liveTest
	ended    []*liveTest // oldest first
	forgot   uint64      // number of the last change that ended has dropped
	watchers map[chan struct{}]bool
}

// NewHub makes a Hub.
func NewHub() *Hub {
	// From 1: who knows 0 knows nothing.
	return &Hub{boot: strings.ToLower(rand.Text()[:6]), last: 1, tests: map[result.ID]*liveTest{}, watchers: map[chan struct{}]bool{}}
}

// A liveTest is a test that runs, or has just ended.
type liveTest struct {
	begin   result.Begin
	samples []sample // oldest first
	down    *uint64  // payload so far
	up      *uint64
	rtt     *time.Duration
	lost    *int64
	end     *result.End
	changed uint64
}

// A sample is what happened in one interval.
type sample struct {
	seq      int
	changed  uint64
	end      time.Duration
	down, up *uint64 // bit/s
}

// Put implements result.Sink.
func (h *Hub) Put(e result.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.tests[e.Of().Run]
	switch e := e.(type) {
	case result.Begin:
		if t != nil || len(h.tests) >= mostTests {
			return
		}
		t = &liveTest{begin: e}
		h.tests[e.Run] = t
	case result.Interval:
		if t == nil || e.Stream != result.AllStreams || !t.add(e, h.last+1) {
			return
		}
	case result.End:
		if t == nil {
			return
		}
		t.end = &e
		delete(h.tests, e.Run)
		h.ended = append(h.ended, t)
		if len(h.ended) > mostEnded {
			h.forgot = h.ended[0].changed
			h.ended = slices.Delete(h.ended, 0, 1)
		}
	default:
		return
	}
	h.last++
	t.changed = h.last
	for wake := range h.watchers {
		select {
		case wake <- struct{}{}:
		default: // it has not looked since the last time
		}
	}
}

// add takes an interval, which is the change of that number. Those of both
// directions of one moment are one sample.
func (t *liveTest) add(i result.Interval, number uint64) bool {
	v := i.Local()
	if v == nil {
		return false
	}
	n := len(t.samples)
	if n == 0 || t.samples[n-1].seq != i.Seq {
		if n == mostSamples {
			t.samples = slices.Delete(t.samples, 0, 1)
		}
		t.samples = append(t.samples, sample{seq: i.Seq, end: i.End})
		n = len(t.samples)
	}
	s, rate, total := &t.samples[n-1], result.Rate(v.Bytes, i.End-i.Start), &t.up
	s.changed = number
	if i.Direction == result.Down {
		s.down, total = rate, &t.down
	} else {
		s.up = rate
	}
	if *total == nil {
		*total = new(uint64)
	}
	**total += v.Bytes
	if i.RTT != nil {
		t.rtt = &i.RTT.Mean
	}
	if v.Lost != nil {
		if t.lost == nil {
			t.lost = new(int64)
		}
		*t.lost += *v.Lost
	}
	return true
}

// running is how many tests run.
func (h *Hub) running() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.tests)
}

// watch has wake told of every change until off is called. It is false when too
// many watch already.
func (h *Hub) watch(wake chan struct{}) (off func(), ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.watchers) >= mostWatchers {
		return nil, false
	}
	h.watchers[wake] = true
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers, wake)
	}, true
}

// mark is a number as clients get it, to come back with.
func (h *Hub) mark(number uint64) string { return fmt.Sprintf("%s-%d", h.boot, number) }

// known is the number of a mark; 0, which is before everything, if it is none of
// this process.
func (h *Hub) known(mark string) uint64 {
	text, ok := strings.CutPrefix(mark, h.boot+"-")
	n, err := strconv.ParseUint(text, 10, 64)
	if !ok || err != nil {
		return 0
	}
	return n
}

// A news is what has changed since a number.
type news struct {
	upTo  uint64
	reset bool // it is all there is: what is not in it has ended
	tests []liveTest
}

// since tells what has changed after a number, of tests that may be seen. After 0,
// or if too much has been forgotten since, it is all that runs. Of a test that was
// told of before only the samples since then are in it.
func (h *Hub) since(number uint64, may func(result.Begin) bool) news {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := news{upTo: h.last, reset: number == 0 || number > h.last || number < h.forgot}
	if n.reset {
		number = 0
	}
	for _, t := range h.tests {
		if (n.reset || t.changed > number) && may(t.begin) {
			n.tests = append(n.tests, t.copy(number))
		}
	}
	if !n.reset {
		for _, t := range h.ended {
			if t.changed > number && may(t.begin) {
				n.tests = append(n.tests, t.copy(number))
			}
		}
	}
	slices.SortFunc(n.tests, func(a, b liveTest) int { return b.begin.Time.Compare(a.begin.Time) })
	return n
}

// copy has the samples that came after a number.
func (t *liveTest) copy(number uint64) liveTest {
	c := *t
	fresh := slices.IndexFunc(t.samples, func(s sample) bool { return s.changed > number })
	if fresh < 0 {
		fresh = len(t.samples)
	}
	c.samples = slices.Clone(t.samples[fresh:])
	c.down, c.up, c.lost = clone(t.down), clone(t.up), clone(t.lost)
	return c
}

// clone is a pointer to the same value: those of a liveTest are written to.
func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	return new(*p)
}
