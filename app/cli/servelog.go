//go:build !nano

package cli

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/coreos/go-systemd/v22/journal"

	"github.com/sonde-net/sonde/app/config"
	"github.com/sonde-net/sonde/result"
)

// serveLog is the log that the configuration asks for; flags win.
func serveLog(e *env, o *output, c config.Log) (*slog.Logger, error) {
	if o.logLevel == "" && !o.quiet && o.verbose == 0 {
		o.logLevel = c.Level
	}
	toJournal := c.Format == "journal"
	if c.Format == "auto" {
		// The text is for a person; the journal keeps priority and fields apart.
		is, err := journal.StderrIsJournalStream()
		toJournal = is && err == nil
	}
	if c.Format == "json" {
		o.logFormat = "json"
	}
	o.log = nil
	plainLog := o.logger()
	if !toJournal {
		return plainLog, nil
	}
	if !journal.Enabled() {
		return nil, &result.Error{Word: result.CodeLocal, Text: "log.format journal: no journal is here", Hint: "give text or json"}
	}
	return slog.New(calmed(&journalHandler{level: plainLog.Handler(), send: journal.Send})), nil
}

// A journalHandler writes to systemd's journal: the line as a person reads it,
// and each attribute as a field SONDE_NAME.
type journalHandler struct {
	level slog.Handler // says what is logged
	send  func(message string, p journal.Priority, vars map[string]string) error
	attrs []slog.Attr
	group string
}

// Enabled implements slog.Handler.
func (h *journalHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.level.Enabled(ctx, l)
}

// Handle implements slog.Handler.
func (h *journalHandler) Handle(_ context.Context, r slog.Record) error {
	vars := map[string]string{"SYSLOG_IDENTIFIER": "sonde"}
	var line strings.Builder
	line.WriteString(r.Message)
	add := func(a slog.Attr) bool {
		text := a.Value.Resolve().String()
		fmt.Fprintf(&line, " %s=%s", a.Key, text)
		vars[journalField(a.Key)] = text
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	r.Attrs(func(a slog.Attr) bool { a.Key = h.group + a.Key; return add(a) })
	return h.send(line.String(), priority(r.Level), vars)
}

// WithAttrs implements slog.Handler.
func (h *journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.attrs = c.attrs[:len(c.attrs):len(c.attrs)]
	for _, a := range attrs {
		a.Key = h.group + a.Key
		c.attrs = append(c.attrs, a)
	}
	return &c
}

// WithGroup implements slog.Handler.
func (h *journalHandler) WithGroup(name string) slog.Handler {
	c := *h
	c.group += name + "."
	return &c
}

// journalField is a key as the journal takes it: A to Z, digits and _.
func journalField(key string) string {
	return "SONDE_" + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, key)
}

func priority(l slog.Level) journal.Priority {
	switch {
	case l >= slog.LevelError:
		return journal.PriErr
	case l >= slog.LevelWarn:
		return journal.PriWarning
	case l >= slog.LevelInfo:
		return journal.PriInfo
	}
	return journal.PriDebug
}

// once logs that something goes on failing a single time until it works again.
type once struct {
	mu     sync.Mutex
	failed bool
}

// tell logs err if it is the first one after a success.
func (o *once) tell(log *slog.Logger, what string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err != nil && !o.failed:
		log.Error(what, "err", err)
	case err == nil && o.failed:
		log.Info(what + ": works again")
	}
	o.failed = err != nil
}
