package stat

import (
	"math"
	"testing"
	"time"
)

func TestJitter(t *testing.T) {
	base := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var j Jitter
	if v, ok := j.Value(); ok {
		t.Errorf("before any packet: %v, want none", v)
	}
	offset := -5 * time.Hour // of the receiver's clock: it must not matter
	j.Record(base, base.Add(offset))
	if v, ok := j.Value(); ok {
		t.Errorf("after one packet: %v, want none", v)
	}
	// A second packet 16 ms later than its spacing: J = 0 + (16 ms - 0) / 16.
	j.Record(base.Add(20*time.Millisecond), base.Add(offset+36*time.Millisecond))
	if v, ok := j.Value(); !ok || v != time.Millisecond {
		t.Errorf("after a change of 16 ms: %v, %v, want 1ms", v, ok)
	}
	// A third one back on time changes by 16 ms again: J = 1 ms + (16 ms - 1 ms) / 16.
	j.Record(base.Add(40*time.Millisecond), base.Add(offset+40*time.Millisecond))
	if v, _ := j.Value(); v != 1937500*time.Nanosecond {
		t.Errorf("after a second change: %v, want 1.9375ms", v)
	}
}

func TestJitterSettles(t *testing.T) {
	var j Jitter
	at := time.Unix(0, 0)
	for i := range 1000 {
		sent := at.Add(time.Duration(i) * time.Millisecond)
		late := time.Duration(i%2) * 300 * time.Microsecond // every change is 300 µs
		j.Record(sent, sent.Add(late))
	}
	if v, _ := j.Value(); v < 299*time.Microsecond || v > 301*time.Microsecond {
		t.Errorf("%v, want 300µs", v)
	}
}

// TestJitterHostile feeds send times that no clock shows.
func TestJitterHostile(t *testing.T) {
	times := []time.Time{
		{}, time.Unix(0, 0), time.Unix(math.MaxUint32, 0), time.Unix(1<<40, 0), time.Unix(-1<<40, 0), time.Now(),
	}
	var j Jitter
	for i := range 1000 {
		j.Record(times[i%len(times)], times[(i*i+1)%len(times)])
		if v, _ := j.Value(); v < 0 || v > maxChange {
			t.Fatalf("after packet %d: %v, want 0 to %v", i, v, maxChange)
		}
	}
}

func BenchmarkJitter(b *testing.B) {
	var j Jitter
	sent, came := time.Unix(0, 0), time.Unix(1, 0)
	b.ReportAllocs()
	for b.Loop() {
		j.Record(sent, came)
		came = came.Add(time.Microsecond)
	}
}
