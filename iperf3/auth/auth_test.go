package auth

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// testKey is made once: generating one takes long.
var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

var noon = time.Unix(1795186208, 0)

func TestText(t *testing.T) {
	got, err := Claim{"alice", "secret", noon}.text()
	if want := "user: alice\npwd:  secret\nts:   1795186208"; err != nil || got != want {
		t.Errorf("text = %q, %v, want %q", got, err, want)
	}
	for _, bad := range []Claim{{"", "x", noon}, {"a\nb", "x", noon}, {"a", "x\ny", noon}, {"a", "\x00", noon}} {
		if _, err := bad.text(); err == nil {
			t.Errorf("%q, %q was taken", bad.User, bad.Password)
		}
	}
}

func TestToken(t *testing.T) {
	key := testKey()
	for _, p := range []Padding{PKCS1, OAEP} {
		for _, want := range []Claim{{"alice", "secret", noon}, {"Ürsula", "", noon}, {"a b", " x, y ts:   1", noon}} {
			token, err := NewToken(&key.PublicKey, p, want)
			if err != nil {
				t.Fatal(err)
			}
			if strings.ContainsAny(token, "\r\n") || len(token) != 344 {
				t.Errorf("%v: token %q, want one line of 344 characters", p, token)
			}
			got, err := Open(key, token)
			if err != nil || got != want {
				t.Errorf("%v: Open = %+v, %v, want %+v", p, got, err, want)
			}
		}
		long := Claim{"alice", strings.Repeat("x", 300), noon}
		if _, err := NewToken(&key.PublicKey, p, long); err == nil || !strings.Contains(err.Error(), "2048 bits") {
			t.Errorf("%v: password of 300 bytes: %v", p, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	key := testKey()
	seal := func(text string) string {
		//lint:ignore SA1019 what iperf3 before 3.16 sends
		b, err := rsa.EncryptPKCS1v15(rand.Reader, &key.PublicKey, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(b)
	}
	good := seal("user: a\npwd:  b\nts:   5")
	if c, err := Open(key, good); err != nil || c.Password != "b" {
		t.Errorf("Open = %+v, %v", c, err)
	}
	for name, token := range map[string]string{
		"empty":        "",
		"not base64":   "!!!",
		"cut":          good[:100],
		"garbage":      base64.StdEncoding.EncodeToString(make([]byte, 256)),
		"too long":     strings.Repeat("QUFB", 1000),
		"no user":      seal("usr: a\npwd:  b\nts:   5"),
		"no password":  seal("user: a\nts:   5"),
		"no time":      seal("user: a\npwd:  b"),
		"bad time":     seal("user: a\npwd:  b\nts:   x"),
		"hostile time": seal("user: a\npwd:  b\nts:   9223372036854775807"),
		"early time":   seal("user: a\npwd:  b\nts:   -1"),
	} {
		if c, err := Open(key, token); !errors.Is(err, ErrDenied) {
			t.Errorf("%s: Open = %+v, %v, want denied", name, c, err)
		}
	}
}

func TestCheck(t *testing.T) {
	key := testKey()
	users := Users{"alice": Hash("alice", "secret")}
	for _, tt := range []struct {
		name           string
		user, password string
		off            time.Duration // of the client's clock
		want           string        // part of the reason; empty: let in
	}{
		{"right", "alice", "secret", 0, ""},
		{"10 s behind", "alice", "secret", -10 * time.Second, ""},
		{"10 s ahead", "alice", "secret", 10 * time.Second, ""},
		{"11 s behind", "alice", "secret", -11 * time.Second, "11s apart"},
		{"a year ahead", "alice", "secret", 365 * 24 * time.Hour, "apart"},
		{"wrong password", "alice", "secre", 0, "wrong password"},
		{"unknown user", "bob", "secret", 0, "unknown user"},
		{"no password", "alice", "", 0, "wrong password"},
	} {
		token, err := NewToken(&key.PublicKey, OAEP, Claim{tt.user, tt.password, noon.Add(tt.off)})
		if err != nil {
			t.Fatal(err)
		}
		user, reason, err := Check(key, users, token, noon, DefaultSkew)
		if user != tt.user || (err == nil) != (tt.want == "") || !strings.Contains(reason, tt.want) {
			t.Errorf("%s: Check = %q, %q, %v", tt.name, user, reason, err)
		}
		if err != nil && err != ErrDenied {
			t.Errorf("%s: the client would learn %v", tt.name, err)
		}
	}
	if _, reason, err := Check(key, users, "QQ==", noon, DefaultSkew); err != ErrDenied || reason == "" {
		t.Errorf("Check of garbage = %q, %v", reason, err)
	}
}

func TestUsers(t *testing.T) {
	// The hash: printf '{mario}rossi' | sha256sum.
	const line = "mario,bf7a49a846d44b454a5d11e7acfaf13d138bbe0b7483aa3e050879700572709b\n"
	hash := Hash("mario", "rossi")
	if got, err := AppendUser(nil, "mario", "rossi"); err != nil || string(got) != line {
		t.Errorf("AppendUser = %s, %v, want %s (%s)", got, err, line, hex.EncodeToString(hash[:]))
	}
	users, err := ParseUsers("# users\n\n" + line + "  " + strings.Replace(line, "mario", "anna", 1))
	if err != nil || len(users) != 2 || !users.Verify("mario", "rossi") || users.Verify("mario", "x") || users.Verify("x", "rossi") {
		t.Errorf("ParseUsers = %v, %v", users, err)
	}
	for _, tt := range []struct{ file, want string }{
		{"mario", "line 1: want name,hash"},
		{"\n,abc", "line 2: want name,hash"},
		{"mario,abc", "hash of \"mario\""},
		{"mario,zz", "hash of \"mario\""},
		{line + line, "line 2: user \"mario\" stands here twice"},
	} {
		if u, err := ParseUsers(tt.file); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ParseUsers(%q) = %v, %v, want %q", tt.file, u, err, tt.want)
		}
	}
	for _, bad := range []string{"", "a,b", "a\nb", " a", "#a"} {
		if _, err := AppendUser(nil, bad, "x"); err == nil {
			t.Errorf("AppendUser took %q", bad)
		}
	}
}

func TestKeys(t *testing.T) {
	key := testKey()
	pkix, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, b []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b})
	}
	for _, file := range [][]byte{
		encode("PUBLIC KEY", pkix),
		encode("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&key.PublicKey)),
	} {
		if got, err := ParsePublicKey(file); err != nil || !got.Equal(&key.PublicKey) {
			t.Errorf("ParsePublicKey(%s): %v", file, err)
		}
	}
	for _, file := range [][]byte{
		encode("PRIVATE KEY", pkcs8),
		encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)),
	} {
		if got, err := ParsePrivateKey(file); err != nil || !got.Equal(key) {
			t.Errorf("ParsePrivateKey(%s): %v", file, err)
		}
	}
	for _, bad := range [][]byte{nil, []byte("x"), encode("PUBLIC KEY", []byte("x")), encode("RSA PUBLIC KEY", nil),
		encode("ENCRYPTED PRIVATE KEY", nil), encode("RSA PRIVATE KEY", []byte{1})} {
		if _, err := ParsePublicKey(bad); err == nil {
			t.Errorf("ParsePublicKey took %q", bad)
		}
		if _, err := ParsePrivateKey(bad); err == nil {
			t.Errorf("ParsePrivateKey took %q", bad)
		}
	}
}

// FuzzParseText: whatever a token holds, it is read or not, and read alike
// again.
func FuzzParseText(f *testing.F) {
	f.Add("user: alice\npwd:  secret\nts:   1795186208")
	f.Add("user: \npwd:  \nts:   ")
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := parseText(s)
		if !ok {
			return
		}
		text, err := c.text()
		if err != nil {
			return
		}
		if again, ok := parseText(text); !ok || again != c {
			t.Fatalf("%+v became %+v", c, again)
		}
	})
}

func FuzzParseUsers(f *testing.F) {
	f.Add("mario,bf7a49a846d44b454a5d11e7acfaf13d138bbe0b7483aa3e050879700572709b\n#x\n")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseUsers(s)
		if err == nil && len(u) > strings.Count(s, ",") {
			t.Fatalf("%d users in %q", len(u), s)
		}
	})
}
