package btest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/transcript"
	"github.com/sonde-net/sonde/result"
)

// goldenNames lists the recordings made between real programs.
func goldenNames(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/golden/*.json")
	if err != nil || len(files) != 39 {
		t.Fatalf("%d golden recordings (%v), want 39", len(files), err)
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".json")
	}
	return files
}

// golden loads a recording by its name.
func golden(t testing.TB, name string) *transcript.Recording {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "golden", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := transcript.ReadJSON(f)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return r
}

// TestGoldenResaved: what is loaded and saved is the same JSON, whatever the
// order of its keys.
func TestGoldenResaved(t *testing.T) {
	for _, name := range goldenNames(t) {
		b, err := os.ReadFile(filepath.Join("testdata", "golden", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := golden(t, name).WriteJSON(&out); err != nil {
			t.Fatal(err)
		}
		var was, is any
		if err := errors.Join(json.Unmarshal(b, &was), json.Unmarshal(out.Bytes(), &is)); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(was, is); d != "" {
			t.Errorf("%s (-was +is):\n%s", name, d)
		}
	}
}

// TestDecodeGolden: there is nothing in the recordings that has no name, and
// all bytes of the control connections are accounted for.
func TestDecodeGolden(t *testing.T) {
	for _, name := range goldenNames(t) {
		t.Run(name, func(t *testing.T) {
			rec := golden(t, name)
			var said, recorded int64
			for _, l := range decode(rec) {
				if l.kind == kindUnknown {
					t.Errorf("at %v on %d: %s", l.at, l.conn, l.line(true))
				}
				if l.conn > 0 {
					said += l.length
				}
			}
			for i := range rec.Events {
				if e := &rec.Events[i]; e.Kind.TCP() {
					recorded += e.Len
				}
			}
			if said != recorded {
				t.Errorf("%d bytes told, %d in the recording", said, recorded)
			}
		})
	}
}

func TestDecodePrints(t *testing.T) {
	f, err := os.Open("testdata/golden/rs-tcp-multi-transmit-md5.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out bytes.Buffer
	if err := Decode(f, &out, DecodeOptions{Hex: true}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"recording  rs-tcp-multi-transmit-md5\n           TCP transmit over 3 connections, MD5 on the first only\nserver     btest-rs 0.6.3\n",
		"    0.000 s  #1   server  hello: a bandwidth test server greets\n                              01 00 00 00\n",
		"    0.000 s  #1   client  command: the client orders a test\n",
		" transport      01  TCP\n",
		" direction      01  transmit, as the client sees it: the server receives\n",
		" connections    3  TCP connections in all, this one included\n",
		" user           \"test\"\n",
		" hash           (hidden)\n                              .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. .. 74 65 73 74",
		"    0.003 s  #1   server  reply: go\n                              token          41bb  with which more connections join\n",
		"    0.003 s  #2   client  join: a further connection of a test\n                              token          41bb  of the first connection\n",
		"    0.003 s  #3   server  reply: joined\n",
		"    0.007 s  #1   client  data: 903740 zeros until 2.604 s, 2.78 Mbit/s\n",
		"    1.105 s  #2   server  status 1: CPU 99 %, received 1038060 bytes in the last second, 8.30 Mbit/s\n                              07 e3 00 00",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("missing:\n%s", want)
		}
	}
	if strings.Contains(out.String(), "a90a1a90") {
		t.Error("the hash is shown")
	}
	if t.Failed() {
		t.Logf("in:\n%s", out.String())
	}
}

func TestDecodeSecrets(t *testing.T) {
	for name, secret := range map[string]string{
		"c-server-md5-ok":          "96cc33faf8469595c254ecb5dce9bdc0",
		"rs-tcp-receive-ecsrp5":    "f12a8be6377012e16a74518ee86a99620ab82ecf9332ba93947c91a3dce604d4",
		"rs-udp-both-ecsrp5":       "confirmation   (hidden)",
		"rs-tcp-multi-both-ecsrp5": "7b426e668a6e994787e54845801655713cc485c5a9cb82dedcabbde9c7827941",
	} {
		var rec, hidden, shown bytes.Buffer
		if err := golden(t, name).WriteJSON(&rec); err != nil {
			t.Fatal(err)
		}
		for secrets, out := range map[bool]*bytes.Buffer{false: &hidden, true: &shown} {
			if err := Decode(bytes.NewReader(rec.Bytes()), out, DecodeOptions{Secrets: secrets, Hex: true}); err != nil {
				t.Fatal(err)
			}
		}
		in := strings.Contains(shown.String(), secret)
		if secret == "confirmation   (hidden)" {
			in = strings.Contains(hidden.String(), secret)
		} else if strings.Contains(hidden.String(), secret) {
			t.Errorf("%s: the secret is shown though nobody asked", name)
		}
		if !in {
			t.Errorf("%s: %s is not there", name, secret)
		}
	}
}

// TestDialogPieces feeds the control connections of the recordings one byte at
// a time and all in one: the same messages come out.
func TestDialogPieces(t *testing.T) {
	type piece struct {
		from transcript.Side
		b    []byte
	}
	tell := func(pieces []piece) (said []string) {
		d := dialog{tell: func(m message) { said = append(said, fmt.Sprint(m.from, m.offset, m.length, m.line(true))) }}
		for _, p := range pieces {
			d.feed(p.from, 0, p.b)
		}
		d.flush(transcript.Client, 0)
		d.flush(transcript.Server, 0)
		slices.Sort(said)
		return said
	}
	for _, name := range goldenNames(t) {
		var whole, bytewise, glued []piece
		rec := golden(t, name)
		for i := range rec.Events {
			e := &rec.Events[i]
			if e.Kind != transcript.Data || e.Conn != 1 {
				continue
			}
			whole = append(whole, piece{e.From, e.Data})
			for j := range e.Data {
				bytewise = append(bytewise, piece{e.From, e.Data[j : j+1]})
			}
			if n := len(glued); n > 0 && glued[n-1].from == e.From {
				glued[n-1].b = append(slices.Clone(glued[n-1].b), e.Data...)
			} else {
				glued = append(glued, piece{e.From, e.Data})
			}
		}
		want := tell(whole)
		if d := cmp.Diff(want, tell(bytewise)); d != "" {
			t.Errorf("%s byte by byte (-whole +bytes):\n%s", name, d)
		}
		if d := cmp.Diff(want, tell(glued)); d != "" {
			t.Errorf("%s glued (-whole +glued):\n%s", name, d)
		}
	}
}

// TestDialogOdd: what is no message of the protocol is told as such, with its
// bytes, and nothing is told twice.
func TestDialogOdd(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"no hello", "< 53 53 48 2d", "hello: this is no bandwidth test server: 53 53 48 2d"},
		{"bad direction", "< 01 00 00 00\n> 01 04 00 00 00 80 00 00 00 00 00 00 00 00 00 00", "command: not one that a server can take: btest: command: bad direction 0x4: bytes 01040000008000000000000000000000"},
		{"unknown reply", "< 01 00 00 00\n> 01 02 00 00 00 80 00 00 00 00 00 00 00 00 00 00\n< 09 00 00 00", "reply: btest: reply: unexpected bytes 09 00 00 00: 09 00 00 00"},
		{"refused", "< 01 00 00 00\n> 01 02 00 00 00 80 00 00 00 00 00 00 00 00 00 00\n< 00 00 00 00", "reply: refused"},
		{"text for a key", "< 01 00 00 00\n> 01 02 00 00 00 80 00 00 00 00 00 00 00 00 00 00\n< 03 00 00 00\n" +
			"> 23 61 00 01020304 01020304 01020304 01020304 01020304 01020304 01020304 01020304 00\n< 05 73 6f 72 72 79", `text: the server says "sorry"`},
		{"refused at the key", "< 01 00 00 00\n> 01 02 00 00 00 80 00 00 00 00 00 00 00 00 00 00\n< 03 00 00 00\n" +
			"> 23 61 00 01020304 01020304 01020304 01020304 01020304 01020304 01020304 01020304 00\n< 00 00 00 00", "reply: refused: the login failed"},
		{"noise between statuses", "< 01 00 00 00\n> 00 03 01 00 dc 05 00 00 00 00 00 00 00 00 00 00\n< 01 00 00 00 07 d1\n" +
			"< aa bb\n< 07 80 00 00 01 00 00 00 00 00 00 00", "unknown: where a status is due: aa bb\nstatus 1: CPU 0 %, received 0 bytes in the last second, 0.00 Mbit/s"},
		{"begins in the middle", "< 07 aa 00 00 01 00 00 00 98 c3 07 00\n> 07 00 00 00 01 00 00 00 00 00 00 00",
			"missing: the recording begins in the middle of a test\n" +
				"status 1: CPU 42 %, received 508824 bytes in the last second, 4.07 Mbit/s\n" +
				"status 1: CPU not told, received 0 bytes in the last second, 0.00 Mbit/s"},
		{"a gap", "< 01 00 00 00\n< of 99\n< 07 80 00 00 02 00 00 00 00 00 00 00", "missing: 99 bytes are not in the recording\n" +
			"status 2: CPU 0 %, received 0 bytes in the last second, 0.00 Mbit/s"},
		{"port too high", "< 01 00 00 00\n> 00 03 01 00 dc 05 00 00 00 00 00 00 00 00 00 00\n< 01 00 00 00 ff ff", "UDP port: not one that leaves room for the client's: server 65535"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rec, err := transcript.ReadText(strings.NewReader(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, l := range decode(rec) {
				lines = append(lines, l.line(true))
			}
			if got := strings.Join(lines, "\n"); !strings.HasSuffix(got, tt.want) {
				t.Errorf("told\n%s\nwant at the end\n%s", got, tt.want)
			}
		})
	}
}

// TestDescriber follows a login live, as a server sees it.
func TestDescriber(t *testing.T) {
	var lines []string
	d := &Describer{Role: result.Server, Hex: true, Say: func(s string) { lines = append(lines, s) }}
	rec := golden(t, "rs-tcp-receive-md5")
	for i := range rec.Events {
		switch e := &rec.Events[i]; {
		case e.Kind != transcript.Data:
		case e.From == transcript.Server:
			d.Sent(4, e.Data)
		default:
			d.Received(4, e.Data)
		}
	}
	want := []string{
		"#4 > hello: a bandwidth test server greets [01 00 00 00]",
		"#4 < command: the client orders a test: transport 01 (TCP), direction 02 (receive, as the client sees it: the server sends), " +
			"data 00 (random (random-data=yes; btest-opensource and btest-rs say so too, and send zeros)), connections 0 (one), " +
			"size 32768 (bytes of one write of the server), client buffer 0 (meaning not confirmed), " +
			"server rate 0 (what the server may send: no limit (remote-tx-speed)), client rate 0 (what the client will send: no limit (local-tx-speed)) " +
			"[01 02 00 00 00 80 00 00 00 00 00 00 00 00 00 00]",
		"#4 > reply: a login is wanted, MD5 [02 00 00 00]",
		"#4 > challenge: to be hashed with the password: bytes b69a2462d476b78d5fb6df03cfd131f5 [b6 9a 24 62 d4 76 b7 8d 5f b6 df 03 cf d1 31 f5]",
		`#4 < login: MD5: user "test", hash (hidden) [` + strings.Repeat(".. ", 16) + "74 65 73 74" + strings.Repeat(" 00", 28) + "]",
		"#4 > reply: go [01 00 00 00]",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for n := range 5000 {
		d.Received(n, []byte{1})
	}
	if len(d.dialogs) > mostDescribed || len(d.order) > mostDescribed {
		t.Errorf("%d connections are kept, at most %d should be", len(d.dialogs), mostDescribed)
	}
}

// FuzzDialog: whatever two ends say, nothing panics, every byte is told of at
// most once, and what is held back stays small.
func FuzzDialog(f *testing.F) {
	for _, name := range goldenNames(f) {
		var b []byte
		rec := golden(f, name)
		for i := range rec.Events {
			if e := &rec.Events[i]; e.Kind == transcript.Data && e.Conn == 1 && len(b) < 1000 {
				b = append(append(b, byte(e.From), byte(len(e.Data))), e.Data...)
			}
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var in, out int64
		d := dialog{tests: map[wire.Token]wire.Command{}, tell: func(m message) {
			out += m.length
			m.line(false)
			m.hex(false)
		}}
		for len(b) >= 2 {
			from, n := transcript.Client, min(int(b[1]), len(b)-2)
			if b[0]&2 != 0 {
				from = transcript.Server
			}
			if b[0]&0x70 == 0x70 {
				d.zeros(from, 0, time.Second, int64(n)<<20)
				in += int64(n) << 20
				b = b[2:]
				continue
			}
			d.feed(from, 0, b[2:2+n])
			in += int64(n)
			b = b[2+n:]
			if len(d.client.pending) > 2*mostPending || len(d.server.pending) > 2*mostPending {
				t.Fatalf("%d and %d bytes are held back", len(d.client.pending), len(d.server.pending))
			}
		}
		d.flush(transcript.Client, 0)
		d.flush(transcript.Server, 0)
		if out > in {
			t.Errorf("%d bytes came, %d were told", in, out)
		}
	})
}

// FuzzDecode: no file makes Decode panic.
func FuzzDecode(f *testing.F) {
	for _, name := range []string{"rs-tcp-both-md5", "c-udp-receive-nat"} {
		var b bytes.Buffer
		if err := golden(f, name).WriteJSON(&b); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte("< 01 00 00 00\n> 01 02 00 00\n@1 2> zeros 10\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var out bytes.Buffer
		if err := Decode(bytes.NewReader(b), &out, DecodeOptions{Hex: true}); err != nil && out.Len() > 0 {
			t.Errorf("printed something and failed with %v", err)
		}
	})
}
