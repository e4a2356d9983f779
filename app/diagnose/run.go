package diagnose

import (
	"slices"
	"time"

	"github.com/sonde-net/sonde/internal/stat"
	"github.com/sonde-net/sonde/result"
)

// A Run gathers what the events of one run tell. Its memory is bounded however
// long the run is. The zero Run is ready to use, by one goroutine at a time.
type Run struct {
	begin *result.Begin
	end   *result.End
	cpu   ends
	down  track
	up    track

	peerLimit string // what the far end said of a limit of its own
	seq       int    // moment of the latest interval
}

// ends are the CPU readings of both ends.
type ends struct{ local, remote load }

// A track is what the intervals of one direction tell.
type track struct {
	sent, received stat.Series
	moments        int // intervals
	heard          int // of them with a receiver's view

	// Of the intervals after the first three that know both ends: the bytes as
	// the protocol counts them.
	both         int
	bothSent     uint64
	bothReceived uint64

	// Of the intervals in which more packets were offered than passed: how many
	// per second.
	over            int
	offered, passed bounds

	// Of the intervals that know TCP's round trip.
	sampled int
	rise    time.Duration // sum of what it stood above the least
	doubled int           // intervals in which it was queueSome, and so on
	queued  int
	deep    int
}

// settled is the last interval in which the two ends are not compared: what the
// far end tells is up to a second old, and at first the rate grows.
const settled = 3

// bounds are the least and the greatest of some figures.
type bounds struct{ least, most float64 }

func (b *bounds) add(v float64, first bool) {
	if first {
		*b = bounds{v, v}
	}
	b.least, b.most = min(b.least, v), max(b.most, v)
}

// Add takes an event of the run. Those of other runs are not told apart.
func (r *Run) Add(e result.Event) {
	switch e := e.(type) {
	case result.Begin:
		r.begin = &e
	case result.Interval:
		r.addInterval(e)
	case result.Note:
		if e.Code == NotePeerRateLimit {
			r.peerLimit = e.Text
		}
	case result.End:
		r.end = &e
	}
}

func (r *Run) addInterval(i result.Interval) {
	t := r.track(i.Direction)
	if i.Stream != result.AllStreams || i.End <= i.Start || t == nil {
		return
	}
	if i.Seq != r.seq { // the same reading stands in both directions
		r.cpu.local.add(i.CPU.Local)
		r.cpu.remote.add(i.CPU.Remote)
	}
	r.seq = i.Seq
	t.add(i, r.streams())
}

// streams is how many flows each direction has.
func (r *Run) streams() int {
	if r.begin == nil {
		return 1
	}
	return max(1, r.begin.Streams)
}

func (r *Run) track(d result.Direction) *track {
	switch d {
	case result.Down:
		return &r.down
	case result.Up:
		return &r.up
	}
	return nil
}

// directions are those that the run was to have.
func (r *Run) directions() []result.Direction {
	all := result.Both
	if r.begin != nil && r.begin.Direction != 0 {
		all = r.begin.Direction
	}
	return slices.DeleteFunc(all.Each(), func(d result.Direction) bool {
		return r.end == nil || r.end.Total(d) == nil
	})
}

func (t *track) add(i result.Interval, streams int) {
	t.moments++
	long := i.End - i.Start
	if i.Sent != nil {
		t.sent.Add(i.Start, i.End, perInterval(i.Sent, long))
		t.addQueue(i.Sent, long, streams)
	}
	if i.Received != nil {
		t.heard++
		t.received.Add(i.Start, i.End, perInterval(i.Received, long))
	}
	if i.Seq > settled && covers(i.Sent, long) && covers(i.Received, long) {
		t.both++
		t.bothSent += counted(i.Sent)
		t.bothReceived += counted(i.Received)
	}
	if offered, passed, ok := packetRates(i); ok && offered > (1+overOffered)*passed {
		t.offered.add(offered, t.over == 0)
		t.passed.add(passed, t.over == 0)
		t.over++
	}
}

// covers reports whether v tells of just its interval.
func covers(v *result.View, long time.Duration) bool {
	return v != nil && (v.Covered == 0 || (v.Covered-long).Abs() <= long/10)
}

// steady is the series that tells how steady the rate was: what arrived, or
// what was sent when the receiver told too little.
func (t *track) steady() *stat.Series {
	if float64(t.heard) >= mostly*float64(t.moments) {
		return &t.received
	}
	return &t.sent
}

// perInterval is the payload of v, brought to the length of its interval when
// it covers another time.
func perInterval(v *result.View, long time.Duration) uint64 {
	if v.Covered <= 0 {
		return v.Bytes
	}
	return uint64(float64(v.Bytes) * float64(long) / float64(v.Covered))
}

// counted is the bytes of v as the protocol counts them.
func counted(v *result.View) uint64 {
	if v.WireBytes != nil {
		return *v.WireBytes
	}
	return v.Bytes
}

// packetRates is how many packets a second were offered to the path and came
// out of it in an interval: from both views, or from the numbers that the
// receiver missed.
func packetRates(i result.Interval) (offered, passed float64, ok bool) {
	v := i.Received
	if v == nil || v.Packets == nil {
		return 0, 0, false
	}
	long := (i.End - i.Start).Seconds()
	if v.Covered > 0 {
		long = v.Covered.Seconds()
	}
	passed = float64(*v.Packets) / long
	switch {
	case v.Lost != nil:
		return passed + float64(*v.Lost)/long, passed, true
	case i.Sent != nil && i.Sent.Packets != nil && i.Sent.Covered == 0:
		return float64(*i.Sent.Packets) / (i.End - i.Start).Seconds(), passed, true
	}
	return 0, 0, false
}
