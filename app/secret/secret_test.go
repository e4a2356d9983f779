package secret

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func TestKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if _, err := ReadKey(file); !IsMissing(err) {
		t.Errorf("no file: %v", err)
	}
	k, err := NewKey(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewKey(file); err == nil {
		t.Error("a key was overwritten")
	}
	if info, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: want mode 0600", info.Mode(), err)
	}
	again, err := ReadKey(file)
	if err != nil {
		t.Fatal(err)
	}
	one, two := k.Seal([]byte("secret"), "ann"), k.Seal([]byte("secret"), "ann")
	if bytes.Equal(one, two) || bytes.Contains(one, []byte("secret")) {
		t.Errorf("sealed % x and % x", one, two)
	}
	if got, err := again.Open(one, "ann"); err != nil || string(got) != "secret" {
		t.Errorf("opened %q, %v", got, err)
	}
	if again.Derive("a") != k.Derive("a") || k.Derive("a") == k.Derive("b") {
		t.Error("derived keys do not follow the purpose alone")
	}
	for i := range one {
		bad := bytes.Clone(one)
		bad[i] ^= 1
		if _, err := k.Open(bad, "ann"); !errors.Is(err, ErrSealed) {
			t.Fatalf("opens with byte %d changed: %v", i, err)
		}
	}
	for n := range one {
		if _, err := k.Open(one[:n], "ann"); !errors.Is(err, ErrSealed) {
			t.Fatalf("opens when cut to %d bytes: %v", n, err)
		}
	}
	if _, err := k.Open(one, "bob"); !errors.Is(err, ErrSealed) {
		t.Errorf("opens in another's place: %v", err)
	}
	if strings.Contains(k.String(), string(k.bytes[:])) {
		t.Error("the key can be printed")
	}
}

func TestReadKeyRefuses(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	if _, err := NewKey(good); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, text string
		mode       os.FileMode
	}{
		{"empty", "", 0o600},
		{"blank", "\n", 0o600},
		{"no prefix", strings.TrimPrefix(string(text), keyPrefix), 0o600},
		{"cut", string(text[:len(text)-3]), 0o600},
		{"no base64", keyPrefix + "!!", 0o600},
		{"long", strings.Repeat("x", longestFile+1), 0o600},
		{"open to all", string(text), 0o644},
	} {
		if tt.mode != 0o600 && runtime.GOOS == "windows" {
			continue
		}
		file := filepath.Join(dir, tt.name)
		if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, tt.mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadKey(file); err == nil || IsMissing(err) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if _, err := ReadKey(dir); err == nil {
		t.Error("a folder is a key")
	}
}

func TestPassword(t *testing.T) {
	var h Hasher
	kept, err := h.Hash(t.Context(), "pass word")
	if err != nil || !strings.HasPrefix(kept, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("%q, %v", kept, err)
	}
	for _, tt := range []struct {
		kept, password string
		want           bool
	}{
		{kept, "pass word", true},
		{kept, "pass wore", false},
		{kept, "", false},
		{kept, strings.Repeat("x", LongestPassword+1), false},
		{"", "", false},
		{"", "-", false},
		{kept[:len(kept)-1], "pass word", false},
		{strings.Replace(kept, "m=19456", "m=4294967295", 1), "pass word", false}, // costs no more
		{strings.Replace(kept, "$argon2id", "$argon2i", 1), "pass word", false},
	} {
		if got, err := h.Check(t.Context(), tt.kept, tt.password); err != nil || got != tt.want {
			t.Errorf("Check(%q, %.20q) = %v, %v, want %v", tt.kept, tt.password, got, err, tt.want)
		}
	}
	for _, bad := range []string{"", strings.Repeat("x", LongestPassword+1)} {
		if _, err := h.Hash(t.Context(), bad); err == nil {
			t.Errorf("a hash of a password of %d bytes", len(bad))
		}
	}
}

// TestHashesAreBounded: strangers who log in all at once cannot make the server
// hash more than two at a time, nor keep more than a few waiting.
func TestHashesAreBounded(t *testing.T) {
	var p places
	var leaves []func()
	for range hashing {
		leave, err := p.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leave)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, waiting+10)
	var wg sync.WaitGroup
	for range waiting + 10 {
		wg.Go(func() {
			leave, err := p.enter(ctx)
			if err == nil {
				leave()
			}
			ended <- err
		})
	}
	for range 10 {
		if err := <-ended; !errors.Is(err, ErrBusy) {
			t.Errorf("one too many: %v", err)
		}
	}
	cancel()
	wg.Wait()
	for _, leave := range leaves {
		leave()
	}
	if leave, err := p.enter(t.Context()); err != nil {
		t.Errorf("a place was not given back: %v", err)
	} else {
		leave()
	}
	if len(p.in) != 0 || len(p.busy) != 0 {
		t.Errorf("%d places, %d waiting are still taken", len(p.busy), len(p.in))
	}
}

func TestToken(t *testing.T) {
	a, b := NewToken(), NewToken()
	if a == b || len(a) != len(tokenPrefix)+43 || bytes.Equal(HashToken(a), HashToken(b)) {
		t.Errorf("%q, %q", a, b)
	}
}

func BenchmarkHash(b *testing.B) {
	var h Hasher
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Check(b.Context(), "", "password"); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzParsePHC: a kept text is the hash of one cost, or none.
func FuzzParsePHC(f *testing.F) {
	f.Add(phcPrefix() + "AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=4294967295,t=1,p=1$AAAA$AAAA")
	f.Add("")
	f.Fuzz(func(t *testing.T, kept string) {
		salt, sum, ok := parsePHC(kept)
		if ok && (len(salt) != saltLen || len(sum) != hashLen || !strings.HasPrefix(kept, phcPrefix())) {
			t.Errorf("%q is a hash of % x and % x", kept, salt, sum)
		}
	})
}
