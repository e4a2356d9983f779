package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/rperf/wire"
)

// A rperfRecording is a test of the real rperf 0.1.8: what its server said and
// what its client printed.
type rperfRecording struct {
	Control []struct {
		From    string `json:"from"`
		Payload string `json:"payload_utf8"`
	} `json:"control"`
	Clients []struct {
		Stdout string `json:"stdout"`
	} `json:"client_results"`
}

func readRperfRecording(t *testing.T, name string) rperfRecording {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "rperf", "testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var r rperfRecording
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// rperfBegin and rperfEnd are what the engine puts around the records.
func rperfBegin() result.Begin {
	return result.Begin{Head: result.Head{Run: "run"}, Peer: netip.MustParseAddrPort("127.0.0.1:5199")}
}

func rperfEnd(err error) result.End { return result.End{Head: result.Head{Run: "run"}, Err: err} }

// putRperf puts a document's records back into a sink, as a client would.
func putRperf(s *RperfSink, d rperfDocument) {
	s.Put(rperfBegin())
	n := func(p *uint64) uint64 {
		if p == nil {
			return 0
		}
		return *p
	}
	for stream, one := range d.Streams {
		for _, r := range append(one.Intervals.Receive, one.Intervals.Send...) {
			i := wire.Interval{
				UDP: d.Config.Common.Family == "udp", Sent: r.BytesSent != nil, Stream: uint8(stream),
				End: wire.Timestamp(r.Timestamp), Duration: wire.Seconds(r.Duration),
				Bytes: n(r.BytesSent) + n(r.BytesReceived), Packets: n(r.Sent) + n(r.Received), Blocked: n(r.Blocked),
				Counts: wire.PeerLoss{OutOfOrder: n(r.OutOfOrder), Duplicated: n(r.Duplicated), Unbroken: n(r.Unbroken)},
			}
			if r.Lost != nil {
				i.Counts.Lost = *r.Lost
			}
			var jitter *wire.Seconds
			if json.Unmarshal(r.Jitter, &jitter) == nil {
				i.Counts.Jitter = jitter
			}
			s.Record(RperfRecord{Server: i.Sent == d.Config.Additional.Reverse, Interval: i})
		}
		over := wire.Interval{Stream: uint8(stream)}
		s.Record(RperfRecord{Over: true, Interval: over})
		s.Record(RperfRecord{Server: true, Over: true, Interval: over})
	}
	s.Put(rperfEnd(nil))
}

// TestRperfJSON: the document is the real one, byte for byte.
func TestRperfJSON(t *testing.T) {
	for _, name := range []string{"tcp-forward-json", "tcp-options-json", "tcp-reverse-options-json", "udp-forward-json", "udp-reverse-json"} {
		t.Run(name, func(t *testing.T) {
			want := readRperfRecording(t, name).Clients[0].Stdout
			var d rperfDocument
			if err := json.Unmarshal([]byte(want), &d); err != nil {
				t.Fatal(err)
			}
			u := d.Config.Upload
			c := RperfConfig{
				Kind: RperfJSON, Indent: true, UDP: d.Config.Common.Family == "udp", Reverse: d.Config.Additional.Reverse,
				Length: d.Config.Common.Length, Streams: d.Config.Common.Streams, Bandwidth: u.Bandwidth,
				Duration: wire.Seconds(u.Duration).Duration(), SendInterval: wire.Seconds(u.SendInterval).Duration(),
				SendBuffer: u.SendBuffer, ReceiveBuffer: d.Config.Download.ReceiveBuffer, Omit: d.Config.Additional.Omit,
				NoDelay: u.NoDelay != nil && *u.NoDelay,
			}
			var b bytes.Buffer
			putRperf(Rperf(&b, c), d)
			if diff := cmp.Diff(strings.TrimRight(want, "\n"), strings.TrimRight(b.String(), "\n")); diff != "" {
				t.Errorf("real to ours:\n%s", diff)
			}
		})
	}
}

// TestRperfText: each result of the server stands in the text as the real
// client printed it, and so do their sums.
func TestRperfText(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    RperfConfig
	}{
		{"tcp-forward", RperfConfig{}},
		{"tcp-reverse", RperfConfig{Reverse: true}},
		{"tcp-parallel2", RperfConfig{Streams: 2}},
		{"udp-forward", RperfConfig{UDP: true}},
		{"udp-reverse", RperfConfig{UDP: true, Reverse: true}},
		{"udp-parallel2", RperfConfig{UDP: true, Streams: 2}},
		{"megabyte-format", RperfConfig{UDP: true, Kind: RperfMegabyte}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := readRperfRecording(t, tt.name)
			var b bytes.Buffer
			s := Rperf(&b, tt.c)
			s.Put(rperfBegin())
			for _, m := range serverMessages(t, r) {
				switch m := m.(type) {
				case wire.Interval:
					s.Record(RperfRecord{Server: true, Interval: m})
				case wire.StreamEnd:
					s.Record(RperfRecord{Over: true, Interval: wire.Interval{Stream: m.Stream}})
				}
			}
			s.Put(rperfEnd(nil))
			real := r.Clients[0].Stdout
			for part := range strings.SplitSeq(b.String(), rperfRule) {
				block, sums, last := strings.Cut(part, rperfBar)
				if !strings.Contains(real, block) {
					t.Errorf("not in the real report:\n%s", block)
				}
				if last && !strings.Contains(real, theirSum(tt.c, sums)) {
					t.Errorf("not in the real report:\n%s\nwhich is\n%s", theirSum(tt.c, sums), real)
				}
			}
		})
	}
}

// theirSum is the half of the sums that the server's results make, without the
// line that has the number sent in it, too.
func theirSum(c RperfConfig, sums string) string {
	send, receive, _ := strings.Cut(sums, rperfBar)
	if c.Reverse {
		return send
	}
	if c.UDP {
		receive, _, _ = strings.Cut(receive, "packets: ")
	}
	return receive
}

func serverMessages(t *testing.T, r rperfRecording) (all []wire.Message) {
	t.Helper()
	for _, c := range r.Control {
		if c.From != "server" || c.Payload == "" {
			continue
		}
		m, err := wire.Parse([]byte(c.Payload))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// TestRperfWithoutTest: JSON is valid even when nobody was reached, text is
// silent then, and neither has figures that are no numbers.
func TestRperfWithoutTest(t *testing.T) {
	refused := &result.Error{Word: result.CodeRefused, Text: "connection refused"}
	for _, kind := range []RperfKind{RperfJSON, RperfMegabit} {
		for _, reached := range []bool{false, true} {
			var b bytes.Buffer
			s := Rperf(&b, RperfConfig{Kind: kind, UDP: true, Duration: time.Second})
			if reached {
				s.Put(rperfBegin())
			}
			s.Put(rperfEnd(refused))
			text := b.String()
			switch {
			case kind == RperfJSON && !json.Valid(b.Bytes()):
				t.Errorf("no JSON: %s", text)
			case kind == RperfJSON && !strings.Contains(text, `"code":"refused"`):
				t.Errorf("without the error: %s", text)
			case kind != RperfJSON && !reached && text != "":
				t.Errorf("text without a test: %s", text)
			case kind != RperfJSON && reached && !strings.Contains(text, "packets: 0 | lost: 0 (0.0%) |"):
				t.Errorf("text without data: %s", text)
			}
			if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
				t.Errorf("no number: %s", text)
			}
		}
	}
}

// TestRperfFailed: a stream that failed shows, as the real one has it.
func TestRperfFailed(t *testing.T) {
	var b bytes.Buffer
	s := Rperf(&b, RperfConfig{})
	s.Put(rperfBegin())
	s.Record(RperfRecord{Server: true, Over: true, Failed: true})
	s.Put(rperfEnd(errors.New("failed")))
	const want = `==========
TCP send result over 0.00s | streams: 1
stream-average bytes per second: 0.000 | megabits/second: 0.000
total bytes: 0 | per second: 0.000 | megabits/second: 0.000
==========
TCP receive result over 0.00s | streams: 1
stream-average bytes per second: 0.000 | megabits/second: 0.000
total bytes: 0 | per second: 0.000 | megabits/second: 0.000
TESTING DID NOT COMPLETE SUCCESSFULLY
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

// TestRperfLossNeverWraps: more packets received than sent are no loss near
// 2^64, the fault of the real report.
func TestRperfLossNeverWraps(t *testing.T) {
	var b bytes.Buffer
	s := Rperf(&b, RperfConfig{Kind: RperfJSON, UDP: true})
	s.Put(rperfBegin())
	s.Record(RperfRecord{Interval: wire.Interval{UDP: true, Sent: true, Packets: 3, Bytes: 300, Duration: 1}})
	s.Record(RperfRecord{Server: true, Interval: wire.Interval{UDP: true, Packets: 5, Bytes: 500, Duration: 1}})
	s.Put(rperfEnd(nil))
	if !strings.Contains(b.String(), `"packets_lost":0,"packets_out_of_order":0,"packets_received":5,"packets_sent":3`) {
		t.Errorf("got %s", b.String())
	}
}

// TestRperfBounded: a stream number that there is not, and a test without end,
// cost no memory.
func TestRperfBounded(t *testing.T) {
	s := Rperf(&bytes.Buffer{}, RperfConfig{Kind: RperfJSON})
	s.Record(RperfRecord{Interval: wire.Interval{Stream: 9, Bytes: 1}})
	var all []wire.Interval
	for range mostRecords + 10 {
		all = keepRecord(all, wire.Interval{Bytes: 1, Duration: 1})
	}
	if len(all) != mostRecords || all[len(all)-1].Bytes != 11 {
		t.Errorf("kept %d, the last with %d bytes", len(all), all[len(all)-1].Bytes)
	}
}

func TestRperfNumber(t *testing.T) {
	for n, want := range map[float64]string{
		0: "0.0", 2: "2.0", 0.05: "0.05", 1795186104.3306587: "1795186104.3306587",
		0.00001: "0.00001", 7.455849299731199e-6: "7.455849299731199e-6", 1e16: "1e16", 1e15: "1000000000000000.0",
		-1.5: "-1.5", math.Inf(1): "null",
	} {
		if got := rperfNumber(n).String(); got != want {
			t.Errorf("%v: %s, want %s", n, got, want)
		}
	}
}
