package report

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sonde-net/sonde/result"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// golden compares got with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s differs (-want +got):\n%s", name, d)
	}
}

var began = time.Date(2026, 11, 20, 14, 36, 51, 100_000_000, time.UTC)

const (
	ms = time.Millisecond
	us = time.Microsecond
)

func at(id result.ID, role result.Role, after time.Duration) result.Head {
	return result.Head{Run: id, Time: began.Add(after), Protocol: "btest", Role: role}
}

// udpBoth is a client's UDP test both ways with everything measured.
func udpBoth() []result.Event {
	const id = "01932b1f-5a3c-7000-8000-000000000001"
	some := result.Some[uint64]
	received := func(n uint64) *result.View {
		return &result.View{
			Bytes: 1472 * n, WireBytes: some(1500 * n), Packets: some(n), Lost: result.Some(int64(n / 1000)),
			Late: some(0), Reordered: some(n / 5000), Duplicate: some(n / 20000), Dropped: some(n / 10000),
			LossRuns: &result.LossRuns{Count: 3, Longest: 7}, Jitter: result.Some(120 * us),
		}
	}
	sent := func(n uint64) *result.View {
		return &result.View{
			Bytes: 1472 * n, WireBytes: some(1500 * n), Packets: some(n), Skipped: some(2),
			ScheduleErr: result.Some(14 * us), Stalled: result.Some(3 * ms),
		}
	}
	there := func(n uint64, covered time.Duration) *result.View {
		return &result.View{Bytes: 1472 * n, Covered: covered}
	}
	events := []result.Event{result.Begin{
		Head: at(id, result.Client, 0), Transport: result.UDP, Direction: result.Both, Target: "192.0.2.1:2000",
		Peer: netip.MustParseAddrPort("192.0.2.1:2000"), Local: netip.MustParseAddrPort("192.0.2.9:40112"),
		Streams: 1, Size: 1472, UpRate: 100_000_000, Duration: 2 * time.Second, Account: "ann", Login: "ecsrp5",
	}}
	for n := 1; n <= 2; n++ {
		start, end := time.Duration(n-1)*time.Second, time.Duration(n)*time.Second
		cpu := result.CPU{Local: result.Some(18.4), Remote: result.Some(72.0)}
		rtt := &result.Delay{Count: 10, Min: 4 * ms, Mean: 13 * ms, P50: 12300 * us, P90: 20 * ms, P99: 30 * ms, Max: 31 * ms}
		events = append(events,
			result.Interval{Head: at(id, result.Client, end), Seq: n, Direction: result.Down, Stream: result.AllStreams,
				Start: start, End: end, Received: received(36_000), Sent: there(36_036, 0), CPU: cpu, RTT: rtt},
			result.Interval{Head: at(id, result.Client, end), Seq: n, Direction: result.Up, Stream: result.AllStreams,
				Start: start, End: end, Sent: sent(8333), Received: there(7000, 0), CPU: cpu, RTT: rtt},
		)
	}
	return append(events,
		result.Note{Head: at(id, result.Client, 1500*ms), Level: result.Warning, Code: "cpu_bound",
			Text: "CPU of the far end is at 72 %", Hint: "test through the router, not to it"},
		result.Note{Head: at(id, result.Client, 1600*ms), Level: result.Info, Code: "technique", Text: "sending with gso128"},
		result.End{Head: at(id, result.Client, 2*time.Second), Elapsed: 2 * time.Second,
			Down: &result.Total{Received: received(72_000), Sent: there(72_072, 0), Elapsed: 2 * time.Second,
				Steady: &result.Steady{From: 500 * ms, Rate: 423_000_000, Spread: 0.031, Changes: []time.Duration{1200 * ms}, Confidence: "good"}},
			Up:  &result.Total{Sent: sent(16_666), Received: there(7000, time.Second), Elapsed: 2 * time.Second},
			CPU: result.CPU{Local: result.Some(18.4), Remote: result.Some(72.0)},
			Latency: &result.Latency{Method: "tcp-connect", RPM: result.Some(1250.0), Grade: "B",
				Idle:   &result.Delay{Count: 5, Min: 2 * ms, Mean: 2 * ms, P50: 2100 * us, P90: 3 * ms, P99: 3 * ms, Max: 3 * ms},
				Loaded: &result.Delay{Count: 20, Min: 4 * ms, Mean: 40 * ms, P50: 48 * ms, P90: 60 * ms, P99: 70 * ms, Max: 71 * ms}},
			Why: &result.Why{Limit: "cpu_remote", Text: "the CPU of the far end was the limit",
				Evidence: []string{"CPU there 72 % (above 70 % in 2 of 2 seconds)"}, Try: "test through the router, not to it"},
			Reason: result.ReasonDone},
	)
}

// tcpLost is a server's TCP upload of two streams whose client vanished; what
// a server cannot know is not there.
func tcpLost() []result.Event {
	const id = "01932b1f-5a3c-7000-8000-000000000002"
	info := &result.TCPInfo{RTT: 3 * ms, RTTVar: 1 * ms, MinRTT: 2 * ms, Cwnd: 145_000, MSS: 1448, Retransmits: 12,
		DeliveryRate: 940_000_000, PacingRate: 1_100_000_000, Busy: 900 * ms, Congestion: "cubic"}
	view := func(n uint64) *result.View { return &result.View{Bytes: n, TCP: info} }
	interval := func(stream int, n uint64) result.Interval {
		return result.Interval{Head: at(id, result.Server, time.Second), Seq: 1, Direction: result.Up, Stream: stream,
			End: time.Second, Received: view(n), CPU: result.CPU{Local: result.Some(7.0)}}
	}
	lost := &result.Error{Word: result.CodePeerLost, Text: "btest 198.51.100.7:51022: nothing came for 10 s",
		Hint: "see whether the link is still up"}
	return []result.Event{
		result.Begin{Head: at(id, result.Server, 0), Transport: result.TCP, Direction: result.Up,
			Peer: netip.MustParseAddrPort("[::ffff:198.51.100.7]:51022"), Local: netip.MustParseAddrPort("192.0.2.9:2000"),
			Streams: 2, Size: 32768, Login: "none"},
		interval(0, 60_000_000), interval(1, 57_000_000), interval(result.AllStreams, 117_000_000),
		result.End{Head: at(id, result.Server, 11*time.Second), Elapsed: time.Second,
			Up: &result.Total{Received: view(117_000_000), Elapsed: time.Second, Streams: []result.Total{
				{Received: view(60_000_000), Elapsed: time.Second}, {Received: view(57_000_000), Elapsed: time.Second}}},
			Latency: &result.Latency{Remark: "the far end answers no probe"},
			Why:     &result.Why{Limit: "unknown", Text: "not known: nothing was at its limit"},
			Reason:  result.ReasonPeerSilent, Err: lost},
	}
}

// refused is a run that failed before anything was agreed.
func refused() []result.Event {
	return []result.Event{result.End{Head: at("01932b1f-5a3c-7000-8000-000000000003", result.Client, 0), Reason: result.ReasonFailed,
		Err: &result.Error{Word: result.CodeAuth, Text: `btest 192.0.2.1:2000: server rejected user "admin"`, Hint: "check the password"}}}
}

func put(s result.Sink, events ...[]result.Event) {
	for _, run := range events {
		for _, e := range run {
			s.Put(e)
		}
	}
}
