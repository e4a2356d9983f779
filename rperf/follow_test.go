package rperf

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-net/sonde/internal/stream"
	"github.com/sonde-net/sonde/rperf/wire"
)

// TestFollow: datagrams that follow one whose header was read count as if theirs had
// been read, too, in the peer's arithmetic as well.
func TestFollow(t *testing.T) {
	p := &plan{id: wire.TestID{1}, length: 1000, queueing: &stream.Queueing{}}
	sent := time.Unix(1_700_000_000, 5000)
	came := sent.Add(3 * time.Millisecond)
	counted := func(read int) (bytes, count uint64, i wire.Interval) {
		r := &udpReceiver{plan: p, came: came}
		b := make([]byte, wire.HeaderLen)
		for _, first := range []uint64{0, 40, 20} { // in order, after a gap, late
			for n := range uint64(20) {
				if int(n) >= read {
					r.follow(20 - read)
					break
				}
				wire.Header{TestID: p.id, Seq: first + n, Sent: sent}.Put(b)
				if mark, ok := r.parse(b, 1000); !ok || mark.Seq != uint32(first+n) {
					t.Fatal(mark, ok)
				}
			}
		}
		r.record(&i)
		return r.bytes, r.count, i
	}
	bytes, count, all := counted(20)
	moreBytes, moreCount, one := counted(1)
	if bytes != moreBytes || count != moreCount || count != 60 {
		t.Errorf("%d bytes, %d datagrams; one header read: %d, %d", bytes, count, moreBytes, moreCount)
	}
	if d := cmp.Diff(all, one); d != "" {
		t.Error(d)
	}
}
