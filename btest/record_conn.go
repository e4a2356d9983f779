package btest

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/sonde-net/sonde/internal/transcript"
)

// A passage is a connection that is passed through a Recorder.
type passage struct {
	*tape
	ctx    context.Context
	n      int
	client net.Conn
	server net.Conn
	begun  time.Time

	mu     sync.Mutex // guards what follows
	dialog dialog
	found  *message // the port, when the last feed found one
	held   []byte   // of the server's bytes: the front of an announcement
	passed int64    // of the server's bytes, before held
	relay  *relay   // of UDP, once a port was announced
}

// pass connects c with the server and passes on what they say until both have
// closed, or ctx ends.
func (t *tape) pass(ctx context.Context, n int, c net.Conn) {
	defer c.Close()
	t.condenser.Open(time.Now(), n, transcript.Client)
	d := net.Dialer{Timeout: recordConnect}
	s, err := d.DialContext(ctx, "tcp", t.to)
	if err != nil {
		t.remark("connection %d: the server cannot be reached: %v", n, err)
		t.condenser.Close(time.Now(), n, transcript.Server, true)
		return
	}
	defer s.Close()
	p := &passage{tape: t, ctx: ctx, n: n, client: c, server: s, begun: time.Now()}
	p.dialog.tell = p.tell
	defer context.AfterFunc(ctx, func() { c.SetDeadline(longAgo); s.SetDeadline(longAgo) })()
	var wg sync.WaitGroup
	wg.Go(func() { p.pump(transcript.Client, c, s) })
	p.pump(transcript.Server, s, c)
	wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.relay != nil {
		p.relay.close()
	}
	p.dialog.flush(transcript.Client, time.Since(p.begun))
	p.dialog.flush(transcript.Server, time.Since(p.begun))
}

// tell takes a message of the dialog, with mu held.
func (p *passage) tell(m message) {
	if m.kind == kindPort {
		p.found = &m
	}
	p.say(p.n, &m)
}

// pump passes on what from says, and its close.
func (p *passage) pump(from transcript.Side, src, dst net.Conn) {
	b := make([]byte, 64<<10)
	for {
		n, err := src.Read(b)
		if n > 0 {
			now := time.Now()
			p.condenser.TCP(now, p.n, from, b[:n])
			if _, err := dst.Write(p.follow(from, now, b[:n])); err != nil {
				// The far end has closed; its own pump tells that.
				_, _ = io.Copy(io.Discard, src)
				return
			}
		}
		if err != nil {
			p.closed(from, dst, err)
			return
		}
	}
}

// closed passes on that from has closed or reset its connection.
func (p *passage) closed(from transcript.Side, dst net.Conn, err error) {
	fin := errors.Is(err, io.EOF)
	reset := !fin && !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded)
	if fin || reset {
		p.condenser.Close(time.Now(), p.n, from, reset)
	}
	tcp, ok := dst.(*net.TCPConn)
	if !ok || !fin {
		if ok && reset {
			_ = tcp.SetLinger(0) // an ordinary close does for a reset that cannot be had
		}
		dst.Close()
		return
	}
	_ = tcp.CloseWrite() // it fails when the far end is gone too, which its pump finds out
	_ = dst.SetReadDeadline(time.Now().Add(halfClosed))
	if p.ctx.Err() != nil { // its deadline may just have been overwritten
		_ = dst.SetReadDeadline(longAgo)
	}
}

// follow looks at what from says and returns what is to be passed on: the
// same, but for an announced UDP port that could not be had.
func (p *passage) follow(from transcript.Side, now time.Time, b []byte) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.found = nil
	p.dialog.feed(from, now.Sub(p.begun), b)
	if from == transcript.Client {
		return b
	}
	out := b
	if len(p.held) > 0 {
		out = append(p.held, b...)
		p.held = nil
	}
	if p.found != nil {
		at := p.found.offset - p.passed
		announced := binary.BigEndian.Uint16(p.found.raw)
		binary.BigEndian.PutUint16(out[at:], p.openRelay(announced))
	}
	if n := len(p.dialog.server.pending); p.dialog.stage == stagePort && n > 0 {
		// The front of an announcement: wait for the rest of it.
		p.held = append([]byte(nil), out[len(out)-n:]...)
		out = out[:len(out)-n]
	}
	p.passed += int64(len(out))
	return out
}

// openRelay makes ready for the datagrams to an announced port, and returns
// the port to announce to the client.
func (p *passage) openRelay(announced uint16) uint16 {
	r, err := newRelay(p, announced, p.dialog.command.Count())
	if err != nil {
		p.remark("connection %d: datagrams to port %d are not passed on: %v", p.n, announced, err)
		return announced
	}
	p.relay = r
	return r.announced()
}
