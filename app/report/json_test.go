package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sonde-net/sonde/result"
)

func TestJSON(t *testing.T) {
	for _, tt := range []struct {
		name   string
		events []result.Event
	}{
		{"udp-both", udpBoth()},
		{"tcp-lost", tcpLost()},
		{"refused", refused()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var lines, document bytes.Buffer
			put(JSONLines(&lines, JSONConfig{Indent: true}), tt.events)
			put(JSON(&document, JSONConfig{Indent: true}), tt.events)
			golden(t, tt.name+".jsonl", lines.String())
			golden(t, tt.name+".json", document.String())
			all := strings.Split(strings.TrimSuffix(lines.String(), "\n"), "\n")
			if d := cmp.Diff(parse(t, all[len(all)-1]), parse(t, document.String())); d != "" {
				t.Errorf("the end line is not the document (-line +document):\n%s", d)
			}
		})
	}
}

func parse(t *testing.T, s string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("%v in %s", err, s)
	}
	return v
}

// A run that failed before it had an ID still gives a valid document.
func TestJSONWithoutAnything(t *testing.T) {
	var b bytes.Buffer
	JSON(&b, JSONConfig{}).Put(result.End{Err: &result.Error{Word: result.CodeUsage, Text: "no such flag"}})
	v := parse(t, b.String())
	if id, _ := v["id"].(string); len(id) != 36 || id[14] != '7' {
		t.Errorf("id = %v, want a UUID of version 7", v["id"])
	}
	if at, err := time.Parse(time.RFC3339Nano, v["time"].(string)); err != nil || at.Location() != time.UTC {
		t.Errorf("time = %v, want RFC 3339 in UTC", v["time"])
	}
	if e := v["error"].(map[string]any); e["exit"] != 2.0 || e["code"] != "usage" || e["hint"] != nil {
		t.Errorf("error = %v", e)
	}
}

func TestJSONNumbers(t *testing.T) {
	for _, tt := range []struct {
		v    any
		want string
	}{
		{count(1 << 53), "9007199254740992"},
		{count(1<<53 + 1), `"9007199254740993"`},
		{count(math.MaxUint64), `"18446744073709551615"`},
		{signed(-1 << 53), "-9007199254740992"},
		{signed(-1<<53 - 1), `"-9007199254740993"`},
		{finite(result.Some(math.NaN()), 2), "null"},
		{finite(result.Some(math.Inf(1)), 2), "null"},
		{finite(result.Some(12.345), 2), "12.35"},
		{counts(nil), "null"},
		{seconds(1500 * time.Millisecond), "1.5"},
		{text(""), "null"},
	} {
		got, err := json.Marshal(tt.v)
		if err != nil || string(got) != tt.want {
			t.Errorf("%T %v = %s, %v, want %s", tt.v, tt.v, got, err, tt.want)
		}
	}
}

// The rows and warnings that a document repeats are bounded.
func TestJSONKeepsSoMany(t *testing.T) {
	var b bytes.Buffer
	s := JSON(&b, JSONConfig{Rows: 3})
	events := udpBoth()
	s.Put(events[0])
	for n := range 200 {
		i := events[1].(result.Interval)
		i.Seq = n + 1
		s.Put(i)
		i.Stream = 0
		s.Put(i)
		s.Put(events[5])
	}
	s.Put(events[len(events)-1])
	v := parse(t, b.String())
	for field, want := range map[string]int{"intervals": 3, "stream_intervals": 3, "warnings": 100} {
		if n := len(v[field].([]any)); n != want {
			t.Errorf("%d %s, want %d", n, field, want)
		}
	}
	if v["intervals_left_out"] != 394.0 || v["warnings_left_out"] != 100.0 {
		t.Errorf("left out %v intervals and %v warnings, want 394 and 100", v["intervals_left_out"], v["warnings_left_out"])
	}
}

// A remark of the server belongs to no run and no document.
func TestJSONServerRemark(t *testing.T) {
	var b bytes.Buffer
	s := JSONLines(&b, JSONConfig{})
	s.Put(result.Note{Head: result.Head{Time: began, Protocol: "btest", Role: result.Server}, Level: result.Warning, Code: "open", Text: "no accounts"})
	if v := parse(t, b.String()); v["id"] != nil || v["event"] != "warning" {
		t.Errorf("got %v", v)
	}
	if len(s.runs) != 0 {
		t.Error("a run is kept for it")
	}
}

// flusher counts how often it was flushed with a whole line.
type flusher struct {
	bytes.Buffer
	flushed int
}

func (f *flusher) Flush() error {
	f.flushed++
	if b := f.Bytes(); len(b) == 0 || b[len(b)-1] != '\n' {
		return fmt.Errorf("flushed in mid-line: %q", b)
	}
	return nil
}

func TestJSONLinesFlushed(t *testing.T) {
	var f flusher
	s := JSONLines(&f, JSONConfig{})
	put(s, udpBoth())
	if lines := strings.Count(f.String(), "\n"); s.Err() != nil || f.flushed != lines || lines != 7 {
		t.Errorf("%d lines, %d flushes, %v", lines, f.flushed, s.Err())
	}
}

// Many runs at once: every line whole, every document with its own intervals.
func TestManyRunsAtOnce(t *testing.T) {
	const runs, intervals = 50, 20
	var text, lines, docs bytes.Buffer
	documents := JSON(&docs, JSONConfig{})
	sink := result.Tee(documents, JSONLines(&lines, JSONConfig{}), Text(&text, TextConfig{Many: true}))
	var wg sync.WaitGroup
	for range runs {
		wg.Go(func() {
			id := result.NewID()
			events := udpBoth()
			begin, interval, end := events[0].(result.Begin), events[1].(result.Interval), events[len(events)-1].(result.End)
			begin.Run, interval.Run, end.Run = id, id, id
			sink.Put(begin)
			for n := range intervals {
				interval.Seq = n + 1
				sink.Put(interval)
			}
			sink.Put(end)
		})
	}
	wg.Wait()
	for line := range strings.Lines(docs.String()) {
		v := parse(t, line)
		rows := v["intervals"].([]any)
		if len(rows) != intervals || v["test"] == nil {
			t.Fatalf("document of %v has %d intervals, want %d", v["id"], len(rows), intervals)
		}
		if !slices.IsSortedFunc(rows, func(a, b any) int {
			return int(a.(map[string]any)["seq"].(float64) - b.(map[string]any)["seq"].(float64))
		}) {
			t.Errorf("intervals of %v are out of order", v["id"])
		}
	}
	if n := strings.Count(docs.String(), "\n"); n != runs {
		t.Errorf("%d documents, want %d", n, runs)
	}
	if n := strings.Count(lines.String(), "\n"); n != runs*(intervals+2) {
		t.Errorf("%d lines, want %d", n, runs*(intervals+2))
	}
	if len(documents.runs) != 0 {
		t.Errorf("%d runs are still kept", len(documents.runs))
	}
}
