package transcript

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// A lane is one TCP connection of a replay. Until it is free, the replay talks
// and listens itself; then two goroutines do.
type lane struct {
	*replay
	n      int
	conn   net.Conn
	ctx    context.Context
	stop   context.CancelCauseFunc
	unhook func() bool
	offset map[Side]int64 // bytes that the recording has so far
	free   bool
	shut   bool          // our half is closed
	todo   chan Message  // what the free lane has yet to say
	gone   chan struct{} // closed once a free lane is done with
}

// say sends what our side says in m, or closes as it did.
func (l *lane) say(m Message) error {
	switch m.Event.Kind {
	case Fin:
		return l.closeHalf()
	case Reset:
		l.shut = true
		if c, ok := l.conn.(interface{ SetLinger(int) error }); ok {
			c.SetLinger(0) // without it the close that follows is an ordinary one
		}
		return l.conn.Close()
	case Zeros:
		return l.zeros(m.Event)
	}
	b := m.Data
	if l.Say != nil {
		m.Data = bytes.Clone(b)
		var err error
		if b, err = l.Say(m); err != nil {
			return fmt.Errorf("transcript: connection %d, event %d: %w", l.n, m.Index, err)
		}
	}
	if err := l.write(b); err != nil {
		return fmt.Errorf("transcript: connection %d, event %d: %w", l.n, m.Index, err)
	}
	if rest := m.Event.Len - int64(len(m.Event.Data)); rest > 0 { // unknown bytes
		return l.blocks(rest, func(int64) error { return nil })
	}
	return nil
}

// closeHalf says that we have nothing more to say. A connection that cannot
// say so is closed.
func (l *lane) closeHalf() error {
	l.shut = true
	if c, ok := l.conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return l.conn.Close()
}

// zeros sends a run of zeros, spread over the time that it took.
func (l *lane) zeros(e *Event) error {
	took := e.End() - e.At
	return l.blocks(e.Len, func(sent int64) error {
		return l.sleep(l.ctx, e.At+time.Duration(float64(took)*float64(sent)/float64(e.Len)))
	})
}

// blocks writes n zeros, and calls before ahead of each write with the number
// already sent.
func (l *lane) blocks(n int64, before func(sent int64) error) error {
	block := make([]byte, 32<<10)
	for sent := int64(0); sent < n; {
		if err := before(sent); err != nil {
			return err
		}
		part := block[:min(n-sent, int64(len(block)))]
		if err := l.write(part); err != nil {
			return err
		}
		sent += int64(len(part))
	}
	return nil
}

func (l *lane) write(b []byte) error {
	if err := l.deadline(l.conn.SetWriteDeadline); err != nil {
		return err
	}
	n, err := l.conn.Write(b)
	l.mu.Lock()
	l.played.Sent[l.n] += int64(n)
	l.mu.Unlock()
	switch {
	case err != nil && l.ctx.Err() != nil:
		return context.Cause(l.ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the far end took only %d of %d bytes within %v: %w", n, len(b), l.patience(), err)
	}
	return err
}

// deadline gives the next step its time, unless the lane is over.
func (l *lane) deadline(set func(time.Time) error) error {
	err := set(time.Now().Add(l.patience()))
	if l.ctx.Err() != nil { // the past deadline may just have been overwritten
		l.conn.SetDeadline(longAgo)
		return context.Cause(l.ctx)
	}
	return err
}

// hear waits for what the far end says in m and compares it.
func (l *lane) hear(m Message) error {
	if m.Event.Kind == Fin || m.Event.Kind == Reset {
		return l.hearClose(m)
	}
	want := m.Data
	got := make([]byte, len(want))
	n, err := l.read(got)
	m.Data = got[:n]
	var mask []byte
	if l.Mask != nil {
		mask = l.Mask(m)
	}
	if err == nil && same(want, m.Data, mask) {
		err = l.hearRest(m.Event)
		if err == nil && l.Hear != nil {
			err = l.Hear(m)
		}
		if err == nil {
			return nil
		}
	}
	return &MismatchError{Message: m, Want: want, Mask: mask, Err: err}
}

// hearRest reads the bytes of e that the recording does not show: zeros, or
// any, because they are not known.
func (l *lane) hearRest(e *Event) error {
	b := make([]byte, min(e.Len-int64(len(e.Data)), 32<<10))
	for left := e.Len - int64(len(e.Data)); left > 0; {
		part := b[:min(left, int64(len(b)))]
		n, err := l.read(part)
		left -= int64(n)
		if err != nil {
			return fmt.Errorf("%d bytes missing: %w", left, err)
		}
		if zeros := leadingZeros(part); e.Kind == Zeros && zeros < n {
			return fmt.Errorf("byte %#02x after %d of %d zeros", part[zeros], e.Len-left-int64(n-zeros), e.Len)
		}
	}
	return nil
}

// read fills b.
func (l *lane) read(b []byte) (int, error) {
	if err := l.deadline(l.conn.SetReadDeadline); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(l.conn, b)
	l.mu.Lock()
	l.played.Received[l.n] += int64(n)
	l.mu.Unlock()
	switch {
	case err != nil && l.ctx.Err() != nil:
		err = context.Cause(l.ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("nothing more came within %v: %w", l.patience(), err)
	}
	return n, err
}

// hearClose waits for the far end to close the connection.
func (l *lane) hearClose(m Message) error {
	b := make([]byte, 64)
	n, err := l.read(b)
	if n == 0 && closed(err) {
		return nil
	}
	m.Data = b[:n]
	return &MismatchError{Message: m, Err: err}
}

// listen reads what the far end of a free lane says until it closes.
func (l *lane) listen() {
	b := make([]byte, 64<<10)
	for {
		n, err := l.conn.Read(b)
		l.mu.Lock()
		l.played.Received[l.n] += int64(n)
		l.mu.Unlock()
		if n > 0 && l.Watch != nil {
			l.Watch(l.n, b[:n])
		}
		if err == nil {
			continue
		}
		l.stop(errPeerClosed)
		return
	}
}

var errPeerClosed = errors.New("the far end closed the connection")

// talk says what our side of a free lane has yet to say, then waits for the
// far end to close.
func (l *lane) talk() {
	defer close(l.gone)
	for m := range l.todo {
		if l.shut && m.Event.Kind != Reset {
			continue
		}
		err := l.sleep(l.ctx, m.Event.At)
		if err == nil {
			err = l.say(m)
		}
		if err == nil {
			continue
		}
		if m.Event.Kind != Fin && m.Event.Kind != Reset {
			l.mu.Lock()
			l.played.Early = append(l.played.Early, l.n)
			l.mu.Unlock()
		}
		break
	}
	timer := time.NewTimer(l.patience())
	defer timer.Stop()
	select {
	case <-l.ctx.Done():
	case <-timer.C:
	}
	l.stop(nil)
	l.conn.Close()
}
