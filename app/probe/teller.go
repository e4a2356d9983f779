package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sonde-net/sonde/result"
)

// A Teller tells a webhook or a command of changes, one after the other. What
// cannot be told is tried again some times; of a probe that changes meanwhile the
// newest state is told, and nothing if it is the old one again.
type Teller struct {
	Log *slog.Logger
	// Tell tells of one change. An errAgain is worth another try.
	Tell func(ctx context.Context, c Change) error
	What string // for the log, such as the URL

	mu      sync.Mutex // guards pending and shut
	pending []Change   // in the order in which they came, one for each probe
	shut    bool
	wake    chan struct{}
	closing chan struct{} // closed with shut
	done    chan struct{}
	stop    context.CancelFunc
}

// What is tried again, when and how often: over about four minutes.
const (
	tries     = 8
	firstWait = 2 * time.Second
	longest   = time.Minute
)

// errAgain marks what is worth another try.
type errAgain struct{ error }

func (e errAgain) Unwrap() error { return e.error }

// Start begins to tell, until Close.
func (t *Teller) Start() {
	ctx, stop := context.WithCancel(context.Background())
	t.wake, t.closing, t.done, t.stop = make(chan struct{}, 1), make(chan struct{}), make(chan struct{}), stop
	go t.run(ctx)
}

// Changed takes a change to tell.
func (t *Teller) Changed(c Change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shut {
		return
	}
	t.put(c)
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *Teller) put(c Change) {
	n := slices.IndexFunc(t.pending, func(p Change) bool { return p.Probe.Name == c.Probe.Name })
	if n < 0 {
		t.pending = append(t.pending, c)
		return
	}
	c.Before = t.pending[n].Before
	if c.Before == c.State {
		t.pending = slices.Delete(t.pending, n, n+1)
		return
	}
	t.pending[n] = c
}

// Ran and Missed implement Watcher; they tell nothing.
func (t *Teller) Ran(Run)       {}
func (t *Teller) Missed(Missed) {}

func (t *Teller) next() (Change, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.pending) == 0 {
		return Change{}, false
	}
	c := t.pending[0]
	t.pending = slices.Delete(t.pending, 0, 1)
	return c, true
}

func (t *Teller) run(ctx context.Context) {
	defer close(t.done)
	for {
		for c, ok := t.next(); ok; c, ok = t.next() {
			t.tell(ctx, c)
		}
		t.mu.Lock()
		over := t.shut && len(t.pending) == 0
		t.mu.Unlock()
		if over || ctx.Err() != nil {
			return
		}
		select {
		case <-t.wake:
		case <-t.closing:
		}
	}
}

// tell tells c, or gives it up.
func (t *Teller) tell(ctx context.Context, c Change) {
	wait := firstWait
	for n := 1; ; n++ {
		err := t.Tell(ctx, c)
		if err == nil {
			t.Log.Debug("a change was told", "probe", c.Probe.Name, "state", string(c.State), "to", t.What)
			return
		}
		if _, again := errors.AsType[errAgain](err); !again || n == tries || t.isShut() {
			t.Log.Error("a change was not told", "probe", c.Probe.Name, "state", string(c.State), "to", t.What, "tries", n, "err", err)
			return
		}
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-t.closing:
		}
		pause.Stop()
		wait = min(2*wait, longest)
		var ok bool
		if c, ok = t.newest(c); !ok {
			return
		}
	}
}

// newest is what is to be told of the probe by now; false if its state is again
// what it was.
func (t *Teller) newest(c Change) (Change, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := slices.IndexFunc(t.pending, func(p Change) bool { return p.Probe.Name == c.Probe.Name })
	if n < 0 {
		return c, true
	}
	later := t.pending[n]
	t.pending = slices.Delete(t.pending, n, n+1)
	later.Before = c.Before
	return later, later.Before != later.State
}

func (t *Teller) isShut() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shut
}

// Close tells what is left, once each and for so long at most, and ends.
func (t *Teller) Close(most time.Duration) {
	t.mu.Lock()
	if !t.shut {
		t.shut = true
		close(t.closing)
	}
	t.mu.Unlock()
	off := time.AfterFunc(most, t.stop)
	<-t.done
	off.Stop()
	t.stop()
}

// changeJSON is what a webhook and a command get.
type changeJSON struct {
	Schema   string    `json:"schema"`
	Time     time.Time `json:"time"`
	Probe    string    `json:"probe"`
	Protocol string    `json:"protocol"`
	Target   string    `json:"target"`
	Before   State     `json:"before"`
	State    State     `json:"state"`
	Text     string    `json:"text"`
	Run      result.ID `json:"run"`
}

// ChangeSchema names the form of what is told.
const ChangeSchema = "sonde.change/1"

func (c Change) json() ([]byte, error) {
	return json.Marshal(changeJSON{ChangeSchema, c.Time.UTC(), c.Probe.Name, c.Probe.Protocol, c.Probe.Target, c.Before, c.State, c.Text, c.Run})
}

// Webhook tells with a POST of JSON, which has so long.
func Webhook(url string, timeout time.Duration, agent string) func(context.Context, Change) error {
	client := &http.Client{
		Timeout: timeout,
		// A POST that is redirected would arrive without its text.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context, c Change) error {
		body, err := c.json()
		if err != nil {
			return err
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("User-Agent", agent)
		answer, err := client.Do(r)
		if err != nil {
			return errAgain{err}
		}
		defer answer.Body.Close()
		_, _ = io.CopyN(io.Discard, answer.Body, 64<<10) // so that the connection can serve again
		switch code := answer.StatusCode; {
		case code < 300:
			return nil
		case code >= 500, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout:
			return errAgain{fmt.Errorf("it answered %s", answer.Status)}
		}
		return fmt.Errorf("it answered %s", answer.Status)
	}
}

// mostSaid bounds what is kept of what a command says.
const mostSaid = 4 << 10

// Command tells by running a program, which has so long. It gets the JSON on its
// standard input.
func Command(args []string, timeout time.Duration) func(context.Context, Change) error {
	return func(ctx context.Context, c Change) error {
		body, err := c.json()
		if err != nil {
			return err
		}
		ctx, stop := context.WithTimeout(ctx, timeout)
		defer stop()
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "SONDE_PROBE="+c.Probe.Name, "SONDE_STATE="+string(c.State), "SONDE_BEFORE="+string(c.Before))
		cmd.Stdin = bytes.NewReader(body)
		said := &head{most: mostSaid}
		cmd.Stdout, cmd.Stderr = said, said
		cmd.WaitDelay = time.Second // for children that keep its output open
		group(cmd)
		err = cmd.Run()
		if ctx.Err() != nil {
			err = fmt.Errorf("it was killed after %v", timeout)
		}
		if text := strings.TrimSpace(said.String()); err != nil && text != "" {
			err = fmt.Errorf("%w; it said %q", err, text)
		}
		return err
	}
}

// A head keeps the beginning of what is written.
type head struct {
	bytes.Buffer
	most int
}

// Write implements io.Writer.
func (h *head) Write(b []byte) (int, error) {
	h.Buffer.Write(b[:min(len(b), max(0, h.most-h.Len()))])
	return len(b), nil
}
