package cli

import (
	"sync"
	"time"

	"github.com/sonde-net/sonde/result"
)

// A joined makes one run of a download and an upload that follow each other, as
// a sink of both. Its End waits for close.
type joined struct {
	next result.Sink
	run  result.ID

	mu    sync.Mutex // guards what follows
	begin *result.Begin
	shift time.Duration // where the present test begins in the run
	seq   int           // of the last interval
	from  int           // of the last interval of the test before
	ends  []result.End
}

func newJoined(next result.Sink) *joined { return &joined{next: next, run: result.NewID()} }

// Put implements result.Sink.
func (j *joined) Put(e result.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch e := e.(type) {
	case result.Begin:
		if j.begin != nil {
			return
		}
		e.Run, e.Direction = j.run, result.Both
		e.Duration *= 2
		j.begin = &e
		j.next.Put(e)
	case result.Interval:
		e.Run = j.run
		e.Start, e.End = e.Start+j.shift, e.End+j.shift
		e.Seq += j.from
		j.seq = max(j.seq, e.Seq)
		j.next.Put(e)
	case result.Note:
		e.Run = j.run
		j.next.Put(e)
	case result.End:
		j.ends = append(j.ends, e)
		j.shift, j.from = j.shift+e.Elapsed, j.seq
	}
}

// close puts the End of both.
func (j *joined) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.ends) == 0 {
		return
	}
	last := j.ends[len(j.ends)-1]
	end := result.End{Head: last.Head, Elapsed: j.shift, Reason: last.Reason, Err: last.Err}
	end.Run = j.run
	for _, one := range j.ends {
		if one.Down != nil {
			end.Down = one.Down
		}
		if one.Up != nil {
			end.Up = one.Up
		}
	}
	end.CPU.Local = meanOf(j.ends, func(e result.End) *float64 { return e.CPU.Local })
	end.CPU.Remote = meanOf(j.ends, func(e result.End) *float64 { return e.CPU.Remote })
	end.Latency = worseLatency(j.ends)
	end.Why = bothWhys(j.ends)
	j.next.Put(end)
}

// meanOf is the mean of the figures that are known.
func meanOf(ends []result.End, figure func(result.End) *float64) *float64 {
	sum, n := 0.0, 0
	for _, e := range ends {
		if f := figure(e); f != nil {
			sum, n = sum+*f, n+1
		}
	}
	if n == 0 {
		return nil
	}
	return result.Some(sum / float64(n))
}

// worseLatency is the latency of the direction in which it was longer under
// load.
func worseLatency(ends []result.End) (worse *result.Latency) {
	for _, e := range ends {
		l := e.Latency
		if l == nil || worse != nil && (l.Loaded == nil || worse.Loaded != nil && l.Loaded.P50 <= worse.Loaded.P50) {
			continue
		}
		one := *l
		if one.Remark == "" && one.Loaded != nil {
			one.Remark = "the longer of both, during the " + wayOf(e)
		}
		worse = &one
	}
	return worse
}

// wayOf is the direction that an End is of.
func wayOf(e result.End) string {
	if e.Down != nil {
		return result.Down.String()
	}
	return result.Up.String()
}

// bothWhys says what the limit was each way.
func bothWhys(ends []result.End) *result.Why {
	var all *result.Why
	for _, e := range ends {
		if e.Why == nil {
			continue
		}
		one := *e.Why
		one.Text = wayOf(e) + ": " + one.Text
		one.Evidence = nil
		for _, line := range e.Why.Evidence {
			one.Evidence = append(one.Evidence, wayOf(e)+": "+line)
		}
		if all == nil {
			all = &one
			continue
		}
		all.Text += "; " + one.Text
		all.Evidence = append(all.Evidence, one.Evidence...)
		if all.Limit == "unknown" && one.Limit != "unknown" {
			all.Limit, all.Try = one.Limit, one.Try
		}
	}
	return all
}
