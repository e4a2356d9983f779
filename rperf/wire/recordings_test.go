package wire

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A recording is a conversation with the real rperf 0.1.8, captured on a
// loopback interface; ../testdata/README.md describes the files.
type recording struct {
	Name    string
	Clients []string `json:"client_commands"` // empty: the client was driven by hand
	Control []struct {
		Event   string
		From    string
		Prefix  string `json:"prefix_hex"`
		Payload string `json:"payload_utf8"`
	}
	Data []struct {
		Protocol string
		Segments []struct {
			T      float64
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

// refused are the recorded messages that are wrong, and what is said of them.
var refused = map[string]string{
	"probe-bad-json":          "unexpected EOF",
	"probe-empty-message":     "length 0",
	"probe-kind-not-string":   "kind is 5, want a string",
	"probe-length-too-short":  "length is 35, want at least 36",
	"probe-no-kind":           "kind is missing",
	"probe-no-receive-buffer": "receive_buffer is missing",
	"probe-poisoned-pool":     "receive_buffer is missing",
	"probe-reverse-no-ports":  "stream_ports is missing",
	"probe-streams-300":       "255",
	"probe-unknown-kind":      `unknown kind "hello"`,
}

// TestRecordings parses every recorded message and writes it again.
func TestRecordings(t *testing.T) {
	seen := map[Kind]int{}
	for _, r := range recordings(t) {
		wrong := 0
		for _, e := range r.Control {
			if e.Event != "message" {
				continue
			}
			frame := append(unhex(t, e.Prefix), e.Payload...)
			payload, rest, err := ParseFrame(frame)
			var m Message
			if err == nil {
				if len(rest) != 0 || string(payload) != e.Payload {
					t.Errorf("%s: ParseFrame(%q) = %q, rest %q", r.Name, frame, payload, rest)
				}
				m, err = Parse(payload)
			}
			if err != nil {
				wrong++
				if want, ok := refused[r.Name]; !ok || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %s: %v, want %q", r.Name, e.Payload, err, want)
				}
				continue
			}
			seen[m.Kind()]++
			byPeer := e.From == "server" || len(r.Clients) > 0
			checkAgain(t, r.Name, m, frame, byPeer)
		}
		if (wrong > 0) != (refused[r.Name] != "") {
			t.Errorf("%s: %d messages refused", r.Name, wrong)
		}
	}
	for _, k := range []Kind{KindConfiguration, KindConnect, KindConnectReady, KindBegin, KindReceive, KindSend, KindDone, KindFailed, KindEnd} {
		if seen[k] == 0 {
			t.Errorf("no %s in the recordings", k)
		}
	}
}

// checkAgain writes m and wants the same value back and, of what the real peer
// wrote, the same JSON: same keys, same strings, numbers equal in the
// precision that the peer has.
func checkAgain(t *testing.T, name string, m Message, frame []byte, byPeer bool) {
	t.Helper()
	out, err := AppendFrame([]byte("kept"), m)
	if err != nil {
		t.Errorf("%s: AppendFrame(%+v): %v", name, m, err)
		return
	}
	payload, _, err := ParseFrame(out[len("kept"):])
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(payload)
	if err != nil || !cmp.Equal(again, m) {
		t.Errorf("%s: %+v became %+v, %v", name, m, again, err)
	}
	if !byPeer {
		return
	}
	var got, want any
	if err := errors.Join(json.Unmarshal(payload, &got), json.Unmarshal(frame[PrefixLen:], &want)); err != nil {
		t.Fatal(err)
	}
	same := cmp.Comparer(func(a, b float64) bool { return a == b || float32(a) == float32(b) && a != float64(int64(a)) })
	if d := cmp.Diff(want, got, same); d != "" {
		t.Errorf("%s: %s\nbecame %s\n%s", name, frame, payload, d)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRecordedDatagrams reads the headers of all recorded UDP streams.
func TestRecordedDatagrams(t *testing.T) {
	n := 0
	for _, r := range recordings(t) {
		id, ok := r.testID(t)
		for _, d := range r.Data {
			if d.Protocol != "udp" || !ok || r.Name == "probe-udp-anomalies" {
				continue
			}
			for _, s := range d.Segments {
				head := unhex(t, s.Head)
				if len(head) == 0 {
					continue
				}
				n++
				kind := Classify(id, head)
				if want := map[bool]Datagram{true: Marker, false: Data}[s.Length == MarkerLen]; kind != want {
					t.Errorf("%s: Classify(% x) = %v, want %v", r.Name, head, kind, want)
				}
				if kind == Data {
					checkHeader(t, r.Name, head)
				}
			}
		}
	}
	if n < 50 {
		t.Errorf("only %d datagrams in the recordings", n)
	}
}

// testID is the id of the recording's only test.
func (r recording) testID(t *testing.T) (TestID, bool) {
	for _, e := range r.Control {
		if m, err := Parse([]byte(e.Payload)); err == nil {
			if c, ok := m.(Configuration); ok {
				return c.TestID, true
			}
		}
	}
	return TestID{}, false
}

func checkHeader(t *testing.T, name string, in []byte) {
	t.Helper()
	h, err := ParseHeader(in)
	if err != nil || h.Sent.Year() != 2026 || h.Seq > 1000 {
		t.Errorf("%s: ParseHeader(% x) = %+v, %v", name, in, h, err)
	}
	out, err := h.AppendBinary(nil)
	if err != nil || string(out) != string(in[:HeaderLen]) {
		t.Errorf("%s: AppendBinary = % x, %v, want % x", name, out, err, in[:HeaderLen])
	}
}

// TestTallyAnomalies gives the datagrams of probe-udp-anomalies to a Tally:
// reordered, duplicate, foreign, short and long ones. The counters must be
// those that the real rperf sent.
func TestTallyAnomalies(t *testing.T) {
	for _, r := range recordings(t) {
		if r.Name == "probe-udp-anomalies" {
			replayAnomalies(t, r)
			return
		}
	}
	t.Fatal("no recording of probe-udp-anomalies")
}

func replayAnomalies(t *testing.T, r recording) {
	id := TestID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	const length = 1024
	var want []Interval
	for _, e := range r.Control {
		if m, err := Parse([]byte(e.Payload)); err == nil {
			if i, ok := m.(Interval); ok {
				want = append(want, i)
			}
		}
	}
	var tally Tally
	var got []Interval
	take := func() {
		var i Interval
		tally.Take(&i)
		got = append(got, i)
	}
	var first float64
	for _, s := range r.Data[0].Segments {
		payload := make([]byte, s.Length) // its head, the rest does not matter
		copy(payload, unhex(t, s.Head))
		switch Classify(id, payload) {
		case Marker:
			take()
		case Data:
			h, err := ParseHeader(payload)
			if err != nil {
				t.Fatal(err)
			}
			came := time.Unix(0, int64(s.T*1e9))
			tally.Record(h.Seq, min(s.Length, length), h.Sent, came)
			// The peer's interval begins with the stream, about at 0.02 s,
			// and ends with the first datagram a second later.
			if first == 0 && s.T > 1.02 {
				first = s.T
				take()
			}
		}
	}
	if len(got) != 2 || len(want) != 2 {
		t.Fatalf("%d intervals, the peer sent %d, want 2", len(got), len(want))
	}
	for n := range got {
		g, w := got[n].Counts, want[n].Counts
		if (g.Jitter == nil) != (w.Jitter == nil) {
			t.Errorf("interval %d: jitter %v, the peer's %v", n, g.Jitter, w.Jitter)
		}
		g.Jitter, w.Jitter = nil, nil // measured at another place: only roughly equal
		if g != w || got[n].Packets != want[n].Packets || got[n].Bytes != want[n].Bytes {
			t.Errorf("interval %d:\ngot  %+v\nwant %+v", n, got[n], want[n])
		}
	}
}
