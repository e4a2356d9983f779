package diagnose

import (
	"fmt"

	"github.com/sonde-net/sonde/result"
)

// Sink returns a Sink that hands all events on to next and adds what can be read
// from them: to an End the Why, the Steady of each direction and the grade of
// the latency, where the engine left them open; and Notes, at most one of each
// kind for an end or a direction of a run, when a CPU is busy (NoteCPUBusy) and
// when sender and receiver counted differently (NoteViewsDiffer).
//
// It may be shared by many runs and used concurrently, as every Sink; it keeps
// up to 100 kB for each run between its Begin and its End.
func Sink(next result.Sink) result.Sink { return newSink(next) }

func newSink(next result.Sink) *sink {
	s := &sink{next: next, runs: make(chan map[result.ID]*Run, 1)}
	s.runs <- map[result.ID]*Run{}
	return s
}

type sink struct {
	next result.Sink
	// runs holds the open runs, by turns: who has taken the map out may use it,
	// and the Runs in it, and puts it back. It is a lock without package sync,
	// which this package does without.
	runs chan map[result.ID]*Run
}

// Put reads e, then hands on what it brought about and e itself.
func (s *sink) Put(e result.Event) {
	for _, e := range s.read(e) {
		s.next.Put(e)
	}
}

// read returns e, completed, behind the Notes that belong before it.
func (s *sink) read(e result.Event) []result.Event {
	runs := <-s.runs
	defer func() { s.runs <- runs }()
	id := e.Of().Run
	r := runs[id]
	switch e := e.(type) {
	case result.Begin:
		r = &Run{}
		runs[id] = r
		r.Add(e)
	case result.Interval:
		if r == nil {
			break // no Begin: not one of ours
		}
		r.Add(e)
		return append(r.cpuNotes(e), result.Event(e))
	case result.Note:
		if r != nil {
			r.Add(e)
		}
	case result.End:
		delete(runs, id)
		e.Latency = graded(e.Latency)
		if r == nil {
			return []result.Event{e}
		}
		r.Add(e)
		return append(r.viewNotes(), result.Event(r.complete(e)))
	}
	return []result.Event{e}
}

// complete returns e with what r tells. What e points to is not changed: others
// may hold it.
func (r *Run) complete(e result.End) result.End {
	if e.Why == nil {
		e.Why = Why(r)
	}
	e.Down, e.Up = r.down.complete(e.Down), r.up.complete(e.Up)
	return e
}

func (t *track) complete(total *result.Total) *result.Total {
	if total == nil || total.Steady != nil {
		return total
	}
	c := *total
	c.Steady = t.steady().Steady()
	return &c
}

// busyRow is how many readings in a row have to be high for a warning: one bad
// sample is not an alarm.
const busyRow = 3

// cpuNotes warns when a CPU begins to look like the limit, once for each end.
func (r *Run) cpuNotes(i result.Interval) []result.Event {
	var notes []result.Event
	for _, end := range []struct {
		load *load
		text string
		hint string
	}{
		{&r.cpu.local, "the CPU of this machine is busy (%.0f %%): it may be the limit, not the path", "stop what else keeps it busy, or use larger packets"},
		{&r.cpu.remote, "the CPU of the far end is busy (%.0f %%): it may be the limit, not the path", "if it is a router, measure through it, not to it"},
	} {
		if end.load.row < busyRow || end.load.warned {
			continue
		}
		end.load.warned = true
		notes = append(notes, result.Note{Head: i.Head, Level: result.Warning, Code: NoteCPUBusy,
			Text: fmt.Sprintf(end.text, end.load.latest), Hint: end.hint})
	}
	return notes
}

// differShare is how far the views of both ends may lie apart, of what was sent.
const differShare = 0.05

// viewNotes tells when the two ends of a direction counted differently, in the
// intervals for which both are known.
func (r *Run) viewNotes() []result.Event {
	var notes []result.Event
	for _, d := range r.directions() {
		w := r.way(d)
		sent, received := float64(w.bothSent), float64(w.bothReceived)
		if w.both < busyRow || sent == 0 {
			continue
		}
		apart := (sent - received) / sent
		if apart < differShare && apart > -differShare {
			continue
		}
		notes = append(notes, w.viewNote(r.end.Head, apart))
	}
	return notes
}

// viewNote tells of what was sent and did not come, or of more that came than
// was sent, as a share of what was sent.
func (w *way) viewNote(h result.Head, apart float64) result.Note {
	n := result.Note{Head: h, Level: result.Warning, Code: NoteViewsDiffer}
	if apart < 0 {
		n.Text = fmt.Sprintf("%s: %s counted %s more than %s says it sent", w.direction, w.receiver(), formatShare(-apart), w.sender())
		n.Hint = "one of them counts headers or other traffic; trust the receiver of numbered packets"
		return n
	}
	n.Text = fmt.Sprintf("%s: %s of what %s sent did not come by the count of %s", w.direction, formatShare(apart), w.sender(), w.receiver())
	if loss, ok := w.loss(); ok && w.receivedView.Lost != nil && loss >= apart/2 {
		n.Level = result.Info // the loss is counted and explains it
	}
	return n
}
