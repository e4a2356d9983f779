package compare

import (
	"github.com/sonde-net/sonde/result"
)

// means are the figure of each run that measured it.
func (f Figure) means(s Set) []float64 {
	var all []float64
	for _, r := range s.Runs {
		if v, ok := f.of(r.End); ok {
			all = append(all, v)
		}
	}
	return all
}

// of is the figure of a run as a whole.
func (f Figure) of(e *result.End) (float64, bool) {
	if e == nil {
		return 0, false
	}
	switch f {
	case Download, Upload:
		t := e.Total(f.direction())
		if t == nil {
			return 0, false
		}
		if t.Steady != nil {
			return float64(t.Steady.Rate), true
		}
		v := t.Received
		if v == nil {
			v = e.Local(f.direction())
		}
		return rate(v, t.Elapsed.Seconds())
	case RTT:
		if e.Latency != nil && e.Latency.Loaded != nil {
			return float64(e.Latency.Loaded.P50), true
		}
		if len(e.RoundTrips) > 0 && e.RoundTrips[0].RTT != nil {
			return float64(e.RoundTrips[0].RTT.Delay.P50), true
		}
	case Loss:
		if len(e.RoundTrips) > 0 {
			return e.RoundTrips[0].LossRatio()
		}
		return lossOf(e)
	}
	return 0, false
}

func (f Figure) direction() result.Direction {
	if f == Download {
		return result.Down
	}
	return result.Up
}

func rate(v *result.View, seconds float64) (float64, bool) {
	if v == nil {
		return 0, false
	}
	if v.Covered > 0 {
		seconds = v.Covered.Seconds()
	}
	if seconds <= 0 {
		return 0, false
	}
	return float64(v.Bytes) * 8 / seconds, true
}

// lossOf is the share lost of all directions that tell it.
func lossOf(e *result.End) (float64, bool) {
	var lost, came float64
	for _, d := range result.Both.Each() {
		t := e.Total(d)
		if t == nil || t.Received == nil || t.Received.Lost == nil || t.Received.Packets == nil {
			continue
		}
		lost += float64(max(0, *t.Received.Lost))
		came += float64(*t.Received.Packets)
	}
	if lost+came == 0 {
		return 0, false
	}
	return lost / (lost + came), true
}

// series is the figure second by second, without the ramp-up.
func (f Figure) series(r Run) []float64 {
	var all []float64
	for _, i := range r.Intervals {
		if i.Stream != result.AllStreams {
			continue
		}
		if v, ok := f.at(i, r.End); ok {
			all = append(all, v)
		}
	}
	return all
}

func (f Figure) at(i result.Interval, e *result.End) (float64, bool) {
	switch f {
	case Download, Upload:
		if i.Direction != f.direction() {
			return 0, false
		}
		if e != nil {
			if t := e.Total(i.Direction); t != nil && t.Steady != nil && i.Start < t.Steady.From {
				return 0, false
			}
		}
		return rate(i.Local(), (i.End - i.Start).Seconds())
	case RTT:
		if i.RTT != nil {
			return float64(i.RTT.P50), true
		}
		if i.RoundTrips != nil && i.RoundTrips.RTT != nil {
			return float64(i.RoundTrips.RTT.Delay.P50), true
		}
	case Loss:
		if i.RoundTrips != nil {
			return i.RoundTrips.LossRatio()
		}
		if v := i.Received; v != nil && v.Lost != nil && v.Packets != nil {
			if all := float64(max(0, *v.Lost)) + float64(*v.Packets); all > 0 {
				return float64(max(0, *v.Lost)) / all, true
			}
		}
	}
	return 0, false
}
