package report

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/sonde-net/sonde/result"
)

const schemas = "../../docs/schema"

// compile reads a schema. A strict one allows no field that it does not
// describe, which readers must not ask for but tests must.
func compile(t *testing.T, name string, strict bool) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	files, err := filepath.Glob(filepath.Join(schemas, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no schema: %v", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if strict {
			closeObjects(doc)
		}
		if err := c.AddResource(doc.(map[string]any)["$id"].(string), doc); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	s, err := c.Compile("https://github.com/sonde-net/sonde/docs/schema/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// closeObjects forbids further properties wherever some are described.
func closeObjects(v any) {
	switch v := v.(type) {
	case map[string]any:
		if _, free := v["additionalProperties"]; v["type"] == "object" && !free {
			v["additionalProperties"] = false
		}
		for _, inner := range v {
			closeObjects(inner)
		}
	case []any:
		for _, inner := range v {
			closeObjects(inner)
		}
	}
}

// extremes is a run whose figures are as large, as odd or as absent as they
// can be.
func extremes() []result.Event {
	const id = "01932b1f-5a3c-7000-8000-000000000004"
	huge := result.Some[uint64](math.MaxUint64)
	view := &result.View{Bytes: math.MaxUint64, WireBytes: huge, Packets: huge, Lost: result.Some[int64](math.MinInt64),
		Late: huge, Jitter: result.Some(time.Duration(math.MaxInt64)), Covered: time.Hour,
		TCP: &result.TCPInfo{Retransmits: math.MaxUint64}}
	nan := result.CPU{Local: result.Some(math.NaN()), Remote: result.Some(math.Inf(1))}
	return []result.Event{
		result.Begin{Head: at(id, result.Client, 0), Direction: result.Down},
		result.Interval{Head: at(id, result.Client, 0), Seq: 1, Direction: result.Down, Stream: result.AllStreams, Received: view, CPU: nan},
		result.Interval{Head: at(id, result.Client, 0), Seq: 1, Direction: result.Up, Stream: 7},
		result.Note{Head: at(id, result.Client, 0), Level: result.Warning, Text: "\xff\x00<&>", Login: &result.Login{}},
		result.Note{Head: result.Head{Time: began}, Level: result.Warning},
		result.End{Head: at(id, result.Client, 0), CPU: nan,
			Down: &result.Total{Received: view, Sent: &result.View{}, Steady: &result.Steady{Spread: math.NaN()}, Streams: []result.Total{{}}},
			Up:   &result.Total{}, Latency: &result.Latency{RPM: result.Some(math.Inf(-1))}, Why: &result.Why{}, Err: os.ErrClosed},
	}
}

// TestSchema holds every object that is written against the schema.
func TestSchema(t *testing.T) {
	for _, strict := range []bool{true, false} {
		all := compile(t, "result-1.json", strict)
		one := map[string]*jsonschema.Schema{}
		for _, event := range []string{"start", "interval", "warning", "error", "end"} {
			one[event] = compile(t, "result-1-"+event+".json", strict)
		}
		var lines bytes.Buffer
		sink := result.Tee(JSONLines(&lines, JSONConfig{}), JSON(&lines, JSONConfig{}))
		put(sink, udpBoth(), tcpLost(), refused(), extremes(), logins(), pingsGood(), pingsPoor(), pingsExtreme(), pingsReflected())
		sink.Put(result.End{Err: os.ErrClosed})
		seen := map[string]int{}
		for line := range strings.Lines(lines.String()) {
			v, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
			if err != nil {
				t.Fatalf("%v in %s", err, line)
			}
			event := v.(map[string]any)["event"].(string)
			seen[event]++
			if err := all.Validate(v); err != nil {
				t.Errorf("%s%v", line, err)
			}
			if err := one[event].Validate(v); err != nil {
				t.Errorf("%s%v", line, err)
			}
		}
		for event := range one {
			if seen[event] == 0 {
				t.Errorf("no %s was written", event)
			}
		}
	}
}

// The schema must be able to say no.
func TestSchemaRejects(t *testing.T) {
	s := compile(t, "result-1.json", false)
	var lines bytes.Buffer
	put(JSONLines(&lines, JSONConfig{}), udpBoth())
	start, _, _ := strings.Cut(lines.String(), "\n")
	for _, tt := range []struct{ name, old, new string }{
		{"another schema", "sonde.result/1", "sonde.result/2"},
		{"another event", `"event":"start"`, `"event":"begin"`},
		{"an ID of another version", "-7000-", "-4000-"},
		{"local time", `"time":"2026-11-20T14:36:51.100000Z"`, `"time":"2026-11-20T14:36:51+01:00"`},
		{"a direction of the server", `"both"`, `"TX"`},
		{"a formatted number", `"upload_bits_per_second":100000000`, `"upload_bits_per_second":"100 Mbit/s"`},
		{"a missing field", `"streams":1,`, ``},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bad := strings.Replace(start, tt.old, tt.new, 1)
			if bad == start {
				t.Fatalf("no %s in %s", tt.old, start)
			}
			var v any
			if err := json.Unmarshal([]byte(bad), &v); err != nil {
				t.Fatal(err)
			}
			if err := s.Validate(v); err == nil {
				t.Errorf("%s passes", bad)
			}
		})
	}
}
