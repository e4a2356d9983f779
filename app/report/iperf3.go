package report

import (
	"io"
	"runtime"
	"strings"

	"github.com/sonde-net/sonde/iperf3/wire"
	"github.com/sonde-net/sonde/result"
)

// An Iperf3Kind is one of the forms of iperf3's own report.
type Iperf3Kind string

// The forms: lines, the document of -J, the events of --json-stream.
const (
	Iperf3Text   Iperf3Kind = "text"
	Iperf3JSON   Iperf3Kind = "json"
	Iperf3Stream Iperf3Kind = "stream"
)

// An Iperf3Config says how Iperf3 writes.
type Iperf3Config struct {
	Kind   Iperf3Kind // empty means Iperf3Text
	Unit   byte       // of rates, as iperf3's -f takes it: k, m, g, t bits, K, M, G, T bytes; 0 chooses
	Title  string     // before every line of text
	Server bool       // there is no Event: the report is made of the results
	Pieces bool       // of a server: ServerEvent tells what stands in it
}

// mostIperf3Intervals is how many intervals a document keeps, the first day.
const mostIperf3Intervals = 86400

// iperf3Version is the program whose documents these are.
const iperf3Version = "iperf " + wire.Version

// An Iperf3Sink writes the report of iperf3. A client's engine tells what
// stands in it by Event. A server's report is made of its results: its streams
// stand in it as their sum.
type Iperf3Sink struct {
	out
	c      Iperf3Config
	report wire.Report
	runs   map[result.ID]*iperf3Run
}

// Iperf3 writes iperf3's own report.
func Iperf3(w io.Writer, c Iperf3Config) *Iperf3Sink {
	if c.Kind == "" {
		c.Kind = Iperf3Text
	}
	return &Iperf3Sink{out: out{w: w}, c: c, runs: map[result.ID]*iperf3Run{}}
}

// Event takes a piece of the report, by the names and types of package
// iperf3/wire.
func (s *Iperf3Sink) Event(name string, data any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.event(&s.report, name, data)
}

// event puts a piece into the report r, and writes what need not wait.
func (s *Iperf3Sink) event(r *wire.Report, name string, data any) {
	if s.c.Kind == Iperf3Stream {
		b, err := wire.AppendEvent(nil, name, data)
		s.failed(err)
		s.write(b)
	}
	switch d := data.(type) {
	case wire.ReportStart:
		r.Start = d
		s.text(iperf3Start(s.c, r))
	case wire.ReportInterval:
		if len(r.Intervals) < mostIperf3Intervals {
			r.Intervals = append(r.Intervals, d)
		}
		s.text(s.c.lines().Interval(r, d))
	case wire.ReportEnd:
		r.End = d
	case string:
		if name == wire.EventServerText {
			r.ServerText = d
		} else {
			r.Error = d
		}
	default:
		if raw, ok := rawJSON(d); ok && name == wire.EventServerDocument {
			r.ServerDocument = raw
		}
	}
}

// failed remembers the first error.
func (s *Iperf3Sink) failed(err error) {
	if err != nil && s.err == nil {
		s.err = err
	}
}

// text writes lines, with the title before each.
func (s *Iperf3Sink) text(lines string) {
	if s.c.Kind != Iperf3Text || lines == "" {
		return
	}
	if s.c.Title != "" {
		title := clean(s.c.Title) + ":  "
		lines = title + strings.ReplaceAll(strings.TrimSuffix(lines, "\n"), "\n", "\n"+title) + "\n"
	}
	s.write([]byte(lines))
}

// Put implements result.Sink.
func (s *Iperf3Sink) Put(e result.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c.Server {
		s.serverEvent(e)
		return
	}
	if end, ok := e.(result.End); ok {
		s.close(&s.report, end)
		s.report = wire.Report{}
	}
}

// close writes what is left of the report r.
func (s *Iperf3Sink) close(r *wire.Report, end result.End) {
	if r.Error == "" && end.Err != nil {
		r.Error = end.Err.Error()
	}
	switch s.c.Kind {
	case Iperf3JSON:
		if r.Start.Version == "" {
			r.Start.Version, r.Start.SystemInfo = iperf3Version, runtime.GOOS+" "+runtime.GOARCH
		}
		b, err := wire.AppendReport(nil, r)
		s.failed(err)
		s.write(b)
	case Iperf3Text:
		if r.Start.TestStart != nil {
			s.text(iperf3End(s.c, r, end))
		}
	}
}
