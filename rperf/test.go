package rperf

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/host"
	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/rtt"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/stream"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/rperf/wire"
)

// A test is the data phase of one run at one end, from begin to the End:
//
//	begin ── parts run, records and intervals each second ── a cause ── End
//
// Whatever ends it (all streams over, budget, peer gone, operator) goes through
// stop: the first cause wins, the parts end, what was counted is kept.
type test struct {
	head     result.Head
	sink     result.Sink
	log      *slog.Logger
	cfg      wire.Configuration
	ctrl     *control
	sends    bool // our end does
	parts    []part
	tracks   []*track // of each part
	interval time.Duration
	each     bool // intervals of each stream, too
	counters *admit.Counters
	exact    bool // the far end reads exact figures
	cpus     *turn
	poller   *sock.Poller // watches streams that pause; nil: none does
	paused   atomic.Int32 // streams that do now
	watch    *rtt.Watch   // of round trips beside the test; nil for none

	record func(wire.Interval) error         // of one stream, each second; nil: nobody wants it
	over   func(stream int, err error) error // when a part has ended; nil: nobody wants to know

	ctx   context.Context // its cause is why the test ended
	stop  context.CancelCauseFunc
	flows []context.Context    // of each part; nil where no part is ended from outside
	ends  []context.CancelFunc // of each part: it is over, without a fault; likewise
	wg    sync.WaitGroup       // of everything
	open  sync.WaitGroup       // of the parts
	own   chan struct{}        // closed when all parts have ended
	meter meter
	queue stream.Queueing // of the UDP streams that our end receives
	begun time.Time

	mu     sync.Mutex // guards faults
	faults map[int]error
}

// A turn deals out processors to streams, one after the other. A nil turn has
// none; it is safe for concurrent use.
type turn struct {
	cpus []int
	n    atomic.Uint64
}

func (t *turn) next() (cpu int, ok bool) {
	if t == nil || len(t.cpus) == 0 {
		return 0, false
	}
	return t.cpus[int((t.n.Add(1)-1)%uint64(len(t.cpus)))], true
}

// begin makes the contexts of a test.
func (t *test) begin(parent context.Context) {
	t.ctx, t.stop = context.WithCancelCause(parent)
	t.own = make(chan struct{})
	t.faults = map[int]error{}
}

// ready makes contexts of the parts, before anybody may end one. Without it all
// have that of the test.
func (t *test) ready() {
	for range t.parts {
		ctx, end := context.WithCancel(t.ctx)
		t.flows, t.ends = append(t.flows, ctx), append(t.ends, end)
	}
}

// start sets the parts running and the meter counting. far is what the far end
// told, nil if it tells nothing.
func (t *test) start(far func() []result.View) {
	t.begun = time.Now()
	cpu := host.NewCPU()
	cpu.Busy() // the first sample only sets the start
	t.meter = meter{
		sink: t.sink, head: t.head, counters: t.counters, direction: direction(t.cfg), sends: t.sends,
		near: t.views, far: far, rtt: t.watch.Interval, each: t.each, queueing: &t.queue, cpu: func() (c result.CPU) {
			if p, ok := cpu.Busy(); ok {
				c.Local = &p
			}
			return c
		},
	}
	t.open.Add(len(t.parts))
	for n, p := range t.parts {
		tr := &track{part: p, stream: n, from: t.begun}
		t.tracks = append(t.tracks, tr)
		t.wg.Go(func() { t.follow(tr) })
	}
	t.wg.Go(func() {
		t.open.Wait()
		close(t.own)
	})
	if t.poller != nil {
		t.wg.Go(t.poller.Run)
		t.wg.Go(t.release)
	}
	t.wg.Go(t.tend)
	t.wg.Go(t.recordAll)
	t.wg.Go(t.measure)
}

func (t *test) views() []result.View {
	all := make([]result.View, len(t.parts))
	for n, p := range t.parts {
		all[n] = p.view()
	}
	return all
}

// A track is a part and how far it has been recorded. One goroutine for each
// stream is all that a stream takes, and none where it pauses: somebody may only
// keep many open.
type track struct {
	part
	stream int

	mu   sync.Mutex // guards what follows
	from time.Time  // where the next record begins
	over bool

	wait sync.Mutex    // guards what follows
	rest *stream.Pause // what the part waits for; nil while it runs
	wake *time.Timer   // at the end of the pause; nil for none
}

// follow runs one part to its end or its next pause.
func (t *test) follow(tr *track) {
	if cpu, ok := t.cpus.next(); ok {
		if err := pinTo(cpu); err != nil {
			t.log.Warn("stream runs on any processor", "stream", tr.stream, "err", err)
		}
	}
	ctx := t.ctx
	if t.flows != nil {
		ctx = t.flows[tr.stream]
	}
	err := tr.run(ctx)
	if p := stream.Paused(err); p != nil {
		if err = t.pause(tr, p); err == nil {
			return
		}
	}
	defer t.open.Done()
	t.put(tr, time.Now(), true)
	t.ended(tr.stream, err)
	if f, ok := tr.part.(*udpSender); ok {
		t.wg.Go(func() { f.finish(t.ctx) })
	}
}

// put records what a part did since its last record. A record without data is
// left out, as the peer does: its time goes to the next one.
func (t *test) put(tr *track, at time.Time, last bool) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.over {
		return
	}
	tr.over = last
	if l := tr.last(); last && !t.sends && l.After(tr.from) {
		at = l // the wait for the end is not part of the interval
	}
	i := wire.Interval{
		UDP: t.cfg.UDP, Stream: uint8(tr.stream),
		End: wire.TimestampOf(at), Duration: wire.SecondsOf(at.Sub(tr.from)),
	}
	tr.record(&i)
	if i.Bytes == 0 {
		return
	}
	tr.from = at
	if t.record == nil {
		return
	}
	if t.exact {
		v := tr.view()
		v.Queueing = t.queue.Total()
		i.Sonde = &v
	}
	if err := t.record(i); err != nil {
		t.stop(err)
	}
}

// recordAll records all parts each second.
func (t *test) recordAll() {
	ctx, stop := t.whileRunning()
	defer stop()
	for n := range pace.Ticks(ctx, recordEvery) {
		if n == 0 {
			continue
		}
		for _, tr := range t.tracks {
			t.put(tr, time.Now(), false)
		}
	}
}

// tendEvery is how often few streams are looked after that receive datagrams.
const tendEvery = 2 * time.Millisecond

// tend looks after all parts: whether data still comes, and what they do beside
// moving it.
func (t *test) tend() {
	ctx, stop := t.whileRunning()
	defer stop()
	every := silenceTime / 16
	if t.cfg.UDP && !t.sends {
		// So many streams are looked at in a second, however many there are.
		every = tendEvery * time.Duration(max(1, len(t.tracks)/fewStreams))
	} else if t.poller != nil {
		every = restEvery
	}
	for range pace.Ticks(ctx, every) {
		now := time.Now()
		for _, tr := range t.tracks {
			if tr.tend(now) {
				t.resume(tr)
			}
		}
	}
}

// whileRunning is a context that ends with the test, or when all parts have
// ended.
func (t *test) whileRunning() (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancel(t.ctx)
	t.wg.Go(func() {
		select {
		case <-t.own:
			stop()
		case <-ctx.Done():
		}
	})
	return ctx, stop
}

// ended takes how a part ended. What concerns the whole test ends it.
func (t *test) ended(n int, err error) {
	_, spent := errors.AsType[*admit.ExceededError](err)
	_, worded := errors.AsType[*result.Error](err)
	switch {
	case spent || worded:
		t.stop(err)
	case err != nil:
		t.log.Info("stream failed", "stream", n, "err", err)
		t.mu.Lock()
		t.faults[n] = err
		t.mu.Unlock()
	}
	if t.over == nil {
		return
	}
	if cause := context.Cause(t.ctx); err == nil && cause != nil && !errors.Is(cause, errEnded) {
		err = cause // cut short
	}
	if err := t.over(n, err); err != nil {
		t.stop(err)
	}
}

// fault is the fault of the first stream that has one.
func (t *test) fault() (stream int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for n := range t.parts {
		if t.faults[n] != nil {
			return n, t.faults[n]
		}
	}
	return 0, nil
}

// measure closes an interval whenever its time is over, from the first data
// until all parts have ended.
func (t *test) measure() {
	ctx, stop := t.whileRunning()
	defer stop()
	t.meter.start = t.awaitData(ctx)
	t.probeLoaded(ctx)
	for n := range pace.Ticks(ctx, t.interval) {
		if n > 0 {
			t.meter.close(time.Now())
		}
	}
}

// awaitData waits for the first data and returns when it came; when ctx ends
// before, all that is known is that it came after begin.
func (t *test) awaitData(ctx context.Context) time.Time {
	for range pace.Ticks(ctx, 2*time.Millisecond) {
		if !t.sends && int(t.paused.Load()) == len(t.parts) {
			continue // a receiver pauses when nothing has come for a lull
		}
		if at := t.last(); !at.IsZero() {
			return at
		}
	}
	return t.begun
}

// last is when data moved last on any stream.
func (t *test) last() (at time.Time) {
	for _, p := range t.parts {
		if l := p.last(); l.After(at) {
			at = l
		}
	}
	return at
}

// finish ends the test for cause if nothing else has, waits for all its
// goroutines and returns the End.
func (t *test) finish(cause error) result.End {
	now := time.Now()
	t.stop(cause)
	t.wg.Wait()
	closeAll(t.parts)
	switch at := t.last(); {
	case at.IsZero(): // nothing was measured
	case !t.sends && at.After(t.meter.start) && at.Before(now):
		t.meter.last(at) // a receiver waited since then
	default:
		t.meter.last(now)
	}
	end := t.meter.end(time.Now())
	end.Latency = t.watch.Latency()
	end.Reason, end.Err = t.explain(context.Cause(t.ctx))
	return end
}

// now is the head of an event that happens now.
func (t *test) now() result.Head {
	h := t.head
	h.Time = time.Now()
	return h
}

// explain turns the cause that ended the test into its reason and its error.
func (t *test) explain(cause error) (reason string, err error) {
	after := t.meter.before.Round(time.Millisecond)
	atServer := t.head.Role == result.Server
	switch {
	case errors.Is(cause, errOver), errors.Is(cause, errOverdue), errors.Is(cause, errEnded):
		if n, fault := t.fault(); fault != nil {
			return t.explainFault(n, fault)
		}
		return result.ReasonDone, nil
	case errors.Is(cause, errShutdown), atServer && errors.Is(cause, context.Canceled):
		return result.ReasonShutdown, nil
	case errors.Is(cause, errMaxDuration):
		return result.ReasonMaxDuration, &admit.RefusedError{Word: result.ReasonMaxDuration, Text: cause.Error()}
	case gone(cause) && atServer:
		return result.ReasonClientGone, nil
	case gone(cause):
		return result.ReasonServerGone, &result.Error{Word: result.CodePeerLost, Err: cause,
			Text: fmt.Sprintf("the server closed the control connection after %v of data", after),
			Hint: "it may limit clients or the duration of a test, or have been stopped"}
	case silent(cause):
		return result.ReasonPeerSilent, &result.Error{Word: result.CodePeerLost, Err: cause,
			Text: fmt.Sprintf("the path or the peer was lost after %v of data", after),
			Hint: "what was measured until then is above"}
	case errors.Is(cause, context.Canceled):
		return result.ReasonInterrupted, &result.Error{Word: result.CodeInterrupted, Text: fmt.Sprintf("stopped after %v of data", after)}
	}
	var coder result.Coder
	if errors.As(cause, &coder) {
		switch coder.Code() {
		case result.CodeInterrupted, result.CodeTerminated:
			if atServer {
				return result.ReasonShutdown, nil
			}
			return result.ReasonInterrupted, cause
		}
		return coder.Code(), cause
	}
	return result.ReasonFailed, cause
}

// explainFault says what became of a stream, and what to do.
func (t *test) explainFault(n int, fault error) (reason string, err error) {
	e := &result.Error{Word: result.CodePeerLost, Text: fmt.Sprintf("stream %d", n), Err: fault}
	reason = result.ReasonFailed
	switch {
	case errors.Is(fault, errSilent):
		reason = result.ReasonPeerSilent
		e.Text += fmt.Sprintf(", for %v", silenceTime)
	case silent(fault):
		reason = result.ReasonPeerSilent
	}
	if t.last().IsZero() || errors.Is(fault, errNotJoined) {
		// Nothing ever flowed: the test could not be made.
		e.Word = result.CodeUnreachable
		e.Hint = "the sender opens the streams to ports of the receiver: does a firewall or NAT let them in?"
	}
	return reason, e
}
