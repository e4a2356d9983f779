package transcript

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// load reads a recording of testdata, made between real programs.
func load(t testing.TB, name string) (*Recording, []byte) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	r, err := ReadJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return r, b
}

// recordings lists the JSON files of testdata.
func recordings(t testing.TB) []string {
	t.Helper()
	names, err := filepath.Glob("testdata/*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("no recordings in testdata: %v", err)
	}
	for i := range names {
		names[i] = filepath.Base(names[i])
	}
	return names
}

// TestJSONRoundTrip compares what is saved with the file as it was, value by
// value: the order of keys is free.
func TestJSONRoundTrip(t *testing.T) {
	for _, name := range recordings(t) {
		t.Run(name, func(t *testing.T) {
			r, was := load(t, name)
			var b bytes.Buffer
			if err := r.WriteJSON(&b); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(generic(t, was), generic(t, b.Bytes())); d != "" {
				t.Errorf("saved recording differs (-was +is):\n%s", d)
			}
		})
	}
}

func generic(t *testing.T, b []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestReadJSON(t *testing.T) {
	r, _ := load(t, "rs-tcp-both-noauth.json")
	if r.Name != "rs-tcp-both-noauth" || r.Server != "btest-rs 0.6.3" || len(r.Notes) != 1 || len(r.Events) != 9 {
		t.Errorf("head is %q %q %q and %d events", r.Name, r.Server, r.Notes, len(r.Events))
	}
	want := Event{Kind: Zeros, From: Client, At: 101e6, Last: 3010e6, Joined: true, Conn: 1, Len: 36480968}
	if d := cmp.Diff(want, r.Events[4], cmp.Comparer(sameEnds)); d != "" {
		t.Errorf("event 4 (-want +got):\n%s", d)
	}
	if got := r.Events[4].Bytes(); got != 36480968 {
		t.Errorf("event 4 stands for %d bytes", got)
	}
}

func TestReadJSONErrors(t *testing.T) {
	event := func(e string) string { return `{"events":[{"truncated_events":1},` + e + `]}` }
	for _, tt := range []struct{ name, in, want string }{
		{"empty", "", "unexpected EOF"},
		{"cut", `{"events":[`, "unexpected EOF"},
		{"no recording", `{"name":"x"}`, "no events"},
		{"a list", `[]`, "[ where { was expected"},
		{"trailing", `{"events":[]} x`, "something follows"},
		{"no time", event(`{"proto":"tcp"}`), "event 1: has no t"},
		{"negative time", event(`{"t":-1,"proto":"tcp"}`), "event 1: time -1 s"},
		{"protocol", event(`{"t":0,"proto":"sctp"}`), `event 1: proto "sctp"`},
		{"direction", event(`{"t":0,"proto":"tcp","dir":"up"}`), `event 1: dir "up"`},
		{"no direction", event(`{"t":0,"proto":"tcp","conn":1,"event":"fin"}`), "event 1: fin without a direction"},
		{"connection", event(`{"t":0,"proto":"tcp","dir":"c2s","conn":65536,"event":"fin"}`), "event 1: fin on connection 65536"},
		{"TCP event", event(`{"t":0,"proto":"tcp","dir":"c2s","conn":1,"event":"syn"}`), `event 1: event "syn"`},
		{"hex", event(`{"t":0,"proto":"tcp","dir":"c2s","conn":1,"hex":"0g"}`), `event 1: hex "0g"`},
		{"hex short", event(`{"t":0,"proto":"tcp","dir":"c2s","conn":1,"len":2,"hex":"00"}`), "truncated is not said"},
		{"hex long", event(`{"t":0,"proto":"tcp","dir":"c2s","conn":1,"len":1,"hex":"0000"}`), "1 bytes shows 2"},
		{"zeros", event(`{"t":0,"proto":"tcp","dir":"c2s","conn":1,"zeros":-5}`), "event 1: zeros of -5 bytes"},
		{"ports", event(`{"t":0,"proto":"udp","dir":"c2s","len":4,"hex":"00000000"}`), "without sport and dport"},
		{"datagram", event(`{"t":0,"proto":"udp","dir":"c2s","sport":1,"dport":2,"len":65536,"hex":""}`), "65536 bytes"},
		{"half a run", event(`{"t":0,"proto":"udp","dir":"c2s","sport":1,"dport":2,"len":6,"collapsed":2,"first_seq":1}`), "only one of first_seq"},
		{"count", event(`{"t":0,"proto":"udp","dir":"c2s","sport":1,"dport":2,"len":6,"collapsed":-2}`), "count -2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := ReadJSON(strings.NewReader(tt.in))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ReadJSON(%s) = %+v, %v\nwant an error with %q", tt.in, r, err, tt.want)
			}
		})
	}
}

// FuzzReadJSON: what is read can be saved and is then read as the same.
func FuzzReadJSON(f *testing.F) {
	for _, name := range recordings(f) {
		if _, b := load(f, name); len(b) < 4096 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ReadJSON(bytes.NewReader(b))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := r.WriteJSON(&out); err != nil {
			t.Fatal(err)
		}
		again, err := ReadJSON(&out)
		if err != nil {
			t.Fatalf("saved recording is not read: %v", err)
		}
		again.Notes = append(r.Notes[:0:0], again.Notes...) // none and an empty list are the same
		if !reflect.DeepEqual(r, again) {
			t.Errorf("saved recording is\n%+v\nwas\n%+v", again, r)
		}
	})
}
