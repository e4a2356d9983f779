package diagnose

import (
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonde-net/sonde/result"
	"pgregory.net/rapid"
)

// Figures of all sizes, among them those that no network makes but a peer can
// claim.
var (
	counters  = rapid.OneOf(rapid.Uint64Range(0, 10), rapid.Uint64Range(0, 1e9), rapid.Just(uint64(math.MaxUint64)), rapid.Uint64())
	durations = rapid.Custom(func(t *rapid.T) time.Duration {
		return time.Duration(rapid.OneOf(rapid.Int64Range(0, 2e10), rapid.Int64(), rapid.SampledFrom([]int64{0, 1, math.MaxInt64, math.MinInt64})).Draw(t, "ns"))
	})
	percents = rapid.OneOf(rapid.Float64Range(0, 100), rapid.Float64Range(90, 100), rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), -1, 1e9}))
)

func maybe[V any](t *rapid.T, g *rapid.Generator[V], name string) *V {
	if rapid.Bool().Draw(t, name+"?") {
		return nil
	}
	return result.Some(g.Draw(t, name))
}

func anyView(t *rapid.T) *result.View {
	if rapid.IntRange(0, 3).Draw(t, "view?") == 0 {
		return nil
	}
	v := &result.View{
		Bytes: counters.Draw(t, "bytes"), WireBytes: maybe(t, counters, "wire"), Packets: maybe(t, counters, "packets"),
		Lost: maybe(t, rapid.Int64(), "lost"), Dropped: maybe(t, counters, "dropped"), Duplicate: maybe(t, counters, "duplicate"),
		Skipped: maybe(t, counters, "skipped"), ScheduleErr: maybe(t, durations, "late"), Stalled: maybe(t, durations, "stalled"),
	}
	if rapid.IntRange(0, 3).Draw(t, "covered?") == 0 {
		v.Covered = durations.Draw(t, "covered")
	}
	if rapid.Bool().Draw(t, "tcp?") {
		v.TCP = &result.TCPInfo{
			RTT: durations.Draw(t, "rtt"), MinRTT: durations.Draw(t, "least rtt"), MSS: counters.Draw(t, "mss"),
			Retransmits: counters.Draw(t, "resent"), Busy: durations.Draw(t, "busy"),
			RwndLimited: durations.Draw(t, "window"), SndbufLimited: durations.Draw(t, "buffer"),
		}
	}
	return v
}

func anyDelay(t *rapid.T) *result.Delay {
	if rapid.Bool().Draw(t, "delay?") {
		return nil
	}
	return &result.Delay{Count: counters.Draw(t, "trips"), P50: durations.Draw(t, "p50"), P90: durations.Draw(t, "p90"), Mean: durations.Draw(t, "mean")}
}

// anyRun is a run of which nothing makes sense.
func anyRun(t *rapid.T) []result.Event {
	h := result.Head{Run: "r", Role: rapid.SampledFrom([]result.Role{result.Client, result.Server, ""}).Draw(t, "role")}
	rate := rapid.OneOf(rapid.Just(uint64(0)), counters)
	events := []result.Event{result.Begin{
		Head: h, Transport: rapid.SampledFrom([]result.Transport{result.TCP, result.UDP, ""}).Draw(t, "transport"),
		Direction: result.Direction(rapid.IntRange(0, 4).Draw(t, "direction")), Streams: rapid.IntRange(-1, 100).Draw(t, "streams"),
		DownRate: rate.Draw(t, "down rate"), UpRate: rate.Draw(t, "up rate"),
		Peer: netip.MustParseAddrPort("192.0.2.1:1"),
	}}
	for n := range rapid.IntRange(0, 8).Draw(t, "intervals") {
		events = append(events, result.Interval{
			Head: h, Seq: n + 1, Direction: result.Direction(rapid.IntRange(0, 3).Draw(t, "way")), Stream: rapid.IntRange(-1, 1).Draw(t, "stream"),
			Start: time.Duration(n) * time.Second, End: time.Duration(n)*time.Second + durations.Draw(t, "long"),
			Sent: anyView(t), Received: anyView(t),
			CPU: result.CPU{Local: maybe(t, percents, "cpu here"), Remote: maybe(t, percents, "cpu there")},
		})
	}
	end := result.End{Head: h, Elapsed: durations.Draw(t, "elapsed")}
	if rapid.Bool().Draw(t, "latency?") {
		end.Latency = &result.Latency{Idle: anyDelay(t), Loaded: anyDelay(t)}
	}
	for _, total := range []**result.Total{&end.Down, &end.Up} {
		if rapid.IntRange(0, 3).Draw(t, "total?") > 0 {
			*total = &result.Total{Sent: anyView(t), Received: anyView(t), Elapsed: durations.Draw(t, "of data")}
		}
	}
	return append(events, end)
}

// checkAnyRun puts events through a Sink and asks for what must always hold.
func checkAnyRun(t *rapid.T) {
	var k kept
	sink := Sink(&k)
	events := anyRun(t)
	for _, e := range events {
		sink.Put(e)
	}
	begin := events[0].(result.Begin)
	end := k.events[len(k.events)-1].(result.End)
	why := end.Why
	if why == nil {
		return
	}
	if why.Limit != Unknown && rank(why.Limit) < 0 {
		t.Fatalf("%q stands in no table", why.Limit)
	}
	if why.Text == "" || why.Limit != Unknown && len(why.Evidence) == 0 {
		t.Fatalf("%+v", why)
	}
	all := strings.Join(append(slices.Clone(why.Evidence), why.Text, why.Try), "\n")
	if strings.Contains(all, "NaN") || strings.Contains(all, "Inf") || strings.Contains(all, "%!") {
		t.Fatalf("%s", all)
	}
	if begin.DownRate == 0 && begin.UpRate == 0 && (why.Limit == OwnRateLimit || why.Limit == PeerRateLimit || why.Limit == PacingLate) {
		t.Fatalf("%s without any target: %+v", why.Limit, why)
	}
	if begin.Transport == result.UDP && (why.Limit == ReceiveWindow || why.Limit == SendBuffer) {
		t.Fatalf("%s of UDP: %+v", why.Limit, why)
	}
	if begin.Transport == result.TCP && (why.Limit == ReceiverDrops || why.Limit == PacingLate || why.Limit == PeerSlow) {
		t.Fatalf("%s of TCP: %+v", why.Limit, why)
	}
}

func TestAnyRun(t *testing.T) { rapid.Check(t, checkAnyRun) }

func FuzzAnyRun(f *testing.F) { f.Fuzz(rapid.MakeFuzz(checkAnyRun)) }

func TestFormat(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{formatRate(0), "0 bit/s"},
		{formatRate(999), "999 bit/s"},
		{formatRate(8000), "8 kbit/s"},
		{formatRate(99.96e6), "100 Mbit/s"},
		{formatRate(999.9e6), "1 Gbit/s"},
		{formatRate(94.15e6), "94.2 Mbit/s"},
		{formatRate(2.5e12), "2.5 Tbit/s"},
		{formatTime(90 * time.Microsecond), "90 µs"},
		{formatTime(21400 * time.Microsecond), "21.4 ms"},
		{formatTime(-3 * time.Second), "-3000 ms"},
		{formatShare(0.00123), "0.123 %"},
		{formatShare(1), "100 %"},
		{formatShare(0), "0 %"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}
