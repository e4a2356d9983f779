package stat

import "time"

// Jitter is the interarrival jitter of RFC 3550, section 6.4.1: a running mean,
// with gain 1/16, of how much the spacing between two packets changed on the
// way. It needs no agreement between the two clocks, only that neither jumps.
// The zero Jitter is ready to use.
type Jitter struct {
	n       uint64
	transit time.Duration // of the latest packet, by two clocks
	scaled  int64         // 16 times the mean, nanoseconds; the rounding of RFC 3550, A.8
}

// maxChange is the most that one packet can add. No network holds packets back
// for longer; a clock that is set, or a made-up send time, would bend the mean
// for the rest of the test.
const maxChange = time.Minute

// Record takes a packet, in the order of arrival: when it was sent, by the
// sender's clock, and when it came, by ours.
func (j *Jitter) Record(sent, came time.Time) {
	transit := came.Sub(sent)
	if j.n > 0 {
		// The difference wraps if one clock jumped by centuries; then it is cut all the same.
		change := min(max(transit-j.transit, -maxChange), maxChange)
		change = max(change, -change)
		j.scaled += int64(change) - (j.scaled+8)>>4
	}
	j.n++
	j.transit = transit
}

// Value returns the jitter so far. It is false until two packets have come:
// not yet measured is not the same as zero.
func (j *Jitter) Value() (time.Duration, bool) {
	return time.Duration(j.scaled >> 4), j.n >= 2
}
