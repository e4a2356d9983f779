package tui

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"go.uber.org/goleak"

	"github.com/sonde-net/sonde/result"
)

const second = time.Second

// evil is what a far end may tell to have the terminal obey it.
const evil = "ann\x1b[2J\u202e\x07\x9b5A"

func head(role result.Role, protocol string) result.Head {
	return result.Head{Run: "run", Protocol: protocol, Role: role}
}

// both is a UDP test of both ways with two streams each, seconds long.
func both(seconds int) *Test {
	t := &Test{Title: "sonde"}
	h := head(result.Client, "btest")
	idle, loaded := result.Delay{Count: 10, P50: 450 * time.Microsecond}, result.Delay{Count: 5, Min: 2 * time.Millisecond, P50: 12 * time.Millisecond, Max: 31 * time.Millisecond}
	t.Put(result.Begin{Head: h, Transport: result.UDP, Direction: result.Both, Target: "192.0.2.1:2000", Streams: 2, Duration: 10 * second,
		DownRate: 100e6, Login: "md5", Account: evil, Idle: &idle, Peer: netip.MustParseAddrPort("192.0.2.1:2000")})
	cpu := result.CPU{Local: result.Some(12.4), Remote: result.Some(71.0)}
	for n := 1; n <= seconds; n++ {
		i := result.Interval{Head: h, Seq: n, Stream: result.AllStreams, Start: time.Duration(n-1) * second, End: time.Duration(n) * second, CPU: cpu, RTT: &loaded}
		i.Direction = result.Down
		i.Received = &result.View{Bytes: uint64(12_000_000 - n%3*400_000), Packets: result.Some(uint64(8000)), Lost: result.Some(int64(n % 2 * 3))}
		t.Put(i)
		i.Direction, i.Sent = result.Up, &result.View{Bytes: uint64(6_000_000 + n*50_000), Packets: result.Some(uint64(4000))}
		i.Received = nil
		if n%2 == 0 {
			i.Received = &result.View{Bytes: 11_900_000, Covered: 2 * second}
		}
		t.Put(i)
		for stream := range 2 {
			for _, d := range result.Both.Each() {
				one := i
				one.Stream, one.Direction = stream, d
				one.Sent, one.Received = &result.View{Bytes: 3_000_000}, &result.View{Bytes: 6_000_000}
				t.Put(one)
			}
		}
	}
	t.Put(result.Note{Head: h, Level: result.Warning, Text: "the far end says " + evil, Hint: "do not believe it"})
	t.Put(result.Note{Head: h, Level: result.Info, Text: "not for a screen"})
	return t
}

func ended(t *Test, err error) *Test {
	v := func(n uint64) *result.View {
		return &result.View{Bytes: n, Packets: result.Some(n / 1400), Lost: result.Some(int64(9))}
	}
	t.Put(result.End{Head: head(result.Client, "btest"), Elapsed: 10 * second, Reason: result.ReasonDone, Err: err,
		Down:    &result.Total{Sent: v(120_000_000), Received: v(119_000_000), Elapsed: 10 * second},
		Up:      &result.Total{Sent: v(60_000_000), Received: v(59_000_000), Elapsed: 10 * second},
		CPU:     result.CPU{Local: result.Some(12.0)},
		Latency: &result.Latency{Method: "udp-echo", Idle: &result.Delay{P50: 450 * time.Microsecond}, Loaded: &result.Delay{P50: 12 * time.Millisecond}, Grade: "B"},
		Why:     &result.Why{Limit: "rate", Text: "download: the rate that was asked for is reached; upload: the processor of the far end is busy with it, so that the path itself could carry more than was measured", Try: "ask for more with --rate, and test through the router, not to it"},
	})
	return t
}

func tcp() *Test {
	t := &Test{}
	h := head(result.Client, "iperf3")
	t.Put(result.Begin{Head: h, Transport: result.TCP, Direction: result.Up, Target: "server.example:5201", Streams: 1})
	for n := 1; n <= 30; n++ {
		i := result.Interval{Head: h, Seq: n, Stream: result.AllStreams, Direction: result.Up, Start: time.Duration(n-1) * second, End: time.Duration(n) * second}
		i.Sent = &result.View{Bytes: uint64(n*n) * 1_000_000}
		t.Put(i)
	}
	return t
}

func pings(sessions, seconds int) *Test {
	t := &Test{Length: 10 * second}
	h := head(result.Sender, "stamp")
	t.Put(result.Begin{Head: h, Transport: result.UDP, Direction: result.Both, Target: "[2001:db8::7]:862", Streams: sessions})
	for n := 1; n <= seconds; n++ {
		for s := range sessions {
			r := &result.RoundTrips{Sent: 10, Lost: uint64(n % 4 / 3), Replies: 10}
			if n != 3 { // nothing came back
				base := time.Duration(300+n*40+s*7) * time.Microsecond
				r.RTT = &result.Path{Delay: result.Distribution{Count: 10, Min: base, P50: base + 50*time.Microsecond, P99: base + 900*time.Microsecond, Max: base + time.Millisecond}}
			}
			t.Put(result.Interval{Head: h, Seq: n, Direction: result.Both, Stream: s, Start: time.Duration(n-1) * second, End: time.Duration(n) * second, RoundTrips: r})
		}
	}
	return t
}

func testAt(t *Test, width, height int, c Config, keys ...string) *testModel {
	m := newTestModel(t, c)
	m.Update(tea.WindowSizeMsg{Width: width, Height: height})
	for _, k := range keys {
		m.key(k)
	}
	return m
}

// check holds a screen against its golden text and what is true of all screens.
func check(t *testing.T, name, drawn string, width, height int, ascii bool) {
	t.Helper()
	lines := strings.Split(ansi.Strip(drawn), "\n")
	if len(lines) != height {
		t.Errorf("%s: %d lines on a screen of %d", name, len(lines), height)
	}
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " ")
		if w := ansi.StringWidth(l); w > width {
			t.Errorf("%s: line %d has %d columns", name, i, w)
		}
		if strings.ContainsAny(l, "\x1b\u202e\x07\u009b") {
			t.Errorf("%s: line %d moves the cursor: %q", name, i, l)
		}
		if ascii && strings.ContainsFunc(l, func(r rune) bool { return r > 0x7e }) {
			t.Errorf("%s: line %d is not ASCII: %q", name, i, l)
		}
	}
	got := strings.Join(lines, "\n") + "\n"
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || string(want) != got {
		t.Errorf("%s is now (%v; -update takes it over)\n%s", file, err, got)
	}
}

// TestTestScreens holds the screens of clients against testdata, without colours.
func TestTestScreens(t *testing.T) {
	ascii := Config{ASCII: true}
	failed := errors.New("the far end is gone " + evil)
	for _, tt := range []struct {
		name          string
		m             *testModel
		width, height int
	}{
		{"waiting", testAt(&Test{Title: "sonde"}, 80, 24, Config{}), 80, 24},
		{"both-80x24", testAt(both(7), 80, 24, Config{Color: true}), 80, 24},
		{"both-plain-80x24", testAt(both(7), 80, 24, Config{}, "u", "p"), 80, 24},
		{"both-200x50", testAt(both(7), 200, 50, Config{Color: true}, "s"), 200, 50},
		{"streams-ascii-80x24", testAt(both(7), 80, 24, ascii, "s"), 80, 24},
		{"over-80x24", testAt(ended(both(10), nil), 80, 24, Config{}), 80, 24},
		{"over-200x50", testAt(ended(both(10), nil), 200, 50, Config{Color: true}), 200, 50},
		{"failed-80x24", testAt(ended(both(10), failed), 80, 24, Config{}), 80, 24},
		{"upload-ascii-80x24", testAt(tcp(), 80, 24, ascii), 80, 24},
		{"pings-80x24", testAt(pings(1, 8), 80, 24, Config{Color: true}), 80, 24},
		{"pings-ascii-200x50", testAt(pings(6, 8), 200, 50, ascii, "s"), 200, 50},
		{"low-40x10", testAt(both(7), 40, 10, Config{}), 40, 10},
	} {
		check(t, "test-"+tt.name, tt.m.draw(), tt.width, tt.height, tt.m.c.ASCII)
	}
}

// Whatever the size, whatever the keys: a whole screen, and no panic.
func TestTestSizes(t *testing.T) {
	tests := []*Test{{}, both(1), ended(both(3), nil), tcp(), pings(1, 3), pings(9, 3)}
	for n, test := range tests {
		for width := 18; width < 220; width += 99 {
			for height := 3; height < 60; height += 18 {
				m := testAt(test, width, height, Config{Color: true})
				for _, k := range []string{"", "s", "down", "down", "u", "p", "up", "s"} {
					m.key(k)
					lines := strings.Split(m.draw(), "\n")
					for i, l := range lines {
						if w := ansi.StringWidth(l); w > width && width >= 20 && height >= 8 {
							t.Fatalf("test %d, %dx%d, after %q: line %d has %d columns: %q", n, width, height, k, i, w, l)
						}
					}
					if height >= 8 && width >= 20 && len(lines) != height {
						t.Fatalf("test %d, %dx%d, after %q: %d lines", n, width, height, k, len(lines))
					}
				}
			}
		}
	}
}

// A paused screen stays as it is while the test goes on; its end is seen.
func TestTestPause(t *testing.T) {
	test := both(2)
	m := testAt(test, 80, 24, Config{}, "p")
	before := m.draw()
	h := head(result.Client, "btest")
	test.Put(result.Interval{Head: h, Seq: 3, Stream: result.AllStreams, Direction: result.Down, Start: 2 * second, End: 3 * second, Received: &result.View{Bytes: 1}})
	m.Update(tick{})
	if got := m.draw(); got != before || !strings.Contains(got, "PAUSED") {
		t.Errorf("a paused screen is now\n%s", got)
	}
	if m.key("p"); m.paused {
		t.Error("it is still paused")
	}
	m.Update(tick{})
	if !strings.Contains(m.draw(), "3.0 s of 10.0 s") {
		t.Errorf("it does not go on:\n%s", m.draw())
	}
	m.key("p")
	ended(test, nil)
	if _, cmd := m.Update(tick{}); cmd == nil || !strings.Contains(m.draw(), "over after") {
		t.Errorf("the end is not seen:\n%s", m.draw())
	}
}

// What is kept of a test that never ends is bounded.
func TestTestBounds(t *testing.T) {
	test := &Test{}
	test.Put(result.Begin{Direction: result.Down})
	for n := range 3 * mostIntervals {
		test.Put(result.Interval{Seq: n, Stream: result.AllStreams, Direction: result.Down, End: time.Duration(n) * second, Received: &result.View{Bytes: 5}})
		test.Put(result.Interval{Seq: n, Stream: n, Direction: result.Down, Received: &result.View{Bytes: 5}})
	}
	s := test.look()
	if len(s.intervals) > mostIntervals || len(s.streams) > mostStreams || s.down.received.Bytes != 15*mostIntervals {
		t.Errorf("%d intervals, %d streams, %d bytes", len(s.intervals), len(s.streams), s.down.received.Bytes)
	}
}

// The program ends with the test, with the person, and with its context, and
// leaves nothing behind.
func TestTestRun(t *testing.T) {
	defer goleak.VerifyNone(t)
	in, keys, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer keys.Close()
	var out strings.Builder
	if err := ended(both(1), nil).Run(t.Context(), Config{In: in, Out: &out}); err != nil {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "\x1b[?1049h") || !strings.Contains(out.String(), "\x1b[?1049l") {
		t.Errorf("the screen did not come, or did not go: %q", out.String())
	}
	test := ended(both(1), nil)
	test.Stays = true
	fmt.Fprint(keys, "q")
	if err := test.Run(t.Context(), Config{In: in, Out: &out}); err != nil {
		t.Error(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := both(1).Run(ctx, Config{In: in, Out: &out}); err != nil {
		t.Error(err)
	}
}
