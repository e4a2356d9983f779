package stat

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestHistogramEmpty(t *testing.T) {
	var h Histogram
	if d := h.Delay(); d != nil {
		t.Errorf("Delay of nothing = %+v, want nil", d)
	}
	if q, ok := h.Quantile(0.5); ok {
		t.Errorf("median of nothing = %v, want none", q)
	}
	h.Merge(&Histogram{})
	if n := h.Count(); n != 0 {
		t.Errorf("nothing and nothing count %d", n)
	}
}

// TestHistogramQuantiles compares with the sorted values: three digits.
func TestHistogramQuantiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(1, int64(LongestDelay)), 1, 50).Draw(t, "delays")
		var whole, left, right Histogram
		var sum float64
		for i, v := range values {
			whole.Record(time.Duration(v))
			[]*Histogram{&left, &right}[i%2].Record(time.Duration(v))
			sum += float64(v)
		}
		left.Merge(&right)
		slices.Sort(values)
		for _, h := range []*Histogram{&whole, &left} {
			d := h.Delay()
			if d.Count != uint64(len(values)) || int64(d.Min) != values[0] || int64(d.Max) != values[len(values)-1] {
				t.Fatalf("%+v of %v", d, values)
			}
			if mean := sum / float64(len(values)); math.Abs(float64(d.Mean)-mean) > 1+mean/1e9 {
				t.Fatalf("mean %v, want %v", d.Mean, time.Duration(mean))
			}
			for q, got := range map[float64]time.Duration{0.5: d.P50, 0.9: d.P90, 0.99: d.P99} {
				want := float64(values[int(math.Ceil(q*float64(len(values))))-1])
				if math.Abs(float64(got)-want) > want/1000 {
					t.Fatalf("quantile %v of %v = %d, want %v", q, values, got, want)
				}
			}
		}
	})
}

func TestHistogramOutliers(t *testing.T) {
	var h Histogram
	for _, d := range []time.Duration{-time.Second, 0, math.MinInt64, 2 * LongestDelay, math.MaxInt64, ShortestDelay, LongestDelay} {
		h.Record(d)
	}
	if n := h.Outliers(); n != 5 {
		t.Errorf("%d outliers, want 5", n)
	}
	if d := h.Delay(); d.Count != 7 || d.Min != ShortestDelay || d.Max != LongestDelay {
		t.Errorf("%+v, want 7 within the range", d)
	}
	h.Reset()
	if h.Count() != 0 || h.Outliers() != 0 || h.Delay() != nil {
		t.Errorf("after Reset: %d, %d outliers, %+v", h.Count(), h.Outliers(), h.Delay())
	}
	h.Record(time.Millisecond)
	if d := h.Delay(); d.Min != time.Millisecond || d.P99 != time.Millisecond || d.Max != time.Millisecond {
		t.Errorf("a single value gave %+v", d)
	}
}

func TestHistogramAllocatesOnce(t *testing.T) {
	var h Histogram
	h.Record(1)
	if n := testing.AllocsPerRun(100, func() { h.Record(12345 * time.Microsecond) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
