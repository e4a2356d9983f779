package diagnose

import (
	"fmt"
	"time"

	"github.com/sonde-net/sonde/result"
)

// A queue is what the delay under load says of a queue on the path.
type queue int

const (
	queueUnknown queue = iota // the delay was not measured
	queueNone                 // the delay stayed
	queueUnclear              // it rose, but so little that the ends could be why
	queueSome                 // it at least doubled, by 1 ms or more
	queueDeep                 // it rose by 10 ms and by half, well out of its usual range
	queueHuge                 // it rose by 20 ms besides: more than a busy processor does
)

const (
	shallowRise = time.Millisecond
	deepRise    = 10 * time.Millisecond
	hugeRise    = 20 * time.Millisecond
	enoughTrips = 5 // round trips, idle and loaded each
)

// enoughUnderWay is how many segments a connection must have under way for its
// round trip to tell of the path. With fewer the receiver waits for more before
// it acknowledges: up to 40 ms on Linux, 200 ms elsewhere (RFC 1122, 4.2.3.2).
const enoughUnderWay = 10

// addQueue compares TCP's round trip in an interval of the given length with the
// least so far.
func (t *track) addQueue(v *result.View, long time.Duration, streams int) {
	info := v.TCP
	if info == nil || info.RTT <= 0 || info.MinRTT <= 0 {
		return
	}
	underWay := float64(v.Bytes) * info.RTT.Seconds() / long.Seconds()
	if underWay < enoughUnderWay*float64(info.MSS)*float64(streams) {
		return
	}
	t.sampled++
	rise := info.RTT - info.MinRTT
	t.rise += rise
	if rise >= shallowRise && rise >= info.MinRTT {
		t.doubled++
	}
	if rise >= deepRise && rise >= info.MinRTT/2 {
		t.queued++
	}
	if rise >= hugeRise && rise >= info.MinRTT/2 {
		t.deep++
	}
}

// queue judges the delay under load: by the side probe, else by TCP's own round
// trips. The second result is the figures.
func (w *way) queue() (queue, string) {
	if l := w.latency; l != nil && l.Idle != nil && l.Loaded != nil &&
		l.Idle.Count >= enoughTrips && l.Loaded.Count >= enoughTrips {
		q := probed(l.Idle, l.Loaded)
		if q < queueDeep && mostUnanswered(l) {
			q = queueUnclear
		}
		return q, fmt.Sprintf("round trip %s idle, %s under load (medians)", formatTime(l.Idle.P50), formatTime(l.Loaded.P50))
	}
	if w.sampled < 3 {
		return queueUnknown, ""
	}
	text := fmt.Sprintf("TCP's round trip stood %s above the least (mean of %d intervals)", formatTime(w.rise/time.Duration(w.sampled)), w.sampled)
	most := func(n int) bool { return float64(n) >= mostly*float64(w.sampled) }
	switch {
	case most(w.deep):
		return queueHuge, text
	case most(w.queued):
		return queueDeep, text
	case most(w.doubled):
		return queueSome, text
	case w.rise/time.Duration(w.sampled) < shallowRise:
		return queueNone, text
	}
	return queueUnclear, text
}

// probed compares the medians of the side probe, and the rise with how much the
// idle delay varies by itself.
func probed(idle, loaded *result.Delay) queue {
	rise := loaded.P50 - idle.P50
	usual := 2 * (idle.P90 - idle.P50)
	switch {
	case rise >= hugeRise && rise >= idle.P50/2 && rise >= usual:
		return queueHuge
	case rise >= deepRise && rise >= idle.P50/2 && rise >= usual:
		return queueDeep
	case rise >= shallowRise && rise >= idle.P50 && rise >= usual:
		return queueSome
	case rise < shallowRise:
		return queueNone
	}
	return queueUnclear
}
