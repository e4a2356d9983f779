package report

import (
	"bytes"
	"encoding/csv"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sonde-net/sonde/result"
)

func spreadOf(middle, half time.Duration) result.Distribution {
	return result.Distribution{Count: 97, Min: middle - half, Mean: middle + half/8, Max: middle + half, P50: middle,
		P75: middle + half/4, P90: middle + half/3, P95: middle + half/2, P99: middle + half*3/4, P999: middle + half, P9999: middle + half}
}

func wayOf(middle, half time.Duration) *result.Path {
	return &result.Path{Delay: spreadOf(middle, half), PDV: spreadOf(half, half), Jitter: result.Some(half / 5),
		IPDV: &result.Variation{Count: 90, Min: -half, Max: half, MeanAbs: half / 4, P95Abs: half / 2}}
}

// everything is a session with every figure measured and clocks to be trusted.
func everything() result.RoundTrips {
	some := result.Some[uint64]
	return result.RoundTrips{
		Sent: 100, Pending: 1, Replies: 97, Lost: 3, LostOut: some(2), LostHome: some(1), LostEither: some(0),
		LossRuns: &result.LossRuns{Count: 2, Longest: 2}, Late: 1, Duplicate: 2, DuplicateOut: some(1), DuplicateHome: some(1),
		ReorderedOut: &result.Reordering{Packets: 98, Reordered: 2, Extent: 3}, ReorderedHome: &result.Reordering{Packets: 97},
		Dropped: map[string]uint64{"bogus": 4}, RTT: wayOf(12*ms, 2*ms), Gross: result.Some(spreadOf(12100*us, 2*ms)),
		Reflector: result.Some(spreadOf(100*us, 50*us)), Out: wayOf(5*ms, ms), Home: wayOf(7*ms, ms),
		Clock:   &result.Clock{Synced: true, Bound: result.Some(400 * us), Offset: 80 * us, OffsetErr: 5 * ms, Drift: result.Some(1.25e-6), Usable: true},
		HopsOut: &result.Hops{Min: 5, Max: 5}, HopsHome: &result.Hops{Min: 5, Max: 7, Changes: 2},
		MarkingOut: &result.Marking{DSCP: 46}, MarkingHome: &result.Marking{DSCP: 0, ECN: 1, Other: 3},
		Rate: 812.4, Asked: 1000, LateSent: 40, Lateness: 3 * ms, Stamps: "kernel-rx-tx",
	}
}

// tripsBegin opens a run of the sender.
func tripsBegin(id result.ID, sessions int) result.Begin {
	return result.Begin{Head: sending(id, 0), Transport: result.UDP, Direction: result.Both, Target: "192.0.2.7:862",
		Peer: netip.MustParseAddrPort("192.0.2.7:862"), Local: netip.MustParseAddrPort("192.0.2.9:40112"), Streams: sessions, Size: 44, Login: "none"}
}

func sending(id result.ID, after time.Duration) result.Head {
	h := at(id, result.Sender, after)
	h.Protocol = "stamp"
	return h
}

func tripsInterval(id result.ID, seq, session int, r result.RoundTrips) result.Interval {
	end := time.Duration(seq) * time.Second
	return result.Interval{Head: sending(id, end), Seq: seq, Direction: result.Both, Stream: session, Start: end - time.Second, End: end, RoundTrips: &r}
}

// pingsGood is a run with everything measured and thresholds.
func pingsGood() []result.Event {
	const id = "01932b1f-5a3c-7000-8000-000000000005"
	r := everything()
	short := result.RoundTrips{Sent: 10, Replies: 9, Lost: 1, Pending: 2, Late: 1, Duplicate: 1, RTT: &result.Path{Delay: spreadOf(12*ms, ms)}}
	return []result.Event{
		tripsBegin(id, 1), tripsInterval(id, 1, 0, short), tripsInterval(id, 2, 0, result.RoundTrips{Sent: 10, Lost: 10}),
		result.End{Head: sending(id, 2*time.Second), Elapsed: 2 * time.Second, RoundTrips: []result.RoundTrips{r}, Reason: result.ReasonDone,
			Verdict: &result.Verdict{Outcome: result.Crossed, Checks: []result.Check{
				{Rule: "rtt.p99>30ms", Outcome: result.Passed, Figure: "13.5ms"},
				{Rule: "loss>1%", Outcome: result.Crossed, Figure: "3%"},
				{Rule: "download.rate<400M", Outcome: result.Unknown, Remark: "this test does not measure it"}}}},
	}
}

// pingsPoor is a run of two sessions, by a reflector that tells nothing and has
// a clock an hour off; the user stopped it.
func pingsPoor() []result.Event {
	const id = "01932b1f-5a3c-7000-8000-000000000006"
	r := result.RoundTrips{Sent: 50, Replies: 49, Lost: 1, LossRuns: &result.LossRuns{Count: 1, Longest: 1}, Duplicate: 1,
		Dropped: map[string]uint64{}, RTT: wayOf(300*us, 100*us), Out: wayOf(-time.Hour, ms), Home: wayOf(time.Hour, ms),
		Clock: &result.Clock{Offset: -time.Hour, OffsetErr: 150 * us, Why: "the reflector's clock is not synchronised"},
		Rate:  10, Asked: 10, Stamps: "user"}
	silent := result.RoundTrips{Sent: 50, Lost: 50}
	return []result.Event{
		tripsBegin(id, 2), tripsInterval(id, 1, 0, result.RoundTrips{Sent: 9, Replies: 9, RTT: &result.Path{Delay: spreadOf(300*us, 100*us)}}),
		tripsInterval(id, 1, 1, result.RoundTrips{Sent: 9, Lost: 9}),
		result.End{Head: sending(id, 5*time.Second), Elapsed: 5 * time.Second, RoundTrips: []result.RoundTrips{r, silent}, Reason: result.ReasonInterrupted,
			Err: &result.Error{Word: result.CodeInterrupted, Text: "interrupted"}},
	}
}

// pingsReflected is a session as its reflector saw it.
func pingsReflected() []result.Event {
	const id = "01932b1f-5a3c-7000-8000-000000000008"
	b, h := tripsBegin(id, 1), sending(id, time.Second)
	b.Target, b.Role, h.Role = "", result.Reflector, result.Reflector
	return []result.Event{b, result.End{Head: h, Elapsed: time.Second, Reason: result.ReasonClientGone,
		RoundTrips: []result.RoundTrips{{Sent: 100, Replies: 97, Dropped: map[string]uint64{"wrong hmac": 3}}}}}
}

// pingsExtreme has figures as large, as odd or as absent as they can be.
func pingsExtreme() []result.Event {
	const id = "01932b1f-5a3c-7000-8000-000000000007"
	huge := result.Some[uint64](math.MaxUint64)
	odd := result.RoundTrips{Sent: math.MaxUint64, Lost: math.MaxUint64, LostOut: huge, Dropped: map[string]uint64{"\x1b": 1},
		RTT: &result.Path{Delay: result.Distribution{Max: math.MaxInt64, Min: math.MinInt64}}, Rate: math.NaN(), Asked: math.Inf(1),
		Clock: &result.Clock{Drift: result.Some(math.Inf(-1)), Usable: true, Offset: math.MinInt64}, Out: &result.Path{}, Stamps: "\x1b"}
	return []result.Event{
		tripsBegin(id, 1), tripsInterval(id, 1, 0, result.RoundTrips{}),
		result.End{Head: sending(id, 0), RoundTrips: []result.RoundTrips{odd, {}}, Verdict: &result.Verdict{Outcome: result.Passed}},
	}
}

func TestTripsText(t *testing.T) {
	for _, tt := range []struct {
		name   string
		c      TextConfig
		events []result.Event
	}{
		{"trips.txt", TextConfig{}, pingsGood()},
		{"trips-verbose.txt", TextConfig{Verbose: true}, pingsGood()},
		{"trips-poor.txt", TextConfig{}, pingsPoor()},
		{"trips-reflected.txt", TextConfig{Many: true}, pingsReflected()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			put(Text(&b, tt.c), tt.events)
			golden(t, tt.name, b.String())
		})
	}
}

// Whatever the figures are, no line has a NaN, an infinity or a control
// character in it.
func TestTripsTextOdd(t *testing.T) {
	for _, sink := range []func(*bytes.Buffer) result.Sink{
		func(b *bytes.Buffer) result.Sink { return Text(b, TextConfig{Verbose: true}) },
		func(b *bytes.Buffer) result.Sink { return Twping(b) },
		func(b *bytes.Buffer) result.Sink { return CSV(b, CSVConfig{}) },
	} {
		var b bytes.Buffer
		put(sink(&b), pingsExtreme())
		for _, bad := range []string{"NaN", "nan", "Inf", "inf", "\x1b"} {
			if strings.Contains(b.String(), bad) {
				t.Errorf("there is %q in\n%s", bad, &b)
			}
		}
	}
}

// A one-way delay is never shown where the clocks cannot be trusted.
func TestTripsUnusable(t *testing.T) {
	for name, sink := range map[string]func(*bytes.Buffer) result.Sink{
		"text":   func(b *bytes.Buffer) result.Sink { return Text(b, TextConfig{}) },
		"twping": func(b *bytes.Buffer) result.Sink { return Twping(b) },
		"csv":    func(b *bytes.Buffer) result.Sink { return CSV(b, CSVConfig{}) },
	} {
		var b bytes.Buffer
		put(sink(&b), pingsPoor())
		if strings.Contains(b.String(), "-3600") {
			t.Errorf("%s shows a delay of minus an hour:\n%s", name, &b)
		}
		if !strings.Contains(b.String(), "not synchronised") {
			t.Errorf("%s does not say why one-way delays are missing:\n%s", name, &b)
		}
	}
	var b bytes.Buffer
	put(JSON(&b, JSONConfig{}), pingsPoor())
	if !strings.Contains(b.String(), `"out":{"usable":false,"error_bound_ns":null,"delay":null,"delay_with_clock_offset":{`) {
		t.Errorf("JSON has a delay:\n%s", &b)
	}
}

// A rate that was not kept is said aloud; one that chance makes lower is not.
func TestTripsSlow(t *testing.T) {
	for _, tt := range []struct {
		rate, asked float64
		sent, late  uint64
		want        bool
	}{{812, 1000, 100, 40, true}, {812, 1000, 10, 4, false}, {999, 1000, 100, 40, false}, {90, 100, 100, 0, false}, {10, 0, 100, 3, false}} {
		r := result.RoundTrips{Rate: tt.rate, Asked: tt.asked, Sent: tt.sent, LateSent: tt.late}
		if got := slow(&r); got != tt.want {
			t.Errorf("%+v: slow is %v", tt, got)
		}
	}
}

func TestTwping(t *testing.T) {
	defer func(l *time.Location) { time.Local = l }(time.Local)
	time.Local = time.UTC
	var b bytes.Buffer
	put(Twping(&b), pingsGood(), pingsPoor())
	golden(t, "twping.txt", b.String())
}

func TestTripsCSV(t *testing.T) {
	var b bytes.Buffer
	put(CSV(&b, CSVConfig{}), pingsGood(), pingsPoor(), pingsReflected())
	golden(t, "csv-trips.csv", b.String())
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != 5 {
		t.Fatalf("%d rows, %v; want a header and one for each session", len(rows), err)
	}
}

func TestTripsJSON(t *testing.T) {
	var b bytes.Buffer
	put(JSON(&b, JSONConfig{Indent: true}), pingsGood())
	golden(t, "trips.json", b.String())
}

func TestDelayText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.0 µs", 300: "0.3 µs", 4200: "4.2 µs", -4200: "-4.2 µs", 99_940: "99.9 µs", 99_960: "100 µs", 250 * us: "250 µs", ms: "1.00 ms", 12 * ms: "12.0 ms",
	} {
		if got := delayText(d); got != want {
			t.Errorf("delayText(%v) = %q, want %q", d, got, want)
		}
	}
}

// What was lost on the way a reflector does not know.
func TestTripsReflected(t *testing.T) {
	var b bytes.Buffer
	put(JSON(&b, JSONConfig{}), pingsReflected())
	if !strings.Contains(b.String(), `"sent":100,"pending":0,"replies":97,"lost":null,"loss_ratio":null,`) {
		t.Errorf("a reflector tells of loss:\n%s", &b)
	}
}
