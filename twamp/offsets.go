package twamp

import (
	"slices"
	"time"
)

// offsets estimate how far the reflector's clock is ahead of ours from the
// fastest exchange of each second: what is true of it is off by at most half its
// round trip, whichever way was the slower. The zero offsets are ready to use.
type offsets struct {
	seconds []fastest // at most mostSeconds; then neighbours are joined
	span    time.Duration
	best    fastest
	stepped bool
}

// A fastest exchange of some time.
type fastest struct {
	at     time.Time
	rtt    time.Duration
	offset time.Duration
}

const (
	mostSeconds = 512
	// mostDrift is more than any working clock runs fast or slow: 500 ppm is as
	// far as NTP corrects.
	mostDrift = 1.0 / 1000
)

// record takes an exchange: when it was sent, its round trip on the network and
// ((T2-T1)-(T4-T3))/2.
func (o *offsets) record(at time.Time, rtt, offset time.Duration) {
	f := fastest{at, rtt, offset}
	if o.best.at.IsZero() || rtt < o.best.rtt {
		o.best = f
	}
	o.span = max(o.span, time.Second)
	last := len(o.seconds) - 1
	switch {
	case last < 0 || at.Sub(o.seconds[last].at) >= o.span:
		if last >= 0 {
			o.compare(o.seconds[last], f)
		}
		o.seconds = append(o.seconds, f)
	case disagree(o.seconds[last], f):
		o.stepped = true
	case rtt < o.seconds[last].rtt:
		o.seconds[last] = fastest{o.seconds[last].at, rtt, offset}
	}
	if len(o.seconds) == mostSeconds {
		o.join()
	}
}

func (o *offsets) compare(a, b fastest) { o.stepped = o.stepped || disagree(a, b) }

// disagree reports whether no one offset explains both exchanges: a clock was
// set in between.
func disagree(a, b fastest) bool {
	apart := b.at.Sub(a.at).Abs()
	room := (a.rtt+b.rtt)/2 + time.Duration(float64(apart)*mostDrift) + time.Millisecond
	return (a.offset - b.offset).Abs() > room
}

// join halves the memory: of two neighbours the faster stays.
func (o *offsets) join() {
	kept := o.seconds[:0]
	for i := 0; i+1 < len(o.seconds); i += 2 {
		a, b := o.seconds[i], o.seconds[i+1]
		if b.rtt < a.rtt {
			a.rtt, a.offset = b.rtt, b.offset
		}
		kept = append(kept, a)
	}
	o.seconds = kept
	o.span *= 2
}

// drift is how much faster the reflector's clock runs than ours, as a share: the
// slope of the least squares through the faster half of the seconds. It is false
// while there is less than ten seconds to tell it from.
func (o *offsets) drift() (float64, bool) {
	if len(o.seconds) < 10 || o.stepped {
		return 0, false
	}
	rtts := make([]time.Duration, len(o.seconds))
	for i, f := range o.seconds {
		rtts[i] = f.rtt
	}
	slices.Sort(rtts)
	median := rtts[len(rtts)/2]
	var n, sx, sy, sxx, sxy float64
	for _, f := range o.seconds {
		if f.rtt > median {
			continue
		}
		x, y := f.at.Sub(o.seconds[0].at).Seconds(), (f.offset - o.seconds[0].offset).Seconds()
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	if d := n*sxx - sx*sx; d > 0 {
		return (n*sxy - sx*sy) / d, true
	}
	return 0, false
}
