package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-net/sonde/result"
)

var anID = TestID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

const idJSON = `[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]`

func ptr[T any](v T) *T { return &v }

// messages hold every kind with every key. The JSON is as rperf 0.1.8 writes
// it, but for what stands under "sonde".
var messages = []struct {
	name string
	json string
	want Message
}{
	{"forward TCP", `{"family":"tcp","kind":"configuration","length":4096,"receive_buffer":65536,"role":"download","streams":2,"test_id":` + idJSON + `}`,
		Configuration{TestID: anID, Streams: 2, Length: 4096, ReceiveBuffer: 65536}},
	{"reverse TCP", `{"bandwidth":125000,"duration":2,"family":"tcp","kind":"configuration","length":32768,"no_delay":true,"role":"upload","send_buffer":9,"send_interval":0.05000000074505806,"stream_ports":[34815,1],"streams":2,"test_id":` + idJSON + `}`,
		Configuration{Reverse: true, TestID: anID, Streams: 2, Length: 32768, StreamPorts: []uint16{34815, 1},
			Bandwidth: 125000, Duration: 2, SendInterval: 0.05, SendBuffer: 9, NoDelay: true}},
	{"reverse UDP", `{"bandwidth":1,"duration":0.5,"family":"udp","kind":"configuration","length":1024,"role":"upload","send_buffer":0,"send_interval":1,"sonde":{"dial":true,"version":1},"stream_ports":[9],"streams":1,"test_id":` + idJSON + `}`,
		Configuration{UDP: true, Reverse: true, TestID: anID, Streams: 1, Length: 1024, StreamPorts: []uint16{9},
			Bandwidth: 1, Duration: 0.5, SendInterval: 1, Sonde: &Offer{Version: 1, Dial: true}}},
	{"connect", `{"kind":"connect","sonde":{"version":1},"stream_ports":[65535,1]}`,
		Connect{StreamPorts: []uint16{65535, 1}, Sonde: &Accept{Version: 1}}},
	{"connect, no streams", `{"kind":"connect","stream_ports":[]}`, Connect{StreamPorts: []uint16{}}},
	{"connect-ready", `{"kind":"connect-ready"}`, ConnectReady{}},
	{"connect-ready, dial", `{"kind":"connect-ready","sonde":{"stream_ports":[7],"version":1}}`,
		ConnectReady{Sonde: &Accept{Version: 1, StreamPorts: []uint16{7}}}},
	{"begin", `{"kind":"begin"}`, Begin{}},
	{"TCP receive", `{"bytes_received":16,"duration":0.5,"family":"tcp","kind":"receive","stream_idx":255,"timestamp":1795186162.25}`,
		Interval{Stream: 255, End: 1795186162.25, Duration: 0.5, Bytes: 16}},
	{"TCP send", `{"bytes_sent":18446744073709551615,"duration":1,"family":"tcp","kind":"send","sends_blocked":3,"stream_idx":0,"timestamp":0}`,
		Interval{Sent: true, Duration: 1, Bytes: math.MaxUint64, Blocked: 3}},
	{"UDP receive", `{"bytes_received":1,"duration":1,"family":"udp","jitter_seconds":0.25,"kind":"receive","packets_duplicated":1,"packets_lost":-2,"packets_out_of_order":3,"packets_received":4,"stream_idx":1,"timestamp":1,"unbroken_sequence":5}`,
		Interval{UDP: true, Stream: 1, End: 1, Duration: 1, Bytes: 1, Packets: 4,
			Counts: PeerLoss{Lost: -2, OutOfOrder: 3, Duplicated: 1, Unbroken: 5, Jitter: ptr(Seconds(0.25))}}},
	{"UDP receive, no jitter", `{"bytes_received":1,"duration":1,"family":"udp","jitter_seconds":null,"kind":"receive","packets_duplicated":0,"packets_lost":0,"packets_out_of_order":0,"packets_received":1,"stream_idx":1,"timestamp":1,"unbroken_sequence":1}`,
		Interval{UDP: true, Stream: 1, End: 1, Duration: 1, Bytes: 1, Packets: 1, Counts: PeerLoss{Unbroken: 1}}},
	{"UDP send", `{"bytes_sent":1,"duration":1,"family":"udp","kind":"send","packets_sent":2,"sends_blocked":0,"stream_idx":1,"timestamp":1}`,
		Interval{UDP: true, Sent: true, Stream: 1, End: 1, Duration: 1, Bytes: 1, Packets: 2}},
	{"exact figures", `{"bytes_sent":1,"duration":1,"family":"tcp","kind":"send","sends_blocked":0,"sonde":{"bytes":7,"dropped":4,"duplicate":3,"jitter_ns":11,"late":1,"lost":-5,"packets":6,"queueing":{"count":1,"max_ns":7,"mean_ns":3,"min_ns":2,"p50_ns":4,"p90_ns":5,"p99_ns":6},"reordered":2,"skipped":5,"tcp":{"busy_ns":1,"congestion":"cubic","cwnd_bytes":2,"delivery_bits_per_second":3,"min_rtt_ns":4,"mss_bytes":5,"pacing_bits_per_second":6,"retransmits":7,"rtt_ns":8,"rttvar_ns":9,"rwnd_limited_ns":10,"sndbuf_limited_ns":11}},"stream_idx":1,"timestamp":1}`,
		Interval{Sent: true, Stream: 1, End: 1, Duration: 1, Bytes: 1, Sonde: &result.View{
			Bytes: 7, Packets: ptr(uint64(6)), Lost: ptr(int64(-5)), Late: ptr(uint64(1)), Reordered: ptr(uint64(2)), Duplicate: ptr(uint64(3)),
			Dropped: ptr(uint64(4)), Skipped: ptr(uint64(5)), Jitter: ptr(11 * time.Nanosecond),
			Queueing: &result.Delay{Count: 1, Min: 2, Mean: 3, P50: 4, P90: 5, P99: 6, Max: 7},
			TCP: &result.TCPInfo{Busy: 1, Congestion: "cubic", Cwnd: 2, DeliveryRate: 3, MinRTT: 4, MSS: 5, PacingRate: 6,
				Retransmits: 7, RTT: 8, RTTVar: 9, RwndLimited: 10, SndbufLimited: 11},
		}}},
	{"done", `{"kind":"done","origin":"server","stream_idx":3}`, StreamEnd{Stream: 3}},
	{"failed", `{"kind":"failed","origin":"server","stream_idx":0}`, StreamEnd{Failed: true}},
	{"end", `{"kind":"end"}`, End{}},
	{"queued", `{"kind":"sonde-queued","position":2,"wait_seconds":12.5}`, Queued{Position: 2, Wait: 12.5}},
}

func TestMessages(t *testing.T) {
	for _, tt := range messages {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse([]byte(tt.json))
			if err != nil || !cmp.Equal(got, tt.want) {
				t.Fatalf("Parse(%s) = %+v, %v\nwant %+v", tt.json, got, err, tt.want)
			}
			out, err := got.AppendBinary([]byte("kept"))
			if err != nil || string(out) != "kept"+tt.json {
				t.Errorf("AppendBinary = %s, %v\nwant kept%s", out, err, tt.json)
			}
			for n := range len(tt.json) {
				if m, err := Parse([]byte(tt.json[:n])); !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("Parse(%s) = %v, %v, want unexpected EOF", tt.json[:n], m, err)
				}
			}
			frame, err := AppendFrame(nil, got)
			if err != nil {
				t.Fatal(err)
			}
			for n := range frame {
				if _, _, err := ParseFrame(frame[:n]); !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("ParseFrame of the first %d bytes: %v, want unexpected EOF", n, err)
				}
			}
		})
	}
}

// TestWrongValues puts a value of each wrong type, and numbers at and beyond
// their limits, under every key of every message: Parse may take it or refuse
// it with a FieldError that names the key, nothing else.
func TestWrongValues(t *testing.T) {
	values := []string{`"x"`, `""`, `5`, `-1`, `1.5`, `1000.0`, `1e400`, `-1e400`, `1e3`, `true`, `null`, `[]`, `{}`, `[[1]]`, `{"a":1}`,
		`4294967296`, `9223372036854775807`, `9223372036854775808`, `18446744073709551615`, `18446744073709551616`,
		`-9223372036854775809`, `"` + strings.Repeat("long ", 50) + `"`, `[0]`, `[65536]`, `["1"]`, `[1.0]`}
	for _, tt := range messages {
		o, err := parseObject("test", []byte(tt.json))
		if err != nil {
			t.Fatal(err)
		}
		for key := range o.members {
			for _, v := range values {
				checkWrongValue(t, tt.json, key, string(o.members[key]), v)
			}
		}
	}
}

func checkWrongValue(t *testing.T, message, key, old, value string) {
	t.Helper()
	in := strings.Replace(message, fmt.Sprintf("%q:%s", key, old), fmt.Sprintf("%q:%s", key, value), 1)
	if in == message {
		if old != value {
			t.Fatalf("no %q in %s", key, message)
		}
		return
	}
	m, err := Parse([]byte(in))
	if _, ok := errors.AsType[*KindError](err); ok && key == "kind" {
		return
	}
	field, ok := errors.AsType[*FieldError](err)
	if err != nil && (!ok || field.Field != key && key != "kind" && key != "family" && key != "role" || len(err.Error()) > 250) {
		t.Errorf("Parse(%s): %v, want a FieldError for %q", in, err, key)
	}
	if err == nil {
		if _, err := m.AppendBinary(nil); err != nil {
			t.Errorf("Parse(%s) = %+v, but AppendBinary: %v", in, m, err)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct{ json, want string }{
		{``, "unexpected EOF"},
		{`5`, "not a JSON object"},
		{`[]`, "not a JSON object"},
		{`{"kind":"begin"} {}`, "something follows"},
		{`{"kind":null}`, "kind is missing"},
		{`{"kind":"begin"`, "unexpected EOF"},
		{`{"kind":"begin",}`, "invalid character"},
		{`{"kind":"nonsense"}`, `unknown kind "nonsense"`},
		{`{"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, "nested more than 8 deep"},
		{`{"x":"[[[[[[[[[[","kind":5}`, "kind is 5"},
		{`{"kind":"configuration","length":15,"receive_buffer":0}`, "length is 15, want at least 16"},
		{`{"kind":"configuration","receive_buffer":0,"test_id":"01020304-0506-0708-090a-0b0c0d0e0f"}`, "test_id is"},
		{`{"kind":"configuration","receive_buffer":0,"test_id":{"a":1}}`, "test_id is"},
		{`{"kind":"configuration","role":"upload","stream_ports":[1],"send_buffer":0,"duration":1,"send_interval":1}`, "no_delay is missing"},
		{`{"kind":"configuration","role":"upload","stream_ports":[1],"send_buffer":0,"no_delay":true,"send_interval":1}`, "duration is missing"},
		{`{"kind":"configuration","role":"upload","stream_ports":[1],"duration":0,"no_delay":true,"send_interval":1}`, "send_buffer is missing"},
		{`{"kind":"configuration","receive_buffer":2147483648}`, "receive_buffer is 2147483648"},
		{`{"kind":"connect"}`, "stream_ports is missing"},
		{`{"kind":"connect","stream_ports":[` + strings.Repeat("1,", 255) + `1]}`, "at most 255 ports"},
		{`{"kind":"done"}`, "stream_idx is missing"},
		{`{"kind":"done","stream_idx":256}`, "stream_idx is 256"},
		{`{"kind":"receive","family":"tcp","stream_idx":0,"timestamp":1,"duration":1,"bytes_received":1000.0}`, "bytes_received is 1000.0"},
		{`{"kind":"receive","family":"tcp","stream_idx":0,"timestamp":1,"duration":1}`, "bytes_received is missing"},
		{`{"kind":"receive","family":"udp","stream_idx":0,"timestamp":1,"duration":1,"bytes_received":1}`, "packets_received is missing"},
	} {
		if m, err := Parse([]byte(tt.json)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Parse(%.150s) = %+v, %v\nwant %q", tt.json, m, err, tt.want)
		}
	}
	wide := `{"kind":"begin"` + strings.Repeat(`,"x":1`, 200) + `}`
	if _, err := Parse([]byte(wide)); err == nil || !strings.Contains(err.Error(), "more than 128 keys") {
		t.Errorf("Parse of 200 keys: %v", err)
	}
}

// TestLenient: what real servers take, and what forks and later peers write.
func TestLenient(t *testing.T) {
	least := Configuration{Streams: 1, Length: MinTCPLength}
	withID := func(id TestID) Configuration { c := least; c.TestID = id; return c }
	for _, tt := range []struct {
		json string
		want Message
	}{
		{`{"kind":"configuration","receive_buffer":0}`, least},
		{` { "kind" : "configuration" , "receive_buffer" : 0 } `, least},
		{`{"kind":"configuration","receive_buffer":0,"unknown":{"a":[1,{"b":null}]},"no_delay":null,"streams":null}`, least},
		{`{"kind":"configuration","receive_buffer":0,"sonde":"x"}`, least},
		{`{"kind":"configuration","receive_buffer":0,"sonde":{"version":"x"}}`, least},
		{`{"kind":"configuration","receive_buffer":0,"family":"sctp","role":"download"}`, least},
		{`{"kind":"configuration","receive_buffer":0,"test_id":[1,2]}`, withID(TestID{1, 2})},
		{`{"kind":"configuration","receive_buffer":0,"test_id":[1,"x",1.5,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18]}`,
			withID(TestID{1, 0, 0, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16})},
		{`{"kind":"configuration","receive_buffer":0,"test_id":"01020304-0506-0708-090a-0b0c0d0e0f10"}`, withID(anID)},
		{`{"kind":"configuration","receive_buffer":0,"family":"udp","length":66560}`, Configuration{UDP: true, Streams: 1, Length: 1024}},
		{`{"kind":"configuration","role":"x","family":"udp","stream_ports":[5,6],"send_buffer":0,"streams":9}`,
			Configuration{UDP: true, Reverse: true, Streams: 2, Length: 36, StreamPorts: []uint16{5, 6}, SendInterval: 1}},
		{`{"kind":"configuration","role":"upload","family":"udp","stream_ports":[5],"send_buffer":0,"bandwidth":1000.7}`,
			Configuration{UDP: true, Reverse: true, Streams: 1, Length: 36, StreamPorts: []uint16{5}, SendInterval: 1, Bandwidth: 1000}},
		{`{"kind":"done","stream_idx":0}`, StreamEnd{}},
		{`{"kind":"send","family":"tcp","stream_idx":0,"timestamp":1,"duration":1,"bytes_sent":5}`,
			Interval{Sent: true, End: 1, Duration: 1, Bytes: 5}},
	} {
		if m, err := Parse([]byte(tt.json)); err != nil || !cmp.Equal(m, tt.want) {
			t.Errorf("Parse(%s) = %+v, %v\nwant %+v", tt.json, m, err, tt.want)
		}
	}
}

func TestFrames(t *testing.T) {
	if _, _, err := ParseFrame([]byte{0, 0, 1}); err == nil {
		t.Error("ParseFrame took a message of length 0")
	}
	payload, rest, err := ParseFrame([]byte("\x00\x02{}\x00\x01x"))
	if err != nil || string(payload) != "{}" || string(rest) != "\x00\x01x" {
		t.Errorf("ParseFrame = %q, %q, %v", payload, rest, err)
	}
	long := Connect{StreamPorts: make([]uint16, 40000)}
	if out, err := AppendFrame([]byte("kept"), long); err == nil || string(out) != "kept" {
		t.Errorf("AppendFrame of a message beyond the prefix = %d bytes, %v", len(out), err)
	}
}

// TestMessageMemory holds what the worst message can make Parse allocate.
func TestMessageMemory(t *testing.T) {
	list := func(element string) []byte {
		head := `{"kind":"configuration","receive_buffer":0,"test_id":[` + element
		n := (MaxPayload - len(head) - 2) / (len(element) + 1)
		return []byte(head + strings.Repeat(","+element, n) + "]}")
	}
	for name, in := range map[string][]byte{
		"list":   list("1"),
		"nested": list("[[[[]]]]"),
		"ports":  bytes.Replace(list("9"), []byte("test_id"), []byte("stream_ports"), 1),
		"keys":   []byte(`{"k":1` + strings.Repeat(`,"k":1`, (MaxPayload-8)/6) + "}"),
		"string": []byte(`{"kind":"` + strings.Repeat("x", MaxPayload-12) + `"}`),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = Parse(in)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 800_000 {
			t.Errorf("%s: Parse allocates %d bytes in all for %d of message", name, got, len(in))
		}
	}
}

// Bytes: recorded from rperf 0.1.8, udp-forward.
const goldenHeader = "ff14a235ea9546b2963516bbc9598583 0000000000000000 000000006b005bf9 27ef7fab"

func TestHeader(t *testing.T) {
	in := unhex(t, goldenHeader)
	want := Header{TestID: TestID(unhex(t, goldenHeader[:32])), Sent: time.Unix(0x6b005bf9, 0x27ef7fab)}
	got, err := ParseHeader(in)
	if err != nil || got != want {
		t.Fatalf("ParseHeader = %+v, %v, want %+v", got, err, want)
	}
	out, err := got.AppendBinary([]byte("kept"))
	if rest, ok := bytes.CutPrefix(out, []byte("kept")); err != nil || !ok || !bytes.Equal(rest, in) {
		t.Errorf("AppendBinary = % x, %v", out, err)
	}
	for n := range in {
		if _, err := ParseHeader(in[:n]); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("ParseHeader of the first %d bytes: %v", n, err)
		}
	}
	b := make([]byte, 300)
	Fill(b)
	want.Put(b)
	if !bytes.Equal(b[:HeaderLen], in) || b[36] != 36 || b[255] != 255 || b[256] != 0 {
		t.Errorf("Fill and Put = % x", b)
	}
	for _, bad := range []struct {
		sec  uint64
		nsec uint32
	}{{0, 1e9}, {math.MaxUint64, 0}, {maxTimestamp + 1, 0}} {
		binary.BigEndian.PutUint64(in[24:], bad.sec)
		binary.BigEndian.PutUint32(in[32:], bad.nsec)
		if h, err := ParseHeader(in); err != nil || !h.Sent.IsZero() {
			t.Errorf("ParseHeader with time %d.%d = %v, %v, want the zero time", bad.sec, bad.nsec, h.Sent, err)
		}
	}
}

func TestClassify(t *testing.T) {
	data, err := Header{TestID: anID}.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	other := TestID{9}
	for _, tt := range []struct {
		name string
		in   []byte
		id   TestID
		want Datagram
	}{
		{"empty", nil, anID, Runt},
		{"marker", anID[:], anID, Marker},
		{"foreign marker", anID[:], other, Runt},
		{"a byte more than a marker", append(anID[:], 0), anID, Runt},
		{"a byte too few", data[:35], anID, Runt},
		{"least", data, anID, Data},
		{"foreign", data, other, Foreign},
	} {
		if got := Classify(tt.id, tt.in); got != tt.want {
			t.Errorf("%s: Classify = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestBlock(t *testing.T) {
	b := Block(anID, 300)
	if len(b) != 300 || TestID(b) != anID || b[16] != 16 || b[299] != 299-256 {
		t.Errorf("Block = % x", b)
	}
	if b := Block(anID, 3); !bytes.Equal(b, anID[:]) {
		t.Errorf("Block of 3 bytes = % x, want the whole id", b)
	}
}

func TestTally(t *testing.T) {
	type count struct {
		lost                int64
		late, again, unbrok uint64
		jitter              float64 // ms; negative: none
	}
	for _, tt := range []struct {
		name  string
		seqs  []uint64
		delay []time.Duration // of each; nil: none
		want  count
	}{
		{"nothing", nil, nil, count{jitter: -1}},
		{"one", []uint64{0}, nil, count{unbrok: 1, jitter: -1}},
		{"steady", []uint64{0, 1, 2}, nil, count{unbrok: 3}},
		{"first difference counts whole", []uint64{0, 1}, []time.Duration{0, 16e6}, count{unbrok: 2, jitter: 16}},
		{"then a sixteenth", []uint64{0, 1, 2}, []time.Duration{0, 16e6, 16e6}, count{unbrok: 3, jitter: 15}},
		{"gap", []uint64{0, 3, 4, 5}, nil, count{lost: 2, unbrok: 2}},
		{"late", []uint64{0, 2, 1}, nil, count{late: 1, unbrok: 1, jitter: -1}},
		{"duplicate", []uint64{0, 0}, nil, count{again: 1, unbrok: 1, jitter: -1}},
		{"duplicate hides a loss", []uint64{0, 2, 0}, nil, count{late: 1, unbrok: 1, jitter: -1}},
		{"hostile gap", []uint64{math.MaxUint64, 5, math.MaxUint64 - 1}, nil, count{lost: 1 << 62, unbrok: 0, jitter: -1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var tally Tally
			sent := time.Unix(1000, 0)
			for n, seq := range tt.seqs {
				came := sent
				if tt.delay != nil {
					came = sent.Add(tt.delay[n])
				}
				tally.Record(seq, 100, sent, came)
			}
			var i Interval
			tally.Take(&i)
			got := count{i.Counts.Lost, i.Counts.OutOfOrder, i.Counts.Duplicated, i.Counts.Unbroken, -1}
			if i.Counts.Jitter != nil {
				got.jitter = math.Round(float64(*i.Counts.Jitter)*1e6) / 1e3
			}
			if got != tt.want || i.Packets != uint64(len(tt.seqs)) || i.Bytes != uint64(len(tt.seqs))*108 {
				t.Errorf("got %+v, %d packets, %d bytes, want %+v", got, i.Packets, i.Bytes, tt.want)
			}
		})
	}
}

// TestTallyForgets: what was lost is forgotten at the end of the interval, the
// next packet id is not.
func TestTallyForgets(t *testing.T) {
	var tally Tally
	var i Interval
	at := time.Unix(0, 0)
	tally.Record(0, 92, at, at)
	tally.Record(2, 92, at, at)
	tally.Take(&i)
	if i.Counts.Lost != 1 || i.Bytes != 200 {
		t.Errorf("first interval %+v", i)
	}
	tally.Record(1, 92, at, at)
	tally.Record(3, 92, at, at)
	tally.Take(&i)
	if i.Counts.Lost != 0 || i.Counts.Duplicated != 1 || i.Counts.Unbroken != 1 {
		t.Errorf("second interval %+v", i)
	}
}

func TestTimes(t *testing.T) {
	now := time.Date(2026, 11, 20, 14, 50, 8, 123456789, time.UTC)
	if d := TimestampOf(now).Time().Sub(now).Abs(); d > 250*time.Nanosecond {
		t.Errorf("timestamp off by %v", d)
	}
	for _, d := range []time.Duration{0, time.Nanosecond, 50 * time.Millisecond, 1230528831, 10 * time.Hour} {
		got := SecondsOf(d).Duration()
		if diff := (got - d).Abs(); float64(diff) > float64(d)/1e7+1 {
			t.Errorf("%v became %v", d, got)
		}
	}
	if got := Seconds(MaxDuration).Duration(); got < 0 {
		t.Errorf("longest duration is %v", got)
	}
}

func TestParseRate(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want uint64 // bytes/s; 0: refused
	}{
		{"125000", 125000}, {"1000k", 125000}, {"1m", 125000}, {"2m", 250000}, {"1.5m", 187500}, {"100g", 12_500_000_000},
		{"1K", 1000}, {"1M", 1_000_000}, {"0.5G", 500_000_000}, {"1e6", 1_000_000},
		{"0", LeastRate}, {"-5", LeastRate}, {"-5M", LeastRate}, {"0k", LeastRate},
		{"", 0}, {"m", 0}, {"10Q", 0}, {"10 m", 0}, {"1e400", 0}, {"NaN", 0}, {"Inf", 0}, {"1mm", 0},
	} {
		got, err := ParseRate(tt.in)
		if got != tt.want || (err == nil) != (tt.want != 0) {
			t.Errorf("ParseRate(%q) = %d, %v, want %d", tt.in, got, err, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, tt := range messages {
		f.Add([]byte(tt.json))
	}
	for _, r := range recordings(f) {
		for _, e := range r.Control {
			f.Add([]byte(e.Payload))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		frame, err := AppendFrame(nil, m)
		if err != nil {
			t.Fatalf("%+v: %v", m, err)
		}
		payload, _, err := ParseFrame(frame)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Parse(payload); err != nil || !cmp.Equal(again, m) {
			t.Fatalf("%+v became %+v, %v", m, again, err)
		}
	})
}

func FuzzParseFrame(f *testing.F) {
	for _, tt := range messages {
		frame, err := AppendFrame(nil, tt.want)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(append(frame, frame...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for {
			payload, rest, err := ParseFrame(b)
			if err != nil {
				return
			}
			if len(payload) == 0 || len(payload)+len(rest)+PrefixLen != len(b) {
				t.Fatalf("ParseFrame(% x) = % x, % x", b, payload, rest)
			}
			b = rest
		}
	})
}

func FuzzParseHeader(f *testing.F) {
	f.Add(unhex(f, goldenHeader))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if err != nil {
			return
		}
		out, _ := h.AppendBinary(nil)
		if again, err := ParseHeader(out); err != nil || again != h {
			t.Fatalf("%+v became %+v, %v", h, again, err)
		}
		_ = Classify(h.TestID, b)
	})
}

func BenchmarkParseHeader(b *testing.B) {
	in := unhex(b, goldenHeader)
	b.SetBytes(HeaderLen)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseHeader(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTally(b *testing.B) {
	var tally Tally
	at := time.Unix(0, 0)
	b.ReportAllocs()
	seq := uint64(0)
	for b.Loop() {
		tally.Record(seq, 1450, at, at)
		seq++
	}
}

func TestHotPathAllocatesNothing(t *testing.T) {
	in, buf := unhex(t, goldenHeader), make([]byte, 100)
	var tally Tally
	n := testing.AllocsPerRun(100, func() {
		h, _ := ParseHeader(in)
		h.Put(buf)
		_ = Classify(h.TestID, in)
		tally.Record(h.Seq, len(in), h.Sent, h.Sent)
	})
	if n != 0 {
		t.Errorf("%v allocations per datagram", n)
	}
}
