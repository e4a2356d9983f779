//go:build !nano

package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/app/tui"
	"github.com/sonde-net/sonde/result"
)

// A testScreen is --tui of a client: a screen while the test runs. What would be
// printed meanwhile is held back until the terminal is free again.
type testScreen struct {
	asked  bool
	test   *tui.Test // nil: lines
	held   *held
	out    io.Writer // the terminal
	errors io.Writer
}

func (s *testScreen) register(fs *pflag.FlagSet) {
	fs.BoolVar(&s.asked, "tui", false, "a screen while the test runs: rates as figures and a chart, loss, round trips, CPU; then the summary")
}

// faults finds what a screen cannot go with.
func (s *testScreen) faults(o *output) error {
	switch {
	case !s.asked:
	case o.quiet:
		return fmt.Errorf("--tui and --quiet exclude each other; choose one")
	case o.machine() && o.file == "":
		return fmt.Errorf("--tui: JSON goes to standard output, where the screen is; give --output FILE for it, or leave one out")
	case o.csv == "-":
		return fmt.Errorf("--tui and --csv -: standard output is where the screen is; give --csv a file")
	}
	return nil
}

// open takes the terminal, if a screen is wanted and there is one.
func (s *testScreen) open(o *output) {
	if s.test != nil || !o.wantsScreen(s.asked) {
		return
	}
	s.test = &tui.Test{Title: "sonde", Streams: o.streams, Stays: isTerminalInput(o.env.in), Length: o.length}
	s.out, s.errors = o.env.out, o.env.err
	s.held = &held{}
	log := slog.Handler(&lineHandler{w: &s.test.Log, level: slog.LevelInfo})
	o.env.out = s.held.writer(s.out)
	if o.env.errTerminal {
		o.env.err = s.held.writer(s.errors)
	}
	o.log = slog.New(slog.NewMultiHandler(o.logger().Handler(), log))
}

// shown reports whether there is a screen.
func (s *testScreen) shown() bool { return s.test != nil }

// beside is next and the screen, if there is one. It alone sees the streams one by
// one.
func (s *testScreen) beside(next result.Sink) result.Sink {
	if s.test == nil {
		return next
	}
	test := s.test
	return result.Func(func(e result.Event) {
		test.Put(e)
		if i, ok := e.(result.Interval); !ok || i.Stream == result.AllStreams || i.RoundTrips != nil {
			next.Put(e)
		}
	})
}

// summary is the text that stays on the terminal where the results go elsewhere;
// nil where they go there.
func (s *testScreen) summary(o *output) result.Sink {
	if s.test == nil || o.file == "" {
		return nil
	}
	t := report.Text(o.env.out, report.TextConfig{Color: o.coloured(true), Streams: o.streams, Notes: o.env.err, ColorNotes: o.coloured(o.env.errTerminal)})
	return withoutIntervals(t)
}

// watch runs a test, with the screen over it if there is one: who leaves it while
// the test runs stops the test.
func (s *testScreen) watch(ctx context.Context, o *output, run func(context.Context) error) error {
	if s.test == nil {
		return run(ctx)
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	view, shut := context.WithCancel(ctx)
	defer shut()
	left := make(chan error, 1)
	go func() {
		err := s.test.Run(view, tui.Config{
			In: o.env.in, Out: s.out, Color: o.coloured(true), ASCII: tui.IsASCII(o.env.getenv),
		})
		if !s.test.Over() {
			stop(cmp.Or(err, error(interruption(os.Interrupt))))
		}
		left <- err
	}()
	err := run(ctx)
	if !s.test.Over() {
		shut()
	}
	unseen := <-left
	o.env.out, o.env.err = s.out, s.errors
	s.test = nil
	s.held.release()
	return cmp.Or(err, unseen)
}

// mostHeld bounds what is held back for a terminal.
const mostHeld = 1 << 20

// held keeps what several writers would print, in its order.
type held struct {
	mu    sync.Mutex // guards what follows
	free  bool
	kept  []heldText
	bytes int
	lost  int // bytes that were more than mostHeld
}

type heldText struct {
	to   io.Writer
	text []byte
}

// writer is one that writes to w once it is released.
func (h *held) writer(w io.Writer) io.Writer { return &heldWriter{h, w} }

type heldWriter struct {
	held *held
	to   io.Writer
}

// Write implements io.Writer.
func (w *heldWriter) Write(b []byte) (int, error) {
	h := w.held
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.free {
		return w.to.Write(b)
	}
	if h.bytes+len(b) > mostHeld {
		h.lost += len(b)
		return len(b), nil
	}
	h.bytes += len(b)
	h.kept = append(h.kept, heldText{w.to, append([]byte(nil), b...)})
	return len(b), nil
}

// release prints what was kept; from now on nothing is held back.
func (h *held) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.free = true
	for _, one := range h.kept {
		_, _ = one.to.Write(one.text)
	}
	if h.lost > 0 && len(h.kept) > 0 {
		fmt.Fprintf(h.kept[len(h.kept)-1].to, "%d bytes more were left out while the screen was shown\n", h.lost)
	}
	h.kept = nil
}

// isTerminalInput reports whether keys can be pressed.
func isTerminalInput(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
