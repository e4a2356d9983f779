package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// unhex reads hexadecimal digits with white space between.
func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// vectors are the parts of vectors.json that need no key.
type vectors struct {
	HandshakeAuthenticated struct {
		Control []struct{ Name, Wire, Plain string }
		Test    []struct{ Dir, Plain string }
	} `json:"handshake_authenticated"`
	Individual map[string]string `json:"individual_session_control_unauthenticated"`
	Timestamps []struct {
		UnixNS string `json:"unix_ns"`
		NTP    string
		PTP    string
	}
	ErrorEstimate []struct {
		Seconds   float64
		Synced    int
		PTPFormat int `json:"ptp_format"`
		Encoded   string
	} `json:"error_estimate"`
	Stamp         map[string]json.RawMessage
	TwampUnauthed map[string]string `json:"twamp_unauthenticated_test"`
}

func readVectors(tb testing.TB) vectors {
	tb.Helper()
	var v vectors
	readJSON(tb, "../testdata/vectors.json", &v)
	return v
}

// stampVector is a packet of the "stamp" group, given alone or with its HMAC.
func (v vectors) stampVector(tb testing.TB, name string) []byte {
	tb.Helper()
	var s string
	if json.Unmarshal(v.Stamp[name], &s) != nil {
		var o struct{ Packet string }
		if err := json.Unmarshal(v.Stamp[name], &o); err != nil {
			tb.Fatal(err)
		}
		s = o.Packet
	}
	return unhex(tb, s)
}

func readJSON(tb testing.TB, name string, v any) {
	tb.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
}

// A recordedControl is one control message of a recording, in plaintext.
type recordedControl struct {
	File, Dir, Name string
	Hex             string
	PlainHex        string `json:"plain_hex"`
	Fields          map[string]any
}

func (m recordedControl) plain(tb testing.TB) []byte {
	if m.PlainHex != "" {
		return unhex(tb, m.PlainHex)
	}
	return unhex(tb, m.Hex)
}

// A recordedPacket is one test packet of a recording, in plaintext.
type recordedPacket struct {
	File, Dir string
	Hex       string
	PlainHex  string `json:"plain_hex"`
	Fields    map[string]any
}

func (p recordedPacket) plain(tb testing.TB) []byte {
	if p.PlainHex != "" {
		return unhex(tb, p.PlainHex)
	}
	return unhex(tb, p.Hex)
}

// recorded reads every recording of TWAMP; those of OWAMP are package twamp's.
func recorded(tb testing.TB) (control []recordedControl, test []recordedPacket) {
	tb.Helper()
	names, err := filepath.Glob("../testdata/tw*.json")
	if err != nil || len(names) != 11 {
		tb.Fatalf("%d recordings, %v, want 11", len(names), err)
	}
	for _, name := range names {
		var r struct {
			Control []recordedControl
			Test    []recordedPacket
		}
		readJSON(tb, name, &r)
		for _, m := range r.Control {
			m.File = filepath.Base(name)
			control = append(control, m)
		}
		for _, p := range r.Test {
			p.File = filepath.Base(name)
			test = append(test, p)
		}
	}
	return control, test
}

// roundTrip parses in, appends the value after a prefix, wants the same octets,
// and tries every shorter input.
func roundTrip[T any](t *testing.T, in []byte, parse func([]byte) (T, error), appendTo func(T, []byte) ([]byte, error)) T {
	t.Helper()
	v, err := parse(in)
	if err != nil {
		t.Fatalf("parse of % x: %v", in, err)
	}
	out, err := appendTo(v, []byte("kept"))
	if rest, ok := bytes.CutPrefix(out, []byte("kept")); err != nil || !ok || !bytes.Equal(rest, in) {
		t.Errorf("append = % x, %v\nwant \"kept\" and % x", out, err, in)
	}
	for n := range in {
		if _, err := parse(in[:n:n]); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("parse of first %d octets: %v, want unexpected EOF", n, err)
		}
	}
	return v
}

func TestMode(t *testing.T) {
	for _, tt := range []struct {
		mode Mode
		text string
	}{
		{0, "none"},
		{Unauthenticated, "unauthenticated"},
		{15, "unauthenticated,authenticated,encrypted,mixed"},
		{Encrypted | Symmetrical | 1<<20, "encrypted,symmetrical,0x100000"},
		{IKEv2 | TrafficClass | PTP | Individual | ReflectOctets, "individual,reflect-octets,ikev2,traffic-class,ptp"},
	} {
		if got := tt.mode.String(); got != tt.text {
			t.Errorf("Mode(%d) = %q, want %q", uint32(tt.mode), got, tt.text)
		}
		if got, err := ParseMode(tt.text); err == nil && got != tt.mode {
			t.Errorf("ParseMode(%q) = %v", tt.text, got)
		}
	}
	if m, err := ParseMode("authenticated, mixed"); err != nil || m != Authenticated|Mixed {
		t.Errorf("ParseMode with a blank = %v, %v", m, err)
	}
	if _, err := ParseMode("encrypted,plain"); err == nil || !strings.Contains(err.Error(), `"plain"`) {
		t.Errorf("ParseMode of an unknown name: %v", err)
	}
}

func TestModeChosen(t *testing.T) {
	const offered = 15 | Symmetrical
	for _, tt := range []struct {
		mode Mode
		want bool
	}{
		{Unauthenticated, true},
		{Mixed | Symmetrical, true},
		{0, false},
		{Symmetrical, false},
		{Authenticated | Encrypted, false},
		{Unauthenticated | Individual, false}, // 0x11, not offered
		{Unauthenticated | 32, false},
		{1 << 31, false},
	} {
		if got := tt.mode.Chosen(offered); got != tt.want {
			t.Errorf("%v chosen from %v = %t", tt.mode, Mode(offered), got)
		}
	}
}

func TestModeStrongest(t *testing.T) {
	for _, tt := range []struct {
		offered Mode
		keyed   bool
		want    Mode
	}{
		{15, true, Encrypted},
		{15, false, Unauthenticated},
		{Unauthenticated | Authenticated | Mixed, true, Authenticated},
		{Unauthenticated | Mixed, true, Mixed},
		{Encrypted, false, 0},
		{IKEv2, true, 0},
	} {
		if got := tt.offered.Strongest(tt.keyed); got != tt.want {
			t.Errorf("strongest of %v, key %t: %v, want %v", tt.offered, tt.keyed, got, tt.want)
		}
	}
}

func TestMessageLen(t *testing.T) {
	list := func(c Command, n uint32) []byte {
		b := make([]byte, BlockLen)
		b[0] = byte(c)
		b[12], b[13], b[14], b[15] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
		return b
	}
	for _, tt := range []struct {
		first []byte
		want  int
	}{
		{list(CommandRequestSession, 0), 112},
		{list(CommandStartSessions, 0), 32},
		{list(CommandStopSessions, 0), 32},
		{list(CommandStartN, 1), 48},
		{list(CommandStopNAck, MaxSIDs), 32 + 16*MaxSIDs},
	} {
		if got, err := MessageLen(tt.first); err != nil || got != tt.want {
			t.Errorf("MessageLen(% x) = %d, %v, want %d", tt.first, got, err, tt.want)
		}
	}
	for _, bad := range [][]byte{
		list(0, 0), list(1, 0), list(4, 0), list(6, 0), list(11, 0), list(255, 0),
		list(CommandStartN, 0), list(CommandStopN, MaxSIDs+1), list(CommandStartN, 1<<32-1),
	} {
		_, err := MessageLen(bad)
		if _, ok := errors.AsType[*FieldError](err); !ok {
			t.Errorf("MessageLen(% x): %v, want a FieldError", bad, err)
		}
	}
	if _, err := MessageLen(make([]byte, 15)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("MessageLen of 15 octets: %v", err)
	}
}

func TestAcceptString(t *testing.T) {
	for a, want := range map[Accept]string{OK: "ok", Unsupported: "not supported", 99: "failure (99)"} {
		if a.String() != want {
			t.Errorf("Accept %d = %q, want %q", a, a, want)
		}
	}
}
