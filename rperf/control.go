package rperf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/sonde-net/sonde/rperf/wire"
)

// A control is a control connection: whole messages, each within its time.
type control struct {
	conn net.Conn

	mu  sync.Mutex // held while a message is written; guards buf
	buf []byte
}

// newControl wraps conn and has the system notice a dead path.
func newControl(conn net.Conn) *control {
	if tcp, ok := conn.(*net.TCPConn); ok {
		// Only a help: a system that refuses it still tells of a dead path, later.
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 2 * time.Second, Interval: 2 * time.Second, Count: 3})
		_ = giveUpAfter(tcp, ackTime)
	}
	return &control{conn: conn}
}

// write sends m in a single write, within answerTime.
func (c *control) write(m wire.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	frame, err := wire.AppendFrame(c.buf[:0], m)
	if err != nil {
		return err
	}
	c.buf = frame
	if err := c.conn.SetWriteDeadline(time.Now().Add(answerTime)); err != nil {
		return fmt.Errorf("rperf: %s: %w", m.Kind(), err)
	}
	if _, err := c.conn.Write(frame); err != nil {
		return fmt.Errorf("rperf: %s: %w", m.Kind(), err)
	}
	return nil
}

// read returns the next message if it begins within wait; 0 waits for ever. It
// ends with ctx, and then returns its cause. One goroutine at a time reads.
func (c *control) read(ctx context.Context, what string, wait time.Duration) (wire.Message, error) {
	var prefix [wire.PrefixLen]byte
	if err := c.fill(ctx, prefix[:], wait); err != nil {
		return nil, c.explain(ctx, what, wait, err)
	}
	n, err := wire.PayloadLen(prefix)
	if err != nil {
		return nil, protocolError(err, "")
	}
	payload := make([]byte, n)
	if err := c.fill(ctx, payload, answerTime); err != nil {
		return nil, c.explain(ctx, what, answerTime, err)
	}
	m, err := wire.Parse(payload)
	if err != nil {
		return nil, protocolError(err, "")
	}
	return m, nil
}

func (c *control) fill(ctx context.Context, b []byte, wait time.Duration) error {
	var until time.Time
	if wait > 0 {
		until = time.Now().Add(wait)
	}
	if err := c.conn.SetReadDeadline(until); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { c.conn.SetReadDeadline(longAgo) })()
	_, err := io.ReadFull(c.conn, b)
	return err
}

// explain says what was being waited for when err came.
func (c *control) explain(ctx context.Context, what string, wait time.Duration, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("rperf: no %s within %v: %w", what, wait, err)
	}
	return fmt.Errorf("rperf: %s: %w", what, err)
}
