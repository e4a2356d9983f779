package twamp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sonde-net/sonde/result"
)

// A run puts the events of one test into its sink: Begin, an Interval for each
// session and second, a Note for each remark, End.
type run struct {
	head    result.Head
	sink    result.Sink
	every   time.Duration
	began   time.Time
	senders []*sender
}

func newRun(protocol string, sink result.Sink, every time.Duration) *run {
	if sink == nil {
		sink = result.Discard
	}
	return &run{
		head: result.Head{Run: result.NewID(), Protocol: protocol, Role: result.Sender},
		sink: sink, every: cmp.Or(every, time.Second),
	}
}

// now is the head of an event that happens now.
func (r *run) now() result.Head {
	h := r.head
	h.Time = time.Now()
	return h
}

// measure runs the senders, after it put b, and intervals while they run.
func (r *run) measure(ctx context.Context, b result.Begin, senders ...*sender) error {
	r.senders, r.began = senders, time.Now()
	b.Head = r.now()
	b.Transport, b.Direction, b.Streams = result.UDP, result.Both, len(senders)
	r.sink.Put(b)
	var wg, ticks sync.WaitGroup
	over := make(chan struct{})
	ticks.Go(func() { r.intervals(over) })
	errs := make([]error, len(senders))
	for i, s := range senders {
		wg.Go(func() { errs[i] = s.run(ctx) })
	}
	wg.Wait()
	close(over)
	ticks.Wait()
	return errors.Join(errs...)
}

// intervals puts what each session did, until over is closed, and then the rest.
func (r *run) intervals(over <-chan struct{}) {
	ticker := time.NewTicker(r.every)
	defer ticker.Stop()
	var start time.Duration
	for seq, last := 1, false; !last; seq++ {
		select {
		case <-over:
			last = true
		case <-ticker.C:
		}
		end := time.Since(r.began)
		for n, s := range r.senders {
			trips := s.interval()
			if last && trips.Sent == 0 {
				continue
			}
			r.sink.Put(result.Interval{
				Head: r.now(), Seq: seq, Direction: result.Both, Stream: n, Start: start, End: end, RoundTrips: &trips,
			})
		}
		start = end
	}
}

// silenceHint is what to look at when nothing came back.
func (r *run) silenceHint() string {
	hint := "is a reflector running there, and its UDP port open on the way? "
	if l := r.senders[0].layout; l.STAMP && l.Keyed {
		return hint + "one with another key, or with none, does not answer either"
	}
	return hint + "one that has a key answers only who has it, too; one that never answers with more than it got wants padding"
}

// end puts what was found and the End, which carries err, and returns it.
func (r *run) end(ctx context.Context, err error) error {
	e := result.End{Reason: result.ReasonDone}
	var sent, replies uint64
	for _, s := range r.senders {
		one := s.report()
		for _, m := range one.remarks {
			r.sink.Put(result.Note{Head: r.now(), Level: result.Info, Code: m.code, Text: m.text})
		}
		e.RoundTrips = append(e.RoundTrips, one.RoundTrips)
		e.Elapsed = max(e.Elapsed, one.elapsed)
		sent, replies = sent+one.Sent, replies+one.Replies
	}
	if err == nil && sent > 0 && replies == 0 {
		err = &result.Error{
			Word: result.CodeUnreachable, Text: fmt.Sprintf("%s %v: no reply to %d packets", r.head.Protocol, r.senders[0].to, sent),
			Hint: r.silenceHint(),
		}
	}
	switch {
	case ctx.Err() != nil && (err == nil || errors.Is(err, ctx.Err())):
		e.Reason = result.ReasonInterrupted
	case result.CodeOf(err) == result.CodePeerLost:
		e.Reason = result.ReasonServerGone
	case err != nil:
		e.Reason = result.ReasonFailed
	}
	e.Head, e.Err = r.now(), err
	r.sink.Put(e)
	return err
}
