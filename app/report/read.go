package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sonde-net/sonde/result"
)

// A Run is one test as a file of results tells it.
type Run struct {
	Begin     *result.Begin     // nil when the test failed before it began
	Intervals []result.Interval // in the order they were put
	Notes     []result.Note     // warnings; a file keeps no others
	End       *result.End       // nil when the file ends before the test did
}

// Head says which run it is and when it ended, or was last heard of.
func (r *Run) Head() result.Head {
	switch {
	case r.End != nil:
		return r.End.Head
	case len(r.Intervals) > 0:
		return r.Intervals[len(r.Intervals)-1].Head
	case r.Begin != nil:
		return r.Begin.Head
	}
	return result.Head{}
}

// Replay puts the events of r into a sink, as the test did.
func (r *Run) Replay(sink result.Sink) {
	if r.Begin != nil {
		sink.Put(*r.Begin)
	}
	for _, i := range r.Intervals {
		sink.Put(i)
	}
	for _, n := range r.Notes {
		sink.Put(n)
	}
	if r.End != nil {
		sink.Put(*r.End)
	}
}

// mostUnended is how many runs without an end ReadRuns remembers: a server's
// file may mix many.
const mostUnended = 4096

// ReadRuns reads what JSON or JSONLines wrote, documents and lines alike, and
// calls each with every run in the order in which they ended; runs that the file
// does not see the end of come last. An error of each ends it.
func ReadRuns(r io.Reader, each func(*Run) error) error {
	d := json.NewDecoder(r)
	open := map[result.ID]*Run{}
	var order []result.ID
	for n := 1; ; n++ {
		var raw json.RawMessage
		err := d.Decode(&raw)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			var run *Run
			if run, err = readObject(raw, open, &order); err == nil && run != nil {
				err = each(run)
				if err != nil {
					return err
				}
				continue
			}
		}
		if err != nil {
			return fmt.Errorf("object %d of the file, up to byte %d: %w", n, d.InputOffset(), err)
		}
	}
	for _, id := range order {
		if run := open[id]; run != nil {
			if err := each(run); err != nil {
				return err
			}
		}
	}
	return nil
}

// readObject takes one object in; it returns the run that it ends, if any.
func readObject(raw []byte, open map[result.ID]*Run, order *[]result.ID) (*Run, error) {
	var h headJSON
	if err := json.Unmarshal(raw, &h); err != nil {
		return nil, err
	}
	if major, _, _ := strings.Cut(h.Schema, "/"); major != "sonde.result" {
		return nil, fmt.Errorf("schema %q: not a result of sonde", h.Schema)
	}
	if h.Schema != Schema {
		return nil, fmt.Errorf("schema %q: this program reads %s", h.Schema, Schema)
	}
	head, err := h.read()
	if err != nil {
		return nil, err
	}
	if h.Event == "end" {
		var j endJSON
		if err := json.Unmarshal(raw, &j); err != nil {
			return nil, err
		}
		delete(open, head.Run)
		return j.read(head)
	}
	if head.Run == "" {
		return nil, nil // a remark about a server, not about a run
	}
	run := open[head.Run]
	if run == nil {
		if len(open) >= mostUnended {
			oldest := (*order)[0]
			*order = slices.Delete(*order, 0, 1)
			delete(open, oldest)
		}
		run = &Run{}
		open[head.Run] = run
		*order = append(*order, head.Run)
	}
	return nil, run.take(h.Event, head, raw)
}

// take adds an object that is not the end to r. Unknown events are of a later
// version of the schema, which only adds.
func (r *Run) take(event string, head result.Head, raw []byte) error {
	switch event {
	case "start":
		var j startJSON
		if err := json.Unmarshal(raw, &j); err != nil {
			return err
		}
		var err error
		r.Begin, err = j.Test.read(head)
		return err
	case "interval":
		var j intervalJSON
		if err := json.Unmarshal(raw, &j); err != nil {
			return err
		}
		i, err := j.rowJSON.read(head)
		r.Intervals = append(r.Intervals, i)
		return err
	case "warning":
		var j warningJSON
		if err := json.Unmarshal(raw, &j); err != nil {
			return err
		}
		r.Notes = append(r.Notes, j.remarkJSON.read(head))
	}
	return nil
}
