package iperf3

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/stream"
	"github.com/sonde-net/sonde/iperf3/auth"
	"github.com/sonde-net/sonde/iperf3/wire"
	"github.com/sonde-net/sonde/result"
)

// agree reads the parameters and decides.
func (s *session) agree(ctx context.Context) error {
	if err := s.ctrl.say(wire.ParamExchange); err != nil {
		return err
	}
	b, err := s.ctrl.block(ctx, "parameters", wire.MaxParameters)
	if err != nil {
		return err
	}
	if s.params, err = wire.ParseParameters(b); err != nil {
		return err
	}
	if err := s.login(); err != nil {
		return err
	}
	if err := s.takeStreams(); err != nil {
		return err
	}
	p := s.params
	s.id = result.NewID()
	s.grant, err = s.server.Policy.Admit(ctx, admit.Request{
		Protocol: Protocol, Run: string(s.id), Account: s.account, Peer: s.peer.Addr(),
		Transmit: p.Reverse || p.Bidirectional, Receive: !p.Reverse, Streams: p.Parallel,
	})
	if err != nil {
		return err
	}
	s.plan = &plan{Parameters: p, rate: p.Bandwidth, budget: s.grant.Budget}
	if err := s.checkGrant(); err != nil {
		s.settle()
		return err
	}
	return nil
}

// takeStreams takes the places of the test's streams.
func (s *session) takeStreams() error {
	for range s.params.Streams() {
		leave, err := s.server.streams.Enter(s.peer.Addr())
		if err != nil {
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

// login checks who the client is, if anybody has to be.
func (s *session) login() error {
	srv := s.server
	if srv.Key == nil {
		return nil
	}
	now := time.Now()
	if err := srv.backoff.Check(s.peer.Addr(), now); err != nil {
		return err
	}
	user, reason, err := auth.Check(srv.Key, srv.Users, s.params.AuthToken, now, srv.Skew)
	s.account = user
	if waits := srv.guessed.Check(user, s.peer.Addr(), now); waits != nil && user != "" {
		// Refused like a wrong password, the right one or not.
		reason, err = waits.Error(), auth.ErrDenied
	}
	note := result.Note{Level: result.Info, Code: result.NoteAuthSuccess,
		Head:  result.Head{Time: now, Protocol: Protocol, Role: result.Server},
		Text:  fmt.Sprintf("%v logged in as %q", s.peer, user),
		Login: &result.Login{Peer: s.peer, Account: user, Method: "rsa"},
	}
	if err != nil {
		srv.backoff.Failed(s.peer.Addr(), now)
		if user != "" {
			srv.guessed.Failed(user, now)
		}
		note.Level, note.Code = result.Warning, result.NoteAuthFailure
		note.Text = fmt.Sprintf("%v did not log in as %q: %s", s.peer, user, reason)
		note.Login.Reason = reason
		srv.Sink.Put(note)
		return &result.Error{Word: result.CodeAuth, Text: reason, Err: err}
	}
	srv.backoff.Succeeded(s.peer.Addr())
	srv.guessed.Succeeded(user, s.peer.Addr(), now)
	srv.Sink.Put(note)
	return nil
}

// checkGrant compares what is asked for with what is allowed. iperf3 refuses
// what is too long or too fast; what does not say, we hold to it.
func (s *session) checkGrant() error {
	p, g := s.params, s.grant
	if asked := time.Duration(p.Omit+p.Time) * time.Second; g.Time > 0 && p.Time > 0 && asked > g.Time {
		return &limitError{wire.DurationTooLong, fmt.Sprintf("%v asked for, %v allowed", asked, g.Time)}
	}
	if g.Rate == 0 {
		return nil
	}
	s.plan.intake = pace.NewLimiter(pace.NewRate(g.Rate))
	s.plan.police = &stream.Police{Rate: g.Rate, First: s.policed}
	if total := p.Bandwidth * uint64(p.Parallel); total/uint64(p.Parallel) != p.Bandwidth || total > g.Rate {
		return &limitError{wire.RateAboveLimit, fmt.Sprintf("%d bit/s for each of %d streams asked for, %d in all allowed", p.Bandwidth, p.Parallel, g.Rate)}
	}
	if s.plan.rate == 0 {
		s.plan.rate = max(1, g.Rate/uint64(p.Parallel))
	}
	return nil
}

// policed tells once that datagrams above the grant's rate are thrown away.
func (s *session) policed() {
	s.server.Sink.Put(result.Note{Head: s.test.now(), Level: result.Info, Code: result.NotePoliced,
		Text: fmt.Sprintf("the client sends more than the %d bit/s that this server allows: what is above counts as lost", s.grant.Rate)})
}

// A limitError says that a test is longer or faster than allowed.
type limitError struct {
	number wire.ErrorNumber
	text   string
}

func (e *limitError) Error() string { return fmt.Sprintf("%v: %s", e.number, e.text) }

// Code returns the stable word.
func (e *limitError) Code() string { return result.CodeLimit }

// ExitCode returns 5: refused by a limit.
func (e *limitError) ExitCode() int { return 5 }

// refuse tells the client why there is no test.
func (s *session) refuse(err error) {
	number := wire.UnknownMessage
	field, isField := errors.AsType[*wire.FieldError](err)
	over, isLimit := errors.AsType[*limitError](err)
	_, refused := errors.AsType[*admit.RefusedError](err)
	_, spent := errors.AsType[*admit.ExceededError](err)
	switch {
	case sock.IsGone(err) || silent(err):
		return
	case isField:
		number = field.Number()
	case isLimit:
		number = over.number
	case result.CodeOf(err) == result.CodeAuth, result.CodeOf(err) == admit.TooManyLogins:
		number = wire.NotAuthorized
	case refused:
		number = wire.Busy
	case spent:
		number = wire.RateAboveLimit
	}
	if err := s.ctrl.fail(number); err != nil {
		s.server.Log.Debug("server error", "peer", s.peer, "err", err) // the close that follows says the same
	}
}

// create has the client open the streams, and starts to listen for its news.
func (s *session) create(ctx context.Context, news chan heard) error {
	ctx, cancel := context.WithTimeoutCause(ctx, streamTime, errSilent)
	defer cancel()
	var ports <-chan *port
	var conns <-chan arrival
	var done func()
	var err error
	if s.params.UDP {
		ports, done, err = s.hub.await(ctx, s.peer.Addr(), s.params.Streams())
	} else {
		conns, done, err = s.server.await(s.cookie, s.params.Streams())
	}
	if err != nil {
		return err
	}
	defer done()
	if err := s.ctrl.say(wire.CreateStreams); err != nil {
		return err
	}
	go func() { // one state is all that may come now; later ones are read in turn
		st, err := s.ctrl.state(s.test.ctx, "state", 0)
		news <- heard{st, err}
	}()
	if s.params.UDP {
		err = s.takePorts(ctx, ports, news)
	} else {
		err = s.takeConns(ctx, conns, news)
	}
	if err != nil {
		return err
	}
	return s.ctrl.write("TEST_START", []byte{wire.TestStart.Byte(), wire.TestRunning.Byte()})
}

// takePorts takes the UDP streams. A client opens the next one only when it has
// our answer, so they come in order.
func (s *session) takePorts(ctx context.Context, ports <-chan *port, news <-chan heard) error {
	for n := range s.params.Streams() {
		p, err := await(ctx, ports, news)
		if err != nil {
			return fmt.Errorf("UDP stream %d of %d: %w", n+1, s.params.Streams(), err)
		}
		p.near = sock.AddrPort(s.ctrl.conn.LocalAddr()).Addr()
		if sends := s.params.ServerSends(n); sends {
			p.deafen()
			s.test.add(s.plan.newUDPSender(p, p.from), sends)
		} else {
			p.counters64.Store(s.params.Counters64)
			s.test.add(s.plan.newUDPReceiver(p, p.from), sends)
		}
	}
	return nil
}

// takeConns takes the TCP streams, and puts them into the order in which they
// were opened.
func (s *session) takeConns(ctx context.Context, conns <-chan arrival, news <-chan heard) error {
	var all []arrival
	defer func() { // those that no part has taken over
		for _, c := range all {
			c.Close()
		}
	}()
	for n := range s.params.Streams() {
		c, err := await(ctx, conns, news)
		if err != nil {
			return fmt.Errorf("TCP stream %d of %d: %w", n+1, s.params.Streams(), err)
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b arrival) int { return a.number - b.number })
	for n := range s.params.Streams() {
		sends := s.params.ServerSends(n)
		p, err := s.plan.newTCP(all[0].Conn, sends)
		if err != nil {
			return fmt.Errorf("TCP stream %d of %d: %w", n+1, s.params.Streams(), err)
		}
		all = all[1:]
		s.test.add(p, sends)
	}
	return nil
}

// await takes the next stream, unless the client leaves.
func await[T any](ctx context.Context, streams <-chan T, news <-chan heard) (one T, err error) {
	select {
	case one = <-streams:
		return one, nil
	case n := <-news:
		return one, farewell(n)
	case <-ctx.Done():
		return one, context.Cause(ctx)
	}
}

// farewell is what it means that a client says something before its test is
// over.
func farewell(n heard) error {
	switch {
	case n.err != nil:
		return n.err
	case n.state == wire.ClientTerminate:
		return errClientStops
	case n.state == wire.IperfDone:
		return errClientGivesUp
	}
	return protocolError(&wire.StateError{Got: n.state, Want: wire.TestEnd}, "")
}
