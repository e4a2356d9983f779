package stat

import "github.com/sonde-net/sonde/result"

// Streams makes the intervals of each stream of a way beside those of all together.
// Streams may come while it runs. The zero Streams is ready.
type Streams struct {
	before []result.View
}

// Intervals are those of each stream, as our end counted it, in the interval all; now
// is what each has moved so far, and sends says that our end sends it. With one stream
// there are none: it is all.
func (s *Streams) Intervals(all result.Interval, sends bool, now []result.View) []result.Interval {
	before := s.before
	s.before = now
	if len(now) < 2 {
		return nil
	}
	each := make([]result.Interval, len(now))
	for n, v := range now {
		if n < len(before) {
			v = v.Sub(before[n])
		}
		each[n] = all
		each[n].Stream, each[n].RTT, each[n].CPU = n, nil, result.CPU{}
		each[n].Sent, each[n].Received = nil, &v
		if sends {
			each[n].Sent, each[n].Received = &v, nil
		}
	}
	return each
}
