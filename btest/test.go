package btest

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
	"github.com/sonde-net/sonde/result"
)

// A test is the data phase of one run at one end, from the agreed command to
// the End. Its life is one call of run:
//
//	first data ── intervals ── a cause ── last words ── End
//
// Whatever ends it (time up, budget, peer gone, operator) goes through stop:
// the first cause wins, the senders end, what was counted then is frozen; a
// client that sent waits for the last status before everything is closed.
type test struct {
	head        result.Head
	sink        result.Sink
	log         *slog.Logger
	direction   result.Direction
	zeros       bool
	size        int    // bytes per write (TCP) or packet with headers (UDP) that this end sends
	rate        uint64 // of our sending as the client asked for it, bit/s; 0 is as fast as it goes
	ceiling     uint64 // of the grant, bit/s each way; 0 is none
	farRate     uint64 // of the far end's sending, as told or asked for, bit/s; 0 is none
	interval    time.Duration
	each        bool          // intervals of each stream, too
	connections int           // or client ports, at least 1
	duration    time.Duration // of data; 0 until something else ends it
	budget      *admit.Budget
	counters    *admit.Counters
	load        *load
	latency     *rtt.Watch // nil without probes

	outside context.Context // the caller's
	ctx     context.Context // of the senders; its cause is why the test ended
	stop    context.CancelCauseFunc
	hear    context.Context // of everything that only listens
	quiet   context.CancelFunc
	wg      sync.WaitGroup
	sending sync.WaitGroup // of the senders alone
	meter   meter
}

// A phase is what TCP and UDP do differently.
type phase interface {
	ways() []*way
	hasData() bool           // whether any has come
	lastSign() time.Time     // when the latest sign of the peer came
	remoteCPU() *float64     // nil if the peer does not tell
	reported() time.Duration // time that the peer's reports cover
	unasked() uint64         // bytes of data that came though none were to
	sendStatuses(n int)      // the n-th, from 1
	shut()                   // no connection joins the test any more
	close()                  // all connections of the test
}

// transmits and receives tell what our end does.
func (t *test) transmits() bool { return t.direction.Has(sent(t.head.Role)) }
func (t *test) receives() bool  { return t.direction.Has(result.Both &^ sent(t.head.Role)) }

// begin makes the contexts of a test.
func (t *test) begin(parent context.Context) {
	t.outside = parent
	t.ctx, t.stop = context.WithCancelCause(parent)
	t.hear, t.quiet = context.WithCancel(context.WithoutCancel(parent))
}

// run measures until something stops the test, closes everything and returns
// the End. The goroutines of p run in t.wg.
func (t *test) run(p phase) result.End {
	t.meter = meter{sink: t.sink, head: t.head, counters: t.counters, ways: p.ways(), rtt: t.latency.Interval, each: t.each}
	defer t.counters.Begin()()
	t.wg.Go(func() { t.watch(p) })
	t.wg.Go(func() { t.beat(p) })
	t.measure(p)

	final := t.meter.snapshot(time.Now())
	p.shut()
	t.sending.Wait()
	t.meter.recount(&final) // what was under way has been sent as well
	cause := context.Cause(t.ctx)
	if t.head.Role == result.Client && t.transmits() && !sock.IsGone(cause) && !errors.Is(cause, errPeerClosed) && !errors.Is(cause, errPeerSilent) {
		t.lastWords(p, final.at)
	}
	t.quiet()
	p.close()
	t.wg.Wait()
	if !t.meter.start.IsZero() {
		t.meter.close(final, t.cpu(p))
	}
	end := t.meter.end(final)
	end.Latency = t.latency.Latency()
	end.Reason, end.Err = t.explain(cause)
	return end
}

// measure closes an interval whenever its time is over, from the first data
// until the test is stopped. An end that sends begins at once.
func (t *test) measure(p phase) {
	t.meter.start = time.Now()
	if !t.transmits() {
		if t.meter.start = t.awaitData(p); t.meter.start.IsZero() {
			return
		}
	}
	t.latency.Loaded()
	if t.duration > 0 {
		left := t.duration - time.Since(t.meter.start)
		defer time.AfterFunc(left, func() { t.stop(errDone) }).Stop()
	}
	for n := range pace.Ticks(t.ctx, t.interval) {
		last := t.duration > 0 && time.Duration(n)*t.interval >= t.duration // the end closes that one
		if n > 0 && !last {
			t.meter.close(t.meter.snapshot(time.Now()), t.cpu(p))
		}
	}
}

// awaitData waits for the first data and returns when it came, to 2 ms: zero
// when the test ended before.
func (t *test) awaitData(p phase) time.Time {
	before := time.Now() // nothing had come yet
	for range pace.Ticks(t.ctx, 2*time.Millisecond) {
		now := time.Now()
		if p.hasData() {
			return before
		}
		before = now
	}
	if p.hasData() {
		return before
	}
	return time.Time{}
}

// now is the head of an event that happens now.
func (t *test) now() result.Head {
	h := t.head
	h.Time = time.Now()
	return h
}

func (t *test) cpu(p phase) result.CPU {
	return result.CPU{Local: t.load.busy(), Remote: p.remoteCPU()}
}

// beat sends our statuses, each second on a fixed schedule.
func (t *test) beat(p phase) {
	for n := range pace.Ticks(t.ctx, statusEvery) {
		if n > 0 {
			p.sendStatuses(n)
		}
	}
}

// watch stops the test when the peer has been silent for too long.
func (t *test) watch(p phase) {
	start := time.Now()
	for range pace.Ticks(t.ctx, silenceTime/16) {
		last := p.lastSign()
		if last.Before(start) {
			last = start
		}
		if time.Since(last) >= silenceTime {
			t.stop(errPeerSilent)
		}
	}
}

// lastWords waits a little for the report on the last second before at.
func (t *test) lastWords(p phase, at time.Time) {
	whole := at.Sub(t.meter.start).Truncate(statusEvery)
	if p.reported() == 0 && whole > 2*statusEvery {
		return // a peer that reports nothing
	}
	wait, cancel := context.WithTimeout(t.hear, lastWords)
	defer cancel()
	for range pace.Ticks(wait, 5*time.Millisecond) {
		if p.reported() >= whole {
			return
		}
	}
}

// explain turns the cause that ended the test into its reason and its error.
func (t *test) explain(cause error) (reason string, err error) {
	after := t.meter.before.Round(time.Millisecond)
	peer := "server"
	if t.head.Role == result.Server {
		peer = "client"
	}
	switch {
	case errors.Is(cause, errDone):
		return result.ReasonDone, nil
	case cause == errShutdown:
		return result.ReasonShutdown, nil
	case errors.Is(cause, errShutdown):
		return result.ReasonShutdown, cause
	case t.outside.Err() != nil && errors.Is(cause, context.Cause(t.outside)):
		return result.ReasonInterrupted, interrupted(cause, after)
	case errors.Is(cause, errMaxDuration):
		return result.ReasonMaxDuration, &admit.RefusedError{Word: result.ReasonMaxDuration, Text: cause.Error()}
	case errors.Is(cause, errPeerSilent) || sock.IsSilent(cause):
		return result.ReasonPeerSilent, &result.Error{Word: result.CodePeerLost,
			Text: fmt.Sprintf("nothing came from the %s for %v, after %v of data", peer, silenceTime, after),
			Hint: "the path or the peer is gone; what was measured until then is above"}
	case errors.Is(cause, errPeerClosed) || sock.IsGone(cause):
		if t.head.Role == result.Server {
			return result.ReasonClientGone, nil // how a client ends a test
		}
		return result.ReasonServerGone, &result.Error{Word: result.CodePeerLost,
			Text: fmt.Sprintf("the server closed the connection after %v of data", after),
			Hint: "it may limit how long or how much one tests, or have been stopped"}
	case errors.Is(cause, context.Canceled): // Server.End without a cause
		return result.ReasonInterrupted, interrupted(cause, after)
	}
	var coder result.Coder
	if errors.As(cause, &coder) {
		switch coder.Code() {
		case result.CodeInterrupted, result.CodeTerminated:
			return result.ReasonInterrupted, cause
		}
		return coder.Code(), cause
	}
	return result.ReasonFailed, cause
}

// interrupted is the error of a test that was stopped from outside. A cause
// with a code of its own is kept as it is.
func interrupted(cause error, after time.Duration) error {
	if _, ok := errors.AsType[result.Coder](cause); ok {
		return cause
	}
	e := &result.Error{Word: result.CodeInterrupted, Text: fmt.Sprintf("stopped after %v of data", after)}
	if !errors.Is(cause, context.Canceled) {
		e.Err = cause
	}
	return e
}

// moved is the payload that our end sent and received so far.
func moved(p phase, role result.Role) (sentBytes, receivedBytes uint64) {
	for _, w := range p.ways() {
		n := result.Sum(w.near()...).Bytes
		if w.direction == sent(role) {
			sentBytes += n
		} else {
			receivedBytes += n
		}
	}
	return sentBytes, receivedBytes
}
