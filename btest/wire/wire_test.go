package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Bytes: captures of RouterOS clients and the protocol notes' own vectors.
var commands = []struct {
	name string
	hex  string
	want Command
}{
	{"TCP upload", "01 01 01 00 0080 0000 00000000 00000000",
		Command{Transport: TCP, Direction: Receive, Zeros: true, Size: 32768}},
	{"TCP download, random", "01 02 00 00 0080 0000 00000000 00000000",
		Command{Transport: TCP, Direction: Transmit, Size: 32768}},
	{"TCP both, 20 connections", "01 03 01 14 0080 0000 00000000 00000000",
		Command{Transport: TCP, Direction: Both, Zeros: true, Streams: 20, Size: 32768}},
	{"TCP download, highest rate", "01 02 00 00 0080 0000 ffffffff 00000000",
		Command{Transport: TCP, Direction: Transmit, Size: 32768, ServerRate: MaxRate}},
	{"UDP both", "00 03 01 00 dc05 0000 00000000 00000000",
		Command{Transport: UDP, Direction: Both, Zeros: true, Size: 1500}},
	{"UDP both, 300 bit/s each way", "00 03 01 00 e803 0000 2c010000 2c010000",
		Command{Transport: UDP, Direction: Both, Zeros: true, Size: 1000, ServerRate: 300, ClientRate: 300}},
	{"UDP download, 100 Mbit/s", "00 02 01 00 dc05 0000 00e1f505 00000000",
		Command{Transport: UDP, Direction: Transmit, Zeros: true, Size: 1500, ServerRate: 100_000_000}},
	{"UDP both, random, 4 ports", "00 03 00 04 00fa 0000 ffffffff 01000000",
		Command{Transport: UDP, Direction: Both, Streams: 4, Size: 64000, ServerRate: MaxRate, ClientRate: 1}},
	{"buffer", "01 01 01 00 0080 ffff 00000000 00000000",
		Command{Transport: TCP, Direction: Receive, Zeros: true, Size: 32768, Buffer: 65535}},
}

func TestCommand(t *testing.T) {
	for _, tt := range commands {
		t.Run(tt.name, func(t *testing.T) {
			in := unhex(t, tt.hex)
			got, err := ParseCommand(in)
			if err != nil || got != tt.want {
				t.Fatalf("ParseCommand(% x) = %+v, %v\nwant %+v", in, got, err, tt.want)
			}
			checkAppend(t, in, got.AppendBinary)
			checkShort(t, in, func(b []byte) error { _, err := ParseCommand(b); return err })
		})
	}
}

// checkAppend appends after a prefix and wants the prefix kept and want behind.
func checkAppend(t *testing.T, want []byte, appendTo func([]byte) ([]byte, error)) {
	t.Helper()
	out, err := appendTo([]byte("kept"))
	if rest, ok := bytes.CutPrefix(out, []byte("kept")); err != nil || !ok || !bytes.Equal(rest, want) {
		t.Errorf("AppendBinary = % x, %v\nwant \"kept\" and % x", out, err, want)
	}
}

// checkShort parses every shorter input.
func checkShort(t *testing.T, in []byte, parse func([]byte) error) {
	t.Helper()
	for n := range in {
		if err := parse(in[:n]); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("first %d bytes: %v, want unexpected EOF", n, err)
		}
	}
}

func TestCommandRefused(t *testing.T) {
	for _, tt := range []struct{ hex, field string }{
		{"02 01 01 00 0080 0000 00000000 00000000", "transport"},
		{"01 00 01 00 0080 0000 00000000 00000000", "direction"},
		{"01 04 01 00 0080 0000 00000000 00000000", "direction"},
	} {
		_, err := ParseCommand(unhex(t, tt.hex))
		if f, ok := errors.AsType[*FieldError](err); !ok || f.Field != tt.field {
			t.Errorf("%s: %v, want a bad %s", tt.hex, err, tt.field)
		}
	}
}

func TestWriteSize(t *testing.T) {
	for _, tt := range []struct {
		transport Transport
		size      uint16
		want      int
	}{
		{TCP, 0, 32768}, {TCP, 1, 512}, {TCP, 512, 512}, {TCP, 65535, 65535},
		{UDP, 0, 1500}, {UDP, 1, 28}, {UDP, 28, 28}, {UDP, 64000, 64000}, {UDP, 65535, 64000},
	} {
		if got := (Command{Transport: tt.transport, Size: tt.size}).WriteSize(); got != tt.want {
			t.Errorf("transport %d, size %d: WriteSize = %d, want %d", tt.transport, tt.size, got, tt.want)
		}
	}
}

// Bytes: testdata of package btest, rs-tcp-multi-transmit-md5.json.
func TestJoin(t *testing.T) {
	in := unhex(t, "41bb0200000000000000000000000000")
	if !IsJoin(in) {
		t.Fatal("not taken for a join record")
	}
	token, err := ParseJoin(in)
	if err != nil || token != (Token{0x41, 0xbb}) {
		t.Fatalf("ParseJoin = %v, %v", token, err)
	}
	checkAppend(t, in, func(b []byte) ([]byte, error) { return token.AppendJoin(b), nil })
	checkShort(t, in, func(b []byte) error { _, err := ParseJoin(b); return err })
	if _, err := ParseJoin(unhex(t, commands[0].hex)); err == nil {
		t.Error("a command was taken for a join record")
	}
}

func TestReply(t *testing.T) {
	for _, tt := range []struct {
		hex  string
		want Reply
	}{
		{"00000000", Reply{Verdict: Refused}},
		{"01000000", Reply{Verdict: Go}},
		{"0141bb00", Reply{Verdict: Go, Token: Token{0x41, 0xbb}}},
		{"02000000", Reply{Verdict: WantMD5}},
		{"03000000", Reply{Verdict: WantSRP5}},
	} {
		in := unhex(t, tt.hex)
		got, err := ParseReply(in)
		if err != nil || got != tt.want {
			t.Errorf("ParseReply(%s) = %+v, %v, want %+v", tt.hex, got, err, tt.want)
		}
		checkAppend(t, in, got.AppendBinary)
		checkShort(t, in, func(b []byte) error { _, err := ParseReply(b); return err })
	}
	for _, bad := range []string{"04000000", "01000001", "00010000", "02000100", "48545450"} {
		if r, err := ParseReply(unhex(t, bad)); err == nil {
			t.Errorf("ParseReply(%s) = %+v, want an error", bad, r)
		}
	}
}

// Bytes: a live exchange with btest-rs; user admin, password secret.
func TestResponse(t *testing.T) {
	in := unhex(t, "9a93c18b7a1ef40299d1b61f80a4b592 61646d696e"+strings.Repeat("00", 27))
	got, err := ParseResponse(in)
	if err != nil || got.Name != "admin" || got.Hash[0] != 0x9a {
		t.Fatalf("ParseResponse = %+v, %v", got, err)
	}
	checkAppend(t, in, got.AppendBinary)
	checkShort(t, in, func(b []byte) error { _, err := ParseResponse(b); return err })

	full := strings.Repeat("n", NameLen)
	out, _ := Response{Name: full + "cut"}.AppendBinary(nil)
	if got, err := ParseResponse(out); err != nil || got.Name != full {
		t.Errorf("a name of more than %d bytes came back as %q, %v", NameLen, got.Name, err)
	}
}

// Bytes: log of RouterOS 6.46.4, an older capture, and the protocol notes.
var statuses = []struct {
	hex  string
	want Status
}{
	{"078000000100000000000000", Status{CPU: 0, Seq: 1, Received: 0}},
	{"07aa000002000000c02db402", Status{CPU: 42, Seq: 2, Received: 45362624}},
	{"07e4000000010000ffffffff", Status{CPU: 100, Seq: 256, Received: 1<<32 - 1}},
	{"078500000300000020bf0200", Status{CPU: 5, Seq: 3, Received: 180000}},
	{"0700000001000000366e0300", Status{CPU: NoCPU, Seq: 1, Received: 224822}},
}

func TestStatus(t *testing.T) {
	for _, tt := range statuses {
		in := unhex(t, tt.hex)
		got, err := ParseStatus(in)
		if err != nil || got != tt.want {
			t.Errorf("ParseStatus(%s) = %+v, %v, want %+v", tt.hex, got, err, tt.want)
		}
		checkAppend(t, in, got.AppendBinary)
		checkShort(t, in, func(b []byte) error { _, err := ParseStatus(b); return err })
	}
	if s, err := ParseStatus(unhex(t, "07ff00000100000000000000")); err != nil || s.CPU != 100 {
		t.Errorf("a load of 127 %% came as %+v, %v, want 100", s, err)
	}
	if _, err := ParseStatus(make([]byte, StatusLen)); err == nil {
		t.Error("zeros were taken for a status")
	}
}

func TestSaturate(t *testing.T) {
	for n, want := range map[uint64]uint32{0: 0, 1: 1, 1<<32 - 1: 1<<32 - 1, 1 << 32: 1<<32 - 1, 1 << 60: 1<<32 - 1} {
		if got := Saturate(n); got != want {
			t.Errorf("Saturate(%d) = %d, want %d", n, got, want)
		}
	}
}

func TestPort(t *testing.T) {
	if got := AppendPort(nil, 2001); !bytes.Equal(got, []byte{0x07, 0xd1}) {
		t.Errorf("AppendPort(2001) = % x", got)
	}
	if p, err := ParsePort([]byte{0x07, 0xfa}); err != nil || p != 2042 {
		t.Errorf("ParsePort = %d, %v, want 2042", p, err)
	}
	checkShort(t, []byte{7, 0xd1}, func(b []byte) error { _, err := ParsePort(b); return err })
	for _, bad := range [][]byte{{0, 0}, {0xff, 0}} {
		if p, err := ParsePort(bad); err == nil {
			t.Errorf("ParsePort(% x) = %d, which leaves no room for the client's port", bad, p)
		}
	}
}

func TestKeys(t *testing.T) {
	// A RouterOS exchange as captured: both frames without their length.
	in := unhex(t, "616e74617200 388a3736526a32e9874e92f8c3aaa118dacd71b6ab76fd72aac3f66a439bc8a1 01")
	m, err := ParseClientKey(in)
	if err != nil || m.Name != "antar" || m.Key.Parity != 1 || m.Key.X[0] != 0x38 {
		t.Fatalf("ParseClientKey = %+v, %v", m, err)
	}
	checkAppend(t, in, m.AppendBinary)
	checkShort(t, in, func(b []byte) error { _, err := ParseClientKey(b); return err })
	if _, err := ParseClientKey(append(in, 0)); err == nil {
		t.Error("a client key with a byte too many was taken")
	}
	in[len(in)-1] = 2
	if _, err := ParseClientKey(in); err == nil {
		t.Error("parity 2 was taken")
	}
	if _, err := (ClientKey{Name: strings.Repeat("n", MaxSRPName+1)}).AppendBinary(nil); err == nil {
		t.Error("a name that does not fit a frame was taken")
	}

	in = unhex(t, "6cc9e31a79434a4051defd55cc8d6d3ceccd73191fa6831594625297fe5d891a 00 3cec65b834280a16c5480d7b5000e380")
	s, err := ParseServerKey(in)
	if err != nil || s.Salt[0] != 0x3c || s.Key.Parity != 0 {
		t.Fatalf("ParseServerKey = %+v, %v", s, err)
	}
	checkAppend(t, in, s.AppendBinary)
	for n := range in {
		if _, err := ParseServerKey(in[:n]); err == nil {
			t.Errorf("first %d bytes were taken", n)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range commands {
		f.Add(unhex(f, c.hex))
	}
	for _, s := range statuses {
		f.Add(unhex(f, s.hex))
	}
	f.Add(unhex(f, "41bb0200000000000000000000000000"))
	f.Add(unhex(f, "616e74617200388a3736526a32e9874e92f8c3aaa118dacd71b6ab76fd72aac3f66a439bc8a101"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := ParseCommand(b); err == nil {
			c.Zeros = c.Zeros || b[2] != 0
			out, _ := c.AppendBinary(nil)
			if again, err := ParseCommand(out); err != nil || again != c {
				t.Fatalf("%+v became %+v, %v", c, again, err)
			}
			if n := c.WriteSize(); n < MinUDPSize || n > 65535 {
				t.Fatalf("%+v: write size %d", c, n)
			}
		}
		if token, err := ParseJoin(b); err == nil {
			if again, err := ParseJoin(token.AppendJoin(nil)); err != nil || again != token {
				t.Fatalf("%v became %v, %v", token, again, err)
			}
		}
		if s, err := ParseStatus(b); err == nil {
			out, _ := s.AppendBinary(nil)
			if again, err := ParseStatus(out); err != nil || again != s {
				t.Fatalf("%+v became %+v, %v", s, again, err)
			}
		}
		if r, err := ParseReply(b); err == nil {
			out, _ := r.AppendBinary(nil)
			if again, err := ParseReply(out); err != nil || again != r {
				t.Fatalf("%+v became %+v, %v", r, again, err)
			}
		}
		if r, err := ParseResponse(b); err == nil {
			out, _ := r.AppendBinary(nil)
			if again, err := ParseResponse(out); err != nil || again != r {
				t.Fatalf("%+v became %+v, %v", r, again, err)
			}
		}
		if m, err := ParseClientKey(b); err == nil && len(m.Name) <= MaxSRPName {
			out, err := m.AppendBinary(nil)
			if again, err2 := ParseClientKey(out); err != nil || err2 != nil || again != m {
				t.Fatalf("%+v became %+v, %v, %v", m, again, err, err2)
			}
		}
		if m, err := ParseServerKey(b); err == nil {
			out, _ := m.AppendBinary(nil)
			if again, err := ParseServerKey(out); err != nil || again != m {
				t.Fatalf("%+v became %+v, %v", m, again, err)
			}
		}
	})
}

func BenchmarkParseStatus(b *testing.B) {
	in := unhex(b, statuses[1].hex)
	b.SetBytes(StatusLen)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseStatus(in); err != nil {
			b.Fatal(err)
		}
	}
}
