//go:build unix

package store

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sonde-net/sonde/result"
)

var office = ProbeName{Name: "office", Protocol: "stamp", Target: "192.0.2.7:862", Every: 30 * time.Second}

// probeRun is a test of 100 packets with round trips from 10 to 20 ms.
func probeRun(n int, at time.Time) ProbeRun {
	ms := time.Millisecond
	return ProbeRun{
		ID: result.ID(fmt.Sprintf("run-%d", n)), Probe: office, Started: at, Took: time.Second, Bytes: 1000, Success: true, State: "ok",
		Sent: new(uint64(100)), Lost: new(uint64(1)), RTT: &Spread{Count: 100, Min: 10 * ms, P50: 12 * ms, P90: 15 * ms, P99: 18 * ms, Max: 20 * ms},
		Document: []byte(`{"run":` + strings.Repeat(" ", 100) + `1}`),
	}
}

func (s *Store) mustWrite(t testing.TB, all ...any) {
	t.Helper()
	if err := s.writeEntries(t.Context(), all); err != nil {
		t.Fatal(err)
	}
}

func TestProbeRuns(t *testing.T) {
	onBoth(t, func(t *testing.T, dsn string) {
		s := open(t, Config{DSN: dsn, Retention: Retention{Ring: 3}})
		var all []any
		for n := range 5 {
			all = append(all, probeRun(n, start.Add(time.Duration(n)*30*time.Second)))
		}
		bad := ProbeRun{ID: "bad", Probe: office, Started: start.Add(5 * 30 * time.Second), State: "failed", Word: "unreachable", Error: "no answer", Why: ""}
		change := ProbeChange{Probe: office, Time: bad.Started, Before: "ok", State: "failed", Text: "no answer"}
		missed := ProbeMissed{Probe: office, Time: start.Add(6 * 30 * time.Second), Reason: "line_busy", Runs: 2}
		all = append(all, bad, change, missed)
		s.mustWrite(t, all...)
		s.mustWrite(t, all...) // as after an answer that got lost

		probes, err := s.Probes(t.Context())
		if err != nil || len(probes) != 1 {
			t.Fatal(probes, err)
		}
		p := probes[0]
		if p.ProbeName != office || p.State != "failed" || !p.Since.Equal(bad.Started) || p.Last == nil || p.Last.ID != "bad" || p.Last.RTT != nil || p.Last.Sent != nil {
			t.Errorf("the probe is %+v, last %+v", p, p.Last)
		}
		runs, err := s.ProbeRuns(t.Context(), ProbeFilter{Probe: "office", To: bad.Started})
		if err != nil || len(runs) != 5 || runs[0].ID != "run-4" || *runs[0].Lost != 1 || runs[0].RTT.P99 != 18*time.Millisecond || !runs[0].Success {
			t.Fatalf("%+v, %v", runs, err)
		}
		for n, want := range []bool{true, true, true, false, false} { // the ring has three
			r, err := s.ProbeRun(t.Context(), runs[n].Num)
			if err != nil || (r.Document != nil) != want {
				t.Errorf("run %d: a document of %d bytes, %v", n, len(r.Document), err)
			}
		}
		if _, err := s.ProbeRun(t.Context(), 1<<40); !IsNotFound(err) {
			t.Errorf("no such run: %v", err)
		}
		if _, err := s.ProbeByName(t.Context(), "other"); !IsNotFound(err) {
			t.Errorf("no such probe: %v", err)
		}
		if c, err := s.ProbeChanges(t.Context(), ProbeFilter{Probe: "office"}); err != nil || len(c) != 1 || c[0].Before != "ok" || c[0].Text != "no answer" {
			t.Errorf("%+v, %v", c, err)
		}
		if m, err := s.ProbeMissed(t.Context(), ProbeFilter{Probe: "office"}); err != nil || len(m) != 1 || m[0].Runs != 2 {
			t.Errorf("%+v, %v", m, err)
		}
		if n, err := s.ProbeBytes(t.Context(), "office", start.Truncate(time.Hour)); err != nil || n != 5000 {
			t.Errorf("%d bytes, %v", n, err)
		}
		if n, err := s.ProbeBytes(t.Context(), "office", start.Add(time.Hour)); err != nil || n != 0 {
			t.Errorf("%d bytes later, %v", n, err)
		}
		want := Pruned{Probes: 6, Hours: 1, Missed: 1, Changes: 1}
		for _, dry := range []bool{true, false} {
			if p, err := s.Prune(t.Context(), start.Add(2*time.Hour), "office", dry); err != nil || p != want {
				t.Errorf("dry %v: %+v, %v", dry, p, err)
			}
		}
		if left, err := s.Probes(t.Context()); err != nil || len(left) != 0 {
			t.Errorf("%+v, %v", left, err)
		}
		s.mustWrite(t, probeRun(99, start)) // it goes on
	})
}

// TestProbeHistory: quantiles of a smoke graph are those of the packets, one by
// one, from hours and from days.
func TestProbeHistory(t *testing.T) {
	onBoth(t, func(t *testing.T, dsn string) {
		s := open(t, Config{DSN: dsn})
		first := start.Truncate(24 * time.Hour)
		const runs = 100 * 4 // a hundred days, each six hours
		var all []any
		for n := range runs {
			all = append(all, probeRun(n, first.Add(time.Duration(n)*6*time.Hour)))
		}
		s.mustWrite(t, all...)
		s.mustWrite(t, ProbeRun{ID: "rate", Probe: ProbeName{Name: "uplink"}, Started: first, State: "ok", Down: new(uint64(100e6))})
		check := func(what string, points int, wantRuns int) {
			t.Helper()
			h, err := s.ProbeHistory(t.Context(), "office", first, first.Add(100*24*time.Hour), points)
			if err != nil {
				t.Fatal(err)
			}
			n, packets := 0, uint64(0)
			for i, p := range h {
				n, packets = n+p.Runs, packets+p.RTT.Count()
				if i > 0 && !p.Start.After(h[i-1].Start) {
					t.Fatalf("%s: %v comes after %v", what, p.Start, h[i-1].Start)
				}
				for k, want := range []float64{10e6, 12e6, 15e6, 18e6, 20e6} {
					if got := p.RTT.At(0, .5, .9, .99, 1)[k]; math.Abs(got-want) > want/25 {
						t.Fatalf("%s: quantile %d is %v, want %v", what, k, got, want)
					}
				}
				if *p.Lost != uint64(p.Runs) || p.Down.At(.5) != nil {
					t.Fatalf("%s: %+v", what, p)
				}
			}
			if n != wantRuns || packets != uint64(100*wantRuns) || len(h) > points+10 {
				t.Errorf("%s: %d tests of %d packets in %d points, want %d", what, n, packets, len(h), wantRuns)
			}
		}
		check("one by one", 100*48, runs)
		check("hours", 100*24, runs)
		check("a week each", 14, runs)
		now := first.Add(100 * 24 * time.Hour)
		if err := s.Age(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		check("after ageing", 100*48, runs)
		check("after ageing, wide", 14, runs)
		if left, err := s.ProbeRuns(t.Context(), ProbeFilter{Probe: "office", Limit: 1000}); err != nil || len(left) != 28 {
			t.Errorf("%d tests are left one by one, %v; want those of a week", len(left), err)
		}
		var sums, bytes int
		if err := s.read.QueryRowContext(t.Context(), `SELECT COUNT(*), CAST(SUM(LENGTH(rtt)) AS BIGINT) FROM probe_sum`).Scan(&sums, &bytes); err != nil || sums > 10+90*4+1 {
			t.Errorf("%d sums, %v", sums, err)
		}
		t.Logf("%d sums with %d bytes of sketches", sums, bytes)
		h, err := s.ProbeHistory(t.Context(), "uplink", first, now, 1)
		if err != nil || len(h) != 1 || math.Abs(h[0].Down.At(1)[0]-100e6) > 1e6 || h[0].RTT.At(.5) != nil || h[0].Sent != nil {
			t.Errorf("uplink: %+v, %v", h, err)
		}
	})
}

func TestSketch(t *testing.T) {
	for _, n := range []uint64{1, 2, 3, 7, 100, 1e6} {
		s := Sketch{unit: float64(timeStep)}
		p := &Spread{Count: n, Min: 50 * time.Microsecond, P50: time.Millisecond, P90: 2 * time.Millisecond, P99: time.Second, Max: 3 * time.Second}
		if n == 1 {
			p = &Spread{Count: 1, Min: 5, P50: 5, P90: 5, P99: 5, Max: 5}
		}
		s.addSpread(p)
		if s.Count() != n {
			t.Errorf("%d values became %d", n, s.Count())
		}
		if got := s.At(0, 1); n > 1 && (math.Abs(got[0]-50e3) > 1e3 || math.Abs(got[1]-3e9) > 6e7) {
			t.Errorf("%d values from %v", n, got)
		}
	}
	var none *Sketch
	if none.Count() != 0 || none.At(.5) != nil || (&Sketch{}).At(1) != nil {
		t.Error("a sketch of nothing has values")
	}
	far := Sketch{unit: float64(timeStep)}
	far.add(math.Inf(1), 1)
	far.add(-1, 1)
	far.add(math.NaN(), 1)
	if far.Count() != 2 {
		t.Errorf("%d values", far.Count())
	}
}
