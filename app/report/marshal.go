package report

import (
	"time"

	"github.com/sonde-net/sonde/result"
)

func testOf(b *result.Begin) *testJSON {
	if b == nil {
		return nil
	}
	return &testJSON{
		StartTime: stamp(b.Time), Transport: string(b.Transport), Direction: b.Direction.String(),
		Target: text(b.Target), Peer: address(b.Peer), Local: address(b.Local),
		Streams: b.Streams, Size: b.Size,
		Rates:    targetRatesJSON{Down: count(b.DownRate), Up: count(b.UpRate)},
		Duration: seconds(b.Duration), Account: text(b.Account), Login: text(b.Login),
	}
}

func rowOf(i result.Interval) rowJSON {
	elapsed := i.End - i.Start
	row := rowJSON{
		Seq: i.Seq, Direction: i.Direction.String(), Start: seconds(i.Start), End: seconds(i.End),
		figuresJSON: figuresOf(i.Local(), i.Received, elapsed),
		CPU:         cpuOf(i.CPU), RTT: delayOf(i.RTT),
		Sender: senderOf(i.Sent, elapsed), Receiver: receiverOf(i.Received, elapsed),
		RoundTrips: tripsRowOf(i.RoundTrips),
	}
	if i.Stream != result.AllStreams {
		row.Stream = &i.Stream
	}
	return row
}

func figuresOf(local, received *result.View, elapsed time.Duration) figuresJSON {
	var f figuresJSON
	if local != nil {
		f.Bytes, f.Packets = result.Some(count(local.Bytes)), counts(local.Packets)
		f.Rate = counts(rateOf(local, elapsed))
	}
	lost, ratio := lossOf(received)
	f.Lost, f.Ratio = signeds(lost), finite(ratio, 9)
	return f
}

func viewOf(v *result.View, elapsed time.Duration) *viewJSON {
	j := &viewJSON{
		Bytes: count(v.Bytes), Rate: counts(rateOf(v, elapsed)),
		WireBytes: counts(v.WireBytes), Packets: counts(v.Packets), TCP: tcpOf(v.TCP),
	}
	if v.Covered > 0 {
		j.Covered = result.Some(seconds(v.Covered))
	}
	return j
}

func receiverOf(v *result.View, elapsed time.Duration) *viewJSON {
	if v == nil {
		return nil
	}
	j := viewOf(v, elapsed)
	arrival := arrivalJSON{
		Lost: signeds(v.Lost), Late: counts(v.Late), Reordered: counts(v.Reordered),
		Duplicate: counts(v.Duplicate), Dropped: counts(v.Dropped), Jitter: nanos(v.Jitter),
	}
	if r := v.LossRuns; r != nil {
		arrival.LossRuns = &runsJSON{Count: count(r.Count), Longest: count(r.Longest)}
	}
	if arrival != (arrivalJSON{}) {
		j.arrivalJSON = &arrival
	}
	return j
}

func senderOf(v *result.View, elapsed time.Duration) *viewJSON {
	if v == nil {
		return nil
	}
	j := viewOf(v, elapsed)
	sending := sendingJSON{Skipped: counts(v.Skipped), ScheduleErr: nanos(v.ScheduleErr), Stalled: nanos(v.Stalled)}
	if sending != (sendingJSON{}) {
		j.sendingJSON = &sending
	}
	return j
}

func tcpOf(t *result.TCPInfo) *tcpJSON {
	if t == nil {
		return nil
	}
	return &tcpJSON{
		RTT: signed(t.RTT), RTTVar: signed(t.RTTVar), MinRTT: signed(t.MinRTT),
		Cwnd: count(t.Cwnd), MSS: count(t.MSS), Retransmits: count(t.Retransmits),
		DeliveryRate: count(t.DeliveryRate), PacingRate: count(t.PacingRate),
		Busy: signed(t.Busy), RwndLimited: signed(t.RwndLimited), SndbufLimited: signed(t.SndbufLimited),
		Congestion: text(t.Congestion),
	}
}

func cpuOf(c result.CPU) cpuJSON {
	return cpuJSON{Local: finite(c.Local, 2), Remote: finite(c.Remote, 2)}
}

func delayOf(d *result.Delay) *delayJSON {
	if d == nil {
		return nil
	}
	return &delayJSON{
		Count: count(d.Count), Min: signed(d.Min), Mean: signed(d.Mean), P50: signed(d.P50),
		P90: signed(d.P90), P99: signed(d.P99), Max: signed(d.Max),
	}
}

func remarkOf(n result.Note) remarkJSON {
	r := remarkJSON{Code: n.Code, Text: n.Text, Hint: text(n.Hint)}
	if l := n.Login; l != nil {
		r.Login = &loginJSON{Peer: address(l.Peer), Account: text(l.Account), Method: text(l.Method), Reason: text(l.Reason)}
	}
	return r
}

func errorOf(err error) *errorJSON {
	if err == nil {
		return nil
	}
	return &errorJSON{
		Code: result.CodeOf(err), Message: err.Error(),
		Hint: text(result.HintOf(err)), Exit: result.ExitCode(err),
	}
}

// totalOf is a direction, or one stream of it, over the whole run.
func totalOf(role result.Role, d result.Direction, t *result.Total) *totalJSON {
	if t == nil {
		return nil
	}
	local := result.Interval{Head: result.Head{Role: role}, Direction: d, Sent: t.Sent, Received: t.Received}.Local()
	j := &totalJSON{
		Duration:    seconds(t.Elapsed),
		figuresJSON: figuresOf(local, t.Received, t.Elapsed),
		Differ:      finite(differ(t), 6),
		Sender:      senderOf(t.Sent, t.Elapsed), Receiver: receiverOf(t.Received, t.Elapsed),
		Steady: steadyOf(t.Steady),
	}
	for n := range t.Streams {
		stream := totalOf(role, d, &t.Streams[n])
		stream.Stream = &n
		j.Streams = append(j.Streams, stream)
	}
	return j
}

func steadyOf(s *result.Steady) *steadyJSON {
	if s == nil {
		return nil
	}
	j := &steadyJSON{
		From: seconds(s.From), Rate: count(s.Rate), Spread: finite(&s.Spread, 6),
		Changes: []float64{}, Confidence: s.Confidence,
	}
	for _, at := range s.Changes {
		j.Changes = append(j.Changes, seconds(at))
	}
	return j
}

func latencyOf(l *result.Latency) *latencyJSON {
	if l == nil {
		return nil
	}
	return &latencyJSON{
		Method: text(l.Method), Idle: delayOf(l.Idle), Loaded: delayOf(l.Loaded),
		RPM: finite(l.RPM, 1), Grade: text(l.Grade), Remark: text(l.Remark),
	}
}

func whyOf(w *result.Why) *whyJSON {
	if w == nil {
		return nil
	}
	j := &whyJSON{Limit: w.Limit, Text: w.Text, Evidence: []string{}, Try: text(w.Try)}
	j.Evidence = append(j.Evidence, w.Evidence...)
	return j
}

// endOf is the document of a run; b is nil when the run failed before it
// began.
func endOf(b *result.Begin, e result.End, kept keptJSON) endJSON {
	j := endJSON{
		headJSON: headOf("end", e.Head),
		OK:       e.Err == nil, Reason: text(e.Reason), Error: errorOf(e.Err),
		Test: testOf(b),
		Down: totalOf(e.Role, result.Down, e.Down), Up: totalOf(e.Role, result.Up, e.Up),
		CPU: cpuOf(e.CPU), Latency: latencyOf(e.Latency), Why: whyOf(e.Why),
		Verdict:  verdictOf(e.Verdict),
		keptJSON: kept,
	}
	for n := range e.RoundTrips {
		j.Trips = append(j.Trips, tripsOf(e.Role, n, &e.RoundTrips[n]))
	}
	if b != nil {
		j.Duration = result.Some(seconds(e.Elapsed))
	}
	return j
}
