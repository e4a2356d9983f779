package wire

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A recording is a conversation with the real iperf 3.12, captured on a
// loopback interface; ../testdata/README.md describes the files.
type recording struct {
	Name    string
	Clients []struct {
		Command string
		Stdout  string
	}
	Control []struct {
		Events []struct {
			From    string
			Event   string
			Hex     string
			Text    string
			Byte    string
			Name    string
			Prefix  string          `json:"prefix_hex"`
			Payload string          `json:"payload_utf8"`
			Message json.RawMessage `json:"message"`
			Values  []int32
		}
	}
	Data []struct {
		Protocol string
		Segments []struct {
			From   string
			Length int
			Head   string `json:"head_hex"`
		}
	}
}

func recordings(t testing.TB) []recording {
	t.Helper()
	names, err := filepath.Glob("../testdata/*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	var all []recording
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var r recording
		if err := json.Unmarshal(b, &r); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, r)
	}
	return all
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRecordings parses everything that was recorded on control connections
// and writes it again.
func TestRecordings(t *testing.T) {
	seen := map[string]int{}
	for _, r := range recordings(t) {
		for _, c := range r.Control {
			for _, e := range c.Events {
				seen[e.Event]++
				switch e.Event {
				case "cookie":
					c, err := ParseCookie(unhex(t, e.Hex))
					if err != nil || c.String() != e.Text {
						t.Errorf("%s: ParseCookie(%s) = %v, %v", r.Name, e.Hex, c, err)
					}
				case "state":
					b := unhex(t, e.Byte)[0]
					s, err := ParseState(b)
					if err != nil || s.String() != e.Name || s.Byte() != b {
						t.Errorf("%s: ParseState(%#x) = %v, %v, want %s", r.Name, b, s, err, e.Name)
					}
				case "error codes":
					in := unhex(t, e.Hex)
					got, err := ParsePeerError(in)
					if err != nil || int32(got.Number) != e.Values[0] || (got.Errno != nil) != (len(e.Values) > 1) {
						t.Errorf("%s: ParsePeerError(% x) = %v, %v", r.Name, in, got, err)
						continue
					}
					if out, _ := got.AppendBinary(nil); string(out) != string(in) {
						t.Errorf("%s: %v became % x", r.Name, got, out)
					}
				case "json parameters":
					checkParameters(t, r.Name, unhex(t, e.Prefix), e.Payload)
				case "json results":
					// Long payloads were cut in the recording, decoded ones never.
					checkResults(t, r.Name, e.Message)
				}
			}
		}
	}
	for event, least := range map[string]int{"cookie": 27, "state": 150, "json parameters": 26, "json results": 40, "error codes": 1} {
		if seen[event] < least {
			t.Errorf("%d %s in the recordings, want %d", seen[event], event, least)
		}
	}
}

func checkParameters(t *testing.T, name string, prefix []byte, payload string) {
	t.Helper()
	block, rest, err := ParseBlock(append(prefix, payload...), MaxParameters)
	if err != nil || len(rest) != 0 {
		t.Errorf("%s: ParseBlock: %v", name, err)
		return
	}
	p, err := ParseParameters(block)
	if err != nil {
		t.Errorf("%s: ParseParameters(%s): %v", name, block, err)
		return
	}
	out, err := p.AppendBinary(nil)
	if err != nil || string(out) != payload { // 3.12 writes them so, byte for byte
		t.Errorf("%s: %v\ngot  %s\nwant %s", name, err, out, payload)
	}
}

func checkResults(t *testing.T, name string, message []byte) {
	t.Helper()
	r, err := ParseResults(message)
	if err != nil {
		t.Errorf("%s: ParseResults(%s): %v", name, message, err)
		return
	}
	out, err := r.AppendBinary(nil)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	var got, want any
	if err := errors.Join(json.Unmarshal(out, &got), json.Unmarshal(message, &want)); err != nil {
		t.Fatal(err)
	}
	same := cmp.Comparer(func(a, b float64) bool { // 2^64-1 and -1 both say "unknown"
		return a == b || a == 1<<64 && b == -1 || a == -1 && b == 1<<64
	})
	if d := cmp.Diff(want, got, same); d != "" {
		t.Errorf("%s: %s\nbecame %s\n%s", name, message, out, d)
	}
}

// TestRecordedDatagrams reads the headers of all recorded UDP streams and what
// opened them.
func TestRecordedDatagrams(t *testing.T) {
	headers, hellos, replies := 0, 0, 0
	for _, r := range recordings(t) {
		wide := r.Name == "udp-64bit"
		for _, d := range r.Data {
			if d.Protocol != "udp" {
				continue
			}
			for _, s := range d.Segments {
				head := unhex(t, s.Head)
				switch {
				case s.Length == HelloLen && s.From == "client":
					hellos++
					if reply := AnswerTo(head); !IsHello(head) || !IsHelloReply(reply[:]) {
						t.Errorf("%s: hello % x", r.Name, head)
					}
				case s.Length == HelloLen:
					replies++
					if !IsHelloReply(head) {
						t.Errorf("%s: reply % x", r.Name, head)
					}
				case s.Length > 0:
					headers++
					h, err := ParseHeader(head, wide)
					if err != nil || h.Seq == 0 || h.Seq > 1000 {
						t.Errorf("%s: ParseHeader(% x) = %+v, %v", r.Name, head, h, err)
					}
					out, _ := h.AppendBinary(nil, wide)
					if string(out) != string(head[:HeaderLen(wide)]) {
						t.Errorf("%s: AppendBinary = % x, want % x", r.Name, out, head)
					}
				}
			}
		}
	}
	if headers < 50 || hellos < 8 || replies < 8 {
		t.Errorf("only %d datagrams, %d hellos, %d replies in the recordings", headers, hellos, replies)
	}
}

// TestReports reads the documents that 3.12 printed and writes them again: no
// key may be lost, and none may be invented beside those of later versions.
func TestReports(t *testing.T) {
	docs := map[string]string{}
	for _, r := range recordings(t) {
		for _, c := range r.Clients {
			if strings.Contains(c.Command, "-J") {
				docs[r.Name] = c.Stdout
			}
		}
	}
	names, err := filepath.Glob("../testdata/report/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		docs[name] = string(b)
	}
	if len(docs) < 7 {
		t.Errorf("only %d documents", len(docs))
	}
	later := map[string]bool{"bidir": true, "fqrate": true, "interval": true}
	for name, doc := range docs {
		var r Report
		if err := json.Unmarshal([]byte(doc), &r); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		out, err := AppendReport(nil, &r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got, want any
		if err := errors.Join(json.Unmarshal(out, &got), json.Unmarshal([]byte(doc), &want)); err != nil {
			t.Fatal(err)
		}
		newer := cmp.FilterPath(func(p cmp.Path) bool {
			k, ok := p.Last().(cmp.MapIndex)
			return ok && later[k.Key().String()]
		}, cmp.Ignore())
		if d := cmp.Diff(want, got, newer); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
}
