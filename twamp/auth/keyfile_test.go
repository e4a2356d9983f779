package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestParseKeys(t *testing.T) {
	k, err := ParseKeys([]byte("\ufeff# keys of the carriers\r\n\r\n" +
		"sondekey correct horse battery staple\r\n" +
		"\tb\thex:00FFa0  \n" +
		"  # not a key\n" +
		"ключ пароль"))
	if err != nil {
		t.Fatal(err)
	}
	if k.Len() != 3 {
		t.Errorf("%d keys", k.Len())
	}
	for id, want := range map[string]string{
		"sondekey": "correct horse battery staple",
		"b":        "\x00\xff\xa0",
		"ключ":     "пароль",
		"nosuch":   "",
	} {
		if got := string(k.Secret(id).octets); got != want {
			t.Errorf("key %q is %q, want %q", id, got, want)
		}
		if k.Secret(id).IsZero() != (want == "") {
			t.Errorf("key %q: IsZero = %t", id, k.Secret(id).IsZero())
		}
	}
}

func TestParseKeysTellsEveryFault(t *testing.T) {
	_, err := ParseKeys([]byte("alone\n" +
		"ok secret\n" +
		"ok again-secret\n" +
		"odd hex:abc\n" +
		"none hex:\n" +
		"bad\xff secret\n" +
		strings.Repeat("x", 81) + " secret\n"))
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("%v", err)
	}
	want := []int{1, 3, 4, 5, 6, 7}
	if len(joined.Unwrap()) != len(want) {
		t.Fatalf("%d faults, want %d: %v", len(joined.Unwrap()), len(want), err)
	}
	for i, e := range joined.Unwrap() {
		if le, ok := errors.AsType[*LineError](e); !ok || le.Line != want[i] {
			t.Errorf("fault %d: %v, want it in line %d", i, e, want[i])
		}
	}
	if strings.Contains(err.Error(), "secret\n") || strings.Contains(err.Error(), "again") {
		t.Errorf("the error tells a secret: %v", err)
	}
}

func TestSecretIsNotPrinted(t *testing.T) {
	s := NewSecret("hush")
	doc, err := json.Marshal(map[string]any{"secret": s})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q %x", s, s, s, s, s, s), fmt.Sprintf("%v", struct{ S Secret }{s}), string(doc)} {
		if strings.Contains(text, "hush") || strings.Contains(text, "68757368") {
			t.Errorf("printed as %s", text)
		}
	}
}

func TestAdmit(t *testing.T) {
	k, err := ParseKeys([]byte("ann  secret\nbob  other\n"))
	if err != nil {
		t.Fatal(err)
	}
	salt, challenge := [16]byte{1}, [16]byte{2}
	want := SessionKeys{AES: Key{3}, HMAC: [32]byte{4}}
	derived, err := DeriveKey(NewSecret("secret"), salt, 1024)
	if err != nil {
		t.Fatal(err)
	}
	token := NewToken(derived, challenge, want)
	if got, ok := k.Admit("ann", salt, challenge, 1024, token); !ok || got != want {
		t.Errorf("the right key: %x, %t", got, ok)
	}
	nobody, err := DeriveKey(NewSecret("nobody has this key"), salt, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, try := range map[string]struct {
		id    string
		token [TokenLen]byte
	}{
		"wrong key":         {"bob", token},
		"unknown key":       {"carl", token},
		"the stand-in's":    {"carl", NewToken(nobody, challenge, want)},
		"empty name":        {"", NewToken(nobody, challenge, want)},
		"another challenge": {"ann", NewToken(derived, [16]byte{9}, want)},
	} {
		if got, ok := k.Admit(try.id, salt, challenge, 1024, try.token); ok || got != (SessionKeys{}) {
			t.Errorf("%s: %x, %t", name, got, ok)
		}
	}
	if _, ok := (Keys{}).Admit("ann", salt, challenge, 1024, token); ok {
		t.Error("a key was known without a file")
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte("sondekey correct horse battery staple\nb hex:00ff\n# c\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := ParseKeys(b)
		if err != nil {
			return
		}
		for id, s := range k.secrets {
			if id == "" || len(id) > keyIDLen || s.IsZero() {
				t.Errorf("key %q, secret of %d octets", id, len(s.octets))
			}
		}
	})
}
