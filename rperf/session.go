package rperf

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/stream"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/rperf/wire"
)

// A session is one client as the server sees it, from its configuration to the
// End.
type session struct {
	server *Server
	id     result.ID // of the test; empty until it is admitted
	ctrl   *control
	peer   netip.AddrPort
	yard   yard
	cfg    wire.Configuration
	grant  *admit.Grant
	test   *test
	places []func() // gives back the place of each stream
}

// run serves the client's one test. An error means that there was none.
func (s *session) run(ctx context.Context) error {
	m, err := s.ctrl.read(ctx, "configuration", answerTime)
	if err != nil {
		return err
	}
	cfg, ok := m.(wire.Configuration)
	if !ok {
		return fmt.Errorf("rperf: got %s, want configuration", m.Kind())
	}
	s.cfg = cfg
	leave, err := s.server.queue.enter(ctx, s.peer.Addr(), cfg.Duration.Duration(), s.queued)
	if err != nil {
		return err
	}
	defer leave()
	if err := s.takeStreams(); err != nil {
		return err
	}
	defer s.leaveStreams()
	s.id = result.NewID()
	s.grant, err = s.server.Policy.Admit(ctx, admit.Request{
		Protocol: Protocol, Run: string(s.id), Peer: s.peer.Addr(), Transmit: cfg.Reverse, Receive: !cfg.Reverse, Streams: cfg.Streams,
		Queued: s.queued,
	})
	if err != nil {
		return err
	}
	settle := sync.OnceValue(s.settle)
	defer settle()
	s.test = s.newTest()
	s.test.begin(ctx)
	defer s.test.stop(nil)
	if err := s.agree(ctx); err != nil {
		s.test.abandon()
		return err
	}
	end := s.measure()
	end.Moved = settle() // before the End is seen, so that whoever sees it finds the books in order
	s.server.Sink.Put(end)
	return nil
}

// takeStreams takes the places of the test's streams, each of which is a socket.
func (s *session) takeStreams() error {
	for range max(s.cfg.Streams, len(s.cfg.StreamPorts)) {
		leave, err := s.server.streams.Enter(s.peer.Addr())
		if err != nil {
			s.leaveStreams()
			return err
		}
		s.places = append(s.places, leave)
	}
	return nil
}

func (s *session) leaveStreams() {
	for _, leave := range s.places {
		leave()
	}
}

// queued tells one of our clients that it has to wait. A real client knows no
// such message; it waits as long as it takes.
func (s *session) queued(position int, wait time.Duration) error {
	if s.cfg.Sonde == nil {
		return nil
	}
	return s.ctrl.write(wire.Queued{Position: position, Wait: wire.SecondsOf(wait)})
}

// settle books what the test moved: all of it, also what came too late for its
// totals.
func (s *session) settle() *result.Moved {
	n := uint64(0)
	if s.test != nil {
		n = result.Sum(s.test.views()...).Bytes
	}
	m := result.Moved{Received: n}
	if s.cfg.Reverse {
		m = result.Moved{Sent: n}
	}
	if s.grant.Settle != nil {
		s.grant.Settle(m.Sent, m.Received)
	}
	return &m
}

func (s *session) newTest() *test {
	srv := s.server
	t := &test{
		head: result.Head{Run: s.id, Time: time.Now(), Protocol: Protocol, Role: result.Server},
		sink: srv.Sink, log: srv.Log.With("peer", s.peer), cfg: s.cfg, ctrl: s.ctrl,
		sends: s.cfg.Reverse, interval: srv.Interval, counters: srv.Counters, exact: s.cfg.Sonde != nil, cpus: &srv.cpus,
	}
	t.record = func(i wire.Interval) error { return s.ctrl.write(i) }
	t.over = func(stream int, err error) error {
		return s.ctrl.write(wire.StreamEnd{Stream: uint8(stream), Failed: err != nil})
	}
	return t
}

// plan is what the client asked for, within the grant.
func (s *session) plan() *plan {
	p := planOf(s.cfg)
	p.budget = s.grant.Budget
	if s.grant.Rate > 0 {
		p.intake = pace.NewLimiter(pace.NewRate(s.grant.Rate))
		p.police = &stream.Police{Rate: s.grant.Rate, First: s.policed}
	}
	if most := s.grant.Rate / uint64(max(1, s.cfg.Streams)); s.grant.Rate > 0 && (p.rate == 0 || p.rate > most) {
		p.rate = max(1, most)
	}
	return p
}

// policed tells once that datagrams above the grant's rate are thrown away.
func (s *session) policed() {
	s.server.Sink.Put(result.Note{Head: s.test.now(), Level: result.Info, Code: result.NotePoliced,
		Text: fmt.Sprintf("the client sends more than the %d bit/s that this server allows: what is above counts as lost", s.grant.Rate)})
}

// agree makes our ends of the streams, answers and waits for begin.
func (s *session) agree(ctx context.Context) (err error) {
	t, p := s.test, s.plan()
	p.queueing = &t.queue
	if p.yields = p.streams > fewStreams && len(s.server.CPUs) == 0 && s.yard.net.ofSystem(); p.yields {
		t.poller, err = sock.NewPoller()
		p.yields = err == nil // else each stream takes a goroutine
	}
	var ours *wire.Accept
	if s.cfg.Sonde != nil {
		ours = &wire.Accept{Version: wire.OfferVersion}
	}
	var answer wire.Message
	switch {
	case !s.cfg.Reverse:
		var ports []uint16
		t.parts, ports, err = s.yard.listening(ctx, p, s.cfg.UDP, false, s.cfg.Streams)
		answer = wire.Connect{StreamPorts: ports, Sonde: ours}
	case ours != nil && s.cfg.Sonde.Dial:
		t.parts, ours.StreamPorts, err = s.yard.listening(ctx, p, s.cfg.UDP, true, s.cfg.Streams)
		answer = wire.ConnectReady{Sonde: ours}
	default:
		t.parts, err = s.yard.calling(ctx, p, s.cfg.UDP, true, s.cfg.StreamPorts)
		answer = wire.ConnectReady{Sonde: ours}
	}
	if err != nil {
		return err
	}
	if err := s.ctrl.write(answer); err != nil {
		return err
	}
	m, err := s.ctrl.read(ctx, "begin", beginTime)
	if err != nil {
		return err
	}
	if _, ok := m.(wire.Begin); !ok {
		return fmt.Errorf("rperf: got %s, want begin", m.Kind())
	}
	return nil
}

// measure runs the data phase to its End.
func (s *session) measure() result.End {
	t := s.test
	s.server.Sink.Put(s.beginning())
	t.wg.Go(s.listen)
	if s.grant.Time > 0 {
		most := s.grant.Time
		if s.cfg.Duration.Duration() <= most {
			most += time.Second // such a test is as asked: it may end by itself
		}
		defer time.AfterFunc(most, func() { t.stop(errMaxDuration) }).Stop()
	}
	defer s.grant.OnEnd(t.stop)()
	ended := t.counters.Begin()
	defer ended()
	t.start(func() []result.View { return nil })
	select {
	case <-t.own:
		// The client says end when it has our last reports; one whose data
		// stopped coming has most likely gone.
		wait := beginTime
		if _, fault := t.fault(); fault != nil {
			wait = partingTime
		}
		select {
		case <-t.ctx.Done():
		case <-time.After(wait):
		}
	case <-t.ctx.Done():
		s.lastWords()
	}
	return t.finish(errOver)
}

// lastWords waits for the parts to end, so that their last reports go out.
func (s *session) lastWords() {
	select {
	case <-s.test.own:
	case <-time.After(graceTime):
	}
}

// listen waits for the client's end, or for it to go.
func (s *session) listen() {
	m, err := s.ctrl.read(s.test.ctx, "end", 0)
	switch _, end := m.(wire.End); {
	case err == nil && end:
		err = errEnded
	case err == nil:
		err = protocolError(fmt.Errorf("rperf: got %s, want end", m.Kind()), "")
	case s.isOver() && gone(err):
		err = errEnded // an interrupted client says no end
	}
	s.test.stop(err)
}

// isOver reports whether all streams have ended.
func (s *session) isOver() bool {
	select {
	case <-s.test.own:
		return true
	default:
		return false
	}
}

// beginning is the Begin event.
func (s *session) beginning() result.Begin {
	b := result.Begin{
		Head: s.test.now(), Transport: transport(s.cfg), Direction: direction(s.cfg),
		Peer: s.peer, Local: sock.AddrPort(s.ctrl.conn.LocalAddr()),
		Streams: s.cfg.Streams, Size: s.cfg.Length, Duration: s.cfg.Duration.Duration(), Login: "none",
	}
	if s.cfg.Reverse {
		b.DownRate = s.plan().rate * uint64(s.cfg.Streams)
	}
	return b
}
