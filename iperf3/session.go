package iperf3

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/iperf3/wire"
	"github.com/sonde-net/sonde/result"
)

// A session is one test as the server sees it, from the cookie to the End.
type session struct {
	server  *Server
	id      result.ID // of the test; empty until it is admitted
	hub     *hub
	ctrl    *control
	peer    netip.AddrPort
	cookie  wire.Cookie
	ctx     context.Context // the server's: it outlives the test
	account string
	params  wire.Parameters
	grant   *admit.Grant
	plan    *plan
	test    *test
	places  []func() // gives back the place of each stream
	output  *output  // what we print, if the client wants it; may be nil
}

// run serves the test. An error means that there was none.
func (s *session) run(ctx context.Context) error {
	s.ctx = ctx
	defer s.leaveStreams()
	if err := s.agree(ctx); err != nil {
		s.refuse(err)
		return err
	}
	settle := sync.OnceValue(s.settle)
	defer settle()
	head := result.Head{Run: s.id, Time: time.Now(), Protocol: Protocol, Role: result.Server}
	s.test = newTest(ctx, head, s.server.Sink, s.server.Log.With("peer", s.peer), s.plan)
	defer s.test.stop(nil)
	s.test.interval, s.test.counters = s.server.Interval, s.server.Counters
	s.plan.volume = s.plan.volumeOf(s.params.Reverse)
	news := make(chan heard, 1)
	if err := s.create(ctx, news); err != nil {
		for _, f := range s.test.flows {
			f.close()
		}
		return err
	}
	end := s.measure(news)
	end.Moved = settle() // before the End is seen, so that whoever sees it finds the books in order
	s.server.Sink.Put(end)
	return nil
}

// settle books what the test moved: all of it, also what was omitted or came too
// late for its totals.
func (s *session) settle() *result.Moved {
	var m result.Moved
	if s.test != nil {
		for _, f := range s.test.flows {
			if n := f.view().Bytes; f.sends {
				m.Sent += n
			} else {
				m.Received += n
			}
		}
	}
	if s.grant.Settle != nil {
		s.grant.Settle(m.Sent, m.Received)
	}
	return &m
}

// measure runs the data phase to its End.
func (s *session) measure(news chan heard) result.End {
	t := s.test
	s.server.Sink.Put(s.beginning())
	if s.params.GetServerOutput || s.server.Report != nil {
		s.output = newOutput(s.params)
		if tell := s.server.Report; tell != nil {
			s.output.also = func(event string, data any) { tell(t.head.Run, event, data) }
		}
		s.output.reporter().start(t.flows, wire.ReportHost{Host: s.peer.Addr().String(), Port: s.peer.Port()}, s.cookie, time.Now())
	}
	ended := t.counters.Begin()
	defer ended()
	defer s.limitTime()()
	defer s.grant.OnEnd(t.stop)()
	t.start(s.output.reporter())
	t.wg.Go(s.watch)
	over := false
	select {
	case n := <-news:
		if over = n.err == nil && n.state == wire.TestEnd; !over {
			t.stop(farewell(n))
		}
	case <-t.ctx.Done():
	}
	var far *wire.Results
	if over {
		var err error
		if far, err = s.exchange(); err != nil {
			t.stop(err)
		}
	} else {
		s.giveUp()
	}
	e := t.finish(errOver)
	if far != nil {
		e.CPU.Remote = result.Some(min(100, max(0, far.CPU.Total)))
	}
	return e
}

// limitTime ends a test that takes longer than it said, or than it may.
func (s *session) limitTime() (stop func()) {
	var timers []*time.Timer
	if p := s.params; p.Time > 0 {
		own := time.Duration(p.Omit+p.Time)*time.Second + graceTime
		timers = append(timers, time.AfterFunc(own, func() { s.test.stop(errExpired) }))
	}
	if s.grant.Time > 0 {
		timers = append(timers, time.AfterFunc(s.grant.Time+time.Second, func() { s.test.stop(errMaxDuration) }))
	}
	return func() {
		for _, t := range timers {
			t.Stop()
		}
	}
}

// watch ends a test whose data stopped coming. A slow client that sends large
// blocks is silent in between.
func (s *session) watch() {
	receives := false
	for _, f := range s.test.flows {
		receives = receives || !f.sends
	}
	if !receives {
		return
	}
	limit := silenceTime
	if rate := s.params.Bandwidth; rate > 0 {
		block := time.Duration(float64(s.params.Length) * 8 / float64(rate) * float64(time.Second))
		limit = max(limit, min(3*block, 2*time.Minute))
	}
	for range pace.Ticks(s.test.counting, limit/16) {
		at := s.test.last()
		if at.Before(s.test.begun) {
			at = s.test.begun
		}
		if time.Since(at) >= limit {
			s.test.stop(errSilent)
		}
	}
}

// exchange ends the test and swaps results: the client's first. They say how
// much is still on the way.
func (s *session) exchange() (*wire.Results, error) {
	t := s.test
	end := time.Now()
	t.stopSending()
	if !s.params.UDP {
		for _, f := range t.flows {
			if f.sends {
				f.close() // the client reads to the end of it
			}
		}
	}
	if err := s.ctrl.say(wire.ExchangeResults); err != nil {
		return nil, err
	}
	b, err := s.ctrl.block(t.ctx, "results", wire.MaxClientResults)
	if err != nil {
		return nil, err
	}
	far, err := wire.ParseResults(b)
	if err != nil {
		return nil, protocolError(err, "")
	}
	t.drain(t.ctx, drainQuiet, func() bool { return s.complete(&far) })
	t.settle(end)
	t.hear(&far)
	r := t.results()
	s.output.reporter().end(t.flows, t.meter.before, r.CPU, &far)
	if s.params.GetServerOutput {
		s.output.put(&r, t.flows, s.server.JSON)
	}
	json, err := r.AppendBinary(nil)
	if err != nil {
		return &far, err
	}
	if err := s.ctrl.write("results", wire.AppendBlock(nil, json)); err != nil {
		return &far, err
	}
	if err := s.ctrl.say(wire.DisplayResults); err != nil {
		return &far, err
	}
	t.stop(errOver)
	// Closing before the client has read would reset the connection.
	if _, err := s.ctrl.state(s.ctx, "last byte", doneTime); err != nil {
		s.server.Log.Debug("last byte", "peer", s.peer, "err", err) // it has all it needs
	}
	return &far, nil
}

// complete says whether all that the client sent has come. What was omitted is
// not in its figures, so then nobody can tell.
func (s *session) complete(far *wire.Results) bool {
	if s.params.Omit > 0 {
		return false
	}
	for _, f := range s.test.flows {
		if r := resultsOf(far, f.id); !f.sends && r != nil && f.view().Bytes < r.Bytes {
			return false
		}
	}
	return true
}

// giveUp tells the client that there will be no more.
func (s *session) giveUp() {
	cause := context.Cause(s.test.ctx)
	if sock.IsGone(cause) || errors.Is(cause, errClientStops) || errors.Is(cause, errClientGivesUp) {
		return
	}
	var err error
	switch {
	case errors.Is(cause, errExpired), errors.Is(cause, errMaxDuration):
		err = s.ctrl.fail(wire.DurationExpired)
	case errors.Is(cause, errSilent):
		err = s.ctrl.fail(wire.IdleTimeout)
	default:
		err = s.ctrl.say(wire.ServerTerminate)
	}
	if err != nil {
		s.server.Log.Debug("last word", "peer", s.peer, "err", err) // the close that follows says the same
	}
}

// beginning is the Begin event.
func (s *session) beginning() result.Begin {
	p := s.params
	b := result.Begin{
		Head: s.test.now(), Transport: transport(p), Direction: direction(p),
		Peer: s.peer, Local: sock.AddrPort(s.ctrl.conn.LocalAddr()), Streams: p.Parallel, Size: p.Length,
		Duration: time.Duration(p.Time) * time.Second, Account: s.account, Login: "none",
	}
	if s.account != "" {
		b.Login = "rsa"
	}
	if b.Direction.Has(result.Down) {
		b.DownRate = s.plan.rate * uint64(p.Parallel)
	}
	if b.Direction.Has(result.Up) {
		b.UpRate = p.Bandwidth * uint64(p.Parallel)
	}
	return b
}
