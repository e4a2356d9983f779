package stat

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// series makes a Series of one-second intervals from rates in Mbit/s.
func series(mbits ...float64) *Series {
	var s Series
	for i, r := range mbits {
		s.Add(time.Duration(i)*time.Second, time.Duration(i+1)*time.Second, uint64(max(r, 0)*1e6/8))
	}
	return &s
}

// level is n times the same rate.
func level(rate float64, n int) []float64 {
	return slices.Repeat([]float64{rate}, n)
}

func seconds(n ...float64) []time.Duration {
	var d []time.Duration
	for _, s := range n {
		d = append(d, time.Duration(s*float64(time.Second)))
	}
	return d
}

func TestSteady(t *testing.T) {
	join := slices.Concat[[]float64]
	tests := []struct {
		name       string
		rates      []float64
		from       float64
		rate       float64 // Mbit/s
		changes    []time.Duration
		confidence string
	}{
		{"flat", level(100, 10), 0, 100, nil, Good},
		{"slow start", join([]float64{12, 60, 85, 60}, level(100, 10)), 4, 100, nil, Good},
		{"slow start, two directions of noise", []float64{5, 40, 99, 101, 98, 103, 100, 97, 102, 100}, 2, 100, nil, Good},
		{"half a second of it in the first interval", join([]float64{55}, level(100, 9)), 1, 100, nil, Good},
		{"a little low at first", join([]float64{95}, level(100, 9)), 0, 99.5, nil, Good},
		{"one bad second", join(level(100, 8), []float64{0}, level(100, 8)), 0, 100 * 16.0 / 17, nil, Varies},
		{"halved", join(level(100, 10), level(50, 10)), 0, 75, seconds(10), Varies},
		{"halved for a while", join(level(100, 10), level(50, 5), level(100, 10)), 0, 90, seconds(10, 15), Varies},
		{"burst, then shaped", join(level(500, 4), level(100, 12)), 0, 200, seconds(4), Varies},
		{"ramp-up and change", join([]float64{10, 50}, level(100, 8), level(60, 8)), 2, 80, seconds(10), Varies},
		{"rising to the end", []float64{10, 20, 30, 40, 50, 60, 70, 80}, 4, 65, nil, TooShort},
		{"three seconds", level(100, 3), 0, 100, nil, TooShort},
		{"one interval", level(100, 1), 0, 100, nil, TooShort},
		{"five seconds", level(100, 5), 0, 100, nil, Good},
		{"saw-tooth", join(level(80, 1), level(100, 1), level(80, 1), level(100, 1), level(80, 1), level(100, 1), level(80, 1), level(100, 1)), 0, 90, nil, Varies},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := series(tt.rates...).Steady()
			if got == nil {
				t.Fatal("nil")
			}
			if want := tt.rate * 1e6; math.Abs(float64(got.Rate)-want) > 100 {
				t.Errorf("rate %d, want %.0f", got.Rate, want)
			}
			if want := time.Duration(tt.from * float64(time.Second)); got.From != want {
				t.Errorf("from %v, want %v", got.From, want)
			}
			if !slices.Equal(got.Changes, tt.changes) || got.Confidence != tt.confidence {
				t.Errorf("changes %v, %q, want %v, %q", got.Changes, got.Confidence, tt.changes, tt.confidence)
			}
		})
	}
}

func TestSteadyOfNothing(t *testing.T) {
	var empty Series
	if got := empty.Steady(); got != nil {
		t.Errorf("of no interval: %+v, want nil", got)
	}
	if got := series(0, 0, 0, 0, 0, 0).Steady(); got != nil {
		t.Errorf("of no bytes: %+v, want nil", got)
	}
	empty.Add(time.Second, time.Second, 100)
	empty.Add(2*time.Second, time.Second, 100)
	if got := empty.Steady(); got != nil || empty.Rising() {
		t.Errorf("of intervals without length: %+v, want nil", got)
	}
}

// TestSteadyCutOff is what the last interval of many runs looks like.
func TestSteadyCutOff(t *testing.T) {
	s := series(level(100, 10)...)
	s.Add(10*time.Second, 10*time.Second+20*time.Millisecond, 10)
	if got := s.Steady(); got.Rate != 100e6 || got.Spread != 0 || got.Confidence != Good {
		t.Errorf("%+v, want 100 Mbit/s without spread", got)
	}
}

// TestSeriesLong keeps a week of seconds in the memory of a quarter of an hour.
func TestSeriesLong(t *testing.T) {
	const week = 7 * 24 * 3600
	var s Series
	for i := range week {
		bytes := uint64(2e6)
		if i >= week/2 {
			bytes = 1e6
		}
		s.Add(time.Duration(i)*time.Second, time.Duration(i+1)*time.Second, bytes)
	}
	if n := len(s.points); n > maxPoints {
		t.Errorf("%d points, want at most %d", n, maxPoints)
	}
	got := s.Steady()
	if got.Rate != 12e6 || len(got.Changes) != 1 || got.Confidence != Varies {
		t.Fatalf("%+v, want 12 Mbit/s and one change", got)
	}
	if away := got.Changes[0] - week/2*time.Second; away.Abs() > 20*time.Minute {
		t.Errorf("change at %v, want %v", got.Changes[0], week/2*time.Second)
	}
}

func TestRising(t *testing.T) {
	tests := []struct {
		rates []float64
		want  bool
	}{
		{[]float64{10, 20, 30, 40, 50, 60, 70, 80}, true},
		{[]float64{10, 60, 100, 100, 100, 100, 100, 100}, false},
		{[]float64{100, 400, 1600, 6400}, true},
		{[]float64{80, 100, 101, 102}, false},
		{[]float64{0, 0, 0, 0}, false},
		{[]float64{10, 100}, false}, // who knows
		{nil, false},
	}
	for _, tt := range tests {
		if got := series(tt.rates...).Rising(); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.rates, got, tt.want)
		}
	}
}

// noises are rates about 100 without any change or ramp-up.
var noises = []struct {
	name   string
	ramped float64 // percent that may be taken for a ramp-up: a bad start is left out
	make   func(r *rand.Rand, n int) []float64
}{
	{"normal, 2 %", 7, func(r *rand.Rand, n int) []float64 { return autoregressive(r, n, 2, 0) }},
	{"normal, 15 %", 7, func(r *rand.Rand, n int) []float64 { return autoregressive(r, n, 15, 0) }},
	{"neighbours alike, 15 %", 7, func(r *rand.Rand, n int) []float64 { return autoregressive(r, n, 15, 0.5) }},
	{"saw-tooth, 30 %", 7, func(r *rand.Rand, n int) []float64 {
		x := make([]float64, n)
		phase := r.IntN(7)
		for i := range x {
			x[i] = 85 + 30*float64((i+phase)%7)/7 + r.NormFloat64()
		}
		return x
	}},
	{"outages, one second in ten", 12, func(r *rand.Rand, n int) []float64 {
		x := autoregressive(r, n, 3, 0)
		for i := range x {
			if r.IntN(10) == 0 {
				x[i] = 0
			}
		}
		return x
	}},
}

// autoregressive is noise about 100 in which a value keeps the share keep of the
// deviation of the one before.
func autoregressive(r *rand.Rand, n int, deviation, keep float64) []float64 {
	x := make([]float64, n)
	away := deviation * r.NormFloat64()
	for i := range x {
		x[i] = 100 + away
		away = keep*away + math.Sqrt(1-keep*keep)*deviation*r.NormFloat64()
	}
	return x
}

// TestFalseAlarms measures how often noise alone is taken for a change of level
// or for a ramp-up. The generator is seeded, so the figures are the same in
// every run; the bounds are what docs/why.md promises.
func TestFalseAlarms(t *testing.T) {
	const trials = 1000
	for _, noise := range noises {
		for _, n := range []int{5, 10, 30, 120} {
			r := rand.New(rand.NewPCG(uint64(n), 7))
			var changed, ramped, rose int
			for range trials {
				x := noise.make(r, n)
				if len(changes(x)) > 0 {
					changed++
				}
				if rising(x) {
					rose++
				}
				if rampUp(x) > 0 {
					ramped++
				}
			}
			t.Logf("%-28s %4d intervals: %4.1f %% changes, %4.1f %% ramp-ups, %4.1f %% rising", noise.name, n,
				percent(changed, trials), percent(ramped, trials), percent(rose, trials))
			ramps := noise.ramped
			if n < 10 {
				ramps = 13 // a second half of three says little of the noise
			}
			if percent(changed, trials) > 4 || percent(ramped, trials) > ramps || percent(rose, trials) > 2 {
				t.Errorf("%s, %d intervals: more false alarms than 4 %%, %v %% and 2 %%", noise.name, n, ramps)
			}
		}
	}
}

func percent(n, of int) float64 { return 100 * float64(n) / float64(of) }

// TestTrueAlarms measures how often a real change of level is found, and whether
// within one interval of its place.
func TestTrueAlarms(t *testing.T) {
	const trials = 500
	tests := []struct {
		intervals int
		drop      float64 // to this share
		least     float64 // percent found in place
	}{
		{10, 0.8, 70}, {10, 0.6, 98}, {10, 0.3, 98},
		{20, 0.8, 90}, {20, 0.6, 98}, {20, 0.3, 98},
		{60, 0.8, 97}, {60, 0.6, 98}, {60, 0.3, 98},
	}
	for _, tt := range tests {
		r := rand.New(rand.NewPCG(uint64(tt.intervals), 9))
		var found int
		for range trials {
			x := autoregressive(r, tt.intervals, 5, 0.2)
			half := tt.intervals / 2
			for i := half; i < tt.intervals; i++ {
				x[i] *= tt.drop
			}
			if at := changes(x); len(at) == 1 && max(at[0]-half, half-at[0]) <= 1 {
				found++
			}
		}
		t.Logf("%d intervals, halfway to %.0f %%: found %.1f %%", tt.intervals, 100*tt.drop, percent(found, trials))
		if percent(found, trials) < tt.least {
			t.Errorf("%d intervals, to %.0f %%: found %.1f %%, want %v %%", tt.intervals, 100*tt.drop, percent(found, trials), tt.least)
		}
	}
}

// TestSeriesProperties holds for any rates at all.
func TestSeriesProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rates := rapid.SliceOfN(rapid.Uint64(), 0, 40).Draw(t, "bytes")
		var s Series
		var at time.Duration
		for _, r := range rates {
			long := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "long"))
			s.Add(at, at+long, r)
			at += long
		}
		got := s.Steady()
		s.Rising()
		if got == nil {
			return
		}
		if math.IsNaN(got.Spread) || math.IsInf(got.Spread, 0) || got.Spread < 0 || got.From < 0 || got.From > at {
			t.Fatalf("%+v", got)
		}
		if !slices.IsSorted(got.Changes) || len(got.Changes) > 0 && got.Changes[0] <= got.From {
			t.Fatalf("changes %v after %v", got.Changes, got.From)
		}
	})
}

func TestChangesKeepApart(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		x := make([]float64, r.IntN(60))
		for i := range x {
			x[i] = 100 * math.Pow(2, float64(r.IntN(3)*(i/7%2))) * (1 + r.Float64()/20)
		}
		at := append([]int{0}, changes(x)...)
		for i, n := range append(at[1:], len(x)) {
			if len(at) > 1 && n-at[i] < changePoints {
				t.Fatalf("%v: cut at %v", x, at)
			}
		}
	}
}

// BenchmarkSteady looks at as much as a Series holds.
func BenchmarkSteady(b *testing.B) {
	s := series(autoregressive(rand.New(rand.NewPCG(1, 2)), maxPoints, 5, 0)...)
	for b.Loop() {
		s.Steady()
	}
}
