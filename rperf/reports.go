package rperf

import (
	"fmt"
	"sync"
	"time"

	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/rperf/wire"
)

// reports are what the server told of its streams.
type reports struct {
	mu      sync.Mutex // guards what follows
	streams []report
	any     bool      // at least one interval came
	latest  time.Time // when the latest message came
	open    int       // streams that have not ended
	over    chan struct{}
}

type report struct {
	told  result.View
	exact *result.View // what a server of ours knows beside it
	end   *wire.StreamEnd
}

func newReports(streams int) *reports {
	r := &reports{streams: make([]report, streams), open: streams, over: make(chan struct{})}
	if streams == 0 {
		close(r.over)
	}
	return r
}

// add takes an interval.
func (r *reports) add(i wire.Interval, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if int(i.Stream) >= len(r.streams) {
		return fmt.Errorf("rperf: %s: stream_idx is %d, but there are %d streams", i.Kind(), i.Stream, len(r.streams))
	}
	r.any, r.latest = true, now
	one := &r.streams[i.Stream]
	v := &one.told
	v.Covered += i.Duration.Duration()
	if !i.UDP {
		v.Bytes += i.Bytes
	} else {
		addTo(&v.WireBytes, i.Bytes)
		addTo(&v.Packets, i.Packets)
		v.Bytes = *v.WireBytes - min(*v.WireBytes, *v.Packets*wire.Overhead)
	}
	if i.UDP && !i.Sent {
		if v.Lost == nil {
			v.Lost = new(int64)
		}
		*v.Lost += i.Counts.Lost
		addTo(&v.Reordered, i.Counts.OutOfOrder)
		addTo(&v.Duplicate, i.Counts.Duplicated)
		if j := i.Counts.Jitter; j != nil {
			v.Jitter = result.Some(j.Duration())
		}
	}
	if i.Sonde != nil {
		one.exact = i.Sonde
	}
	return nil
}

func addTo(sum **uint64, n uint64) {
	if *sum == nil {
		*sum = new(uint64)
	}
	**sum += n
}

// end takes the end of a stream.
func (r *reports) end(e wire.StreamEnd, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if int(e.Stream) >= len(r.streams) {
		return fmt.Errorf("rperf: %s: stream_idx is %d, but there are %d streams", e.Kind(), e.Stream, len(r.streams))
	}
	r.latest = now
	if r.streams[e.Stream].end != nil {
		return nil
	}
	r.streams[e.Stream].end = &e
	if r.open--; r.open == 0 {
		close(r.over)
	}
	return nil
}

// views are the figures so far, stream by stream; nil when nothing was told.
// Exact figures are taken where the server has them.
func (r *reports) views() []result.View {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.any {
		return nil
	}
	all := make([]result.View, len(r.streams))
	for n, one := range r.streams {
		v := copyOf(one.told)
		if x := one.exact; x != nil {
			v.Lost, v.Late, v.Reordered, v.Duplicate = x.Lost, x.Late, x.Reordered, x.Duplicate
			v.Dropped, v.Skipped, v.TCP, v.Queueing = x.Dropped, x.Skipped, x.TCP, x.Queueing
			if x.Jitter != nil {
				v.Jitter = x.Jitter
			}
		}
		all[n] = v
	}
	return all
}

// copyOf is v with figures of its own.
func copyOf(v result.View) result.View {
	for _, p := range []**uint64{&v.WireBytes, &v.Packets, &v.Reordered, &v.Duplicate} {
		if *p != nil {
			*p = result.Some(**p)
		}
	}
	if v.Lost != nil {
		v.Lost = result.Some(*v.Lost)
	}
	return v
}

// failed are the streams that the server gave up.
func (r *reports) failed() (streams []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n, one := range r.streams {
		if one.end != nil && one.end.Failed {
			streams = append(streams, n)
		}
	}
	return streams
}

// heard is when the latest message came, and how many streams have not ended.
func (r *reports) heard() (latest time.Time, open int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.latest, r.open
}
