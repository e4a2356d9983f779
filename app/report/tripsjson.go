package report

import (
	"maps"

	"github.com/sonde-net/sonde/result"
)

// tripsJSON is one session of a test by packets that come back.
type tripsJSON struct {
	Session       int               `json:"session"`
	Sent          count             `json:"sent"`
	Pending       count             `json:"pending"`
	Replies       count             `json:"replies"`
	Lost          *count            `json:"lost"` // null at a reflector, as the ratio
	Ratio         *float64          `json:"loss_ratio"`
	LostOut       *count            `json:"lost_out"`
	LostHome      *count            `json:"lost_home"`
	LostEither    *count            `json:"lost_either"`
	LossRuns      *runsJSON         `json:"loss_runs"`
	Late          count             `json:"late"`
	Duplicate     count             `json:"duplicate"`
	DuplicateOut  *count            `json:"duplicate_out"`
	DuplicateHome *count            `json:"duplicate_home"`
	ReorderedOut  *reorderingJSON   `json:"reordered_out"`
	ReorderedHome *reorderingJSON   `json:"reordered_home"`
	Dropped       map[string]count  `json:"dropped"`
	RTT           *pathJSON         `json:"rtt"`
	Gross         *distributionJSON `json:"gross_rtt"`
	Reflector     *distributionJSON `json:"reflector"`
	Out           *oneWayJSON       `json:"out"`
	Home          *oneWayJSON       `json:"home"`
	Clock         *clockJSON        `json:"clock"`
	HopsOut       *hopsJSON         `json:"hops_out"`
	HopsHome      *hopsJSON         `json:"hops_home"`
	MarkingOut    *markingJSON      `json:"marking_out"`
	MarkingHome   *markingJSON      `json:"marking_home"`
	Rate          *float64          `json:"packets_per_second"`
	Asked         *float64          `json:"asked_packets_per_second"`
	LateSent      count             `json:"sent_late"`
	Lateness      signed            `json:"most_lateness_ns"`
	Stamps        *string           `json:"stamps"`
}

// tripsRowJSON is what an interval tells of a session.
type tripsRowJSON struct {
	Sent      count             `json:"sent"`
	Pending   count             `json:"pending"`
	Replies   count             `json:"replies"`
	Lost      count             `json:"lost"`
	Ratio     *float64          `json:"loss_ratio"`
	Late      count             `json:"late"`
	Duplicate count             `json:"duplicate"`
	RTT       *distributionJSON `json:"rtt"`
	Jitter    *signed           `json:"jitter_ns"`
}

type reorderingJSON struct {
	Packets   count `json:"packets"`
	Reordered count `json:"reordered"`
	Extent    count `json:"extent"`
}

type distributionJSON struct {
	Count count  `json:"count"`
	Min   signed `json:"min_ns"`
	Mean  signed `json:"mean_ns"`
	P50   signed `json:"p50_ns"`
	P75   signed `json:"p75_ns"`
	P90   signed `json:"p90_ns"`
	P95   signed `json:"p95_ns"`
	P99   signed `json:"p99_ns"`
	P999  signed `json:"p999_ns"`
	P9999 signed `json:"p9999_ns"`
	Max   signed `json:"max_ns"`
}

// pathJSON is a delay and how it varied.
type pathJSON struct {
	Delay *distributionJSON `json:"delay"`
	variationsJSON
}

type variationsJSON struct {
	PDV    *distributionJSON `json:"pdv"`
	IPDV   *variationJSON    `json:"ipdv"`
	Jitter *signed           `json:"jitter_ns"`
}

// oneWayJSON has a delay only where the clocks can be trusted. What they show
// otherwise has another name, so that nobody takes it for a delay.
type oneWayJSON struct {
	Usable bool              `json:"usable"`
	Bound  *signed           `json:"error_bound_ns"`
	Delay  *distributionJSON `json:"delay"`
	Raw    *distributionJSON `json:"delay_with_clock_offset"`
	variationsJSON
}

type variationJSON struct {
	Count   count  `json:"count"`
	Min     signed `json:"min_ns"`
	Max     signed `json:"max_ns"`
	MeanAbs signed `json:"mean_abs_ns"`
	P95Abs  signed `json:"p95_abs_ns"`
}

type clockJSON struct {
	Synced    bool     `json:"synchronised"`
	Bound     *signed  `json:"error_bound_ns"`
	Offset    signed   `json:"offset_ns"`
	OffsetErr signed   `json:"offset_error_ns"`
	Drift     *float64 `json:"drift_ppm"`
	Stepped   bool     `json:"stepped"`
	Usable    bool     `json:"one_way_usable"`
	Why       *string  `json:"why_not"`
}

type hopsJSON struct {
	Min     uint8 `json:"min"`
	Max     uint8 `json:"max"`
	Changes count `json:"changes"`
}

type markingJSON struct {
	DSCP  uint8 `json:"dscp"`
	ECN   uint8 `json:"ecn"`
	Other count `json:"other"`
}

type verdictJSON struct {
	Outcome string      `json:"outcome"`
	Checks  []checkJSON `json:"checks"`
}

type checkJSON struct {
	Rule    string  `json:"rule"`
	Outcome string  `json:"outcome"`
	Figure  *string `json:"figure"`
	Remark  *string `json:"remark"`
}

func lossRatio(r *result.RoundTrips) *float64 {
	ratio, ok := r.LossRatio()
	if !ok {
		return nil
	}
	return finite(&ratio, 9)
}

func tripsOf(role result.Role, session int, r *result.RoundTrips) tripsJSON {
	j := tripsJSON{
		Session: session, Sent: count(r.Sent), Pending: count(r.Pending), Replies: count(r.Replies),
		LostOut: counts(r.LostOut), LostHome: counts(r.LostHome), LostEither: counts(r.LostEither),
		Late: count(r.Late), Duplicate: count(r.Duplicate),
		DuplicateOut: counts(r.DuplicateOut), DuplicateHome: counts(r.DuplicateHome),
		ReorderedOut: reorderingOf(r.ReorderedOut), ReorderedHome: reorderingOf(r.ReorderedHome),
		Dropped: map[string]count{},
		RTT:     pathOf(r.RTT), Gross: distributionOf(r.Gross), Reflector: distributionOf(r.Reflector),
		Out: oneWayOf(r.Out, r.Clock), Home: oneWayOf(r.Home, r.Clock), Clock: clockOf(r.Clock),
		HopsOut: hopsOf(r.HopsOut), HopsHome: hopsOf(r.HopsHome),
		MarkingOut: markingOf(r.MarkingOut), MarkingHome: markingOf(r.MarkingHome),
		LateSent: count(r.LateSent), Lateness: signed(r.Lateness), Stamps: text(r.Stamps),
	}
	if role != result.Reflector {
		j.Lost, j.Ratio = result.Some(count(r.Lost)), lossRatio(r)
	}
	if r.Rate > 0 {
		j.Rate = finite(&r.Rate, 3)
	}
	if r.Asked > 0 {
		j.Asked = finite(&r.Asked, 3)
	}
	if l := r.LossRuns; l != nil {
		j.LossRuns = &runsJSON{Count: count(l.Count), Longest: count(l.Longest)}
	}
	for reason, n := range maps.All(r.Dropped) {
		j.Dropped[reason] = count(n)
	}
	return j
}

func tripsRowOf(r *result.RoundTrips) *tripsRowJSON {
	if r == nil {
		return nil
	}
	j := &tripsRowJSON{
		Sent: count(r.Sent), Pending: count(r.Pending), Replies: count(r.Replies), Lost: count(r.Lost),
		Ratio: lossRatio(r), Late: count(r.Late), Duplicate: count(r.Duplicate),
	}
	if r.RTT != nil {
		j.RTT, j.Jitter = distributionOf(&r.RTT.Delay), nanos(r.RTT.Jitter)
	}
	return j
}

func reorderingOf(r *result.Reordering) *reorderingJSON {
	if r == nil {
		return nil
	}
	return &reorderingJSON{count(r.Packets), count(r.Reordered), count(r.Extent)}
}

func distributionOf(d *result.Distribution) *distributionJSON {
	if d == nil {
		return nil
	}
	return &distributionJSON{
		Count: count(d.Count), Min: signed(d.Min), Mean: signed(d.Mean), P50: signed(d.P50), P75: signed(d.P75),
		P90: signed(d.P90), P95: signed(d.P95), P99: signed(d.P99), P999: signed(d.P999), P9999: signed(d.P9999),
		Max: signed(d.Max),
	}
}

func pathOf(p *result.Path) *pathJSON {
	if p == nil {
		return nil
	}
	return &pathJSON{Delay: distributionOf(&p.Delay), variationsJSON: variationsOf(p)}
}

func variationsOf(p *result.Path) variationsJSON {
	j := variationsJSON{PDV: distributionOf(&p.PDV), Jitter: nanos(p.Jitter)}
	if v := p.IPDV; v != nil {
		j.IPDV = &variationJSON{count(v.Count), signed(v.Min), signed(v.Max), signed(v.MeanAbs), signed(v.P95Abs)}
	}
	return j
}

func oneWayOf(p *result.Path, c *result.Clock) *oneWayJSON {
	if p == nil {
		return nil
	}
	j := &oneWayJSON{Raw: distributionOf(&p.Delay), variationsJSON: variationsOf(p)}
	if c != nil && c.Usable {
		j.Usable, j.Bound, j.Delay = true, nanos(c.Bound), j.Raw
	}
	return j
}

func clockOf(c *result.Clock) *clockJSON {
	if c == nil {
		return nil
	}
	j := &clockJSON{
		Synced: c.Synced, Bound: nanos(c.Bound), Offset: signed(c.Offset), OffsetErr: signed(c.OffsetErr),
		Stepped: c.Stepped, Usable: c.Usable, Why: text(c.Why),
	}
	if c.Drift != nil {
		j.Drift = finite(result.Some(*c.Drift*1e6), 3)
	}
	return j
}

func hopsOf(h *result.Hops) *hopsJSON {
	if h == nil {
		return nil
	}
	return &hopsJSON{h.Min, h.Max, count(h.Changes)}
}

func markingOf(m *result.Marking) *markingJSON {
	if m == nil {
		return nil
	}
	return &markingJSON{m.DSCP, m.ECN, count(m.Other)}
}

func verdictOf(v *result.Verdict) *verdictJSON {
	if v == nil {
		return nil
	}
	j := &verdictJSON{Outcome: string(v.Outcome), Checks: []checkJSON{}}
	for _, c := range v.Checks {
		j.Checks = append(j.Checks, checkJSON{c.Rule, string(c.Outcome), text(c.Figure), text(c.Remark)})
	}
	return j
}
