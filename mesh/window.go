package mesh

import "time"

// A window says how many blocks one source may owe us: asked for and not come.
// It follows the delay and the rate at which blocks arrive, and not the loss:
// a link that loses three of ten at any rate is no slower for being asked more.
//
// It doubles while that brings more. Then it tries, in turn, to be a quarter
// larger, which must bring at least half as much more, and a fifth smaller, which
// must cost next to nothing: so it stays at the knee, whether what is beyond
// queues up or is dropped. A queue shows in the least delay of a round trip and
// makes it smaller at once.
//
// It does nothing but arithmetic on the times it is given. The zero window is
// not ready, see newWindow.
type window struct {
	size, ceiling float64 // blocks

	smoothed, deviation time.Duration // of the round trip: RFC 6298
	least               lowest        // over ten seconds: the delay without a queue
	round               time.Duration // least of the present round; 0 if nothing came
	roundCount          int
	roundAt             time.Time
	queue               time.Duration // what the latest round took longer than the least
	cut                 time.Time     // the latest time that the delay made it smaller
	loss                float64       // share of what was asked for: a running mean, with gain 1/64

	doubling bool
	step     step
	base     float64 // the size that brought rate
	rate     float64 // blocks per second
	settled  time.Time
	since    time.Time // measuring from here; zero while the step settles
	arrived  int       // since then
	limits   bool      // since the step began no more could be asked for because of it
	rest     int       // steps to hold after both tries failed
	silences int       // time-outs in a row
}

// A step is what the window tries.
type step uint8

const (
	hold step = iota
	more
	less
)

const (
	firstWindow  = 4       // blocks
	unjudged     = 64      // blocks: up to here it doubles whatever it brings
	windowBytes  = 2 << 20 // the most that one source may owe
	fewQueue     = 25 * time.Millisecond
	muchQueue    = 50 * time.Millisecond
	minTimeout   = 100 * time.Millisecond
	maxTimeout   = 5 * time.Second
	firstTimeout = time.Second // before anything came: RFC 6298, section 2
	restSteps    = 6
	leastBeat    = 20 * time.Millisecond
)

func newWindow(now time.Time, blockSize int) *window {
	return &window{size: firstWindow, ceiling: float64(windowBytes / blockSize), doubling: true, settled: now, roundAt: now}
}

// arrive notes a block that came, and the round trip that it ended; 0 if that
// is not known.
func (w *window) arrive(now time.Time, rtt time.Duration) {
	w.silences = 0
	w.loss -= w.loss / 64
	if !w.since.IsZero() {
		w.arrived++
	}
	if rtt > 0 {
		w.sample(now, rtt)
	}
	w.due(now)
}

// lose notes a block that was asked for and did not come.
func (w *window) lose() { w.loss += (1 - w.loss) / 64 }

func (w *window) sample(now time.Time, rtt time.Duration) {
	if w.smoothed == 0 {
		w.smoothed, w.deviation = rtt, rtt/2
	} else {
		w.deviation += ((w.smoothed - rtt).Abs() - w.deviation) / 4
		w.smoothed += (rtt - w.smoothed) / 8
	}
	w.least.put(now, rtt)
	if w.round == 0 || rtt < w.round {
		w.round = rtt
	}
	w.roundCount++
}

// due does what the time asks for.
func (w *window) due(now time.Time) {
	if w.smoothed == 0 {
		return
	}
	if now.Sub(w.roundAt) >= w.beat() && w.roundCount >= 4 {
		w.queue = max(0, w.round-w.least.value(now))
		w.round, w.roundCount, w.roundAt = 0, 0, now
		w.yield(now)
	}
	switch {
	case w.since.IsZero() && now.Sub(w.settled) >= w.beat():
		w.since, w.arrived = now, 0
	case !w.since.IsZero() && w.isMeasured(now):
		w.judge(now, float64(w.arrived)/now.Sub(w.since).Seconds())
	}
}

// beat is how long a step settles, and is measured at least: a round trip, and
// long enough that what else a machine does meanwhile does not decide.
func (w *window) beat() time.Duration { return max(w.smoothed, leastBeat) }

// yield makes the window smaller when a queue has grown.
func (w *window) yield(now time.Time) {
	switch {
	case w.queue > muchQueue && now.Sub(w.cut) >= w.beat():
		w.cut, w.doubling = now, false
		w.enter(now, hold, w.size*7/8)
		w.rate = 0
	case w.queue > fewQueue && w.doubling:
		w.doubling = false
		w.enter(now, hold, w.size)
	case w.queue > fewQueue && w.step == more:
		w.enter(now, hold, w.base)
	}
}

// isMeasured reports whether a step has lasted long enough to be judged: a round
// trip, and until chance, which grows with the loss, cannot mislead.
func (w *window) isMeasured(now time.Time) bool {
	need := 16 + 1200*w.loss
	if w.doubling {
		need = 96 * min(1, 8*w.loss)
	}
	lasted := now.Sub(w.since)
	return lasted >= w.beat() && (float64(w.arrived) >= need || lasted >= 24*w.beat())
}

// judge ends a step that brought rate blocks per second, and begins the next.
func (w *window) judge(now time.Time, rate float64) {
	switch {
	case !w.limits: // something else was the limit, which says nothing of the window
		w.enter(now, w.step, w.size)
		return
	case w.doubling:
		w.double(now, rate)
		return
	}
	switch w.step {
	case hold:
		before := w.rate
		fell := w.base == w.size && rate < 0.75*before
		w.base, w.rate = w.size, rate
		switch {
		case fell: // the path carries less than it did, so less fills it
			w.rest = 0
			w.enter(now, hold, w.size*max(0.5, rate/before))
		case w.rest > 0:
			w.rest--
			w.enter(now, hold, w.size)
		case w.size < w.ceiling && w.queue <= fewQueue:
			w.enter(now, more, w.size*5/4)
		default:
			w.enter(now, less, w.size*4/5)
		}
	case more:
		if rate >= 1.12*w.rate {
			w.base, w.rate = w.size, rate
			w.enter(now, more, w.size*5/4)
			return
		}
		w.enter(now, less, w.base*4/5)
	case less:
		if rate >= 0.92*w.rate {
			w.base = w.size
			w.enter(now, less, w.size*4/5)
			return
		}
		w.rest = restSteps
		w.enter(now, hold, w.base)
	}
}

func (w *window) double(now time.Time, rate float64) {
	switch {
	case w.size > unjudged && rate < 1.3*w.rate:
		w.doubling = false
		w.enter(now, hold, w.base)
	case w.size >= w.ceiling:
		w.doubling = false
		w.enter(now, hold, w.size)
	default:
		w.base, w.rate = w.size, rate
		w.enter(now, hold, 2*w.size)
	}
}

func (w *window) enter(now time.Time, s step, size float64) {
	w.step, w.size = s, min(max(size, 1), w.ceiling)
	w.settled, w.since, w.limits = now, time.Time{}, false
}

// silence notes that nothing came for a time-out. The third in a row makes the
// window begin anew.
func (w *window) silence(now time.Time) {
	w.silences++
	if w.silences >= 3 {
		w.doubling, w.rate, w.base = true, 0, 1
		w.enter(now, hold, 1)
	}
}

// timeout is how long a block may take: RFC 6298, with a longer least time and
// doubled from the third silence on.
func (w *window) timeout() time.Duration {
	d := firstTimeout
	if w.smoothed > 0 {
		d = max(minTimeout, w.smoothed+max(4*w.deviation, 10*time.Millisecond))
	}
	return min(maxTimeout, d<<min(max(w.silences-2, 0), 8))
}

// pace is how many blocks per second may be asked for, so that a window is
// spread over the round trip; 0 before the first.
func (w *window) pace() float64 {
	if w.smoothed == 0 {
		return 0
	}
	return 1.25 * w.size / max(w.smoothed, time.Millisecond).Seconds()
}

// batch is how many blocks are worth a request.
func (w *window) batch() int { return int(min(max(w.size/16, 1), 16)) }

// lowest is the least duration of the last five to ten seconds. The zero lowest
// is ready.
type lowest struct {
	now, before time.Duration // 0 is none
	since       time.Time
}

func (l *lowest) put(now time.Time, d time.Duration) {
	l.turn(now)
	if l.now == 0 || d < l.now {
		l.now = d
	}
}

func (l *lowest) value(now time.Time) time.Duration {
	l.turn(now)
	if l.before == 0 || l.now > 0 && l.now < l.before {
		return l.now
	}
	return l.before
}

func (l *lowest) turn(now time.Time) {
	if now.Sub(l.since) > 5*time.Second {
		l.before, l.now, l.since = l.now, 0, now
	}
}
