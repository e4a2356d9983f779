package report

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"
)

const (
	// syslogPatience bounds one attempt to connect, and one to write.
	syslogPatience = 5 * time.Second
	// longestWait is between two attempts to reach a receiver.
	longestWait = 30 * time.Second
)

// A syslogLine is the connection to a syslog receiver, made again whenever it
// breaks. One goroutine runs it.
type syslogLine struct {
	url     string // for messages
	network string // "udp" or "tcp"
	address string
	connect Dialer
	log     *slog.Logger

	conn net.Conn // nil while there is none
	down bool     // the last attempt failed, and that was logged
}

// run sends what comes out of queue until that is closed or ctx ends; then it
// drops the rest.
func (l *syslogLine) run(ctx context.Context, queue <-chan string, drop func()) {
	defer l.hangUp()
	for message := range queue {
		if !l.deliver(ctx, message) {
			drop()
		}
	}
}

// deliver tries until the message is out, waiting longer after each attempt
// but the first. It is false when ctx ended before.
func (l *syslogLine) deliver(ctx context.Context, message string) bool {
	var wait time.Duration
	for ctx.Err() == nil {
		err := l.try(ctx, message)
		if err == nil {
			l.up()
			return true
		}
		l.hangUp()
		if wait > 0 && !l.down {
			l.down = true
			l.log.Warn("syslog receiver cannot be reached, events wait", "address", l.url, "error", err)
		}
		if !sleep(ctx, wait) {
			return false
		}
		wait = min(longestWait, max(time.Second, 2*wait))
	}
	return false
}

func (l *syslogLine) up() {
	if l.down {
		l.down = false
		l.log.Info("syslog receiver is reached again", "address", l.url)
	}
}

// sleep waits for d, give or take a quarter so that not all senders come back
// at once. It is false when ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	d += time.Duration((rand.Float64() - 0.5) / 2 * float64(d))
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// try connects if need be and writes one message.
func (l *syslogLine) try(ctx context.Context, message string) error {
	if l.conn == nil {
		if err := l.dial(ctx); err != nil {
			return err
		}
	}
	conn := l.conn
	if err := conn.SetWriteDeadline(time.Now().Add(syslogPatience)); err != nil {
		return err
	}
	// A deadline in the past wakes a write that is blocked when ctx ends.
	defer context.AfterFunc(ctx, func() { conn.SetWriteDeadline(time.Unix(1, 0)) })()
	if l.network != "udp" {
		message = framed(message)
	}
	_, err := io.WriteString(conn, message)
	return err
}

func (l *syslogLine) dial(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, syslogPatience)
	defer cancel()
	conn, err := l.connect(ctx, l.network, l.address)
	if err != nil {
		return err
	}
	l.conn = conn
	if l.network != "udp" {
		go watch(conn)
	}
	return nil
}

// watch closes a connection that the receiver has closed, so that the next
// write fails instead of vanishing: syslog over TCP has no answers. It ends
// with the connection.
func watch(conn net.Conn) {
	// Whatever ended the reading, the connection is of no more use, and there
	// is nothing to be done about an error of closing it.
	_, _ = io.Copy(io.Discard, conn)
	_ = conn.Close()
}

// hangUp closes the connection. What was written before a close is still sent;
// TLS says goodbye.
func (l *syslogLine) hangUp() {
	if l.conn != nil {
		_ = l.conn.Close() // it is of no more use either way
		l.conn = nil
	}
}
