package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func ptr[T any](v T) *T { return &v }

// parameters hold every key, written as 3.12 does.
var parameters = []struct {
	name string
	json string
	want Parameters
}{
	{"least TCP", `{"tcp":true,"omit":0,"time":10,"num":0,"blockcount":0,"parallel":1,"len":131072}`,
		Parameters{Time: 10, Parallel: 1, Length: 131072}},
	{"every key", `{"tcp":true,"omit":600,"time":86400,"num":9223372036854775807,"blockcount":5,"MSS":1400,"nodelay":true,"parallel":128,"reverse":true,"window":131072,"len":1048576,"bandwidth":2000000,"fqrate":7,"pacing_timer":500,"burst":1000,"TOS":255,"flowlabel":1048575,"title":"t","extra_data":"xd","congestion":"cubic","congestion_used":"bbr","get_server_output":1,"udp_counters_64bit":1,"repeating_payload":1,"zerocopy":1,"dont_fragment":1,"server_affinity":0,"authtoken":"QQ==","client_version":"3.12"}`,
		Parameters{Omit: 600, Time: 86400, Bytes: math.MaxInt64, Blocks: 5, MSS: 1400, NoDelay: true, Parallel: 128, Reverse: true,
			Window: 131072, Length: 1 << 20, Bandwidth: 2e6, FQRate: 7, PacingTimer: 500, Burst: 1000, TOS: 255, FlowLabel: 1<<20 - 1,
			Title: "t", ExtraData: "xd", Congestion: "cubic", CongestionUsed: "bbr", GetServerOutput: true, Counters64: true,
			RepeatingPayload: true, ZeroCopy: true, DontFragment: true, ServerAffinity: ptr(0), AuthToken: "QQ==", ClientVersion: "3.12"}},
	{"UDP both ways", `{"udp":true,"omit":0,"time":2,"num":0,"blockcount":0,"parallel":2,"bidirectional":true,"len":16}`,
		Parameters{UDP: true, Time: 2, Parallel: 2, Bidirectional: true, Length: 16}},
}

var resultTable = []struct {
	name string
	json string
	want Results
}{
	{"TCP sender", `{"cpu_util_total":2.5,"cpu_util_user":2,"cpu_util_system":0.5,"sender_has_retransmits":1,"congestion_used":"bbr","streams":[{"id":1,"bytes":507904,"retransmits":3,"jitter":0,"errors":0,"packets":0,"start_time":0,"end_time":2.000077}]}`,
		Results{CPU: CPU{2.5, 2, 0.5}, HasRetransmits: ptr(true), CongestionUsed: "bbr",
			Streams: []StreamResults{{ID: 1, Bytes: 507904, Retransmits: ptr(uint64(3)), End: 2.000077}}}},
	{"UDP receiver, 3.14 and later", `{"cpu_util_total":0,"cpu_util_user":0,"cpu_util_system":0,"sender_has_retransmits":-1,"server_output_text":"a\n","server_output_json":{"start":{}},"streams":[{"id":3,"bytes":1,"retransmits":-1,"jitter":0.25,"errors":-2,"omitted_errors":1,"packets":9,"omitted_packets":2,"start_time":0,"end_time":1}]}`,
		Results{ServerText: "a\n", ServerDocument: json.RawMessage(`{"start":{}}`),
			Streams: []StreamResults{{ID: 3, Bytes: 1, Jitter: 0.25, Errors: -2, Packets: 9, End: 1, Omitted: &Omitted{1, 2}}}}},
	{"no streams", `{"cpu_util_total":0,"cpu_util_user":0,"cpu_util_system":0,"sender_has_retransmits":0,"streams":[]}`,
		Results{HasRetransmits: ptr(false)}},
}

func TestParameters(t *testing.T) {
	for _, tt := range parameters {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseParameters([]byte(tt.json))
			if err != nil || !cmp.Equal(got, tt.want) {
				t.Fatalf("ParseParameters(%s) = %+v, %v\nwant %+v", tt.json, got, err, tt.want)
			}
			out, err := got.AppendBinary([]byte("kept"))
			if err != nil || string(out) != "kept"+tt.json {
				t.Errorf("AppendBinary = %s, %v\nwant kept%s", out, err, tt.json)
			}
			for n := range len(tt.json) {
				if p, err := ParseParameters([]byte(tt.json[:n])); !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("ParseParameters(%s) = %v, %v, want unexpected EOF", tt.json[:n], p, err)
				}
			}
		})
	}
}

func TestResults(t *testing.T) {
	for _, tt := range resultTable {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseResults([]byte(tt.json))
			if err != nil || !cmp.Equal(got, tt.want) {
				t.Fatalf("ParseResults(%s) = %+v, %v\nwant %+v", tt.json, got, err, tt.want)
			}
			out, err := got.AppendBinary([]byte("kept"))
			if err != nil || string(out) != "kept"+tt.json {
				t.Errorf("AppendBinary = %s, %v\nwant kept%s", out, err, tt.json)
			}
			for n := range len(tt.json) {
				if r, err := ParseResults([]byte(tt.json[:n])); !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("ParseResults(%s) = %v, %v, want unexpected EOF", tt.json[:n], r, err)
				}
			}
		})
	}
}

// TestUnknownFigures: versions up to 3.13 write -1 as an unsigned number, and
// large numbers with an exponent.
func TestUnknownFigures(t *testing.T) {
	in := `{"cpu_util_total":0,"cpu_util_user":0,"cpu_util_system":0,"sender_has_retransmits":18446744073709551615,"streams":[` +
		`{"id":1,"bytes":1.5e+15,"retransmits":18446744073709551615,"jitter":0,"errors":0,"packets":0},` +
		`{"id":3,"bytes":0,"retransmits":1.8446744073709552e+19,"jitter":1e-05,"errors":0,"packets":0}]}`
	r, err := ParseResults([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	if r.HasRetransmits != nil || r.Streams[0].Retransmits != nil || r.Streams[1].Retransmits != nil {
		t.Errorf("%+v, want retransmits unknown", r)
	}
	if r.Streams[0].Bytes != 1.5e15 || r.Streams[1].Jitter != 1e-5 {
		t.Errorf("%+v", r.Streams)
	}
}

func TestRefusedParameters(t *testing.T) {
	for _, tt := range []struct {
		json, want string
		number     ErrorNumber // 0: no FieldError
	}{
		{``, "unexpected EOF", 0},
		{`[]`, "not a JSON object", 0},
		{`{"tcp":true}x`, "something follows", 0},
		{`{"tcp":true,"x":` + strings.Repeat("[", 99) + strings.Repeat("]", 99) + `}`, "nested", 0},
		{`{"tcp":true,"title":"` + strings.Repeat("x", MaxParameters) + `"}`, "at most 8192", 0},
		{`{}`, "tcp is missing", BadParameters},
		{`{"sctp":true}`, "sctp is true, want tcp or udp", BadParameters},
		{`{"tcp":true,"udp":true}`, "one of tcp and udp", BadParameters},
		{`{"tcp":"yes"}`, `tcp is "yes"`, BadParameters},
		{`{"tcp":true,"parallel":0}`, "parallel is 0, want a whole number from 1 to 128", TooManyStreams},
		{`{"tcp":true,"parallel":129}`, "parallel is 129", TooManyStreams},
		{`{"tcp":true,"time":86401}`, "time is 86401", BadDuration},
		{`{"tcp":true,"omit":-1}`, "omit is -1", BadDuration},
		{`{"tcp":true,"len":1048577}`, "len is 1048577", BadBlockSize},
		{`{"udp":true,"len":15}`, "len is 15, want a whole number from 16 to 65507", BadBlockSize},
		{`{"tcp":true,"reverse":true,"bidirectional":true}`, "one of reverse", BadParameters},
		{`{"tcp":true,"bandwidth":1.5}`, "bandwidth is 1.5", BadParameters},
		{`{"tcp":true,"bandwidth":1e400}`, "bandwidth is 1e400", BadParameters},
		{`{"tcp":true,"num":-1}`, "num is -1", BadParameters},
		{`{"tcp":true,"TOS":256}`, "TOS is 256", BadParameters},
		{`{"tcp":true,"authtoken":5}`, "authtoken is 5", BadParameters},
	} {
		_, err := ParseParameters([]byte(tt.json))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ParseParameters(%.100s): %v, want %q", tt.json, err, tt.want)
		}
		f, ok := errors.AsType[*FieldError](err)
		if ok != (tt.number != 0) || ok && f.Number() != tt.number {
			t.Errorf("ParseParameters(%.100s): %v, want number %v", tt.json, err, tt.number)
		}
	}
}

func TestLenientParameters(t *testing.T) {
	least := Parameters{Parallel: 1, Length: DefaultTCPLength}
	with := func(change func(*Parameters)) Parameters { p := least; change(&p); return p }
	for _, tt := range []struct {
		json string
		want Parameters
	}{
		{`{"tcp":true}`, least},
		{`{"tcp":1,"udp":false,"len":0,"unknown":[{"a":1}],"gso":1,"mptcp":true,"parallel":null}`, least},
		{`{"udp":true}`, Parameters{UDP: true, Parallel: 1, Length: DefaultUDPLength}},
		{`{"tcp":true,"reverse":1,"udp_counters_64bit":true}`, with(func(p *Parameters) { p.Reverse, p.Counters64 = true, true })},
		{`{"tcp":true,"bandwidth":1e+10}`, with(func(p *Parameters) { p.Bandwidth = 1e10 })},
	} {
		if p, err := ParseParameters([]byte(tt.json)); err != nil || !cmp.Equal(p, tt.want) {
			t.Errorf("ParseParameters(%s) = %+v, %v\nwant %+v", tt.json, p, err, tt.want)
		}
	}
}

// TestWrongValues puts a value of each wrong type, and numbers at and beyond
// their limits, under every key: it is taken, or refused with a FieldError.
func TestWrongValues(t *testing.T) {
	values := []string{`"x"`, `""`, `5`, `-1`, `1.5`, `1e400`, `-1e400`, `true`, `null`, `[]`, `{}`, `[[1]]`, `{"a":1}`,
		`4294967296`, `9223372036854775807`, `9223372036854775808`, `9.3e18`, `18446744073709551616`, `-9223372036854775809`,
		`"` + strings.Repeat("long ", 50) + `"`, `[{}]`, `[5]`}
	check := func(in string, parse func([]byte) error) {
		t.Helper()
		err := parse([]byte(in))
		if _, ok := errors.AsType[*FieldError](err); err != nil && !ok && !strings.Contains(err.Error(), "not a JSON object") || err != nil && len(err.Error()) > 250 {
			t.Errorf("%s: %v", in, err)
		}
	}
	for key := range parameterKeys {
		for _, v := range values {
			check(fmt.Sprintf(`{%q:%s,"client_version":"3.12"}`, key, v), func(b []byte) error { _, err := ParseParameters(b); return err })
		}
	}
	for key := range resultKeys {
		for _, v := range values {
			in := strings.Replace(resultTable[1].json, "{", fmt.Sprintf("{%q:%s,", key, v), 1)
			check(in, func(b []byte) error { _, err := ParseResults(b); return err })
		}
	}
	for key := range streamKeys {
		for _, v := range values {
			in := fmt.Sprintf(`{"cpu_util_total":0,"cpu_util_user":0,"cpu_util_system":0,"sender_has_retransmits":0,"streams":[{"id":1,"bytes":1,"retransmits":-1,"jitter":0,"errors":0,"packets":0,%q:%s}]}`, key, v)
			check(in, func(b []byte) error { _, err := ParseResults(b); return err })
		}
	}
}

// TestMemory holds what the worst block of a client can make a server allocate.
func TestMemory(t *testing.T) {
	list := func(element string, most int) []byte {
		head := `{"cpu_util_total":0,"cpu_util_user":0,"cpu_util_system":0,"sender_has_retransmits":0,"streams":[` + element
		return []byte(head + strings.Repeat(","+element, (most-len(head)-2)/(len(element)+1)) + "]}")
	}
	for name, parse := range map[string]func(){
		"numbers": func() { _, _ = ParseResults(list("1", MaxClientResults)) },
		"objects": func() { _, _ = ParseResults(list("{}", MaxClientResults)) },
		"streams": func() {
			_, _ = ParseResults(list(`{"id":1,"bytes":1,"retransmits":1,"jitter":1,"errors":1,"packets":1}`, 20000))
		},
		"parameters": func() { _, _ = ParseParameters(bytes.Repeat([]byte(`{"tcp":`), MaxParameters/7)) },
		"keys":       func() { _, _ = ParseParameters([]byte(`{"tcp":true` + strings.Repeat(`,"x":1`, 1000) + "}")) },
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		parse()
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 1_500_000 { // with what the test itself makes
			t.Errorf("%s: %d bytes allocated in all", name, got)
		}
	}
}

func TestBlocks(t *testing.T) {
	b := AppendBlock([]byte("kept"), []byte("{}"))
	if string(b) != "kept\x00\x00\x00\x02{}" {
		t.Errorf("AppendBlock = %q", b)
	}
	got, rest, err := ParseBlock(append(b[4:], 'x'), 2)
	if err != nil || string(got) != "{}" || string(rest) != "x" {
		t.Errorf("ParseBlock = %q, %q, %v", got, rest, err)
	}
	for n := range 6 {
		if _, _, err := ParseBlock(b[4:4+n], 2); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("ParseBlock of the first %d bytes: %v", n, err)
		}
	}
	for _, bad := range []string{"\x00\x00\x00\x00", "\x00\x00\x00\x03abc", "\xff\xff\xff\xff"} {
		if _, _, err := ParseBlock([]byte(bad), 2); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("ParseBlock(%q): %v", bad, err)
		}
	}
}

func TestCookie(t *testing.T) {
	c := MakeCookie([CookieLen - 1]byte{0, 31, 32, 255})
	if got := c.String(); len(got) != 36 || !strings.HasPrefix(got, "a7a7") || c[36] != 0 {
		t.Errorf("MakeCookie = %q", got)
	}
	for n := range CookieLen {
		if _, err := ParseCookie(c[:n]); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("ParseCookie of %d bytes: %v", n, err)
		}
	}
	c[36] = 'x'
	if _, err := ParseCookie(c[:]); err == nil {
		t.Error("ParseCookie took 37 letters")
	}
}

func TestStates(t *testing.T) {
	for b := range 256 {
		s, err := ParseState(byte(b))
		_, known := stateNames[State(int8(b))]
		if known = known && b != 15; (err == nil) != known {
			t.Errorf("ParseState(%#x) = %v, %v", b, s, err)
		}
		if _, ok := errors.AsType[*StateError](err); err != nil && !ok {
			t.Errorf("ParseState(%#x): %v", b, err)
		}
	}
	e := &PeerError{Number: NotAuthorized, Errno: ptr(int32(13))}
	out, _ := e.AppendBinary([]byte("k"))
	if string(out) != "k\x00\x00\x00\x8e\x00\x00\x00\x0d" || !strings.Contains(e.Error(), "not authorized") {
		t.Errorf("%v = % x", e, out)
	}
	for n := range 4 {
		if _, err := ParsePeerError(out[1 : 1+n]); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("ParsePeerError of %d bytes: %v", n, err)
		}
	}
}

// Bytes: recorded from 3.12, udp and udp-64bit.
func TestHeader(t *testing.T) {
	for _, tt := range []struct {
		hex  string
		wide bool
		want Header
	}{
		{"0000094b 00031b4b 00000001", false, Header{0x94b*time.Second + 0x31b4b*time.Microsecond, 1}},
		{"0000095a 00059e74 0000000000000001", true, Header{0x95a*time.Second + 0x59e74*time.Microsecond, 1}},
		{"ffffffff 000f423f ffffffffffffffff", true, Header{math.MaxUint32*time.Second + 999999*time.Microsecond, math.MaxUint64}},
	} {
		in := unhex(t, tt.hex)
		got, err := ParseHeader(in, tt.wide)
		if err != nil || got != tt.want {
			t.Errorf("ParseHeader(% x) = %+v, %v, want %+v", in, got, err, tt.want)
		}
		out, _ := got.AppendBinary([]byte("kept"), tt.wide)
		if rest, ok := bytes.CutPrefix(out, []byte("kept")); !ok || !bytes.Equal(rest, in) {
			t.Errorf("AppendBinary = % x", out)
		}
		for n := range in {
			if _, err := ParseHeader(in[:n], tt.wide); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("ParseHeader of the first %d bytes: %v", n, err)
			}
		}
	}
}

func TestHello(t *testing.T) {
	for _, tt := range []struct{ hello, reply string }{
		{"39383736", "36373839"}, {"36373839", "39383736"}, {"15cd5b07", "b168de3a"}, {"075bcd15", "3ade68b1"},
	} {
		got := AnswerTo(unhex(t, tt.hello))
		if !bytes.Equal(got[:], unhex(t, tt.reply)) || !IsHello(unhex(t, tt.hello)) || !IsHelloReply(got[:]) {
			t.Errorf("AnswerTo(%s) = % x, want %s", tt.hello, got, tt.reply)
		}
	}
	if IsHello(nil) || IsHello(make([]byte, 4)) || IsHelloReply(make([]byte, 12)) {
		t.Error("a stray datagram is taken for a hello")
	}
}

func TestStreams(t *testing.T) {
	var ids []int
	for i := range 5 {
		ids = append(ids, StreamID(i))
	}
	if !cmp.Equal(ids, []int{1, 3, 4, 5, 6}) {
		t.Errorf("ids = %v", ids)
	}
	p := Parameters{Parallel: 2, Bidirectional: true}
	if p.Streams() != 4 || p.ServerSends(1) || !p.ServerSends(2) {
		t.Error("of a bidirectional test the client sends on the first streams")
	}
	p = Parameters{Parallel: 2, Reverse: true}
	if p.Streams() != 2 || !p.ServerSends(0) {
		t.Error("in reverse the server sends")
	}
}

func TestEvents(t *testing.T) {
	line, err := AppendEvent(nil, EventError, "unable to connect")
	if err != nil || string(line) != `{"event":"error","data":"unable to connect"}`+"\n" {
		t.Errorf("AppendEvent = %s, %v", line, err)
	}
	e, err := ParseEvent(line)
	if err != nil || e.Name != EventError || string(e.Data) != `"unable to connect"` {
		t.Errorf("ParseEvent = %+v, %v", e, err)
	}
	if _, err := ParseEvent([]byte(`{"data":1}`)); err == nil {
		t.Error("ParseEvent took a line without an event")
	}
}

func FuzzParseParameters(f *testing.F) {
	for _, tt := range parameters {
		f.Add([]byte(tt.json))
	}
	for _, r := range recordings(f) {
		for _, c := range r.Control {
			for _, e := range c.Events {
				if e.Event == "json parameters" {
					f.Add([]byte(e.Payload))
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseParameters(b)
		if err != nil {
			return
		}
		out, err := p.AppendBinary(nil)
		if err != nil {
			return // longer once it is escaped
		}
		if again, err := ParseParameters(out); err != nil || !cmp.Equal(again, p) {
			t.Fatalf("%+v became %+v, %v", p, again, err)
		}
	})
}

func FuzzParseResults(f *testing.F) {
	for _, tt := range resultTable {
		f.Add([]byte(tt.json))
	}
	for _, r := range recordings(f) {
		for _, c := range r.Control {
			for _, e := range c.Events {
				if e.Event == "json results" {
					f.Add([]byte(e.Message))
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseResults(b)
		if err != nil {
			return
		}
		out, err := r.AppendBinary(nil)
		if err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		again, err := ParseResults(out)
		r.ServerDocument, again.ServerDocument = nil, nil // spaces and escapes differ
		if err != nil || !cmp.Equal(again, r) {
			t.Fatalf("%+v became %+v, %v", r, again, err)
		}
	})
}

// FuzzControl cuts bytes the way a server reads them: cookie, state, block.
func FuzzControl(f *testing.F) {
	c := MakeCookie([36]byte{})
	f.Add(append(AppendBlock(c[:], []byte(parameters[0].json)), TestEnd.Byte()))
	f.Add([]byte{0xfe, 0, 0, 0, 0x8e})
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := ParseCookie(b); err == nil {
			b = b[CookieLen:]
			_ = c.String()
		}
		for len(b) > 0 {
			if s, err := ParseState(b[0]); err == nil {
				b = b[1:]
				if s == ServerError {
					_, _ = ParsePeerError(b)
				}
				continue
			}
			block, rest, err := ParseBlock(b, MaxClientResults)
			if err != nil {
				return
			}
			_, _ = ParseParameters(block)
			_, _ = ParseResults(block)
			b = rest
		}
	})
}

func FuzzParseHeader(f *testing.F) {
	f.Add(unhex(f, "0000094b00031b4b00000001"), false)
	f.Add(unhex(f, "0000095a00059e740000000000000001"), true)
	f.Fuzz(func(t *testing.T, b []byte, wide bool) {
		_, _, _ = IsHello(b), IsHelloReply(b), AnswerTo(b)
		h, err := ParseHeader(b, wide)
		if err != nil {
			return
		}
		out, _ := h.AppendBinary(nil, wide)
		again, err := ParseHeader(out, wide)
		if err != nil || again.Seq != h.Seq || again.Sent != h.Sent && h.Sent < math.MaxUint32*time.Second {
			t.Fatalf("%+v became %+v, %v", h, again, err)
		}
	})
}

func BenchmarkParseHeader(b *testing.B) {
	in := unhex(b, "0000095a00059e740000000000000001")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseHeader(in, true); err != nil {
			b.Fatal(err)
		}
	}
}

func TestHotPathAllocatesNothing(t *testing.T) {
	in, buf := unhex(t, "0000095a00059e740000000000000001"), make([]byte, 100)
	n := testing.AllocsPerRun(100, func() {
		h, _ := ParseHeader(in, true)
		h.Put(buf, true)
	})
	if n != 0 {
		t.Errorf("%v allocations per datagram", n)
	}
}
