package iperf3

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/rtt"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/iperf3/wire"
	"github.com/sonde-net/sonde/result"
)

// A test is the data phase of one run at one end, from TEST_RUNNING to the End:
//
//	start ── omitted ── counted ── the senders stop ── drain ── results ── End
//
// Whatever ends it early (budget, peer gone, operator) goes through stop: the
// first cause wins, the parts end, what was counted is kept.
type test struct {
	head     result.Head
	sink     result.Sink
	log      *slog.Logger
	plan     *plan
	flows    []*flow
	interval time.Duration
	each     bool // intervals of each stream, too
	counters *admit.Counters

	ctx      context.Context // its cause is why the test ended early
	stop     context.CancelCauseFunc
	sending  context.Context
	quiet    context.CancelFunc // ends sending
	counting context.Context
	freeze   context.CancelFunc // ends counting
	wg       sync.WaitGroup     // of everything
	senders  sync.WaitGroup
	readers  sync.WaitGroup
	counted  chan struct{} // closed when the omitted part is over
	sent     chan struct{} // closed when the volume has been sent
	settled  bool
	meter    meter
	cpu      *cpuShare
	begun    time.Time
	watch    *rtt.Watch // of round trips beside the test; nil for none
}

// newTest makes the contexts of a test.
func newTest(parent context.Context, head result.Head, sink result.Sink, log *slog.Logger, p *plan) *test {
	t := &test{head: head, sink: sink, log: log, plan: p, counted: make(chan struct{}), sent: make(chan struct{})}
	t.ctx, t.stop = context.WithCancelCause(parent)
	t.sending, t.quiet = context.WithCancel(t.ctx)
	t.counting, t.freeze = context.WithCancel(t.ctx)
	return t
}

// add adds a stream, in the order in which the client opens them.
func (t *test) add(p part, sends bool) {
	d := result.Down
	if sends == (t.head.Role == result.Client) {
		d = result.Up
	}
	t.flows = append(t.flows, &flow{part: p, id: wire.StreamID(len(t.flows)), sends: sends, direction: d})
}

// start sets the parts running and the meter counting.
func (t *test) start(r *reporter) {
	t.begun = time.Now()
	t.cpu = newCPUShare()
	t.meter = meter{sink: t.sink, head: t.head, counters: t.counters, flows: t.flows, near: r, rtt: t.watch.Interval, each: t.each, queueing: &t.plan.queue}
	var once sync.Once
	for _, f := range t.flows {
		ctx, group := t.ctx, &t.readers
		if f.sends {
			ctx, group = t.sending, &t.senders
		}
		group.Go(func() {
			err := f.run(ctx)
			spent, isSpent := errors.AsType[*admit.ExceededError](err)
			switch {
			case err == nil:
			case isSpent && spent.Word == volumeSent:
				once.Do(func() { close(t.sent) })
			default:
				t.stop(err)
			}
		})
	}
	t.wg.Go(t.measure)
	t.probeLoaded()
}

// measure closes an interval whenever its time is over, until counting ends.
func (t *test) measure() {
	t.meter.begin(t.begun)
	if t.plan.Omit > 0 {
		ctx, stop := context.WithTimeout(t.counting, time.Duration(t.plan.Omit)*time.Second)
		for n := range pace.Ticks(ctx, t.interval) {
			if n > 0 && time.Duration(n)*t.interval < time.Duration(t.plan.Omit)*time.Second {
				t.meter.close(time.Now(), true)
			}
		}
		stop()
		if t.counting.Err() != nil {
			return
		}
		t.meter.omit(time.Now())
	}
	close(t.counted)
	length := time.Duration(t.plan.Time) * time.Second
	for n := range pace.Ticks(t.counting, t.interval) {
		// The last interval is closed when all that belongs to it is counted.
		if n > 0 && (length == 0 || time.Duration(n)*t.interval < length) {
			t.meter.close(time.Now(), false)
		}
	}
}

// last is when data came last on any stream that we receive; zero if none did.
func (t *test) last() (at time.Time) {
	for _, f := range t.flows {
		if l := f.last(); l.After(at) {
			at = l
		}
	}
	return at
}

// stopSending ends the senders and waits for them.
func (t *test) stopSending() {
	t.quiet()
	t.senders.Wait()
}

// drain takes what is still on the way: until all receivers have ended, until
// enough says so, until nothing has come for a while.
func (t *test) drain(ctx context.Context, quiet time.Duration, enough func() bool) {
	over := make(chan struct{})
	go func() { t.readers.Wait(); close(over) }()
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	start := time.Now()
	for range pace.Ticks(ctx, 2*time.Millisecond) {
		at := t.last()
		if at.Before(start) {
			at = start
		}
		if enough() || time.Since(at) >= quiet {
			return
		}
		select {
		case <-over:
			return
		default:
		}
	}
}

// settle ends the counting: the last interval ends at the moment given, or
// with the last data if that came later.
func (t *test) settle(at time.Time) {
	if t.settled {
		return
	}
	t.settled = true
	t.freeze()
	t.wg.Wait()
	if l := t.last(); l.After(at) {
		at = l
	}
	select {
	case <-t.counted:
		t.meter.last(at)
	default: // the omitted part was not over: nothing was measured
	}
}

// finish ends everything that still runs, for cause if nothing else has, and
// returns the End.
func (t *test) finish(cause error) result.End {
	t.stop(cause)
	at := time.Now()
	t.quiet()
	t.senders.Wait()
	t.readers.Wait()
	t.settle(at)
	for _, f := range t.flows {
		f.close()
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
	peer := "server"
	if atServer {
		peer = "client"
	}
	switch {
	case errors.Is(cause, errOver):
		return result.ReasonDone, nil
	case errors.Is(cause, errShutdown), atServer && errors.Is(cause, context.Canceled):
		return result.ReasonShutdown, nil
	case errors.Is(cause, errMaxDuration), errors.Is(cause, errExpired):
		return result.ReasonMaxDuration, &admit.RefusedError{Word: result.ReasonMaxDuration, Text: cause.Error()}
	case errors.Is(cause, errClientStops), errors.Is(cause, errClientGivesUp), sock.IsGone(cause) && atServer:
		return result.ReasonClientGone, nil
	case errors.Is(cause, errServerStops), sock.IsGone(cause):
		return result.ReasonServerGone, &result.Error{Word: result.CodePeerLost, Err: cause,
			Text: fmt.Sprintf("the server ended the test after %v of data", after),
			Hint: "it may limit the rate or the duration of a test, or have been stopped"}
	case silent(cause):
		return result.ReasonPeerSilent, &result.Error{Word: result.CodePeerLost, Err: cause,
			Text: fmt.Sprintf("nothing came from the %s any more, after %v of data", peer, after),
			Hint: "the path or the peer is gone; what was measured until then is above"}
	case errors.Is(cause, context.Canceled):
		return result.ReasonInterrupted, &result.Error{Word: result.CodeInterrupted, Text: fmt.Sprintf("stopped after %v of data", after)}
	}
	if e, ok := errors.AsType[*wire.PeerError](cause); ok {
		word := result.CodePeerLost
		if e.Number == wire.DurationExpired || e.Number == wire.DurationTooLong || e.Number == wire.RateAboveLimit {
			word = result.CodeLimit
		}
		return result.ReasonServerGone, &result.Error{Word: word, Err: e}
	}
	if coder, ok := errors.AsType[result.Coder](cause); ok {
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
