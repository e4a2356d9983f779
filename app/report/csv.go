package report

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sonde-net/sonde/result"
)

// A CSVConfig says which columns there are and how they count.
type CSVConfig struct {
	// BtestRS writes exactly the columns of btest-rs, as its name demands:
	// bytes with the headers that the protocol counts, 0 for what was not
	// measured, no row for a run that failed before it began.
	BtestRS bool
}

// A CSVSink writes one row for each run, or for each session of one by packets
// that come back, when it ends (RFC 4180, lines end in LF).
type CSVSink struct {
	out
	c       CSVConfig
	columns []column
	header  bool // still to be written
	file    *os.File
	begins  map[result.ID]result.Begin
}

// CSV writes a header before the first row.
func CSV(w io.Writer, c CSVConfig) *CSVSink {
	s := &CSVSink{out: out{w: w}, c: c, columns: columns, header: true, begins: map[result.ID]result.Begin{}}
	if c.BtestRS {
		s.columns = columns[:compatible]
	}
	return s
}

// OpenCSV appends to the file of that name, or writes to stdout if it is "-".
// A new or empty file gets the header. An older file that has only the first
// of the columns gets rows with just those; one with other columns is refused.
func OpenCSV(name string, stdout io.Writer, c CSVConfig) (*CSVSink, error) {
	if name == "-" {
		return CSV(stdout, c), nil
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, &result.Error{Word: result.CodeLocal, Text: "CSV", Err: err, Hint: "see whether the folder exists and may be written to"}
	}
	s := CSV(f, c)
	s.file = f
	if err := s.match(name); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

// match reads the header that the file has and writes it where there is none.
// Only a regular file is looked at: a pipe or device is written from the start.
func (s *CSVSink) match(name string) error {
	info, err := s.file.Stat()
	if err != nil {
		return &result.Error{Word: result.CodeLocal, Text: "CSV", Err: err}
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	if info.Size() == 0 {
		s.writeHeader()
		return s.localError(name, s.err)
	}
	line, err := bufio.NewReader(io.LimitReader(s.file, mostHeader)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return s.localError(name, err)
	}
	n, err := matching(line)
	if err != nil {
		return &result.Error{Word: result.CodeUsage, Text: "CSV " + name, Err: err, Hint: "give another file, or move this one away"}
	}
	s.columns = s.columns[:min(n, len(s.columns))]
	if n > len(s.columns) {
		s.columns = padded(s.columns, n)
	}
	s.header = false
	return s.localError(name, s.endLastLine(info.Size()))
}

// mostHeader bounds the first line of a file, in bytes.
const mostHeader = 64 << 10

func (s *CSVSink) localError(name string, err error) error {
	if err == nil {
		return nil
	}
	return &result.Error{Word: result.CodeLocal, Text: "CSV " + name, Err: err}
}

// matching says how many of our columns a file's first line names. It must
// name those of btest-rs, and nothing that we do not know.
func matching(line string) (int, error) {
	names, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(line, "\ufeff"))).Read()
	if err != nil {
		return 0, fmt.Errorf("its first line is no CSV header: %w", err)
	}
	for n, name := range names {
		if n >= len(columns) {
			return 0, fmt.Errorf("column %d is %q, which is not known here", n+1, clip(name, mostField))
		}
		if name != columns[n].name {
			return 0, fmt.Errorf("column %d is %q, not %q", n+1, clip(name, mostField), columns[n].name)
		}
	}
	if len(names) < compatible {
		return 0, fmt.Errorf("it has %d columns, not %d or more", len(names), compatible)
	}
	return len(names), nil
}

// padded adds empty cells, so that rows of the few columns of btest-rs fit a
// file that has all.
func padded(few []column, n int) []column {
	all := append([]column{}, few...)
	for len(all) < n {
		all = append(all, column{cell: func(record) string { return "" }})
	}
	return all
}

// endLastLine adds the line feed that a torn last row lacks.
func (s *CSVSink) endLastLine(size int64) error {
	last := make([]byte, 1)
	if _, err := s.file.ReadAt(last, size-1); err != nil {
		return err
	}
	if last[0] != '\n' {
		_, err := s.file.WriteString("\n")
		return err
	}
	return nil
}

// Put implements result.Sink.
func (s *CSVSink) Put(e result.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e := e.(type) {
	case result.Begin:
		s.begins[e.Run] = e
	case result.End:
		begin, ok := s.begins[e.Run]
		delete(s.begins, e.Run)
		// A server's refusals are no results; a client's failures are.
		if !ok && (s.c.BtestRS || e.Role == result.Server) {
			return
		}
		if s.header {
			s.writeHeader()
		}
		for n := range max(1, len(e.RoundTrips)) {
			s.writeRow(record{begin: begin, end: e, btestRS: s.c.BtestRS, session: n})
		}
	}
}

func (s *CSVSink) writeHeader() {
	names := make([]string, len(s.columns))
	for n, c := range s.columns {
		names[n] = c.name
	}
	s.header = false
	s.writeCells(names)
}

func (s *CSVSink) writeRow(r record) {
	cells := make([]string, len(s.columns))
	for n, c := range s.columns {
		cells[n] = c.cell(r)
	}
	s.writeCells(cells)
}

// writeCells writes one line in one call, so that programs that append to the
// same file do not mix their rows.
func (s *CSVSink) writeCells(cells []string) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	err := w.Write(cells)
	w.Flush()
	if err = errors.Join(err, w.Error()); err != nil && s.err == nil {
		s.err = err
	}
	s.write(b.Bytes())
}

// Close closes the file that OpenCSV opened, and returns the first error of
// writing.
func (s *CSVSink) Close() error {
	err := s.Err()
	if s.file == nil {
		return err
	}
	return errors.Join(err, s.file.Close())
}
