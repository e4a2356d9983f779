package verdict

import (
	"strings"
	"time"

	"github.com/sonde-net/sonde/result"
)

// stats are what a result.Distribution tells.
var stats = map[string]func(result.Distribution) time.Duration{
	"min":    func(d result.Distribution) time.Duration { return d.Min },
	"mean":   func(d result.Distribution) time.Duration { return d.Mean },
	"median": func(d result.Distribution) time.Duration { return d.P50 },
	"p50":    func(d result.Distribution) time.Duration { return d.P50 },
	"p75":    func(d result.Distribution) time.Duration { return d.P75 },
	"p90":    func(d result.Distribution) time.Duration { return d.P90 },
	"p95":    func(d result.Distribution) time.Duration { return d.P95 },
	"p99":    func(d result.Distribution) time.Duration { return d.P99 },
	"p99.9":  func(d result.Distribution) time.Duration { return d.P999 },
	"p99.99": func(d result.Distribution) time.Duration { return d.P9999 },
	"max":    func(d result.Distribution) time.Duration { return d.Max },
}

// Why a figure of round trips may be missing.
const (
	noReply     = "no packet came back in time"
	noWay       = "the reflector does not count, so it cannot be told on which way"
	noTimes     = "the reflector does not tell its times"
	noNeighbour = "no two packets came back"
)

// trips makes a figure of what a session tells.
func trips(u unit, read func(*result.RoundTrips) reading) figure {
	return figure{u, func(e result.End) []reading {
		var all []reading
		for n := range e.RoundTrips {
			all = append(all, read(&e.RoundTrips[n]))
		}
		return all
	}}
}

// tripFigures are those of tests by packets that come back.
func tripFigures() map[string]figure {
	type session = *result.RoundTrips
	all := map[string]figure{
		"trips.loss": trips(ratio, func(r session) reading { return share(&r.Lost, r.Sent, "") }),
		"loss.out":   trips(ratio, func(r session) reading { return share(r.LostOut, r.Sent, noWay) }),
		"loss.home":  trips(ratio, func(r session) reading { return share(r.LostHome, r.Sent, noWay) }),

		"trips.lost":      trips(number, func(r session) reading { return known(float64(r.Lost)) }),
		"lost.out":        trips(number, func(r session) reading { return counted(r.LostOut, noWay) }),
		"lost.home":       trips(number, func(r session) reading { return counted(r.LostHome, noWay) }),
		"trips.late":      trips(number, func(r session) reading { return known(float64(r.Late)) }),
		"trips.duplicate": trips(number, func(r session) reading { return known(float64(r.Duplicate)) }),
		"reordered.out":   trips(number, func(r session) reading { return reordered(r.ReorderedOut) }),
		"reordered.home":  trips(number, func(r session) reading { return reordered(r.ReorderedHome) }),
		"pps":             trips(perSec, func(r session) reading { return known(r.Rate) }),
	}
	path(all, "trips.rtt", func(r session) (*result.Path, string) { return r.RTT, noReply })
	path(all, "out", func(r session) (*result.Path, string) { return r.Out, noReply })
	path(all, "home", func(r session) (*result.Path, string) { return r.Home, noReply })
	for stat, get := range stats {
		all["reflector."+stat] = trips(delay, func(r session) reading {
			if r.Reflector == nil {
				return reading{why: noTimes}
			}
			return known(float64(get(*r.Reflector)))
		})
	}
	return all
}

func reordered(r *result.Reordering) reading {
	if r == nil {
		return reading{why: noWay}
	}
	return known(float64(r.Reordered))
}

// path adds the figures of one way, or of the way there and back. Variation
// needs no agreement of clocks; one-way delays do.
func path(all map[string]figure, name string, of func(*result.RoundTrips) (*result.Path, string)) {
	add := func(what string, read func(*result.Path) reading, clocks bool) {
		all[name+"."+what] = trips(delay, func(r *result.RoundTrips) reading {
			p, why := of(r)
			switch {
			case p == nil:
				return reading{why: why}
			case clocks && (r.Clock == nil || !r.Clock.Usable):
				return reading{why: distrust(r.Clock)}
			}
			return read(p)
		})
	}
	oneWay := !strings.HasSuffix(name, "rtt")
	for stat, get := range stats {
		add(stat, func(p *result.Path) reading { return known(float64(get(p.Delay))) }, oneWay)
		add("pdv."+stat, func(p *result.Path) reading { return known(float64(get(p.PDV))) }, false)
	}
	add("jitter", func(p *result.Path) reading { return timed(p.Jitter, noNeighbour) }, false)
	add("ipdv.mean", func(p *result.Path) reading {
		return variation(p, func(v result.Variation) time.Duration { return v.MeanAbs })
	}, false)
	add("ipdv.p95", func(p *result.Path) reading {
		return variation(p, func(v result.Variation) time.Duration { return v.P95Abs })
	}, false)
}

func variation(p *result.Path, get func(result.Variation) time.Duration) reading {
	if p.IPDV == nil {
		return reading{why: noNeighbour}
	}
	return known(float64(get(*p.IPDV)))
}

func distrust(c *result.Clock) string {
	if c == nil || c.Why == "" {
		return "one-way delays cannot be trusted"
	}
	return "one-way delays cannot be trusted: " + c.Why
}
