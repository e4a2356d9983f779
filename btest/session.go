package btest

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
)

// serveConn does what a new connection wants: a test, or to join one. It owns
// conn and returns when conn is done with.
func (s *Server) serveConn(ctx context.Context, conn net.Conn, peer netip.AddrPort) {
	ctrl, release := newControl(ctx, conn)
	err := s.handshake(ctx, ctrl, release, peer)
	if err == nil {
		return
	}
	release()
	conn.Close()
	if code := result.CodeOf(err); code != "error" && code != "" {
		s.Log.Warn("test refused", "peer", peer, "reason", code, "err", err)
	} else if ctx.Err() == nil {
		s.Log.Debug("handshake", "peer", peer, "err", err)
	}
}

// handshake greets the client and does what its first record says. An error
// means that there was no test.
func (s *Server) handshake(ctx context.Context, ctrl *control, release func(), peer netip.AddrPort) error {
	if err := ctrl.write("hello", wire.Hello[:]); err != nil {
		return err
	}
	b, err := ctrl.read("command", wire.CommandLen)
	if err != nil {
		return err
	}
	if wire.IsJoin(b) {
		return s.join(ctrl, release, b, peer)
	}
	cmd, err := wire.ParseCommand(b)
	if err != nil {
		return err
	}
	who, err := s.challenge(ctx, ctrl, peer)
	if err != nil {
		return err
	}
	run := result.NewID()
	grant, err := s.Policy.Admit(ctx, admit.Request{
		Protocol: Protocol, Run: string(run), Account: who.account, Peer: peer.Addr(),
		Transmit: cmd.Direction&wire.Transmit != 0, Receive: cmd.Direction&wire.Receive != 0, Streams: cmd.Count(),
	})
	if err != nil {
		_ = ctrl.reply(wire.Reply{Verdict: wire.Refused}) // the close that follows says the same
		return err
	}
	one := &session{server: s, ctrl: ctrl, id: run, release: release, peer: peer, cmd: cmd, who: who, grant: grant}
	return one.run(ctx)
}

// join hands the connection to the test that its record names, and waits until
// that is over.
func (s *Server) join(ctrl *control, release func(), record []byte, peer netip.AddrPort) error {
	token, err := wire.ParseJoin(record)
	if err != nil {
		return err
	}
	j, ok := s.tokens.claim(token, peer.Addr())
	if !ok {
		if now := time.Now(); !s.tokens.late(token, peer.Addr(), now) {
			s.backoff.Failed(peer.Addr(), now)
		}
		return &wire.FieldError{Message: "join", Field: "token", Value: uint64(token.Hi)<<8 | uint64(token.Lo)}
	}
	if err := ctrl.reply(wire.Reply{Verdict: wire.Go, Token: token}); err != nil {
		j.giveBack()
		return err
	}
	release()
	if !j.hand(ctrl.conn) {
		return errPeerClosed
	}
	<-j.done
	return nil
}

// A session is one test as the server runs it, from the grant to the End.
type session struct {
	server  *Server
	id      result.ID
	ctrl    *control
	release func()
	peer    netip.AddrPort
	cmd     wire.Command
	who     visitor
	grant   *admit.Grant
	test    *test
	phase   phase // nil before the data phase
	since   time.Time
}

// run says "go" and runs the test. An error means that it did not begin.
func (s *session) run(ctx context.Context) error {
	s.test = s.newTest()
	s.test.begin(ctx)
	defer s.test.stop(nil)
	settle := sync.OnceValue(s.settle)
	defer settle()
	var end result.End
	var err error
	if s.cmd.Transport == wire.UDP {
		end, err = s.runUDP(ctx)
	} else {
		end, err = s.runTCP()
	}
	if err != nil {
		return err
	}
	end.Moved = settle() // before the End is seen, so that whoever sees it finds the books in order
	s.server.Sink.Put(end)
	return nil
}

// settle books what the test moved.
func (s *session) settle() *result.Moved {
	var m result.Moved
	m.Sent, m.Received = s.moved()
	if s.grant.Settle != nil {
		s.grant.Settle(m.Sent, m.Received)
	}
	return &m
}

// moved is what the test has moved so far: after its end all of it, also what
// came too late for its totals.
func (s *session) moved() (sent, received uint64) {
	if s.phase == nil {
		return 0, 0
	}
	sent, received = moved(s.phase, result.Server)
	return sent, received + s.phase.unasked()
}

func (s *session) newTest() *test {
	srv := s.server
	t := &test{
		head:        result.Head{Run: s.id, Protocol: Protocol, Role: result.Server},
		sink:        srv.Sink,
		log:         srv.Log.With("peer", s.peer),
		direction:   seenByClient(s.cmd.Direction),
		zeros:       s.cmd.Zeros,
		size:        s.cmd.WriteSize(),
		rate:        uint64(s.cmd.ServerRate),
		farRate:     uint64(s.cmd.ClientRate),
		ceiling:     s.grant.Rate,
		connections: s.cmd.Count(),
		interval:    srv.Interval,
		budget:      s.grant.Budget,
		counters:    srv.Counters,
		load:        &srv.load,
	}
	t.head.Time = time.Now()
	if t.interval == 0 {
		t.interval = time.Second
	}
	return t
}

// begin puts the Begin and lets the time of the grant run. Whoever sees the
// Begin finds the session in the list.
func (s *session) begin(p phase, payload int) (stop func()) {
	s.phase, s.since = p, time.Now()
	s.server.enlist(s)
	b := result.Begin{
		Head: s.test.now(), Transport: result.TCP, Direction: s.test.direction,
		Peer: s.peer, Local: sock.AddrPort(s.ctrl.conn.LocalAddr()), Streams: s.cmd.Count(), Size: payload,
		DownRate: lower(s.test.rate, s.grant.Rate), UpRate: lower(uint64(s.cmd.ClientRate), s.grant.Rate),
		Account: s.who.account, Login: s.who.method, Duration: s.grant.Time,
	}
	if s.cmd.Transport == wire.UDP {
		b.Transport = result.UDP
	}
	s.server.Sink.Put(b)
	undo := s.grant.OnEnd(s.test.stop)
	if s.grant.Time <= 0 {
		return func() { undo(); s.server.delist(s) }
	}
	timer := time.AfterFunc(s.grant.Time, func() { s.test.stop(errMaxDuration) })
	return func() { undo(); timer.Stop(); s.server.delist(s) }
}

// runTCP registers the token, says "go" and runs the test on the connections.
func (s *session) runTCP() (result.End, error) {
	reply := wire.Reply{Verdict: wire.Go}
	var j *joinable
	if s.cmd.Streams > 0 {
		var ok bool
		if reply.Token, j, ok = s.server.tokens.register(s.peer.Addr(), s.cmd.Count()-1); !ok {
			return result.End{}, &admit.RefusedError{Word: admit.TooManyConnections, Text: "no token is free for a test of several connections"}
		}
		defer s.server.tokens.drop(reply.Token)
	}
	if err := s.ctrl.reply(reply); err != nil {
		return result.End{}, err
	}
	s.release()
	p := newTCPPhase(s.test)
	first, err := p.lane(s.ctrl.conn)
	if err != nil {
		return result.End{}, err
	}
	defer s.begin(p, s.test.size)()
	p.add(first)
	if j != nil {
		s.test.wg.Go(func() { s.takeJoins(p, j) })
	}
	return s.test.run(p), nil
}

// takeJoins adds the connections that join, each starts at once. After a while
// no more are let in: a client that is missing some has given up on them.
func (s *session) takeJoins(p *tcpPhase, j *joinable) {
	late := time.AfterFunc(joinTime, func() {
		if missing := j.shut(); missing > 0 {
			s.test.log.Info("connections missing, going on with those there", "missing", missing, "wanted", s.cmd.Count())
		}
	})
	defer late.Stop()
	for {
		select {
		case c := <-j.conns:
			l, err := p.lane(c)
			if err != nil {
				s.test.log.Warn("joined connection", "err", err)
				continue
			}
			p.add(l)
		case <-s.test.ctx.Done():
			return
		}
	}
}

// runUDP binds a port, says "go" and which port, and runs the test.
func (s *session) runUDP(ctx context.Context) (result.End, error) {
	local := sock.AddrPort(s.ctrl.conn.LocalAddr()).Addr()
	conn, closeConn, err := s.server.ports.open(ctx, local, s.test)
	if err != nil {
		_ = s.ctrl.reply(wire.Reply{Verdict: wire.Refused}) // the close that follows says the same
		return result.End{}, err
	}
	defer closeConn()
	port := conn.LocalAddrPort().Port()
	b, _ := wire.Reply{Verdict: wire.Go}.AppendBinary(nil)
	if err := s.ctrl.write("go and UDP port", wire.AppendPort(b, port)); err != nil {
		return result.End{}, err
	}
	s.release()
	to := netip.AddrPortFrom(s.peer.Addr(), port+wire.ClientPort)
	p := newUDPPhase(s.test, s.ctrl.conn, []sock.PacketConn{conn}, to, s.cmd.Count())
	defer s.begin(p, wire.PayloadLen(s.test.size, s.peer.Addr()))()
	return p.run(), nil
}

// describe is the session as it stands.
func (s *session) describe() Session {
	d := Session{Run: s.test.head.Run, Peer: s.peer, Account: s.who.account, Direction: s.test.direction, Since: s.since, Transport: result.TCP}
	if s.cmd.Transport == wire.UDP {
		d.Transport = result.UDP
	}
	d.Sent, d.Received = s.moved()
	return d
}
