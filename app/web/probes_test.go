package web_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sonde-net/sonde/app/store"
	"github.com/sonde-net/sonde/result"
)

// withProbes adds a day of two probes: one of packets, with a break of two hours
// and a failure, and one of throughput, which became a fifth slower yesterday.
func (w *tester) withProbes(now time.Time) {
	w.Helper()
	sink := w.store.NewSink()
	var put uint64
	packets := store.ProbeName{Name: "office", Protocol: "stamp", Target: "192.0.2.7:862", Every: 10 * time.Minute}
	rate := store.ProbeName{Name: "line", Protocol: "btest", Target: "192.0.2.9", Every: time.Hour}
	for i := range 6 * 48 {
		at := now.Add(time.Duration(i-6*48) * 10 * time.Minute)
		if i > 200 && i < 212 {
			continue
		}
		r := store.ProbeRun{ID: result.NewID(), Probe: packets, Started: at, Took: 5 * time.Second, Success: i != 250, State: "ok",
			Sent: new(uint64(100)), Lost: new(uint64(i % 3)), RTT: &store.Spread{Count: 100, Min: 10 * time.Millisecond, P50: time.Duration(12+i%5) * time.Millisecond, P90: 20 * time.Millisecond, P99: 30 * time.Millisecond, Max: 40 * time.Millisecond}}
		if !r.Success {
			r.Word, r.Error, r.RTT = "unreachable", "no answer from "+nasty, nil
		}
		sink.Ran(r)
		put++
		if i%6 == 0 {
			down := uint64(100e6 + i%5*1e5)
			if i >= 6*24 {
				down = down * 4 / 5
			}
			sink.Ran(store.ProbeRun{ID: result.NewID(), Probe: rate, Started: at, Took: 10 * time.Second, Success: true, State: "ok", Down: &down, Why: "the path was full", Document: []byte(`{"event":"end"}`)})
			put++
		}
	}
	sink.Missed(store.ProbeMissed{Probe: packets, Time: now.Add(-14 * time.Hour), Reason: "line_busy", Runs: 3})
	sink.Changed(store.ProbeChange{Probe: packets, Time: now.Add(-6 * time.Hour), Before: "ok", State: "failed", Text: nasty})
	put += 2
	// Closing it waits for some seconds only.
	for late := time.Now().Add(time.Minute); sink.Dropped() == 0 && sink.Written() < put && time.Now().Before(late); {
		time.Sleep(20 * time.Millisecond)
	}
	sink.Close()
	if n := sink.Dropped(); n > 0 {
		w.Fatalf("%d entries were not kept", n)
	}
}

func TestProbes(t *testing.T) {
	w := newTester(t)
	now := time.Now().Truncate(time.Minute)
	w.site.Now = func() time.Time { return now }
	w.withProbes(now)
	for path, want := range map[string][]string{
		"/probes":                 {`<a href="/probes/office">office</a>`, "btest 192.0.2.9", "80.16 Mbit/s"},
		"/probes/office":          {`class="band f0"`, "tests failed", "Red marks", "no answer from &#34;"},
		"/probes/line?span=1d":    {"B is -20.0 %, certain", `class="line s0"`, "the path was full"},
		"/probes/office?span=7d":  {`class="band f0"`},
		"/probes/office?before=9": {"/runs/8"},
		"/probes/line?a_from=2026-01-01T00:00&a_to=2026-01-02T00:00": {"Nothing was measured in both periods"},
	} {
		a := w.get(path)
		for _, text := range want {
			if a.StatusCode != 200 || !strings.Contains(a.body, text) || strings.Contains(a.body, "<script>") {
				t.Errorf("%s: %d, no %q\n%.2000s", path, a.StatusCode, text, a.body)
			}
		}
	}
	all, err := w.store.ProbeRuns(t.Context(), store.ProbeFilter{Probe: "line", Limit: 1})
	w.must(err)
	run := "/probes/line/runs/" + num(all[0].Num)
	if a := w.get(run); a.StatusCode != 200 || !strings.Contains(a.body, "the path was full") || !strings.Contains(a.body, "&#34;event&#34;: &#34;end&#34;") {
		t.Errorf("%s: %d\n%s", run, a.StatusCode, a.body)
	}
	for path, status := range map[string]int{
		"/probes/other": 404, "/probes/office/runs/" + num(all[0].Num): 404, "/probes/line/runs/x": 404, "/probes/line/runs/999999": 404,
		"/probes/line?a_from=yesterday": 400,
	} {
		if a := w.get(path); a.StatusCode != status {
			t.Errorf("%s: %d, want %d", path, a.StatusCode, status)
		}
	}
	if a := w.get("/probes", "X-Forwarded-For", "192.0.2.7"); a.StatusCode != 303 {
		t.Errorf("a visitor through a proxy sees probes: %d", a.StatusCode)
	}
}

// TestBrowserProbes looks at the pages of probes.
func TestBrowserProbes(t *testing.T) {
	w := newTester(t)
	w.withProbes(time.Now())
	c := newChromium(w)
	c.open("/probes", "table")
	c.picture("probes")
	c.open("/probes/office", "h2")
	c.picture("office")
	c.open("/probes/line?span=7d", "h2")
	c.picture("line")
	c.check()
}

func num(n int64) string { return strconv.FormatInt(n, 10) }
