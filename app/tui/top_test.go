package tui

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"go.uber.org/goleak"

	"github.com/sonde-net/sonde/app/live"
	"github.com/sonde-net/sonde/result"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// daemon has n tests and as many probes, of peers that want to be obeyed.
func daemon(n int) live.Snapshot {
	began := noon.Add(-25 * time.Hour)
	s := live.Snapshot{Schema: live.Schema, Time: noon, Began: &began, Tests: []live.Test{}, Probes: []live.Probe{}}
	s.Totals = &live.Totals{Tests: 120, Failed: 3, Refused: map[string]uint64{"too_many_connections": 12, "auth_failed": 5, "ip_daily_quota": 12}, LoginsFailed: 5, Down: 5 << 30, Up: 1 << 20}
	for i := range n {
		t := live.Test{ID: result.ID(fmt.Sprint(i)), Protocol: []string{"btest", "rperf", "iperf3"}[i%3], Transport: "udp", Direction: "both", Streams: i + 1,
			Peer: fmt.Sprintf("192.0.2.%d:41000", i), Began: noon.Add(-time.Duration(i) * time.Second)}
		switch i % 4 {
		case 0:
			t.Account, t.Duration = "zoe", 600
			t.Elapsed, t.DownRate, t.UpRate = result.Some(float64(i)), result.Some(uint64(943_210_000)), result.Some(uint64(1000*i))
			t.RTT, t.Lost = result.Some(int64(420_000)), result.Some(int64(7))
		case 1:
			t.Account = evil
			t.Elapsed, t.UpRate = result.Some(1e300), result.Some(uint64(i)*1_000_000)
		}
		s.Tests = append(s.Tests, t)
		last, good := noon.Add(-time.Duration(i)*time.Second), i%2 == 0
		p := live.Probe{Name: fmt.Sprintf("probe-%d", i), Protocol: "stamp", Target: "2001:db8::7", State: []string{"ok", "failed", "unknown"}[i%3], Runs: 1440, Missed: uint64(i)}
		if i > 0 {
			p.Last, p.LastGood, p.Text = &last, &good, "no reply to 10 packets "+evil
		}
		s.Probes = append(s.Probes, p)
	}
	return s
}

func topAt(s live.Snapshot, width, height int, c Config, keys ...string) *topModel {
	m := &topModel{Top: Top{Title: "/run/sonde/sonde.sock"}, c: c, seen: s, ctx: context.Background()}
	m.Update(tea.WindowSizeMsg{Width: width, Height: height})
	for _, k := range keys {
		m.key(k)
	}
	return m
}

// TestTopScreens holds the screens of a daemon against testdata, without colours.
func TestTopScreens(t *testing.T) {
	lost := topAt(daemon(3), 80, 24, Config{ASCII: true})
	lost.Update(looked{err: errors.New("connection refused " + evil)})
	pages := daemon(2)
	pages.Totals, pages.Probes, pages.Began = nil, nil, nil
	for _, tt := range []struct {
		name          string
		m             *topModel
		width, height int
	}{
		{"few-80x24", topAt(daemon(3), 80, 24, Config{Color: true}), 80, 24},
		{"many-80x24", topAt(daemon(60), 80, 24, Config{}, "s", "u", "down", "p"), 80, 24},
		{"many-200x50", topAt(daemon(60), 200, 50, Config{Color: true}, "s", "s"), 200, 50},
		{"nothing-80x24", topAt(daemon(0), 80, 24, Config{}), 80, 24},
		{"lost-ascii-80x24", lost, 80, 24},
		{"pages-80x24", topAt(pages, 80, 24, Config{}), 80, 24},
	} {
		check(t, "top-"+tt.name, tt.m.draw(), tt.width, tt.height, tt.m.c.ASCII)
	}
	lines := TopLines(daemon(3))
	check(t, "top-lines", strings.Join(lines, "\n"), topColumns, len(lines), false)
}

// Whatever the size, whatever the keys: a whole screen, and no panic.
func TestTopSizes(t *testing.T) {
	for _, n := range []int{0, 1, 40} {
		for width := 18; width < 220; width += 99 {
			for height := 3; height < 60; height += 18 {
				m := topAt(daemon(n), width, height, Config{Color: true})
				for _, k := range []string{"", "s", "down", "down", "u", "p", "up", "s"} {
					m.key(k)
					lines := strings.Split(m.draw(), "\n")
					for i, l := range lines {
						if w := ansi.StringWidth(l); w > width && width >= 20 && height >= 8 {
							t.Fatalf("%d tests, %dx%d, after %q: line %d has %d columns: %q", n, width, height, k, i, w, l)
						}
					}
					if height >= 8 && width >= 20 && len(lines) != height {
						t.Fatalf("%d tests, %dx%d: %d lines", n, width, height, len(lines))
					}
				}
			}
		}
	}
}

// It looks while it is not paused, keeps what it saw when nobody answers, and ends
// with the person and with its context.
func TestTopLooks(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreAnyFunction("charm.land/bubbletea/v2.Tick.func1")) // ends by itself within a second
	looks := 0
	m := topAt(daemon(1), 80, 24, Config{})
	m.Look = func(context.Context) (live.Snapshot, error) {
		if looks++; looks == 2 {
			return live.Snapshot{}, errors.New("gone")
		}
		return daemon(2), nil
	}
	for range 2 {
		_, cmd := m.Update(tick{})
		m.Update(cmd())
	}
	m.key("p")
	m.Update(tick{})
	if looks != 2 || len(m.seen.Tests) != 2 || m.failed == nil {
		t.Errorf("%d looks, %d tests, %v", looks, len(m.seen.Tests), m.failed)
	}
	in, keys, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer keys.Close()
	ctx, stop := context.WithCancel(t.Context())
	top := Top{First: daemon(1), Look: func(ctx context.Context) (live.Snapshot, error) {
		stop()
		<-ctx.Done() // a daemon that does not answer holds up nobody
		return live.Snapshot{}, ctx.Err()
	}}
	if err := top.Run(ctx, Config{In: in, Out: &strings.Builder{}}); err != nil {
		t.Error(err)
	}
}
