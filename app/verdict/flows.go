package verdict

import (
	"cmp"
	"strings"

	"github.com/sonde-net/sonde/result"
)

// Why a figure of a throughput test may be missing.
const (
	noReceiver = "the receiver did not tell"
	noTime     = "no data flowed"
	noLoad     = "how busy that machine was is not known"
)

// flowFigures are those of throughput tests: each of "download", "upload", and
// without either the worse one of the two.
func flowFigures() map[string]figure {
	all := map[string]figure{
		"cpu.local":  {ratio, func(e result.End) []reading { return busy(e, e.CPU.Local) }},
		"cpu.remote": {ratio, func(e result.End) []reading { return busy(e, e.CPU.Remote) }},
	}
	for name, directions := range map[string]result.Direction{"download": result.Down, "upload": result.Up, "flow": result.Both} {
		add := func(what string, u unit, read func(*result.Total) reading) {
			all[name+"."+what] = figure{u, func(e result.End) []reading {
				var found []reading
				for _, d := range directions.Each() {
					if t := e.Total(d); t != nil {
						found = append(found, read(t))
					}
				}
				return found
			}}
		}
		add("rate", bitRate, rate)
		add("loss", ratio, received(func(v *result.View) reading {
			return share(v.Lost, came(v), noReceiver)
		}))
		add("lost", number, received(func(v *result.View) reading { return counted(v.Lost, noReceiver) }))
		add("late", number, received(func(v *result.View) reading { return counted(v.Late, noReceiver) }))
		add("reordered", number, received(func(v *result.View) reading { return counted(v.Reordered, noReceiver) }))
		add("duplicate", number, received(func(v *result.View) reading { return counted(v.Duplicate, noReceiver) }))
		add("jitter", delay, received(func(v *result.View) reading { return timed(v.Jitter, noReceiver) }))
	}
	return all
}

// rate is what the receiver saw, or the sender where the receiver does not tell.
func rate(t *result.Total) reading {
	v := cmp.Or(t.Received, t.Sent)
	if v == nil {
		return reading{why: noReceiver}
	}
	return counted(result.Rate(v.Bytes, cmp.Or(v.Covered, t.Elapsed)), noTime)
}

func received(read func(*result.View) reading) func(*result.Total) reading {
	return func(t *result.Total) reading {
		if t.Received == nil {
			return reading{why: noReceiver}
		}
		return read(t.Received)
	}
}

// came is how many packets were to come: those that came, once each, and those
// that did not.
func came(v *result.View) uint64 {
	if v.Packets == nil || v.Lost == nil {
		return 0
	}
	all := int64(*v.Packets) + *v.Lost
	if v.Duplicate != nil {
		all -= int64(*v.Duplicate)
	}
	return uint64(max(0, all))
}

// busy is the share of a CPU, which only throughput tests measure.
func busy(e result.End, percent *float64) []reading {
	if e.Down == nil && e.Up == nil {
		return nil
	}
	if percent == nil {
		return []reading{{why: noLoad}}
	}
	return []reading{known(*percent / 100)}
}

// cutAny cuts one of the prefixes off.
func cutAny(s string, prefixes ...string) (string, bool) {
	for _, p := range prefixes {
		if rest, ok := strings.CutPrefix(s, p); ok {
			return rest, true
		}
	}
	return s, false
}
