package cli

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Lines of a log that one cause can make without end, such as connections that
// are refused, are cut to so many of one message in so much time; what was left
// out is counted in one line at its end.
const (
	calmLines  = 50
	calmWindow = 30 * time.Second
	calmKinds  = 256 // messages that are told apart; further ones count as one
)

// calmed is a handler that cuts floods of one message, up to warnings.
func calmed(next slog.Handler) slog.Handler {
	return calm{next, &floods{kinds: map[string]*flood{}}}
}

// A calm is a slog.Handler.
type calm struct {
	slog.Handler
	*floods
}

type floods struct {
	mu    sync.Mutex // guards what follows
	kinds map[string]*flood
}

// A flood is what came of one message in the window that began last.
type flood struct {
	began    time.Time
	lines    int
	left     int // out
	wakening bool
}

// Handle implements slog.Handler.
func (c calm) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelInfo || r.Level > slog.LevelWarn || c.passes(r) {
		return c.Handler.Handle(ctx, r)
	}
	return nil
}

// passes tells whether a line is still within what its message may have.
func (c calm) passes(r slog.Record) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	kind := r.Message
	f, ok := c.kinds[kind]
	if !ok && len(c.kinds) >= calmKinds {
		kind = ""
		f, ok = c.kinds[kind]
	}
	if !ok {
		f = &flood{}
		c.kinds[kind] = f
	}
	now := time.Now()
	if now.Sub(f.began) >= calmWindow && !f.wakening {
		f.began, f.lines = now, 0
	}
	if f.lines++; f.lines <= calmLines {
		return true
	}
	f.left++
	if !f.wakening {
		f.wakening = true
		time.AfterFunc(calmWindow-now.Sub(f.began), func() { c.told(kind, r.Level, f) })
	}
	return false
}

// told says how many lines were left out, and begins anew.
func (c calm) told(kind string, level slog.Level, f *flood) {
	c.mu.Lock()
	left := f.left
	f.left, f.lines, f.wakening, f.began = 0, 0, false, time.Time{}
	c.mu.Unlock()
	if kind == "" {
		kind = "others"
	}
	r := slog.NewRecord(time.Now(), level, "too many lines of one kind: some were left out", 0)
	r.AddAttrs(slog.String("kind", kind), slog.Int("lines", left))
	_ = c.Handler.Handle(context.Background(), r) // a log that cannot be written has nobody to tell
}

// WithAttrs implements slog.Handler.
func (c calm) WithAttrs(attrs []slog.Attr) slog.Handler {
	return calm{c.Handler.WithAttrs(attrs), c.floods}
}

// WithGroup implements slog.Handler.
func (c calm) WithGroup(name string) slog.Handler { return calm{c.Handler.WithGroup(name), c.floods} }
