package diagnose

import (
	"math"
	"testing"
	"time"

	"github.com/sonde-net/sonde/result"
)

func TestGrade(t *testing.T) {
	delay := func(ms float64, n uint64) result.Delay {
		d := time.Duration(ms * float64(time.Millisecond))
		return result.Delay{Count: n, P50: d, Mean: d}
	}
	tests := []struct {
		idle, loaded float64
		n            uint64
		grade        string
		rpm          float64
	}{
		{20, 21, 100, "A", 60000 / 21.0},
		{20, 49.9, 100, "A", 60000 / 49.9},
		{20, 50, 100, "B", 1200},
		{20, 80, 100, "C", 750},
		{20, 220, 100, "D", 60000 / 220.0},
		{20, 420, 100, "F", 60000 / 420.0},
		{20, 5000, 100, "F", 12},
		{20, 15, 100, "A", 4000}, // faster than idle, as with a radio that wakes up
		{20, 420, 4, "", 60000 / 420.0},
		{20, 0, 0, "", 0},
	}
	for _, tt := range tests {
		grade, rpm := Grade(delay(tt.idle, 20), delay(tt.loaded, tt.n))
		if grade != tt.grade || math.Abs(rpm-tt.rpm) > 0.01 {
			t.Errorf("Grade(%v ms, %v ms of %d) = %q, %.2f, want %q, %.2f", tt.idle, tt.loaded, tt.n, grade, rpm, tt.grade, tt.rpm)
		}
	}
	if grade, rpm := Grade(result.Delay{}, delay(50, 100)); grade != "" || rpm != 1200 {
		t.Errorf("without an idle delay: %q, %v, want no letter and 1200", grade, rpm)
	}
}

func TestGraded(t *testing.T) {
	idle := &result.Delay{Count: 10, P50: 20 * time.Millisecond, Mean: 20 * time.Millisecond}
	loaded := &result.Delay{Count: 10, P50: 100 * time.Millisecond, Mean: 100 * time.Millisecond}
	in := &result.Latency{Method: "udp-echo", Idle: idle, Loaded: loaded}
	got := graded(in)
	if got.Grade != "C" || got.RPM == nil || *got.RPM != 600 || got.Method != "udp-echo" || got.Remark != "" {
		t.Errorf("%+v", got)
	}
	if in.Grade != "" || in.RPM != nil {
		t.Errorf("the engine's own was changed: %+v", in)
	}
	if got := graded(&result.Latency{Loaded: loaded}); got.Grade != "" || *got.RPM != 600 || got.Remark == "" {
		t.Errorf("without idle: %+v", got)
	}
	if got := graded(&result.Latency{Idle: idle}); got.Grade != "" || got.RPM != nil {
		t.Errorf("without load: %+v", got)
	}
	lost := &result.Latency{Idle: idle, Loaded: loaded, Lost: 11}
	if got := graded(lost); got.Grade != "" || *got.RPM != 600 || got.Remark == "" {
		t.Errorf("with most probes unanswered: %+v", got)
	}
	lost.Loaded = &result.Delay{Count: 10, P50: 900 * time.Millisecond, Mean: 900 * time.Millisecond}
	if got := graded(lost); got.Grade != "F" {
		t.Errorf("with most probes unanswered and the rest late: %+v", got)
	}
	own := &result.Latency{Loaded: loaded, Grade: "A"}
	if graded(own) != own || graded(nil) != nil {
		t.Error("what was graded already is changed")
	}
}
