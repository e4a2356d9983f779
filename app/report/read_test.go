package report

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-net/sonde/result"
)

// What was written is read again: the runs of every golden file, written once
// more, are the same bytes.
func TestReadRuns(t *testing.T) {
	for _, name := range []string{"udp-both.json", "udp-both.jsonl", "tcp-lost.json", "tcp-lost.jsonl", "refused.json", "refused.jsonl", "trips.json"} {
		t.Run(name, func(t *testing.T) {
			file, err := os.ReadFile(filepath.Join("testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			document, err := os.ReadFile(filepath.Join("testdata", strings.TrimSuffix(name, "l")))
			if err != nil {
				t.Fatal(err)
			}
			var again bytes.Buffer
			sink := JSON(&again, JSONConfig{Indent: true})
			runs := 0
			err = ReadRuns(bytes.NewReader(file), func(r *Run) error {
				runs++
				if r.End == nil || r.Head().Run != r.End.Run {
					t.Errorf("run %+v has no end", r.Head())
				}
				r.Replay(sink)
				return nil
			})
			if err != nil || runs == 0 {
				t.Fatalf("%d runs, %v", runs, err)
			}
			if d := cmp.Diff(string(document), again.String()); d != "" {
				t.Errorf("read and written again (-was +is):\n%s", d)
			}
		})
	}
}

// A file that ends in mid-test gives what there is of it.
func TestReadRunsCut(t *testing.T) {
	file, err := os.ReadFile("testdata/udp-both.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(file), "\n")
	var got []*Run
	err = ReadRuns(strings.NewReader(strings.Join(lines[:4], "")), func(r *Run) error { got = append(got, r); return nil })
	if err != nil || len(got) != 1 || got[0].End != nil || got[0].Begin == nil || len(got[0].Intervals) == 0 {
		t.Fatalf("%d runs, %v: %+v", len(got), err, got)
	}
	stop := errors.New("enough")
	if err := ReadRuns(bytes.NewReader(file), func(*Run) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of each gave %v", err)
	}
}

func TestReadRunsFaults(t *testing.T) {
	for _, tt := range []struct{ file, want string }{
		{"", ""},
		{"not json", "object 1"},
		{`{"a":1}`, `schema ""`},
		{`{"schema":"sonde.result/2","event":"end"}`, "this program reads sonde.result/1"},
		{`{"schema":"sonde.result/1","event":"end","time":"yesterday"}`, "time"},
		{`{"schema":"sonde.result/1","event":"interval","id":"x","time":"2026-11-20T14:36:54Z","direction":"sideways"}`, `direction "sideways"`},
		{`{"schema":"sonde.result/1","event":"end","time":"2026-11-20T14:36:54Z","download":{"bytes":-1}}`, "object 1"},
		{`{"schema":"sonde.result/1","event":"future","id":"x","time":"2026-11-20T14:36:54Z"}`, ""},
	} {
		err := ReadRuns(strings.NewReader(tt.file), func(*Run) error { return nil })
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("ReadRuns(%s) = %v, want %q", tt.file, err, tt.want)
		}
	}
}

// An error that was read has the code, the exit status and the hint of the one
// that was written.
func TestReadError(t *testing.T) {
	var b bytes.Buffer
	JSON(&b, JSONConfig{}).Put(result.End{Err: &result.Error{Word: result.CodeAuth, Text: "wrong password", Hint: "give another"}})
	err := ReadRuns(&b, func(r *Run) error { return r.End.Err })
	if result.CodeOf(err) != result.CodeAuth || result.ExitCode(err) != 4 || result.HintOf(err) != "give another" || err.Error() != "wrong password" {
		t.Errorf("read %v, code %s, exit %d", err, result.CodeOf(err), result.ExitCode(err))
	}
}

func FuzzReadRuns(f *testing.F) {
	for _, name := range []string{"udp-both.jsonl", "tcp-lost.json", "trips.json", "refused.json"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sink := JSON(new(bytes.Buffer), JSONConfig{})
		_ = ReadRuns(bytes.NewReader(b), func(r *Run) error { r.Replay(sink); return nil })
	})
}
