package twamp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/twamp/auth"
	"github.com/sonde-net/sonde/twamp/wire"
)

// A serverConn is one control connection as its server sees it:
//
//	set-up → request ⇄ active → …
//
// In the individual mode of RFC 5938 both states are one.
type serverConn struct {
	*control
	server *Server
	log    *slog.Logger
	peer   netip.AddrPort
	local  netip.AddrPort
	wg     *sync.WaitGroup // of the server

	mode     wire.Mode
	account  string // the KeyID
	keys     auth.SessionKeys
	sessions []*session // accepted and not yet stopped
	active   bool       // between Start-Sessions and Stop-Sessions
	refusals int        // of sessions, so far
}

// Ends of a control connection that are the client's fault.
var (
	errDeclined = errors.New("the client declined every mode")
	errRefused  = errors.New("wrong or unknown key")
)

func or(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// run serves the connection until it ends. It returns nil when the client went
// away after the set-up.
func (c *serverConn) run(ctx context.Context) error {
	defer c.stopAll(true)
	if err := c.setUp(ctx); err != nil {
		return err
	}
	for {
		m, err := c.await(ctx)
		if fe, ok := errors.AsType[*wire.FieldError](err); ok {
			// The length of what follows is not known: answer and close.
			return errors.Join(fe, c.send(wire.AcceptSession{Accept: wire.Unsupported}))
		}
		if sock.IsGone(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := c.obey(ctx, m); err != nil {
			return err
		}
	}
}

// await reads the next command. The server waits for ServWait; while sessions
// run the client is not expected to say anything, unless all of them ended.
func (c *serverConn) await(ctx context.Context) ([]byte, error) {
	for {
		until, running := c.quiet()
		if !running {
			until = time.Now().Add(or(c.server.ServWait, 900*time.Second))
		}
		if err := c.conn.SetReadDeadline(until); err != nil {
			return nil, err
		}
		// Whoever ends the server sets a past deadline, which this one must not undo.
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		m, err := c.next()
		if running && errors.Is(err, os.ErrDeadlineExceeded) && c.have == 0 {
			continue
		}
		return m, err
	}
}

// quiet returns when the last of the running sessions will have ended if no more
// packets come; false if none runs.
func (c *serverConn) quiet() (at time.Time, running bool) {
	for _, g := range c.sessions {
		if latest, alive := g.home.latestOf(g); alive && g.started {
			running = true
			if end := latest.Add(or(c.server.RefWait, 900*time.Second) + 2*sweepEvery); end.After(at) {
				at = end
			}
		}
	}
	return at, running
}

// obey carries out one command.
func (c *serverConn) obey(ctx context.Context, m []byte) error {
	individual := c.mode.Has(wire.Individual)
	switch cmd := wire.Command(m[0]); {
	case cmd == wire.CommandRequestSession && !c.active:
		return c.request(ctx, m)
	case cmd == wire.CommandStartSessions && !c.active && !individual:
		return c.start()
	case cmd == wire.CommandStopSessions && c.active:
		return c.stop(m)
	case cmd == wire.CommandStartN && individual:
		return c.startN(m)
	case cmd == wire.CommandStopN && individual:
		return c.stopN(m)
	case c.active:
		return fmt.Errorf("command %d while sessions run", cmd)
	default:
		return errors.Join(fmt.Errorf("command %d out of turn", cmd), c.send(wire.AcceptSession{Accept: wire.Unsupported}))
	}
}

// setUp agrees on a mode and, if it needs them, on keys.
func (c *serverConn) setUp(ctx context.Context) error {
	if err := c.server.backoff.Check(c.peer.Addr(), time.Now()); err != nil {
		return errors.Join(err, c.sendClear(wire.ServerGreeting{})) // offers nothing
	}
	if err := c.conn.SetReadDeadline(time.Now().Add(or(c.server.SetUpTime, 10*time.Second))); err != nil {
		return err
	}
	g := wire.ServerGreeting{Modes: c.server.Modes, Count: c.server.Count}
	c.server.random(g.Challenge[:])
	c.server.random(g.Salt[:])
	if err := c.sendClear(g); err != nil {
		return err
	}
	b, err := c.clear(wire.SetUpResponseLen)
	if err != nil {
		return fmt.Errorf("set-up-response: %w", err)
	}
	r, err := wire.ParseSetUpResponse(b)
	switch {
	case err != nil:
		return err
	case r.Mode == 0:
		return errDeclined
	case !r.Mode.Chosen(c.server.Modes):
		return errors.Join(fmt.Errorf("set-up-response: mode %v, offered were %v", r.Mode, c.server.Modes),
			c.sendStart(wire.ServerStart{Accept: wire.Unsupported}))
	}
	c.mode = r.Mode
	start := wire.ServerStart{StartTime: wire.NTP(c.server.started)}
	if c.mode.ControlKeyed() {
		if err := c.takeKeys(g, r, &start); err != nil {
			return err
		}
	}
	return c.sendStart(start)
}

// takeKeys checks the client's token and starts the encryption. A wrong key and
// an unknown one look the same from outside.
func (c *serverConn) takeKeys(g wire.ServerGreeting, r wire.SetUpResponse, start *wire.ServerStart) error {
	leave, err := c.server.logins.Enter(c.peer.Addr())
	if err != nil {
		return errors.Join(err, c.sendStart(wire.ServerStart{Accept: wire.TemporaryResource}))
	}
	keys, ok := c.server.Keys.Admit(r.KeyID, g.Salt, g.Challenge, g.Count, r.Token)
	leave()
	if !ok {
		c.server.backoff.Failed(c.peer.Addr(), time.Now())
		c.server.login(c.peer, r.KeyID, r.Mode.Security().String(), "wrong or unknown key")
		c.log.Warn("login failed", "key_id", fmt.Sprintf("%q", r.KeyID))
		return errors.Join(errRefused, c.sendStart(wire.ServerStart{Accept: wire.Failure}))
	}
	c.server.backoff.Succeeded(c.peer.Addr())
	c.server.login(c.peer, r.KeyID, r.Mode.Security().String(), "")
	c.account, c.keys = r.KeyID, keys
	c.server.random(start.ServerIV[:])
	c.seal = auth.NewSealer(keys, start.ServerIV)
	c.open = auth.NewOpener(keys, r.ClientIV)
	return nil
}

// start answers Start-Sessions.
func (c *serverConn) start() error {
	if len(c.sessions) == 0 {
		return c.send(wire.StartAck{Accept: wire.Failure})
	}
	now := time.Now()
	for _, g := range c.sessions {
		c.begin(g, now)
	}
	c.active = true
	return c.send(wire.StartAck{})
}

// stop answers Stop-Sessions, which is to say, not at all.
func (c *serverConn) stop(m []byte) error {
	r, err := wire.ParseStopSessions(m)
	if err != nil {
		return err
	}
	n := len(c.sessions)
	c.stopAll(false)
	c.active = false
	if int64(r.Sessions) != int64(n) {
		// nokia/twampy 1.3.2 always says 0: the sessions are stopped all the same.
		return fmt.Errorf("stop-sessions: %d sessions, there were %d", r.Sessions, n)
	}
	return nil
}

// stopAll ends all sessions, at once or each after its grace.
func (c *serverConn) stopAll(atOnce bool) {
	now := time.Now()
	for _, g := range c.sessions {
		c.end(g, now, atOnce)
	}
	c.sessions = nil
}

func (c *serverConn) end(g *session, now time.Time, atOnce bool) {
	g.home.stop(g, now, atOnce)
	counts := g.home.countsOf(g)
	c.log.Info("session stopped", "sid", g.sid, "sender", g.sender, "reflected", counts[reflected])
}

// startN answers Start-N-Sessions: RFC 5938, section 3.2.
func (c *serverConn) startN(m []byte) error {
	now := time.Now()
	return c.eachSID(m, wire.CommandStartNAck, func(g *session) bool {
		if g.started {
			return false
		}
		c.begin(g, now)
		return true
	})
}

// stopN answers Stop-N-Sessions: RFC 5938, section 3.3.
func (c *serverConn) stopN(m []byte) error {
	now := time.Now()
	return c.eachSID(m, wire.CommandStopNAck, func(g *session) bool {
		if !g.started {
			return false
		}
		c.end(g, now, false)
		for i, one := range c.sessions {
			if one == g {
				c.sessions = append(c.sessions[:i], c.sessions[i+1:]...)
				break
			}
		}
		return true
	})
}

// eachSID does something to each session that a list names, and answers with
// one list of those it was done to and one of the others.
func (c *serverConn) eachSID(m []byte, ack wire.Command, do func(*session) bool) error {
	list, err := wire.ParseSessionList(m)
	if err != nil {
		return err
	}
	done, not := wire.SessionList{Command: ack}, wire.SessionList{Command: ack, Accept: wire.Unsupported}
	for _, sid := range list.SIDs {
		if g := c.find(sid); g != nil && do(g) {
			done.SIDs = append(done.SIDs, sid)
		} else {
			not.SIDs = append(not.SIDs, sid)
		}
	}
	for _, l := range []wire.SessionList{done, not} {
		if len(l.SIDs) == 0 {
			continue
		}
		if err := c.send(l); err != nil {
			return err
		}
	}
	return nil
}

func (c *serverConn) find(sid wire.SID) *session {
	for _, g := range c.sessions {
		if g.sid == sid {
			return g
		}
	}
	return nil
}
