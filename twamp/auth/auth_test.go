package auth

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
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

// A conversation is a handshake of vectors.json.
type conversation struct {
	Mode       int
	Passphrase string
	Inputs     struct {
		Challenge, Salt string
		Count           uint32
		AES             string `json:"aes_session_key"`
		HMAC            string `json:"hmac_session_key"`
		ClientIV        string `json:"client_iv"`
		ServerIV        string `json:"server_iv"`
		Derived         string `json:"pbkdf2_key"`
		TokenPlain      string `json:"token_plain"`
		Token           string
	}
	Control []struct {
		Name, Dir, Wire, Plain, HMAC string
		HMACInput                    string `json:"hmac_input"`
	}
	Session struct {
		SID  string
		AES  string `json:"test_aes_key"`
		HMAC string `json:"test_hmac_key"`
	}
	Test []struct{ Dir, Plain, HMAC, Wire string }
}

func (c conversation) keys(tb testing.TB) SessionKeys {
	return SessionKeys{Key(unhex(tb, c.Inputs.AES)), [32]byte(unhex(tb, c.Inputs.HMAC))}
}

type vectors struct {
	PBKDF2 []struct {
		Passphrase, Salt, Key string
		Count                 uint32
	}
	Authenticated conversation `json:"handshake_authenticated"`
	Encrypted     conversation `json:"handshake_encrypted"`
	Stamp         map[string]json.RawMessage
}

func readVectors(tb testing.TB) vectors {
	tb.Helper()
	var v vectors
	readJSON(tb, "../testdata/vectors.json", &v)
	return v
}

func TestDeriveKey(t *testing.T) {
	for _, v := range readVectors(t).PBKDF2 {
		got, err := DeriveKey(NewSecret(v.Passphrase), [16]byte(unhex(t, v.Salt)), v.Count)
		if err != nil || hex.EncodeToString(got[:]) != v.Key {
			t.Errorf("%q, %d rounds: %x, %v, want %s", v.Passphrase, v.Count, got, err, v.Key)
		}
	}
}

func TestCheckCount(t *testing.T) {
	for _, tt := range []struct {
		count, most uint32
		ok          bool
	}{
		{1024, 0, true}, {2048, 0, true}, {32768, 0, true}, {65536, 1 << 16, true},
		{0, 0, false}, {1, 0, false}, {512, 0, false}, {1023, 0, false}, {1025, 0, false}, {3072, 0, false},
		{65536, 0, false}, {1 << 31, 0, false}, {2048, 1024, false},
	} {
		err := CheckCount(tt.count, tt.most)
		if _, typed := errors.AsType[*CountError](err); tt.ok != (err == nil) || !tt.ok && !typed {
			t.Errorf("CheckCount(%d, %d) = %v", tt.count, tt.most, err)
		}
	}
}

func TestToken(t *testing.T) {
	for _, c := range []conversation{readVectors(t).Authenticated, readVectors(t).Encrypted} {
		k := Key(unhex(t, c.Inputs.Derived))
		challenge := [16]byte(unhex(t, c.Inputs.Challenge))
		token := NewToken(k, challenge, c.keys(t))
		if hex.EncodeToString(token[:]) != c.Inputs.Token {
			t.Errorf("token %x, want %s", token, c.Inputs.Token)
		}
		if got, ok := OpenToken(k, challenge, token); !ok || got != c.keys(t) {
			t.Errorf("token carries %x, %t", got, ok)
		}
		challenge[15] ^= 1
		if _, ok := OpenToken(k, challenge, token); ok {
			t.Error("a token was taken for another challenge")
		}
		k[0] ^= 1
		if got, ok := OpenToken(k, [16]byte(unhex(t, c.Inputs.Challenge)), token); ok {
			t.Errorf("another key opened the token: %x", got)
		}
	}
}

// clear is how much of a message at its front is never encrypted.
func clearOf(name string) int {
	switch name {
	case "server-greeting":
		return 64
	case "set-up-response":
		return 164
	case "server-start":
		return 32
	}
	return 0
}

// play seals what one side of a conversation says and opens it at the other.
func play(t *testing.T, k SessionKeys, clientIV, serverIV IV, messages []message) {
	t.Helper()
	sealers := map[string]*Sealer{"client>server": NewSealer(k, clientIV), "server>client": NewSealer(k, serverIV)}
	openers := map[string]*Opener{"client>server": NewOpener(k, clientIV), "server>client": NewOpener(k, serverIV)}
	for i, m := range messages {
		from := clearOf(m.name)
		if from == len(m.wire) {
			continue
		}
		sealed := bytes.Clone(m.plain)
		opened := bytes.Clone(m.wire)
		var err error
		if m.name == "server-start" {
			sealers[m.dir].Seal(sealed[from:])
			openers[m.dir].Open(opened[from:])
		} else {
			clear(sealed[len(sealed)-BlockLen:])
			sealers[m.dir].Sign(sealed)
			// As a server reads: the first block tells how long the message is.
			openers[m.dir].Open(opened[:BlockLen])
			err = openers[m.dir].Check(opened[BlockLen:])
		}
		if !bytes.Equal(sealed, m.wire) {
			t.Errorf("%d %s: sealed as % x\nwant % x", i, m.name, sealed, m.wire)
		}
		if err != nil || !bytes.Equal(opened, m.plain) {
			t.Errorf("%d %s: opened as % x, %v\nwant % x", i, m.name, opened, err, m.plain)
		}
	}
}

type message struct {
	name, dir   string
	wire, plain []byte
}

func TestVectorControl(t *testing.T) {
	for _, c := range []conversation{readVectors(t).Authenticated, readVectors(t).Encrypted} {
		t.Run(fmt.Sprint("mode ", c.Mode), func(t *testing.T) {
			var messages []message
			for _, m := range c.Control {
				messages = append(messages, message{m.Name, m.Dir, unhex(t, m.Wire), unhex(t, m.Plain)})
			}
			play(t, c.keys(t), IV(unhex(t, c.Inputs.ClientIV)), IV(unhex(t, c.Inputs.ServerIV)), messages)
		})
	}
}

func TestVectorPackets(t *testing.T) {
	for _, c := range []conversation{readVectors(t).Authenticated, readVectors(t).Encrypted} {
		k := c.keys(t).TestKeys([16]byte(unhex(t, c.Session.SID)))
		if hex.EncodeToString(k.AES[:]) != c.Session.AES || hex.EncodeToString(k.HMAC[:]) != c.Session.HMAC {
			t.Fatalf("mode %d: keys %x, %x", c.Mode, k.AES, k.HMAC)
		}
		p := NewPackets(k, c.Mode == 4)
		for i, v := range c.Test {
			checkPacket(t, fmt.Sprintf("mode %d, packet %d", c.Mode, i), p, v.Dir, unhex(t, v.Plain), unhex(t, v.Wire))
		}
	}
}

// checkPacket seals plain, wants wire, and opens it again. Plain may lack the
// padding.
func checkPacket(t *testing.T, what string, p *Packets, dir string, plain, wire []byte) {
	t.Helper()
	seal, open, at := p.SealRequest, p.OpenRequest, requestHMAC
	if dir == "reflector>sender" {
		seal, open, at = p.SealReply, p.OpenReply, replyHMAC
	}
	full := append(bytes.Clone(plain), wire[len(plain):]...)
	sealed, opened := bytes.Clone(full), bytes.Clone(wire)
	clear(sealed[at : at+BlockLen])
	seal(sealed)
	if !bytes.Equal(sealed, wire) {
		t.Errorf("%s: sealed as % x\nwant % x", what, sealed, wire)
	}
	if err := open(opened); err != nil || !bytes.Equal(opened, full) {
		t.Errorf("%s: opened as % x, %v\nwant % x", what, opened, err, full)
	}
}

// A recording is a conversation of two other implementations.
type recording struct {
	SharedSecret struct{ Passphrase string } `json:"shared_secret"`
	Derived      struct {
		Key  string `json:"pbkdf2_key"`
		AES  string `json:"aes_session_key"`
		HMAC string `json:"hmac_session_key"`
	}
	Sessions []struct {
		SID  string
		AES  string `json:"test_aes_key"`
		HMAC string `json:"test_hmac_key"`
	}
	Control []struct {
		Dir, Name, Hex string
		PlainHex       string `json:"plain_hex"`
		Fields         map[string]any
	}
	Test []struct {
		Dir, Hex string
		PlainHex string `json:"plain_hex"`
	}
}

// field is an octet string among a message's fields.
func (r recording) field(t *testing.T, message, name string) []byte {
	for _, m := range r.Control {
		if m.Name == message {
			return unhex(t, m.Fields[name].(string))
		}
	}
	t.Fatalf("no %s in the recording", message)
	return nil
}

// TestRecordings starts from the passphrase alone: it derives every key, opens
// every message and packet, and seals the plaintext to the same octets.
func TestRecordings(t *testing.T) {
	for _, name := range []string{"authenticated", "encrypted", "mixed"} {
		t.Run(name, func(t *testing.T) {
			var r recording
			readJSON(t, filepath.Join("../testdata", "twping-twampd-"+name+".json"), &r)
			challenge := [16]byte(r.field(t, "server-greeting", "challenge"))
			derived, err := DeriveKey(NewSecret(r.SharedSecret.Passphrase), [16]byte(r.field(t, "server-greeting", "salt")), 2048)
			if err != nil || hex.EncodeToString(derived[:]) != r.Derived.Key {
				t.Fatalf("derived %x, %v, want %s", derived, err, r.Derived.Key)
			}
			token := [TokenLen]byte(r.field(t, "set-up-response", "token"))
			keys, ok := OpenToken(derived, challenge, token)
			if !ok || hex.EncodeToString(keys.AES[:]) != r.Derived.AES || hex.EncodeToString(keys.HMAC[:]) != r.Derived.HMAC {
				t.Fatalf("session keys %x, %t", keys, ok)
			}
			if again := NewToken(derived, challenge, keys); again != token {
				t.Errorf("the token became % x", again)
			}
			var messages []message
			for _, m := range r.Control {
				plain := m.PlainHex
				if plain == "" {
					plain = m.Hex
				}
				messages = append(messages, message{m.Name, m.Dir, unhex(t, m.Hex), unhex(t, plain)})
			}
			play(t, keys, IV(r.field(t, "set-up-response", "client_iv")), IV(r.field(t, "server-start", "server_iv")), messages)
			test := keys.TestKeys([16]byte(unhex(t, r.Sessions[0].SID)))
			if hex.EncodeToString(test.AES[:]) != r.Sessions[0].AES || hex.EncodeToString(test.HMAC[:]) != r.Sessions[0].HMAC {
				t.Fatalf("test keys %x", test)
			}
			p := NewPackets(test, name == "encrypted")
			checked := 0
			for i, m := range r.Test {
				if m.PlainHex != "" {
					checkPacket(t, fmt.Sprintf("packet %d", i), p, m.Dir, unhex(t, m.PlainHex), unhex(t, m.Hex))
					checked++
				}
			}
			if (checked == 0) != (name == "mixed") {
				t.Errorf("%d keyed packets", checked)
			}
		})
	}
}

// Every flipped bit that an HMAC is to protect is found.
func TestFlippedBits(t *testing.T) {
	c := readVectors(t).Encrypted
	keys := c.keys(t)
	p := NewPackets(keys.TestKeys([16]byte(unhex(t, c.Session.SID))), true)
	for i := range c.Test {
		wire := unhex(t, c.Test[i].Wire)
		open, covered := p.OpenRequest, 48
		if c.Test[i].Dir == "reflector>sender" {
			open, covered = p.OpenReply, 112
		}
		for bit := range covered * 8 {
			b := bytes.Clone(wire)
			b[bit/8] ^= 1 << (bit % 8)
			if err := open(b); !errors.Is(err, ErrHMAC) {
				t.Errorf("packet %d with bit %d flipped: %v", i, bit, err)
			}
		}
	}
	request := unhex(t, c.Control[3].Wire)
	for bit := range len(request) * 8 {
		b := bytes.Clone(request)
		b[bit/8] ^= 1 << (bit % 8)
		if err := NewOpener(keys, IV(unhex(t, c.Inputs.ClientIV))).Check(b); !errors.Is(err, ErrHMAC) {
			t.Errorf("request with bit %d flipped: %v", bit, err)
		}
	}
}

// Mode 1: the nil ones change nothing.
func TestUnauthenticated(t *testing.T) {
	b := []byte("0123456789abcdef0123456789abcdef")
	want := string(b)
	var s *Sealer
	var o *Opener
	s.Seal(b)
	s.Sign(b)
	o.Open(b)
	if err := o.Check(b); err != nil || string(b) != want {
		t.Errorf("%q, %v", b, err)
	}
}

func TestPacketsDoNotAllocate(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		p := NewPackets(TestKeys{}, encrypted)
		b := make([]byte, 112)
		n := testing.AllocsPerRun(100, func() {
			p.SealReply(b)
			if err := p.OpenReply(b); err != nil {
				t.Fatal(err)
			}
			p.SealRequest(b)
			if err := p.OpenRequest(b); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("encrypted %t: %v allocations", encrypted, n)
		}
	}
	s := NewStamp(NewSecret("secret"))
	b := make([]byte, 112)
	n := testing.AllocsPerRun(100, func() {
		s.Sign(b)
		if err := s.Check(b); err != nil {
			t.Fatal(err)
		}
		if err := s.CheckTLVs(1, b, s.SumTLVs(1, b)); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("STAMP: %v allocations", n)
	}
}

func BenchmarkReply(b *testing.B) {
	for _, encrypted := range []bool{false, true} {
		b.Run(fmt.Sprintf("encrypted=%t", encrypted), func(b *testing.B) {
			p := NewPackets(TestKeys{}, encrypted)
			buf := make([]byte, 112)
			b.ReportAllocs()
			for b.Loop() {
				p.SealReply(buf)
			}
		})
	}
}

func FuzzPackets(f *testing.F) {
	for _, c := range []conversation{readVectors(f).Authenticated, readVectors(f).Encrypted} {
		for _, p := range c.Test {
			f.Add(unhex(f, p.Wire), c.Mode == 4)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, encrypted bool) {
		if len(b) < 112 {
			return
		}
		p := NewPackets(TestKeys{AES: Key{1}, HMAC: [32]byte{2}}, encrypted)
		want := bytes.Clone(b)
		p.SealReply(b)
		copy(want[replyHMAC:], b[replyHMAC:replyHMAC+BlockLen])
		if err := p.OpenReply(b); err != nil || !bytes.Equal(b, want) {
			t.Fatalf("came back as % x, %v", b, err)
		}
	})
}
