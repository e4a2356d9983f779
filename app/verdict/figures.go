package verdict

import (
	"cmp"
	"maps"
	"time"

	"github.com/sonde-net/sonde/result"
)

// A figure is what a rule can ask of a run: one reading for each session or
// direction, none where the test is of another kind.
type figure struct {
	unit unit
	of   func(result.End) []reading
}

// A reading is a figure of one session or direction; why says what is missing.
type reading struct {
	value *float64
	why   string
}

func known(v float64) reading { return reading{value: &v} }

func counted[N uint64 | int64](n *N, why string) reading {
	if n == nil {
		return reading{why: why}
	}
	return known(float64(*n))
}

func timed(d *time.Duration, why string) reading {
	if d == nil {
		return reading{why: why}
	}
	return known(float64(*d))
}

// share is n of all, not known where either is not.
func share[N uint64 | int64](n *N, all uint64, why string) reading {
	if n == nil || all == 0 {
		return reading{why: cmp.Or(why, "no packet was sent")}
	}
	return known(float64(*n) / float64(all))
}

// figures are all figures by their names.
var figures = table()

func table() map[string]figure {
	all := map[string]figure{}
	maps.Copy(all, tripFigures())
	maps.Copy(all, flowFigures())
	maps.Copy(all, latencyFigures("idle", func(l result.Latency) *result.Delay { return l.Idle }))
	maps.Copy(all, latencyFigures("loaded", func(l result.Latency) *result.Delay { return l.Loaded }))
	// Names that both kinds of tests know.
	for name, other := range map[string]string{"jitter": "rtt.jitter", "loss": "", "lost": "", "late": "", "duplicate": ""} {
		all[name] = either(all["trips."+cmp.Or(other, name)], all["flow."+name])
	}
	for name := range delayStats {
		all["rtt."+name] = either(all["trips.rtt."+name], all["loaded."+name])
	}
	for name, f := range maps.Clone(all) {
		if rest, ok := cutAny(name, "trips.", "flow."); ok {
			delete(all, name)
			if _, taken := all[rest]; !taken {
				all[rest] = f
			}
		}
	}
	return all
}

// either reads the first figure, or the second where the test has none of it.
func either(first, second figure) figure {
	return figure{unit: first.unit, of: func(e result.End) []reading {
		if r := first.of(e); len(r) > 0 {
			return r
		}
		return second.of(e)
	}}
}

// delayStats are what a result.Delay tells.
var delayStats = map[string]func(result.Delay) time.Duration{
	"min":    func(d result.Delay) time.Duration { return d.Min },
	"mean":   func(d result.Delay) time.Duration { return d.Mean },
	"median": func(d result.Delay) time.Duration { return d.P50 },
	"p50":    func(d result.Delay) time.Duration { return d.P50 },
	"p90":    func(d result.Delay) time.Duration { return d.P90 },
	"p99":    func(d result.Delay) time.Duration { return d.P99 },
	"max":    func(d result.Delay) time.Duration { return d.Max },
}

// latencyFigures are those of the side probe of a throughput test.
func latencyFigures(name string, of func(result.Latency) *result.Delay) map[string]figure {
	all := map[string]figure{}
	for stat, get := range delayStats {
		all[name+"."+stat] = figure{delay, func(e result.End) []reading {
			if e.Latency == nil {
				return nil
			}
			d := of(*e.Latency)
			if d == nil {
				return []reading{{why: e.Latency.Remark}}
			}
			return []reading{known(float64(get(*d)))}
		}}
	}
	return all
}
