package btest

import (
	"context"
	"fmt"
	"net"

	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
)

// runTCP opens the further connections and runs the test on all.
func (c *clientRun) runTCP(ctx context.Context, t *test, conn net.Conn, token wire.Token) (result.End, error) {
	p := newTCPPhase(t)
	first, err := p.lane(conn)
	if err != nil {
		return result.End{}, err
	}
	p.add(first)
	if c.Connections > 1 {
		target := sock.AddrPort(conn.RemoteAddr()).String()
		t.wg.Go(func() { c.joinAll(t.ctx, p, target, token) })
	}
	return t.run(p), nil
}

// joinsAtOnce is how many connections join at the same time: over a long path
// one after the other would take longer than servers wait.
const joinsAtOnce = 16

// joinAll opens the connections after the first, those that fail are left out.
func (c *clientRun) joinAll(ctx context.Context, p *tcpPhase, target string, token wire.Token) {
	if token.IsZero() {
		c.note("one_connection", fmt.Sprintf("the server has no multi-connection tests: one connection instead of %d", c.Connections), "")
		return
	}
	errs := make(chan error, c.Connections)
	turns := make(chan struct{}, joinsAtOnce)
	for range c.Connections - 1 {
		turns <- struct{}{}
		p.wg.Go(func() {
			errs <- c.joinOne(ctx, p, target, token)
			<-turns
		})
	}
	var failed int
	var last error
	for range c.Connections - 1 {
		if err := <-errs; err != nil {
			failed, last = failed+1, err
		}
	}
	if failed > 0 && ctx.Err() == nil {
		c.note("fewer_connections", fmt.Sprintf("%d of %d connections could not be opened: %v", failed, c.Connections, last), "the server may limit the connections of one address")
	}
}

// joinOne opens one further connection and starts its lane.
func (c *clientRun) joinOne(ctx context.Context, p *tcpPhase, target string, token wire.Token) error {
	conn, err := c.join(ctx, target, token)
	if err != nil {
		return err
	}
	l, err := p.lane(conn)
	if err != nil {
		return err
	}
	p.add(l)
	return nil
}

// join opens one further connection: no login, the token is enough.
func (c *clientRun) join(ctx context.Context, target string, token wire.Token) (net.Conn, error) {
	conn, err := c.dial(ctx, target)
	if err != nil {
		return nil, err
	}
	ctrl, release := newControl(ctx, conn)
	defer release()
	fail := func(err error) (net.Conn, error) { conn.Close(); return nil, err }
	if err := readHello(ctrl); err != nil {
		return fail(err)
	}
	if err := ctrl.write("join", token.AppendJoin(nil)); err != nil {
		return fail(err)
	}
	b, err := ctrl.read("answer to the join", wire.ReplyLen)
	if err != nil {
		return fail(err)
	}
	if r, err := wire.ParseReply(b); err != nil || r.Verdict != wire.Go {
		return fail(&wire.BytesError{Message: "answer to the join", Bytes: b})
	}
	return conn, nil
}
