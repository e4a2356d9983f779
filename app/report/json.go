package report

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"time"

	"github.com/sonde-net/sonde/result"
)

// A JSONConfig says how JSON is written. The zero JSONConfig is ready to use.
type JSONConfig struct {
	Indent bool // documents over many lines, for reading; lines are never indented
	Rows   int  // most intervals a document repeats; 0 means 7200, the first two hours of one direction
}

// mostWarnings is how many warnings of a run its document repeats.
const mostWarnings = 100

// A JSONSink writes JSON by Schema.
type JSONSink struct {
	out
	lines  bool
	indent bool
	rows   int
	runs   map[result.ID]*journal
}

// A journal is what is kept of a run for its document.
type journal struct {
	begin           *result.Begin
	rows            []result.Interval // sums over all streams
	streams         []result.Interval // single streams
	leftOut         int               // intervals not kept
	warnings        []keptWarningJSON
	warningsLeftOut int
}

// JSON writes one document for each run, when it ends.
func JSON(w io.Writer, c JSONConfig) *JSONSink { return newJSON(w, c, false) }

// JSONLines writes one object on a line of its own for each event. The object
// of an End is the document that JSON would have written.
func JSONLines(w io.Writer, c JSONConfig) *JSONSink {
	c.Indent = false
	return newJSON(w, c, true)
}

func newJSON(w io.Writer, c JSONConfig, lines bool) *JSONSink {
	return &JSONSink{
		out: out{w: w}, lines: lines, indent: c.Indent,
		rows: cmp.Or(c.Rows, 7200), runs: map[result.ID]*journal{},
	}
}

// Put implements result.Sink. Remarks that are no warnings are left out.
func (s *JSONSink) Put(e result.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e := e.(type) {
	case result.Begin:
		s.run(e.Run).begin = &e
		s.line(startJSON{headOf("start", e.Head), testOf(&e)})
	case result.Interval:
		s.run(e.Run).keep(e, s.rows)
		if s.lines {
			s.line(intervalJSON{headOf("interval", e.Head), rowOf(e)})
		}
	case result.Note:
		s.note(e)
	case result.End:
		s.end(e)
	}
}

func (s *JSONSink) run(id result.ID) *journal {
	j := s.runs[id]
	if j == nil {
		j = &journal{}
		s.runs[id] = j
	}
	return j
}

func (s *JSONSink) note(n result.Note) {
	if n.Level != result.Warning {
		return
	}
	if n.Time.IsZero() {
		n.Time = time.Now()
	}
	if n.Run != "" {
		s.run(n.Run).warn(keptWarningJSON{stamp(n.Time), remarkOf(n)})
	}
	s.line(warningJSON{headOf("warning", n.Head), remarkOf(n)})
}

func (s *JSONSink) end(e result.End) {
	j := s.runs[e.Run]
	if j == nil {
		j = &journal{}
	}
	delete(s.runs, e.Run)
	if e.Run == "" {
		e.Run = result.NewID()
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	if e.Err != nil {
		s.line(errorEventJSON{headOf("error", e.Head), errorOf(e.Err)})
	}
	s.object(endOf(j.begin, e, j.kept()))
}

// keep remembers an interval, as long as there are fewer than most of its kind.
func (j *journal) keep(i result.Interval, most int) {
	rows := &j.rows
	if i.Stream != result.AllStreams {
		rows = &j.streams
	}
	if len(*rows) >= most {
		j.leftOut++
		return
	}
	*rows = append(*rows, i)
}

func (j *journal) warn(r keptWarningJSON) {
	if len(j.warnings) >= mostWarnings {
		j.warningsLeftOut++
		return
	}
	j.warnings = append(j.warnings, r)
}

// kept is the journal as it stands in the document; lists are never null.
func (j *journal) kept() keptJSON {
	k := keptJSON{
		Warnings: append([]keptWarningJSON{}, j.warnings...), WarningsLeftOut: j.warningsLeftOut,
		Intervals: []rowJSON{}, LeftOut: j.leftOut,
	}
	for _, i := range j.rows {
		k.Intervals = append(k.Intervals, rowOf(i))
	}
	for _, i := range j.streams {
		k.Streams = append(k.Streams, rowOf(i))
	}
	return k
}

// line writes an object of JSONLines; JSON leaves it out.
func (s *JSONSink) line(v any) {
	if s.lines {
		s.object(v)
	}
}

// object writes v and a line feed.
func (s *JSONSink) object(v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if s.indent {
		enc.SetIndent("", "  ")
	}
	if err := enc.Encode(v); err != nil {
		if s.err == nil {
			s.err = err
		}
		return
	}
	s.write(b.Bytes())
}
