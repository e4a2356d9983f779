package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/result"
)

// The functions below are those of marshal.go backwards: the objects of Schema
// become events again. What a document leaves out stays nil.

// UnmarshalJSON implements json.Unmarshaler: package json cannot make the parts
// that viewJSON leaves out when they are empty.
func (v *viewJSON) UnmarshalJSON(b []byte) error {
	var base struct {
		Bytes     count    `json:"bytes"`
		WireBytes *count   `json:"wire_bytes"`
		Packets   *count   `json:"packets"`
		Covered   *float64 `json:"covered_seconds"`
		TCP       *tcpJSON `json:"tcp"`
	}
	v.arrivalJSON, v.sendingJSON = &arrivalJSON{}, &sendingJSON{}
	for _, part := range []any{&base, v.arrivalJSON, v.sendingJSON} {
		if err := json.Unmarshal(b, part); err != nil {
			return err
		}
	}
	v.Bytes, v.WireBytes, v.Packets, v.Covered, v.TCP = base.Bytes, base.WireBytes, base.Packets, base.Covered, base.TCP
	return nil
}

func (h headJSON) read() (result.Head, error) {
	at, err := time.Parse(time.RFC3339Nano, h.Time)
	if err != nil {
		return result.Head{}, fmt.Errorf("time: %w", err)
	}
	return result.Head{Run: result.ID(told(h.ID)), Time: at, Protocol: told(h.Protocol), Role: result.Role(told(h.Role))}, nil
}

func (j *testJSON) read(head result.Head) (*result.Begin, error) {
	if j == nil {
		return nil, nil
	}
	d, err := direction(j.Direction)
	if err != nil {
		return nil, err
	}
	if head.Time, err = time.Parse(time.RFC3339Nano, j.StartTime); err != nil {
		return nil, fmt.Errorf("start_time: %w", err)
	}
	return &result.Begin{
		Head: head, Transport: result.Transport(j.Transport), Direction: d,
		Target: told(j.Target), Peer: addressFrom(j.Peer), Local: addressFrom(j.Local),
		Streams: j.Streams, Size: j.Size, DownRate: uint64(j.Rates.Down), UpRate: uint64(j.Rates.Up),
		Duration: duration(j.Duration), Account: told(j.Account), Login: told(j.Login),
	}, nil
}

func (j rowJSON) read(head result.Head) (result.Interval, error) {
	i := result.Interval{
		Head: head, Seq: j.Seq, Stream: result.AllStreams, Start: duration(j.Start), End: duration(j.End),
		Sent: j.Sender.read(), Received: j.Receiver.read(), CPU: result.CPU{Local: j.CPU.Local, Remote: j.CPU.Remote},
		RTT: j.RTT.read(), RoundTrips: j.RoundTrips.read(),
	}
	if j.Stream != nil {
		i.Stream = *j.Stream
	}
	if i.RoundTrips != nil && j.Direction == result.Direction(0).String() {
		return i, nil
	}
	var err error
	i.Direction, err = direction(j.Direction)
	return i, err
}

func (v *viewJSON) read() *result.View {
	if v == nil {
		return nil
	}
	r := &result.View{
		Bytes: uint64(v.Bytes), WireBytes: uints(v.WireBytes), Packets: uints(v.Packets),
		Lost: ints(v.Lost), Late: uints(v.Late), Reordered: uints(v.Reordered), Duplicate: uints(v.Duplicate),
		Dropped: uints(v.Dropped), Jitter: span(v.Jitter),
		Skipped: uints(v.Skipped), ScheduleErr: span(v.ScheduleErr), Stalled: span(v.Stalled),
		TCP: v.TCP.read(),
	}
	if v.Covered != nil {
		r.Covered = duration(*v.Covered)
	}
	if l := v.LossRuns; l != nil {
		r.LossRuns = &result.LossRuns{Count: uint64(l.Count), Longest: uint64(l.Longest)}
	}
	return r
}

func (t *tcpJSON) read() *result.TCPInfo {
	if t == nil {
		return nil
	}
	return &result.TCPInfo{
		RTT: time.Duration(t.RTT), RTTVar: time.Duration(t.RTTVar), MinRTT: time.Duration(t.MinRTT),
		Cwnd: uint64(t.Cwnd), MSS: uint64(t.MSS), Retransmits: uint64(t.Retransmits),
		DeliveryRate: uint64(t.DeliveryRate), PacingRate: uint64(t.PacingRate),
		Busy: time.Duration(t.Busy), RwndLimited: time.Duration(t.RwndLimited), SndbufLimited: time.Duration(t.SndbufLimited),
		Congestion: told(t.Congestion),
	}
}

func (d *delayJSON) read() *result.Delay {
	if d == nil {
		return nil
	}
	return &result.Delay{
		Count: uint64(d.Count), Min: time.Duration(d.Min), Mean: time.Duration(d.Mean), P50: time.Duration(d.P50),
		P90: time.Duration(d.P90), P99: time.Duration(d.P99), Max: time.Duration(d.Max),
	}
}

func (r remarkJSON) read(head result.Head) result.Note {
	n := result.Note{Head: head, Level: result.Warning, Code: r.Code, Text: r.Text, Hint: told(r.Hint)}
	if l := r.Login; l != nil {
		n.Login = &result.Login{Peer: addressFrom(l.Peer), Account: told(l.Account), Method: told(l.Method), Reason: told(l.Reason)}
	}
	return n
}

// read makes the whole run of its document.
func (j *endJSON) read(head result.Head) (*Run, error) {
	begin, err := j.Test.read(head)
	if err != nil {
		return nil, err
	}
	e := &result.End{
		Head: head, Down: j.Down.read(), Up: j.Up.read(), CPU: result.CPU{Local: j.CPU.Local, Remote: j.CPU.Remote},
		Latency: j.Latency.read(), Why: j.Why.read(), Verdict: j.Verdict.read(), Reason: told(j.Reason), Err: j.Error.read(),
	}
	if j.Duration != nil {
		e.Elapsed = duration(*j.Duration)
	}
	for _, t := range j.Trips {
		e.RoundTrips = append(e.RoundTrips, t.read())
	}
	run := &Run{Begin: begin, End: e}
	for _, row := range append(j.Intervals, j.Streams...) {
		i, err := row.read(head)
		if err != nil {
			return nil, err
		}
		if begin != nil {
			i.Time = begin.Time.Add(i.End)
		}
		run.Intervals = append(run.Intervals, i)
	}
	for _, w := range j.Warnings {
		n := w.remarkJSON.read(head)
		if at, err := time.Parse(time.RFC3339Nano, w.Time); err == nil {
			n.Time = at
		}
		run.Notes = append(run.Notes, n)
	}
	return run, nil
}

func (t *totalJSON) read() *result.Total {
	if t == nil {
		return nil
	}
	r := &result.Total{Elapsed: duration(t.Duration), Sent: t.Sender.read(), Received: t.Receiver.read(), Steady: t.Steady.read()}
	for _, s := range t.Streams {
		r.Streams = append(r.Streams, *s.read())
	}
	return r
}

func (s *steadyJSON) read() *result.Steady {
	if s == nil {
		return nil
	}
	r := &result.Steady{From: duration(s.From), Rate: uint64(s.Rate), Confidence: s.Confidence}
	if s.Spread != nil {
		r.Spread = *s.Spread
	}
	for _, at := range s.Changes {
		r.Changes = append(r.Changes, duration(at))
	}
	return r
}

func (l *latencyJSON) read() *result.Latency {
	if l == nil {
		return nil
	}
	return &result.Latency{
		Method: told(l.Method), Idle: l.Idle.read(), Loaded: l.Loaded.read(), RPM: l.RPM,
		Grade: told(l.Grade), Remark: told(l.Remark),
	}
}

func (w *whyJSON) read() *result.Why {
	if w == nil {
		return nil
	}
	return &result.Why{Limit: w.Limit, Text: w.Text, Evidence: w.Evidence, Try: told(w.Try)}
}

func (v *verdictJSON) read() *result.Verdict {
	if v == nil {
		return nil
	}
	r := &result.Verdict{Outcome: result.Outcome(v.Outcome)}
	for _, c := range v.Checks {
		r.Checks = append(r.Checks, result.Check{Rule: c.Rule, Outcome: result.Outcome(c.Outcome), Figure: told(c.Figure), Remark: told(c.Remark)})
	}
	return r
}

// A toldError is an error as a document tells it.
type toldError struct{ errorJSON }

func (e *toldError) Error() string  { return e.Message }
func (e *toldError) Code() string   { return e.errorJSON.Code }
func (e *toldError) ExitCode() int  { return e.Exit }
func (e *toldError) Advice() string { return told(e.Hint) }

func (e *errorJSON) read() error {
	if e == nil {
		return nil
	}
	return &toldError{*e}
}

// told is the text that p points to, or "".
func told(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

func uints(p *count) *uint64 {
	if p == nil {
		return nil
	}
	return result.Some(uint64(*p))
}

func ints(p *signed) *int64 {
	if p == nil {
		return nil
	}
	return result.Some(int64(*p))
}

func span(p *signed) *time.Duration {
	if p == nil {
		return nil
	}
	return result.Some(time.Duration(*p))
}

// duration is the time of so many seconds, to the nanosecond.
func duration(s float64) time.Duration { return time.Duration(math.Round(s * float64(time.Second))) }

// addressFrom is the address that p holds, or none.
func addressFrom(p *string) netip.AddrPort {
	a, _ := netip.ParseAddrPort(told(p))
	return a
}

func direction(name string) (result.Direction, error) {
	for _, d := range []result.Direction{result.Down, result.Up, result.Both} {
		if d.String() == name {
			return d, nil
		}
	}
	return 0, fmt.Errorf("direction %q: want download, upload or both", name)
}

func (t tripsJSON) read() result.RoundTrips {
	r := result.RoundTrips{
		Sent: uint64(t.Sent), Pending: uint64(t.Pending), Replies: uint64(t.Replies),
		LostOut: uints(t.LostOut), LostHome: uints(t.LostHome), LostEither: uints(t.LostEither),
		Late: uint64(t.Late), Duplicate: uint64(t.Duplicate),
		DuplicateOut: uints(t.DuplicateOut), DuplicateHome: uints(t.DuplicateHome),
		ReorderedOut: t.ReorderedOut.read(), ReorderedHome: t.ReorderedHome.read(),
		RTT: t.RTT.read(), Gross: t.Gross.read(), Reflector: t.Reflector.read(),
		Out: t.Out.read(), Home: t.Home.read(), Clock: t.Clock.read(),
		HopsOut: t.HopsOut.read(), HopsHome: t.HopsHome.read(),
		MarkingOut: t.MarkingOut.read(), MarkingHome: t.MarkingHome.read(),
		LateSent: uint64(t.LateSent), Lateness: time.Duration(t.Lateness), Stamps: told(t.Stamps),
	}
	if t.Lost != nil {
		r.Lost = uint64(*t.Lost)
	}
	if l := t.LossRuns; l != nil {
		r.LossRuns = &result.LossRuns{Count: uint64(l.Count), Longest: uint64(l.Longest)}
	}
	for reason, n := range t.Dropped {
		if r.Dropped == nil {
			r.Dropped = map[string]uint64{}
		}
		r.Dropped[reason] = uint64(n)
	}
	if t.Rate != nil {
		r.Rate = *t.Rate
	}
	if t.Asked != nil {
		r.Asked = *t.Asked
	}
	return r
}

func (t *tripsRowJSON) read() *result.RoundTrips {
	if t == nil {
		return nil
	}
	r := &result.RoundTrips{
		Sent: uint64(t.Sent), Pending: uint64(t.Pending), Replies: uint64(t.Replies), Lost: uint64(t.Lost),
		Late: uint64(t.Late), Duplicate: uint64(t.Duplicate),
	}
	if d := t.RTT.read(); d != nil {
		r.RTT = &result.Path{Delay: *d, Jitter: span(t.Jitter)}
	}
	return r
}

func (r *reorderingJSON) read() *result.Reordering {
	if r == nil {
		return nil
	}
	return &result.Reordering{Packets: uint64(r.Packets), Reordered: uint64(r.Reordered), Extent: uint64(r.Extent)}
}

func (d *distributionJSON) read() *result.Distribution {
	if d == nil {
		return nil
	}
	return &result.Distribution{
		Count: uint64(d.Count), Min: time.Duration(d.Min), Mean: time.Duration(d.Mean), Max: time.Duration(d.Max),
		P50: time.Duration(d.P50), P75: time.Duration(d.P75), P90: time.Duration(d.P90), P95: time.Duration(d.P95),
		P99: time.Duration(d.P99), P999: time.Duration(d.P999), P9999: time.Duration(d.P9999),
	}
}

func (p *pathJSON) read() *result.Path {
	if p == nil {
		return nil
	}
	return pathFrom(p.Delay, p.variationsJSON)
}

func (o *oneWayJSON) read() *result.Path {
	if o == nil {
		return nil
	}
	return pathFrom(cmp.Or(o.Raw, o.Delay), o.variationsJSON)
}

func pathFrom(delay *distributionJSON, v variationsJSON) *result.Path {
	p := &result.Path{Jitter: span(v.Jitter)}
	if d := delay.read(); d != nil {
		p.Delay = *d
	}
	if d := v.PDV.read(); d != nil {
		p.PDV = *d
	}
	if i := v.IPDV; i != nil {
		p.IPDV = &result.Variation{Count: uint64(i.Count), Min: time.Duration(i.Min), Max: time.Duration(i.Max),
			MeanAbs: time.Duration(i.MeanAbs), P95Abs: time.Duration(i.P95Abs)}
	}
	return p
}

func (c *clockJSON) read() *result.Clock {
	if c == nil {
		return nil
	}
	r := &result.Clock{
		Synced: c.Synced, Bound: span(c.Bound), Offset: time.Duration(c.Offset), OffsetErr: time.Duration(c.OffsetErr),
		Stepped: c.Stepped, Usable: c.Usable, Why: told(c.Why),
	}
	if c.Drift != nil {
		r.Drift = result.Some(*c.Drift / 1e6)
	}
	return r
}

func (h *hopsJSON) read() *result.Hops {
	if h == nil {
		return nil
	}
	return &result.Hops{Min: h.Min, Max: h.Max, Changes: uint64(h.Changes)}
}

func (m *markingJSON) read() *result.Marking {
	if m == nil {
		return nil
	}
	return &result.Marking{DSCP: m.DSCP, ECN: m.ECN, Other: uint64(m.Other)}
}
