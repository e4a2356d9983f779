package iperf3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/sonde-net/sonde/iperf3/wire"
)

// A control is a control connection: states and blocks, each within its time.
// It never reads beyond what it was asked for. One goroutine at a time reads,
// and one writes.
type control struct{ conn net.Conn }

// newControl wraps conn and has the system notice a dead path.
func newControl(conn net.Conn) *control {
	if tcp, ok := conn.(*net.TCPConn); ok {
		// Only a help: a system that refuses it still tells of a dead path, later.
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 2 * time.Second, Interval: 2 * time.Second, Count: 3})
		_ = setUserTimeout(tcp, silenceTime)
	}
	return &control{conn: conn}
}

// fill reads b within wait; 0 waits for ever. It ends with ctx, and then
// returns its cause.
func (c *control) fill(ctx context.Context, what string, b []byte, wait time.Duration) error {
	var until time.Time
	if wait > 0 {
		until = time.Now().Add(wait)
	}
	if err := c.conn.SetReadDeadline(until); err != nil {
		return fmt.Errorf("iperf3: %s: %w", what, err)
	}
	defer context.AfterFunc(ctx, func() { c.conn.SetReadDeadline(longAgo) })()
	_, err := io.ReadFull(c.conn, b)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("iperf3: no %s within %v: %w", what, wait, err)
	}
	return fmt.Errorf("iperf3: %s: %w", what, err)
}

// state reads the next state. What says that there is no test any more comes
// back as an error: errBusy, errServerStops, a *wire.PeerError.
func (c *control) state(ctx context.Context, what string, wait time.Duration) (wire.State, error) {
	var b [1]byte
	if err := c.fill(ctx, what, b[:], wait); err != nil {
		return 0, err
	}
	s, err := wire.ParseState(b[0])
	if err != nil {
		return 0, protocolError(err, "")
	}
	switch s {
	case wire.AccessDenied:
		return s, errBusy
	case wire.ServerTerminate:
		return s, errServerStops
	case wire.ServerError:
		return s, c.peerError(ctx)
	}
	return s, nil
}

// peerError reads the numbers after ServerError: one, and maybe another.
func (c *control) peerError(ctx context.Context) error {
	var b [2 * wire.ErrorCodeLen]byte
	if err := c.fill(ctx, "error number", b[:wire.ErrorCodeLen], answerTime); err != nil {
		return err
	}
	n := len(b)
	if c.fill(ctx, "second error number", b[wire.ErrorCodeLen:], time.Second) != nil {
		n = wire.ErrorCodeLen // 3.12 does not always send it
	}
	e, err := wire.ParsePeerError(b[:n])
	if err != nil {
		return err
	}
	return e
}

// expect reads the next state, which must be want.
func (c *control) expect(ctx context.Context, want wire.State, wait time.Duration) error {
	s, err := c.state(ctx, want.String(), wait)
	if err != nil {
		return err
	}
	if s != want {
		return protocolError(&wire.StateError{Got: s, Want: want}, "")
	}
	return nil
}

// block reads a JSON block of at most most bytes. Memory grows with what has
// come, not with what was announced.
func (c *control) block(ctx context.Context, what string, most int) ([]byte, error) {
	var prefix [wire.LengthLen]byte
	if err := c.fill(ctx, what, prefix[:], answerTime); err != nil {
		return nil, err
	}
	n, err := wire.BlockLen(prefix, most)
	if err != nil {
		return nil, protocolError(err, "")
	}
	const step = 64 << 10
	var b []byte
	for len(b) < n {
		at := len(b)
		b = append(b, make([]byte, min(step, n-at))...)
		if err := c.fill(ctx, what, b[at:], answerTime); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// write sends b in a single write.
func (c *control) write(what string, b []byte) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(answerTime)); err != nil {
		return fmt.Errorf("iperf3: %s: %w", what, err)
	}
	if _, err := c.conn.Write(b); err != nil {
		return fmt.Errorf("iperf3: %s: %w", what, err)
	}
	return nil
}

// say sends a state.
func (c *control) say(s wire.State) error { return c.write(s.String(), []byte{s.Byte()}) }

// fail sends ServerError with its numbers.
func (c *control) fail(n wire.ErrorNumber) error {
	var none int32
	b, err := (&wire.PeerError{Number: n, Errno: &none}).AppendBinary([]byte{wire.ServerError.Byte()})
	if err != nil {
		return err
	}
	return c.write(wire.ServerError.String(), b)
}
