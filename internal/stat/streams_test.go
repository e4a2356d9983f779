package stat

import (
	"testing"

	"github.com/sonde-net/sonde/result"
)

// TestStreams: each interval has what its stream moved in it, also of streams that
// came after the first interval, and before there was a second one.
func TestStreams(t *testing.T) {
	var s Streams
	at := func(bytes ...uint64) (now []result.View) {
		for _, n := range bytes {
			now = append(now, result.View{Bytes: n})
		}
		return now
	}
	all := result.Interval{Seq: 7, Stream: result.AllStreams, CPU: result.CPU{Local: new(50.0)}}
	for _, tt := range []struct{ now, want []uint64 }{
		{[]uint64{100}, nil},
		{[]uint64{300, 50}, []uint64{200, 50}},
		{[]uint64{300, 60, 5}, []uint64{0, 10, 5}},
	} {
		each := s.Intervals(all, true, at(tt.now...))
		if len(each) != len(tt.want) {
			t.Fatalf("%d intervals of %d streams", len(each), len(tt.now))
		}
		for n, i := range each {
			if i.Seq != 7 || i.Stream != n || i.CPU.Local != nil || i.Received != nil || i.Sent == nil || i.Sent.Bytes != tt.want[n] {
				t.Errorf("stream %d of %v: %+v", n, tt.now, i)
			}
		}
	}
	if each := s.Intervals(all, false, at(310, 60, 5)); each[0].Sent != nil || each[0].Received.Bytes != 10 {
		t.Errorf("received: %+v", each[0])
	}
}
