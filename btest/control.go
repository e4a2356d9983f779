package btest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/result"
)

// A control is a connection during the handshake: whole messages, each within
// its time. It never reads beyond a message, since data may follow at once.
type control struct {
	conn net.Conn
	time time.Duration // for each step
	ctx  context.Context
	buf  [wire.ResponseLen]byte
}

// newControl wraps conn; when ctx ends, what is blocked on conn wakes. The
// returned function undoes that and takes the deadline off.
func newControl(ctx context.Context, conn net.Conn) (*control, func()) {
	c := &control{conn: conn, time: handshakeTime, ctx: ctx}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(longAgo) })
	return c, func() {
		if stop() {
			conn.SetDeadline(time.Time{})
		}
	}
}

// read returns the next n bytes, which are valid until the next read.
func (c *control) read(what string, n int) ([]byte, error) {
	if err := c.step(); err != nil {
		return nil, err
	}
	b := c.buf[:n]
	if _, err := io.ReadFull(c.conn, b); err != nil {
		return nil, c.explain(what, err)
	}
	return b, nil
}

// readFrame returns the payload of the next frame: one byte of length, then
// that many bytes.
func (c *control) readFrame(what string) ([]byte, error) {
	n, err := c.read(what, 1)
	if err != nil {
		return nil, err
	}
	b := make([]byte, n[0])
	if _, err := io.ReadFull(c.conn, b); err != nil {
		return nil, c.explain(what, err)
	}
	return b, nil
}

// write sends one message in a single write: some peers read only once.
func (c *control) write(what string, b []byte) error {
	if err := c.step(); err != nil {
		return err
	}
	if _, err := c.conn.Write(b); err != nil {
		return c.explain(what, err)
	}
	return nil
}

// reply sends r.
func (c *control) reply(r wire.Reply) error {
	b, _ := r.AppendBinary(nil)
	return c.write("reply", b)
}

// step gives the next message its time, unless the test is over.
func (c *control) step() error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	if err := c.conn.SetDeadline(time.Now().Add(c.time)); err != nil {
		return err
	}
	if c.ctx.Err() != nil { // ended just now: its deadline may have been overwritten
		return context.Cause(c.ctx)
	}
	return nil
}

// explain says what was being waited for when err came.
func (c *control) explain(what string, err error) error {
	switch {
	case c.ctx.Err() != nil:
		return context.Cause(c.ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("btest: no %s within %v: %w", what, c.time, err)
	}
	return fmt.Errorf("btest: %s: %w", what, err)
}

// protocolError says that the far end does not speak the protocol.
func protocolError(err error, hint string) error {
	return &result.Error{Word: result.CodeProtocol, Hint: hint, Err: err}
}
