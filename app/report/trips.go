package report

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-net/sonde/result"
)

// tripsMoment is the line of one interval of one session.
func (s *TextSink) tripsMoment(run *textRun, i result.Interval) string {
	r := i.RoundTrips
	var t strings.Builder
	fmt.Fprintf(&t, "%4s", shortSeconds(i.End))
	if run != nil && run.begin.Streams > 1 {
		fmt.Fprintf(&t, "  session %-3d", i.Stream)
	}
	fmt.Fprintf(&t, "  sent %-6d  lost %-10s  RTT ", r.Sent, tripsLoss(r))
	if r.RTT == nil {
		t.WriteString(unknown)
		return t.String()
	}
	d := r.RTT.Delay
	fmt.Fprintf(&t, "%s (%s to %s)", delayText(d.P50), delayText(d.Min), delayText(d.Max))
	for _, also := range []struct {
		n    uint64
		name string
	}{{r.Late, "late"}, {r.Duplicate, "duplicate"}} {
		if also.n > 0 {
			fmt.Fprintf(&t, "  %d %s", also.n, also.name)
		}
	}
	return t.String()
}

// delayText is a delay in microseconds where it is below a millisecond, because
// jitter of a good path is.
func delayText(d time.Duration) string {
	if d.Abs() >= time.Millisecond {
		return FormatDelay(d)
	}
	us, decimals := float64(d)/float64(time.Microsecond), 1
	if math.Abs(us) >= 99.95 {
		decimals = 0
	}
	return strconv.FormatFloat(us, 'f', decimals, 64) + " µs"
}

// tripsLoss is the loss of a session: "3 (3.0 %)".
func tripsLoss(r *result.RoundTrips) string {
	t := strconv.FormatUint(r.Lost, 10)
	if ratio, ok := r.LossRatio(); ok && r.Lost > 0 {
		t += " (" + FormatPercent(ratio) + ")"
	}
	return t
}

// reflected are the rows of one session as its reflector saw it: what was lost
// on the way only the sender knows.
func (s *sheet) reflected(r *result.RoundTrips) {
	s.row("packets", "%d came, %d answered", r.Sent, r.Replies)
	s.disorder(r)
}

// trips are the rows of one session in the summary.
func (s *sheet) trips(role result.Role, r *result.RoundTrips) {
	if role == result.Reflector {
		s.reflected(r)
		return
	}
	s.row("loss", "%s", lossOfTrips(r))
	if l := r.LossRuns; l != nil && l.Count > 0 {
		s.row("", "in %s, the longest of %s", formatCount(l.Count, "run"), formatCount(l.Longest, "packet"))
	}
	if r.Pending > 0 {
		s.row("", "%s more had no time left to come back", formatCount(r.Pending, "packet"))
	}
	s.roundTrip(r)
	s.oneWays(r)
	s.disorder(r)
	s.marks(r)
	s.rate(r)
	s.stamps(r)
}

// lossOfTrips tells how much was lost, and on which way.
func lossOfTrips(r *result.RoundTrips) string {
	ratio, ok := r.LossRatio()
	if !ok {
		return "no packet was sent"
	}
	t := fmt.Sprintf("%d of %s (%s)", r.Lost, formatCount(r.Sent, "packet"), FormatPercent(ratio))
	if r.Lost == 0 {
		return t
	}
	if r.LostOut == nil || r.LostHome == nil {
		return t + ", it cannot be told on which way"
	}
	var ways []string
	for _, way := range []struct {
		n    *uint64
		name string
	}{{r.LostOut, "on the way out"}, {r.LostHome, "on the way home"}, {r.LostEither, "on either"}} {
		if way.n != nil && *way.n > 0 {
			ways = append(ways, fmt.Sprintf("%d %s", *way.n, way.name))
		}
	}
	return t + ": " + strings.Join(ways, ", ")
}

// roundTrip is the delay there and back, and how it varied.
func (s *sheet) roundTrip(r *result.RoundTrips) {
	if r.RTT == nil {
		s.row("RTT", "%s", unknown)
		return
	}
	s.row("RTT", "%s", spread(r.RTT.Delay, s.c.Verbose))
	s.row("variation", "%s", variationText(r.RTT, s.c.Verbose))
	if r.Reflector != nil && s.c.Verbose {
		s.row("reflector", "took median %s, max %s; that is not in the RTT", delayText(r.Reflector.P50), delayText(r.Reflector.Max))
	}
}

// spread lists a distribution of delays, with Verbose every quantile.
func spread(d result.Distribution, verbose bool) string {
	t := fmt.Sprintf("min %s, mean %s, median %s", delayText(d.Min), delayText(d.Mean), delayText(d.P50))
	if verbose {
		t += fmt.Sprintf(", p75 %s, p90 %s, p95 %s", delayText(d.P75), delayText(d.P90), delayText(d.P95))
	}
	t += ", p99 " + delayText(d.P99)
	if verbose {
		t += fmt.Sprintf(", p99.9 %s, p99.99 %s", delayText(d.P999), delayText(d.P9999))
	}
	return t + ", max " + delayText(d.Max)
}

// variationText tells how the delay of a way varied.
func variationText(p *result.Path, verbose bool) string {
	t := "jitter " + orUnknown(p.Jitter, delayText)
	if v := p.IPDV; v != nil {
		t += fmt.Sprintf(", IPDV mean %s, p95 %s", delayText(v.MeanAbs), delayText(v.P95Abs))
		if verbose {
			t += fmt.Sprintf(", %s to %s", delayText(v.Min), delayText(v.Max))
		}
	}
	return t + fmt.Sprintf(", PDV p95 %s, p99 %s", delayText(p.PDV.P95), delayText(p.PDV.P99))
}

// oneWays tells the delay of each way with its error bound, or why it cannot be
// told. Its variation needs no clocks.
func (s *sheet) oneWays(r *result.RoundTrips) {
	c := r.Clock
	if r.Out == nil && r.Home == nil {
		return
	}
	usable := c != nil && c.Usable && c.Bound != nil
	for _, way := range []struct {
		name string
		p    *result.Path
	}{{"out", r.Out}, {"home", r.Home}} {
		if way.p == nil {
			continue
		}
		if usable {
			s.row(way.name, "%s, each ± %s", spread(way.p.Delay, s.c.Verbose), delayText(*c.Bound))
			s.row("", "%s", variationText(way.p, s.c.Verbose))
			continue
		}
		s.row(way.name, "delay unusable, because %s", distrust(c))
		s.row("", "%s", variationText(way.p, s.c.Verbose))
	}
	s.clock(c)
}

func distrust(c *result.Clock) string {
	if c == nil || c.Why == "" {
		return "the clocks are not known"
	}
	return clean(c.Why)
}

// clock tells how far the clocks are apart, as far as that can be told.
func (s *sheet) clock(c *result.Clock) {
	if c == nil || !s.c.Verbose && c.Usable {
		return
	}
	if c.Stepped {
		s.row("clocks", "one of them was set during the test")
		return
	}
	sense := "ahead of"
	if c.Offset < 0 {
		sense = "behind"
	}
	t := fmt.Sprintf("the reflector's is %s %s ours, give or take %s", delayText(c.Offset.Abs()), sense, delayText(c.OffsetErr))
	if c.Offset.Abs() <= c.OffsetErr {
		t = "no further apart than can be told: " + delayText(c.OffsetErr)
	}
	if c.Drift != nil && !math.IsNaN(*c.Drift) && !math.IsInf(*c.Drift, 0) {
		t += ", drift " + strconv.FormatFloat(*c.Drift*1e6, 'f', 1, 64) + " ppm"
	}
	s.row("clocks", "%s", t)
}

// disorder tells what else happened to packets.
func (s *sheet) disorder(r *result.RoundTrips) {
	var parts []string
	add := func(n uint64, name string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, name))
		}
	}
	for _, way := range []struct {
		r    *result.Reordering
		name string
	}{{r.ReorderedOut, "out"}, {r.ReorderedHome, "home"}} {
		if way.r != nil && way.r.Reordered > 0 {
			add(way.r.Reordered, fmt.Sprintf("reordered on the way %s (at most %s late)", way.name, formatCount(way.r.Extent, "place")))
		}
	}
	if r.DuplicateOut != nil && r.DuplicateHome != nil {
		add(*r.DuplicateOut, "duplicate on the way out")
		add(*r.DuplicateHome, "duplicate on the way home")
	} else {
		add(r.Duplicate, "duplicate")
	}
	add(r.Late, "later than the wait, counted as lost")
	for _, reason := range slices.Sorted(maps.Keys(r.Dropped)) {
		add(r.Dropped[reason], "thrown away: "+clean(strings.ReplaceAll(reason, "_", " ")))
	}
	if len(parts) > 0 {
		s.row("order", "%s", strings.Join(parts, ", "))
	}
}

// marks tell of routers and markings where something changed on the way, and
// with Verbose always.
func (s *sheet) marks(r *result.RoundTrips) {
	var hops, marks []string
	for _, way := range []struct {
		name string
		h    *result.Hops
		m    *result.Marking
	}{{"out", r.HopsOut, r.MarkingOut}, {"home", r.HopsHome, r.MarkingHome}} {
		if h := way.h; h != nil {
			hops = append(hops, hopsText(h)+" "+way.name)
		}
		if m := way.m; m != nil && (s.c.Verbose || m.DSCP != 0 || m.ECN != 0 || m.Other > 0) {
			t := fmt.Sprintf("%s DSCP %d ECN %d", way.name, m.DSCP, m.ECN)
			if m.Other > 0 {
				t += fmt.Sprintf(", %s marked in another way", formatCount(m.Other, "packet"))
			}
			marks = append(marks, t)
		}
	}
	if len(hops) > 0 {
		s.row("hops", "%s", strings.Join(hops, ", "))
	}
	if len(marks) > 0 {
		s.row("marked", "%s", strings.Join(marks, "; "))
	}
}

func hopsText(h *result.Hops) string {
	if h.Min == h.Max {
		return strconv.Itoa(int(h.Min))
	}
	return fmt.Sprintf("%d to %d (the path changed %s)", h.Min, h.Max, formatCount(h.Changes, "time"))
}

// Below askedFor of the asked rate, and behind the schedule by behind in the
// end, the summary is loud. Less time tells nothing in a short test.
const (
	askedFor = 0.98
	behind   = 20 * time.Millisecond
)

// slow reports whether the sender could not keep the rate it was asked for. A
// Poisson schedule is no steady rate, so lateness has to show as well.
func slow(r *result.RoundTrips) bool {
	if r.Asked <= 0 || r.Rate <= 0 || r.LateSent == 0 {
		return false
	}
	missing := float64(r.Sent) * (1/r.Rate - 1/r.Asked)
	return r.Rate < askedFor*r.Asked && missing > behind.Seconds()
}

// rate is the rate achieved against the one asked for.
func (s *sheet) rate(r *result.RoundTrips) {
	if r.Rate <= 0 || math.IsNaN(r.Rate) || math.IsInf(r.Rate, 0) {
		return
	}
	t := perSecond(r.Rate) + " packets/s"
	if r.Asked > 0 {
		t += " of " + perSecond(r.Asked) + " asked for"
	}
	if r.LateSent > 0 {
		t += fmt.Sprintf(", %d sent late, at most by %s", r.LateSent, delayText(r.Lateness))
	}
	s.row("rate", "%s", t)
	if slow(r) {
		s.row("", "%s", s.c.paint(red, fmt.Sprintf("WARNING: this machine sent only %s of the rate asked for; what was found holds for that rate", FormatPercent(r.Rate/r.Asked))))
	}
}

// perSecond is a packet rate with a decimal where it matters.
func perSecond(v float64) string {
	if v < 100 {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

// stampers are the sources of timestamps in words.
var stampers = map[string]string{
	"kernel-rx-tx": "by the kernel, sending and receiving",
	"kernel-rx":    "by the kernel receiving, by this program sending",
	"user":         "by this program; a busy machine makes delays longer",
}

func (s *sheet) stamps(r *result.RoundTrips) {
	if r.Stamps == "" {
		return
	}
	words, ok := stampers[r.Stamps]
	if !ok {
		words = clean(r.Stamps)
	}
	s.row("stamps", "%s", words)
}

// verdict says which thresholds were crossed or could not be told, and with
// Verbose all of them.
func (s *sheet) verdict(v *result.Verdict) {
	if v == nil {
		return
	}
	look := map[result.Outcome]string{result.Crossed: red, result.Unknown: yellow}[v.Outcome]
	words := map[result.Outcome]string{
		result.Passed: "passed", result.Crossed: "FAILED: a threshold was crossed", result.Unknown: "COULD NOT TELL: a figure is missing",
	}[v.Outcome]
	if look != "" {
		words = s.c.paint(look, words)
	}
	s.row("verdict", "%s", words)
	for _, c := range v.Checks {
		switch {
		case c.Outcome == result.Unknown:
			s.row("", "%s: %s", clean(c.Rule), clean(c.Remark))
		case c.Outcome == result.Crossed:
			s.row("", "%s: it is %s", clean(c.Rule), clean(c.Figure))
		case s.c.Verbose:
			s.row("", "%s: no, it is %s", clean(c.Rule), clean(c.Figure))
		}
	}
}
