package btest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/transcript"
	"github.com/sonde-net/sonde/result"
)

// A Recorder sits between a client and a server and writes down what they say,
// as JSON that Decode reads and that tests can replay. Bulk data is condensed
// to its amount, addresses are left out: a recording is small and may be
// passed on, but it has names of users, and of an MD5 login the hash.
//
// The client is pointed at the recorder instead of the server. TCP connections
// are passed through. In a UDP test the recorder takes the port that the server
// announces on its own address towards the client, and the client's port, 256
// above, on its own address towards the server, so that each device talks to
// the ports that it expects. When the announced port is taken, which is so when
// the server runs on the same host, another one is announced to the client; the
// recording keeps the server's. When the client's port is taken, which is so
// when the client runs on the same host as the recorder but the server does
// not, a server that only answers to that port sends nothing; put one of the
// devices elsewhere.
type Recorder struct {
	Listen string // where clients connect; empty means ":2000"
	To     string // the server: HOST or HOST:PORT
	Once   bool   // end when the first test is over; else Run goes on until ctx ends

	Name, Description string // of the recording; may be empty
	Server, Client    string // the programs at the two ends, such as "RouterOS 7.20"; may be empty

	Say func(line string) // takes each message in words as it passes, secrets hidden; may be nil
	Log *slog.Logger      // nil means none
}

// Limits of a Recorder.
const (
	mostRecorded  = 512 // connections at once
	mostRemarks   = 50  // notes in a recording
	recordedHead  = 1 + 255 + wire.ReplyLen + wire.PortLen
	halfClosed    = 30 * time.Second // a connection closed on one side may stay open on the other
	recordConnect = 5 * time.Second
)

// Validate checks the settings. The error names the value and the way out.
func (r *Recorder) Validate() error {
	_, _, err := sock.SplitTarget(r.To, wire.DefaultPort)
	return err
}

// Run records until ctx ends, or with Once until the first test is over, and
// then writes the recording to w.
func (r *Recorder) Run(ctx context.Context, w io.Writer) error {
	at := r.Listen
	if at == "" {
		at = ":" + strconv.Itoa(wire.DefaultPort)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", at)
	if err != nil {
		return &result.Error{Word: result.CodeLocal, Err: err, Text: "record: listen on " + at,
			Hint: "give --listen another address or port"}
	}
	return r.Serve(ctx, l, w)
}

// Serve is Run on a listener of the caller's, which it closes.
func (r *Recorder) Serve(ctx context.Context, l net.Listener, w io.Writer) error {
	host, port, err := sock.SplitTarget(r.To, wire.DefaultPort)
	if err != nil {
		l.Close()
		return &result.Error{Word: result.CodeUsage, Err: err}
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	t := &tape{Recorder: r, to: net.JoinHostPort(host, port), log: r.Log,
		condenser: transcript.Condenser{Message: wire.StatusLen, Head: recordedHead}}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	err = t.accept(ctx, stop, l)
	return errors.Join(err, t.write(w))
}

// A tape is one run of a Recorder.
type tape struct {
	*Recorder
	to        string
	log       *slog.Logger
	condenser transcript.Condenser

	mu    sync.Mutex // guards what follows
	notes []string
	conns int // so far
	open  int // now
}

// accept takes connections until ctx ends, and waits for their end.
func (t *tape) accept(ctx context.Context, stop context.CancelFunc, l net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	defer l.Close()
	for pause := time.Duration(0); ; {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				c.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("btest: record: listener %v: %w", l.Addr(), err)
		case err != nil: // such as too many open files: it may pass
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			t.log.Warn("accept", "err", err, "retry_in", pause)
			time.Sleep(pause)
			continue
		}
		pause = 0
		n, ok := t.enter()
		if !ok {
			t.remark("more than %d connections at once: one was refused", mostRecorded)
			c.Close()
			continue
		}
		wg.Go(func() {
			t.pass(ctx, n, c)
			if t.leave() && t.Once {
				stop()
			}
		})
	}
}

// enter gives a connection its number.
func (t *tape) enter() (n int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == mostRecorded || t.conns == transcript.MaxConn {
		return 0, false
	}
	t.open++
	t.conns++
	return t.conns, true
}

// leave reports whether the connection was the last one open.
func (t *tape) leave() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open--
	return t.open == 0
}

// remark adds a note to the recording and to the log.
func (t *tape) remark(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	t.log.Warn(text)
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.notes) < mostRemarks && !slices.Contains(t.notes, text) {
		t.notes = append(t.notes, text)
	}
}

// say tells of a message on connection n, one at a time.
func (t *tape) say(n int, m *message) {
	if t.Say == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Say(fmt.Sprintf("#%d %v: %s", n, m.from, m.line(false)))
}

// write writes the recording.
func (t *tape) write(w io.Writer) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	rec := &transcript.Recording{Name: t.Name, Description: t.Description, Server: t.Server, Client: t.Client,
		Notes: t.notes, Events: t.condenser.Events()}
	if err := rec.WriteJSON(w); err != nil {
		return &result.Error{Word: result.CodeLocal, Text: "record", Err: err}
	}
	return nil
}
