package compare

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sonde-net/sonde/result"
)

// Values of tables of Student's t: two-sided chance, degrees of freedom, t.
func TestStudent(t *testing.T) {
	for _, tt := range []struct{ p, free, t float64 }{
		{0.05, 1, 12.706}, {0.05, 2, 4.303}, {0.05, 10, 2.228}, {0.01, 10, 3.169}, {0.05, 30, 2.042}, {0.05, 1e6, 1.960}, {0.2, 5, 1.476}, {1, 7, 0},
	} {
		if got := tail(tt.t, tt.free); math.Abs(got-tt.p) > 2e-4 {
			t.Errorf("tail(%v, %v) = %v, want %v", tt.t, tt.free, got, tt.p)
		}
		if got := quantile(1-tt.p/2, tt.free); math.Abs(got-tt.t) > 2e-3*max(1, tt.t) {
			t.Errorf("quantile(%v, %v) = %v, want %v", 1-tt.p/2, tt.free, got, tt.t)
		}
	}
}

// A path that runs are made of: a mean, how tests differ from each other, and
// how seconds do, with memory from one to the next.
type made struct {
	mean, between, within, memory float64
	runs, seconds                 int
}

func (m made) set(r *rand.Rand) Set {
	var s Set
	for range m.runs {
		level := m.mean * (1 + m.between*r.NormFloat64())
		var run Run
		noise, sum := r.NormFloat64(), 0.0
		for n := range m.seconds {
			noise = m.memory*noise + math.Sqrt(1-m.memory*m.memory)*r.NormFloat64()
			bytes := max(0, level*(1+m.within*noise)) / 8
			sum += bytes
			run.Intervals = append(run.Intervals, result.Interval{Head: result.Head{Role: result.Client}, Direction: result.Down, Stream: result.AllStreams,
				Start: time.Duration(n) * time.Second, End: time.Duration(n+1) * time.Second, Received: &result.View{Bytes: uint64(bytes)}})
		}
		run.End = &result.End{Head: result.Head{Role: result.Client}, Down: &result.Total{
			Received: &result.View{Bytes: uint64(sum)}, Elapsed: time.Duration(m.seconds) * time.Second}}
		s.Runs = append(s.Runs, run)
	}
	return s
}

// TestFalseAlarms compares the same path with itself: at most one comparison in
// twenty may see a difference. The generator is seeded, so that the count is
// always the same.
func TestFalseAlarms(t *testing.T) {
	for _, tt := range []struct {
		name string
		made
	}{
		{"ten runs", made{1e9, 0.02, 0.05, 0, 10, 10}},
		{"ten runs with memory", made{1e9, 0.02, 0.05, 0.6, 10, 10}},
		{"four runs", made{1e9, 0.03, 0.02, 0.3, 4, 10}},
		{"one steady run of 30 s", made{1e9, 0, 0.05, 0, 1, 30}},
		{"one run of 30 s with memory", made{1e9, 0, 0.05, 0.5, 1, 30}},
		{"one run of 10 s with memory", made{1e9, 0, 0.05, 0.3, 1, 10}},
	} {
		r := rand.New(rand.NewPCG(1, 2))
		const tries = 4000
		alarms := 0
		for range tries {
			for _, d := range Compare(tt.set(r), tt.set(r)) {
				if d.Certain {
					alarms++
				}
			}
		}
		share := float64(alarms) / tries
		t.Logf("%-28s %.1f %% false alarms", tt.name, 100*share)
		if share > 0.06 { // 5 %, and three deviations of 4,000 tries
			t.Errorf("%s: %.1f %% false alarms", tt.name, 100*share)
		}
	}
}

// TestFindsADrop: a path that lost 5 % is told by ten runs of 10 s.
func TestFindsADrop(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	before := made{1e9, 0.02, 0.05, 0.3, 10, 10}
	after := before
	after.mean *= 0.95
	const tries = 2000
	found := 0
	for range tries {
		d := Compare(before.set(r), after.set(r))[0]
		if d.Certain && *d.Change < 0 {
			found++
		}
		if d.Unit != Runs || *d.Low > *d.Change || *d.High < *d.Change {
			t.Fatalf("%+v", d)
		}
	}
	t.Logf("found in %.1f %%", 100*float64(found)/tries)
	if share := float64(found) / tries; share < 0.95 {
		t.Errorf("found in %.1f %%", 100*share)
	}
}

func TestTooFew(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	short := made{mean: 1e9, within: 0.05, runs: 1, seconds: 3}
	d := Compare(short.set(r), short.set(r))
	if len(d) != 1 || !d[0].TooFew || d[0].Certain || d[0].Change == nil {
		t.Errorf("three seconds of each: %+v", d)
	}
	if d := Compare(Set{}, short.set(r)); len(d) != 0 {
		t.Errorf("nothing against something: %+v", d)
	}
}
