package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/sonde-net/sonde/btest/wire"
)

// RouterOS's factory login, the second exchange of the vectors.
var factory = struct {
	record Record
	text   string
}{
	record: NewRecord("admin", "", [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}),
	text:   "ecsrp5:000102030405060708090a0b0c0d0e0f527cc4bb8fcff0d036c8e16659ee7b11429f9cc1fa37c9aadf128756b8e3ccff00",
}

func TestRecordText(t *testing.T) {
	text, err := factory.record.MarshalText()
	if err != nil || string(text) != factory.text {
		t.Errorf("MarshalText = %s, %v\nwant %s", text, err, factory.text)
	}
	var r Record
	if err := r.UnmarshalText([]byte(factory.text)); err != nil || r != factory.record {
		t.Errorf("UnmarshalText = %#v, %v", r, err)
	}
	document, err := json.Marshal(map[string]Record{"login": factory.record})
	if want := `{"login":"` + factory.text + `"}`; err != nil || string(document) != want {
		t.Errorf("as JSON: %s, %v\nwant %s", document, err, want)
	}
}

func TestRecordBinary(t *testing.T) {
	b, err := factory.record.AppendBinary([]byte("kept"))
	if err != nil || string(b[:4]) != "kept" || len(b) != 4+RecordLen {
		t.Fatalf("AppendBinary = % x, %v", b, err)
	}
	b = b[4:]
	if r, err := ParseRecord(b); err != nil || r != factory.record {
		t.Errorf("ParseRecord = %#v, %v", r, err)
	}
	for n := range b {
		if _, err := ParseRecord(b[:n]); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("ParseRecord of %d bytes = %v, want unexpected EOF", n, err)
		}
	}
	if _, err := ParseRecord(append(b, 0)); err == nil {
		t.Error("ParseRecord takes a byte too many")
	}
}

// TestRecordDamaged has every kind of record that no password gives.
func TestRecordDamaged(t *testing.T) {
	zeros := strings.Repeat("00", 31)
	salt := "ecsrp5:" + strings.Repeat("5a", 16)
	for key := range smallPoints(t) {
		checkDamaged(t, fmt.Sprintf("%s%x%02x", salt, key.X, key.Parity), "small order")
	}
	for _, tt := range []struct{ text, want string }{
		{"", "does not begin with"},
		{"ECSRP5:" + factory.text[7:], "does not begin with"},
		{factory.text[:len(factory.text)-1], "odd length"},
		{factory.text[:len(factory.text)-2], "48 of 49 bytes"},
		{factory.text + "00", "50 bytes, want 49"},
		{factory.text[:20] + "x" + factory.text[21:], "invalid byte"},
		{factory.text[:len(factory.text)-2] + "02", "no point"},
		{salt + zeros + "0200", "no point"},
		{salt + zeros + "0001", "no point"},
		{salt + "7f" + strings.Repeat("ff", 30) + "ed" + "00", "small order"},
		{salt + "7f" + strings.Repeat("ff", 30) + "f6" + "00", "not reduced"}, // p + 9
		{salt + "80" + strings.Repeat("00", 30) + "09" + "00", "no point"},    // 2^255 + 9 is 28
	} {
		checkDamaged(t, tt.text, tt.want)
	}
}

func checkDamaged(t *testing.T, text, want string) {
	t.Helper()
	kept := factory.record
	err := kept.UnmarshalText([]byte(text))
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("UnmarshalText(%q) = %v, want one about %q", text, err, want)
	}
	if kept != factory.record {
		t.Errorf("UnmarshalText(%q) changed the record to %#v", text, kept)
	}
}

// TestNewServerDamaged: a record that came past the parser.
func TestNewServerDamaged(t *testing.T) {
	if _, err := NewServer(Record{}, true, newRandom(1)); err == nil {
		t.Error("NewServer takes an empty record")
	}
	r := factory.record
	r.Parity ^= 1 // the other point is on the curve too: nothing to see, but nobody gets in
	server, err := NewServer(r, true, newRandom(1))
	if err != nil {
		t.Fatal(err)
	}
	_, confirm := converse(t, server, "admin", "")
	if _, ok := server.Check(confirm); ok {
		t.Error("a login passes with the wrong parity of gamma")
	}
}

// TestRecordHidden: a log line must not have what passwords can be tried on.
func TestRecordHidden(t *testing.T) {
	secret := fmt.Sprintf("%x", factory.record.X)[:8]
	user := struct{ Login Record }{factory.record}
	for _, shown := range []string{fmt.Sprint(factory.record), fmt.Sprintf("%+v", user), fmt.Sprintf("%v", []any{&factory.record})} {
		if strings.Contains(shown, secret) || !strings.Contains(shown, "ecsrp5:0001") {
			t.Errorf("printed as %s", shown)
		}
	}
}

func TestDecoy(t *testing.T) {
	secret := [32]byte{1}
	seen := map[string]bool{}
	for _, name := range []string{"", "ann", "ann2", "Ann", "jānis"} {
		r := Decoy(secret, name)
		if again := Decoy(secret, name); again != r {
			t.Errorf("Decoy(%q) = %#v and then %#v", name, r, again)
		}
		if _, err := r.gamma(); err != nil {
			t.Errorf("Decoy(%q): %v", name, err)
		}
		for _, part := range []string{string(r.Salt[:]), string(r.X[:])} {
			if seen[part] {
				t.Errorf("Decoy(%q) shares salt or X with another name", name)
			}
			seen[part] = true
		}
	}
	other := Decoy([32]byte{2}, "ann")
	if r := Decoy(secret, "ann"); r.Salt == other.Salt || r.X == other.X {
		t.Error("two installations give the same decoy")
	}
	// The salt is public: X must not come from the same bytes.
	if r := Decoy(secret, "ann"); RecordFromInner(keyed(secret, "ann"), r.Salt) == r {
		t.Error("X follows from the value that the salt shows half of")
	}
	// HMAC-SHA-256 with key 01 00 … 00 over "ann", by openssl.
	if r := Decoy(secret, "ann"); fmt.Sprintf("%x", r.Salt) != annSalt {
		t.Errorf("salt = %x, want %s", r.Salt, annSalt)
	}
}

// TestDecoyConversation: up to the end a decoy looks like a user.
func TestDecoyConversation(t *testing.T) {
	server, err := NewServer(Decoy([32]byte{1}, "ghost"), false, newRandom(1))
	if err != nil {
		t.Fatal(err)
	}
	_, confirm := converse(t, server, "ghost", "secret")
	if _, ok := server.Check(confirm); ok {
		t.Error("a user who does not exist gets in")
	}
}

// TestCapturedRouterOS has the beginning of a login at a RouterOS device, from a
// public capture. Its W_b is no multiple of G, because the blinding point is
// not; a client that demands one never gets in.
func TestCapturedRouterOS(t *testing.T) {
	m1, err := wire.ParseClientKey(unhex(t, "616e746172"+"00"+
		"388a3736526a32e9874e92f8c3aaa118dacd71b6ab76fd72aac3f66a439bc8a1"+"01"))
	if err != nil {
		t.Fatal(err)
	}
	m2, err := wire.ParseServerKey(unhex(t, capturedServerKey))
	if err != nil {
		t.Fatal(err)
	}
	wa, ok := lift(m1.Key)
	if !ok || !isNeutral(multiply(bytes32(oracleR), wa)) {
		t.Error("W_a is no multiple of G")
	}
	wb, ok := lift(m2.Key)
	if !ok || isNeutral(multiply(bytes32(oracleR), wb)) {
		t.Error("W_b does not lift, or is a multiple of G after all")
	}
	client, err := NewClient("antar", "unknown", newRandom(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Confirm(m2); err != nil {
		t.Errorf("Confirm = %v", err)
	}
	server, err := NewServer(NewRecord("antar", "unknown", m2.Salt), true, newRandom(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Key(m1); err != nil {
		t.Errorf("Key = %v", err)
	}
}

const (
	annSalt           = "253984aaa176a56922897decfb2862ea"
	capturedServerKey = "6cc9e31a79434a4051defd55cc8d6d3ceccd73191fa6831594625297fe5d891a" + "00" +
		"3cec65b834280a16c5480d7b5000e380"
)
