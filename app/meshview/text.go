package meshview

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/mesh"
	"github.com/sonde-net/sonde/result"
)

// A Text writes what a node tells as lines for a person: what changes, when it
// changes, and at the end of each peer its figures.
type Text struct {
	mu   sync.Mutex // guards what follows
	w    io.Writer
	err  error
	runs map[result.ID]string // labels
}

// NewText makes a Text that writes to w.
func NewText(w io.Writer) *Text { return &Text{w: w, runs: map[result.ID]string{}} }

// Put implements result.Sink.
func (t *Text) Put(e result.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch e := e.(type) {
	case result.Begin:
		label := clean(e.Target)
		if label == "" && e.Peer.IsValid() {
			label = e.Peer.String()
		}
		t.runs[e.Run] = label
		seen := ""
		if e.Peer.IsValid() && label != e.Peer.String() {
			seen = " at " + e.Peer.String()
		}
		t.line(e.Time, "%s: listed%s", label, seen)
	case result.Note:
		t.line(e.Time, "%s", report.Clean(e.Text))
		if e.Hint != "" {
			t.line(e.Time, "  hint: %s", report.Clean(e.Hint))
		}
	case result.End:
		for _, r := range e.RoundTrips {
			t.line(e.Time, "%s: %s, %s", t.runs[e.Run], ending(e.Reason), totals(r))
		}
		delete(t.runs, e.Run)
	}
}

// Table writes a table of what a node knows.
func (t *Text) Table(now time.Time, s mesh.NodeStatus) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(s.Peers) == 0 {
		t.line(now, "no peer is listed yet")
		return
	}
	t.line(now, "%d listed", len(s.Peers))
	Table(t, s)
}

// Write implements io.Writer for the lines of a table.
func (t *Text) Write(b []byte) (int, error) {
	if t.err != nil {
		return 0, t.err
	}
	n, err := t.w.Write(b)
	t.err = err
	return n, err
}

// Err is the first error of the writer.
func (t *Text) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

func (t *Text) line(at time.Time, format string, args ...any) {
	fmt.Fprintf(t, "%s  %s\n", at.Local().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

func ending(reason string) string {
	if reason == result.ReasonClientGone {
		return "not listed any more"
	}
	return "ends"
}

func totals(r result.RoundTrips) string {
	if r.Sent == 0 {
		return "nothing measured"
	}
	text := fmt.Sprintf("%d pings, %d lost", r.Sent, r.Lost)
	if ratio, ok := r.LossRatio(); ok && r.Lost > 0 {
		text += " (" + report.FormatPercent(ratio) + ")"
	}
	if r.RTT != nil {
		d := r.RTT.Delay
		text += fmt.Sprintf(", RTT %s (%s to %s)", report.FormatDelay(d.P50), report.FormatDelay(d.Min), report.FormatDelay(d.Max))
		if r.RTT.Jitter != nil {
			text += ", jitter " + report.FormatDelay(*r.RTT.Jitter)
		}
	}
	return text
}
