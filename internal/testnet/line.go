package testnet

import (
	"container/heap"
	"sync"
	"time"
)

// A Line is a Link at work. Its methods may be called at any time, also while
// packets are under way.
type Line struct {
	mu        sync.Mutex // guards what follows; never held while a packet arrives
	fates     *fates
	flights   flights
	timer     *time.Timer // for the first of flights
	delivers  bool        // somebody is in deliver
	unplugged bool
	plugged   *sync.Cond // on mu
	newest    uint64     // highest number that arrived, plus one
	offered   uint64     // numbers the packets
	counts    Counts
}

func newLine(link Link, number uint64) *Line {
	l := &Line{fates: newFates(link, number)}
	l.plugged = sync.NewCond(&l.mu)
	return l
}

// Counts returns what the line did until now.
func (l *Line) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts
}

// Set changes the link. Packets under way, and those in the bottleneck's queue,
// keep the times they have; the Seed stays.
func (l *Line) Set(link Link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fates.set(link, time.Now())
}

// Unplug lets everything vanish from now on, with what is under way.
func (l *Line) Unplug() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unplugged = true
	var kept flights
	for _, f := range l.flights {
		if f.stream {
			kept = append(kept, f)
		} else if !f.copied {
			l.counts.Unplugged++
		}
	}
	l.flights = kept
	heap.Init(&l.flights)
}

// Plug ends Unplug.
func (l *Line) Plug() {
	l.mu.Lock()
	l.unplugged = false
	l.plugged.Broadcast()
	l.mu.Unlock()
	l.deliver()
}

// A flight is a packet under way.
type flight struct {
	due    time.Time
	number uint64
	copied bool
	stream bool // waits while unplugged
	size   int
	arrive func()
}

// offer gives the line a packet of size bytes and calls arrive when and if it
// arrives, at once if the link has no delay. Only one arrive of a line runs at a
// time, and no lock is held meanwhile, so that it may offer packets itself.
func (l *Line) offer(size int, c cargo, arrive func()) fate {
	l.mu.Lock()
	if c == streamed && l.unplugged {
		l.mu.Unlock()
		return fate{verdict: unplugged}
	}
	f := l.decide(size, c)
	if f.verdict == accepted {
		for i := range 1 + f.copies {
			heap.Push(&l.flights, flight{f.due, l.offered, i > 0, c == streamed, size, arrive})
		}
	}
	if f.verdict != full {
		l.offered++
		l.counts.Offered = l.offered
	}
	l.mu.Unlock()
	if f.verdict == accepted {
		l.deliver()
	}
	return f
}

func (l *Line) decide(size int, c cargo) fate {
	if l.unplugged {
		l.counts.Unplugged++
		return fate{verdict: unplugged}
	}
	f := l.fates.next(time.Now(), size, c)
	switch f.verdict {
	case lost:
		l.counts.Lost++
	case tailDropped:
		l.counts.TailDropped++
	case tooBig:
		l.counts.TooBig++
	}
	return f
}

// deliver lets arrive what is due, in order, and sets the timer for the rest.
// If somebody else is at it, that call takes what this one came for.
func (l *Line) deliver() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.delivers {
		return
	}
	l.delivers = true
	for len(l.flights) > 0 && !l.unplugged {
		wait := time.Until(l.flights[0].due)
		if wait > 0 {
			l.wake(wait)
			break
		}
		f := heap.Pop(&l.flights).(flight)
		l.count(f)
		l.mu.Unlock()
		f.arrive()
		l.mu.Lock()
	}
	l.delivers = false
}

func (l *Line) wake(wait time.Duration) {
	if l.timer == nil {
		l.timer = time.AfterFunc(wait, l.deliver)
		return
	}
	l.timer.Reset(wait)
}

func (l *Line) count(f flight) {
	l.counts.Bytes += uint64(f.size)
	switch {
	case f.copied:
		l.counts.Duplicated++
	case f.number < l.newest:
		l.counts.Passed++
		l.counts.Reordered++
	default:
		l.counts.Passed++
		l.newest = f.number + 1
	}
}

// current returns the link as it is now.
func (l *Line) current() Link {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fates.link
}

// awaitPlug returns when the line is not unplugged.
func (l *Line) awaitPlug() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.unplugged {
		l.plugged.Wait()
	}
}

// flights is a heap ordered by due time, then by number, a copy behind its
// original.
type flights []flight

func (f flights) Len() int { return len(f) }

func (f flights) Less(i, j int) bool {
	if c := f[i].due.Compare(f[j].due); c != 0 {
		return c < 0
	}
	if f[i].number != f[j].number {
		return f[i].number < f[j].number
	}
	return !f[i].copied && f[j].copied
}

func (f flights) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *flights) Push(x any)   { *f = append(*f, x.(flight)) }

func (f *flights) Pop() any {
	last := len(*f) - 1
	x := (*f)[last]
	(*f)[last] = flight{}
	*f = (*f)[:last]
	return x
}
