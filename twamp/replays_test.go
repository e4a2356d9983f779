package twamp

import "testing"

func TestReplays(t *testing.T) {
	var r replays
	for i, tt := range []struct {
		seq  uint32
		want bool
	}{
		{5, true}, {5, false}, {7, true}, {6, true}, {6, false}, {7, false}, {4, true}, {4, false},
		{5 + replayWindow, true}, {6, false}, {7 + 1, true}, {8, false}, {5, false},
		{8 + replayWindow, true}, {8, false},
		{1 << 20, true}, {1 << 20, false}, {1<<20 - replayWindow + 1, true}, {1<<20 - replayWindow, false},
		{1<<31 - 1, true}, {1 << 31, true}, {1<<32 - 1, true}, {0, true}, {1<<32 - 1, false}, {0, false}, {1, true},
	} {
		if got := r.fresh(tt.seq); got != tt.want {
			t.Errorf("step %d: fresh(%d) = %t", i, tt.seq, got)
		}
	}
}
