package tui

import (
	"bytes"
	"sync"
)

// A Log keeps the latest lines that are written to it, for the foot of a screen.
// It is safe for concurrent use.
type Log struct {
	mu    sync.Mutex // guards what follows
	lines []string
	rest  []byte // of a line that is not whole yet
}

// maxLog is how many lines are kept, and maxLine how long one may be.
const (
	maxLog  = 200
	maxLine = 4096
)

// Write implements io.Writer.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest = append(l.rest, b...)
	for {
		line, rest, whole := bytes.Cut(l.rest, []byte("\n"))
		if !whole {
			break
		}
		l.add(string(line))
		l.rest = rest
	}
	l.rest = append([]byte(nil), l.rest[:min(len(l.rest), maxLine)]...)
	return len(b), nil
}

func (l *Log) add(line string) {
	l.lines = append(l.lines, line[:min(len(line), maxLine)])
	if n := len(l.lines) - maxLog; n > 0 {
		l.lines = append([]string(nil), l.lines[n:]...)
	}
}

// last returns the latest n lines.
func (l *Log) last(n int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.lines[max(0, len(l.lines)-n):]...)
}

// say adds a line.
func (l *Log) say(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(line)
}
