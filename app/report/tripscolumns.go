package report

import (
	"strconv"
	"time"

	"github.com/sonde-net/sonde/result"
)

// tripsColumns are those of tests by packets that come back, one row for each
// session; empty in others. One-way delays are empty unless the clocks can be
// trusted.
var tripsColumns = []column{
	{"session", func(r record) string {
		if len(r.end.RoundTrips) == 0 {
			return ""
		}
		return strconv.Itoa(r.session)
	}},
	{"packets_sent", tripsCell(func(r *result.RoundTrips) string { return strconv.FormatUint(r.Sent, 10) })},
	{"packets_lost", atSender(tripsCell(func(r *result.RoundTrips) string { return strconv.FormatUint(r.Lost, 10) }))},
	{"packet_loss_ratio", atSender(tripsCell(func(r *result.RoundTrips) string { return decimal(lossRatio(r), 9) }))},
	{"lost_out", tripsCell(func(r *result.RoundTrips) string { return integer(r.LostOut) })},
	{"lost_home", tripsCell(func(r *result.RoundTrips) string { return integer(r.LostHome) })},
	{"lost_either", tripsCell(func(r *result.RoundTrips) string { return integer(r.LostEither) })},
	{"packets_late", tripsCell(func(r *result.RoundTrips) string { return strconv.FormatUint(r.Late, 10) })},
	{"packets_duplicate", tripsCell(func(r *result.RoundTrips) string { return strconv.FormatUint(r.Duplicate, 10) })},
	{"reordered_out", tripsCell(func(r *result.RoundTrips) string { return reorderedCell(r.ReorderedOut) })},
	{"reordered_home", tripsCell(func(r *result.RoundTrips) string { return reorderedCell(r.ReorderedHome) })},
	{"rtt_min_ns", rttCell(func(p result.Path) time.Duration { return p.Delay.Min })},
	{"rtt_mean_ns", rttCell(func(p result.Path) time.Duration { return p.Delay.Mean })},
	{"rtt_p50_ns", rttCell(func(p result.Path) time.Duration { return p.Delay.P50 })},
	{"rtt_p95_ns", rttCell(func(p result.Path) time.Duration { return p.Delay.P95 })},
	{"rtt_p99_ns", rttCell(func(p result.Path) time.Duration { return p.Delay.P99 })},
	{"rtt_p999_ns", rttCell(func(p result.Path) time.Duration { return p.Delay.P999 })},
	{"rtt_max_ns", rttCell(func(p result.Path) time.Duration { return p.Delay.Max })},
	{"rtt_jitter_ns", tripsCell(func(r *result.RoundTrips) string {
		if r.RTT == nil {
			return ""
		}
		return orNothing(r.RTT.Jitter, nanosCell)
	})},
	{"rtt_pdv_p99_ns", rttCell(func(p result.Path) time.Duration { return p.PDV.P99 })},
	{"rtt_ipdv_mean_ns", tripsCell(func(r *result.RoundTrips) string {
		if r.RTT == nil || r.RTT.IPDV == nil {
			return ""
		}
		return nanosCell(r.RTT.IPDV.MeanAbs)
	})},
	{"out_p50_ns", oneWayCell(func(r *result.RoundTrips) *result.Path { return r.Out })},
	{"home_p50_ns", oneWayCell(func(r *result.RoundTrips) *result.Path { return r.Home })},
	{"one_way_error_ns", tripsCell(func(r *result.RoundTrips) string {
		if r.Clock == nil {
			return ""
		}
		return orNothing(r.Clock.Bound, nanosCell)
	})},
	{"one_way_unusable", tripsCell(func(r *result.RoundTrips) string {
		if r.Clock == nil {
			return ""
		}
		return cell(r.Clock.Why)
	})},
	{"packets_per_second", tripsCell(func(r *result.RoundTrips) string {
		if r.Rate == 0 {
			return ""
		}
		return decimal(&r.Rate, 3)
	})},
	{"asked_packets_per_second", tripsCell(func(r *result.RoundTrips) string {
		if r.Asked == 0 {
			return ""
		}
		return decimal(&r.Asked, 3)
	})},
	{"stamps", tripsCell(func(r *result.RoundTrips) string { return cell(r.Stamps) })},
	{"verdict", func(r record) string {
		if r.end.Verdict == nil {
			return ""
		}
		return string(r.end.Verdict.Outcome)
	}},
}

func nanosCell(d time.Duration) string { return strconv.FormatInt(int64(d), 10) }

// tripsCell is a cell of the session that a row is of; empty in other tests.
func tripsCell(of func(*result.RoundTrips) string) func(record) string {
	return func(r record) string {
		if r.session >= len(r.end.RoundTrips) {
			return ""
		}
		return of(&r.end.RoundTrips[r.session])
	}
}

// atSender empties a cell at a reflector: only the sender knows what was lost.
func atSender(cell func(record) string) func(record) string {
	return func(r record) string {
		if r.end.Role == result.Reflector {
			return ""
		}
		return cell(r)
	}
}

func rttCell(of func(result.Path) time.Duration) func(record) string {
	return tripsCell(func(r *result.RoundTrips) string {
		if r.RTT == nil {
			return ""
		}
		return nanosCell(of(*r.RTT))
	})
}

// oneWayCell is the median delay of a way.
func oneWayCell(way func(*result.RoundTrips) *result.Path) func(record) string {
	return tripsCell(func(r *result.RoundTrips) string {
		p := way(r)
		if p == nil || r.Clock == nil || !r.Clock.Usable {
			return ""
		}
		return nanosCell(p.Delay.P50)
	})
}

func reorderedCell(r *result.Reordering) string {
	if r == nil {
		return ""
	}
	return strconv.FormatUint(r.Reordered, 10)
}
