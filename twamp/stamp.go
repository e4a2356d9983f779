package twamp

import (
	"slices"
	"time"
)

// Kernel timestamps are of the wall clock, which may be set at any moment; what
// is measured is told by the monotonic one. So a stamp is never subtracted from
// a stamp: each is turned, right where it is taken, into how long ago it was,
// which is subtracted from a reading of both clocks. A step between two packets
// then bends nothing; one between a stamp and its reading is noticed.

// readClock reads the time with both clocks less than a microsecond apart, if it
// can: whoever is interrupted between them would see a step that was none.
func readClock() time.Time {
	now := time.Now()
	for range 4 {
		before := now
		if now = time.Now(); now.Sub(before) < time.Microsecond {
			break
		}
	}
	return now
}

// A stepWatch finds out when the wall clock was set. The zero stepWatch is ready
// to use.
type stepWatch struct{ latest time.Time }

// leastStep is what two readings of both clocks may disagree by.
const leastStep = 100 * time.Microsecond

// set reports whether the wall clock was set between the time of the call before
// and now.
func (w *stepWatch) set(now time.Time) bool {
	before := w.latest
	w.latest = now
	if before.IsZero() {
		return false
	}
	return (now.Round(0).Sub(before.Round(0)) - now.Sub(before)).Abs() > leastStep
}

// mostStampAge is how long a datagram may have waited for us, or for the network
// interface. Another stamp is of a clock that was set in between.
const (
	mostStampAge = 10 * time.Second
	mostSendLag  = time.Second
)

// stamp moves At back to when the kernel got the datagram. At keeps its
// monotonic reading.
func (a *arrival) stamp(kernel time.Time) {
	if waited := a.At.Round(0).Sub(kernel); a.steady && waited >= 0 && waited < mostStampAge {
		a.At, a.Stamp = a.At.Add(-waited), Kernel
	}
}

// sendLag is how much later than it was written to say a packet left; false if
// the stamp cannot be right.
func sendLag(said, left time.Time) (time.Duration, bool) {
	lag := left.Round(0).Sub(said.Round(0))
	return lag, lag >= 0 && lag < mostSendLag
}

// lags are how late the latest packets left.
type lags struct {
	ring [16]time.Duration
	n    int
}

func (l *lags) record(d time.Duration) {
	l.ring[l.n%len(l.ring)] = d
	l.n++
}

// median returns the median; 0 until there are as many as are remembered.
func (l *lags) median() time.Duration {
	if l.n < len(l.ring) {
		return 0
	}
	sorted := l.ring
	slices.Sort(sorted[:])
	return sorted[len(sorted)/2]
}
