package metrics

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/sonde-net/sonde/result"
)

// text is what a registry has of the named metrics.
func text(t *testing.T, r *prometheus.Registry, want string, names ...string) {
	t.Helper()
	if err := testutil.GatherAndCompare(r, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}

func begin(id result.ID) result.Begin {
	return result.Begin{Head: result.Head{Run: id, Protocol: "btest", Role: result.Server}}
}

// What a test moved is counted once, be it by its intervals or at its end.
func TestBytesCountOnce(t *testing.T) {
	m := New(Build{"1.0", "abc", "go1"})
	b := begin(result.NewID())
	m.Put(b)
	for range 3 {
		m.Put(result.Interval{Head: b.Head, Direction: result.Down, Stream: result.AllStreams, Sent: &result.View{Bytes: 100}})
		// Of single streams, which are in the sum already.
		m.Put(result.Interval{Head: b.Head, Direction: result.Down, Stream: 0, Sent: &result.View{Bytes: 100}})
	}
	text(t, m.Registry, `
# HELP sonde_test_active Tests that run.
# TYPE sonde_test_active gauge
sonde_test_active{protocol="btest"} 1
`, nameActive)
	m.Put(result.End{Head: b.Head, Down: &result.Total{Sent: &result.View{Bytes: 350}}})
	m.Put(result.End{Head: begin(result.NewID()).Head, Err: &result.Error{Word: result.CodeAuth}}) // it never began
	text(t, m.Registry, `
# HELP sonde_bytes_total Payload that tests moved, as the client sees the direction, by this end's count.
# TYPE sonde_bytes_total counter
sonde_bytes_total{direction="download",protocol="btest"} 350
# HELP sonde_test_active Tests that run.
# TYPE sonde_test_active gauge
sonde_test_active{protocol="btest"} 0
# HELP sonde_tests_total Tests that ended, by how: ok, or the word of the error.
# TYPE sonde_tests_total counter
sonde_tests_total{protocol="btest",result="auth_failed",role="server"} 1
sonde_tests_total{protocol="btest",result="ok",role="server"} 1
`, nameBytes, nameActive, nameTests)
}

// A lost packet that came late after all does not make a counter go back.
func TestLostNeverGoesBack(t *testing.T) {
	m := New(Build{})
	b := begin(result.NewID())
	m.Put(b)
	for _, lost := range []int64{5, -2, 1, 3} {
		m.Put(result.Interval{Head: b.Head, Direction: result.Up, Stream: result.AllStreams,
			Received: &result.View{Packets: result.Some(uint64(10)), Lost: result.Some(lost)}})
	}
	if got := testutil.ToFloat64(m.lost.WithLabelValues("btest")); got != 7 {
		t.Errorf("%v lost, want 7", got)
	}
}

// Words of a protocol cannot make labels without end.
func TestReasonsAreBounded(t *testing.T) {
	m := New(Build{})
	for i := range 10 * mostReasons {
		m.Put(result.Note{Code: result.NoteAuthFailure, Login: &result.Login{Reason: strings.Repeat("x", i)}})
	}
	if n := testutil.CollectAndCount(m.authFailures); n != mostReasons+1 {
		t.Errorf("%d reasons, want %d and other", n, mostReasons)
	}
}

// The figures of a probe's test before are gone when the next could not be made:
// a gap, not the old number and not 0.
func TestProbeGap(t *testing.T) {
	m := New(Build{})
	p := m.NewProbes()
	end := result.End{Elapsed: time.Second, Down: &result.Total{Received: &result.View{Bytes: 1000}},
		Latency: &result.Latency{Idle: &result.Delay{Count: 2, Min: time.Millisecond, P50: 2 * time.Millisecond}}}
	p.Ran(Run{Probe: "office", End: &end, Success: true})
	if testutil.CollectAndCount(p.rate) != 1 || testutil.CollectAndCount(p.quantile) == 0 {
		t.Error("no figures of a test that was made")
	}
	if got := testutil.ToFloat64(p.rate.WithLabelValues("office", "download")); got != 8000 {
		t.Errorf("rate %v, want 8000 bit/s", got)
	}
	p.Ran(Run{Probe: "office", Err: errors.New("gone")})
	if n := testutil.CollectAndCount(p.rate) + testutil.CollectAndCount(p.quantile) + testutil.CollectAndCount(p.loss); n != 0 {
		t.Errorf("%d figures of a test that was not made", n)
	}
	if got := testutil.ToFloat64(p.success.WithLabelValues("office")); got != 0 {
		t.Errorf("success %v", got)
	}
	p.Missed("office", "busy", 1)
	p.Drop("office")
	for name, v := range map[string]prometheus.Collector{"success": p.success, "runs": p.runs, "missed": p.missed, "bytes": p.bytes} {
		if n := testutil.CollectAndCount(v); n != 0 {
			t.Errorf("%s: %d series of a probe that is no more", name, n)
		}
	}
}
