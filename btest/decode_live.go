package btest

import (
	"fmt"
	"sync"
	"time"

	"github.com/sonde-net/sonde/internal/transcript"
	"github.com/sonde-net/sonde/result"
)

// A Describer is a Trace that tells in words what the two ends of a test say
// to each other. Hashes and confirmations, with which passwords can be guessed,
// are hidden. It may be used by several connections at once.
type Describer struct {
	Role result.Role       // our end; empty means result.Client
	Say  func(line string) // takes one line at a time
	Hex  bool              // add the bytes of each message, secrets as ".."

	mu      sync.Mutex // guards what follows
	begun   time.Time
	dialogs map[int]*dialog
	order   []int // connections, oldest first
}

var _ Trace = (*Describer)(nil)

// mostDescribed is how many connections a Describer follows at once: it is not
// told of their end, so it forgets the oldest.
const mostDescribed = 1024

// Sent takes what our end sent on the n-th connection.
func (d *Describer) Sent(n int, b []byte) { d.take(n, d.ours(), b) }

// Received takes what came from the far end.
func (d *Describer) Received(n int, b []byte) { d.take(n, d.ours().Other(), b) }

func (d *Describer) ours() transcript.Side {
	if d.Role == result.Server {
		return transcript.Server
	}
	return transcript.Client
}

func (d *Describer) take(n int, from transcript.Side, b []byte) {
	if len(b) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.begun.IsZero() {
		d.begun = time.Now()
	}
	d.dialog(n).feed(from, time.Since(d.begun), b)
}

// dialog returns the dialog of a connection, with mu held.
func (d *Describer) dialog(n int) *dialog {
	if g := d.dialogs[n]; g != nil {
		return g
	}
	if d.dialogs == nil {
		d.dialogs = map[int]*dialog{}
	}
	if len(d.order) == mostDescribed {
		delete(d.dialogs, d.order[0])
		d.order = d.order[1:]
	}
	g := &dialog{tell: func(m message) { d.say(n, &m) }}
	d.dialogs[n] = g
	d.order = append(d.order, n)
	return g
}

// say tells a message of connection n.
func (d *Describer) say(n int, m *message) {
	way := "<"
	if m.from == d.ours() {
		way = ">"
	}
	line := fmt.Sprintf("#%d %s %s", n, way, m.line(false))
	if d.Hex && m.kind != kindUnknown && len(m.raw) > 0 { // unknown bytes are in the line
		line += " [" + m.hex(false) + "]"
	}
	d.Say(line)
}
