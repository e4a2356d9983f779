package directory

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/store"
)

var daily = account.Window{Period: account.Day}

// config is one for w.
func (w *world) config(scheme string) Config {
	return Config{
		URL: scheme + "://" + w.addr, TLS: &tls.Config{RootCAs: w.roots}, BaseDN: "dc=example,dc=com",
		BindDN: "cn=reader,dc=example,dc=com", BindPassword: "reads",
		Users: "cn=testers,dc=example,dc=com", Admins: "cn=admins,dc=example,dc=com", Viewers: "cn=viewers,dc=example,dc=com",
		Quotas: map[account.Window]string{daily: "dailyQuota"}, Timeout: 20 * time.Second,
	}
}

func make1(t *testing.T, c Config) *Directory {
	t.Helper()
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestAccount(t *testing.T) {
	for _, scheme := range []string{"ldaps", "ldap"} {
		w := serve(t, scheme == "ldaps")
		d := make1(t, w.config(scheme))
		for _, tt := range []struct {
			name     string
			found    bool
			disabled bool
			daily    uint64
		}{
			{"ann", true, false, 50 << 20},
			{"bob", true, true, 0},
			{"carl", true, false, 0}, // by what the group says, his DN has a comma
			{"dora", false, false, 0},
			{"nobody", false, false, 0},
			{"reader", false, false, 0},
			{"*", false, false, 0},
			{"a*", false, false, 0},
			{"ann)(uid=*", false, false, 0},
			{"x)(|(uid=ann", false, false, 0},
			{`\2a`, false, false, 0},
			{"ann\x00", false, false, 0},
			{"", false, false, 0},
		} {
			a, found, err := d.Account(t.Context(), tt.name)
			if err != nil || found != tt.found || a.Disabled != tt.disabled || a.Limits.Bytes[daily] != tt.daily || found && a.Name != tt.name {
				t.Errorf("%s: %q: %+v, %v, %v", scheme, tt.name, a, found, err)
			}
		}
		if _, _, err := d.Account(t.Context(), "eve"); err == nil || !strings.Contains(err.Error(), `dailyQuota "lots"`) {
			t.Errorf("a quota that is none: %v", err)
		}
		if _, _, err := d.Account(t.Context(), "twin"); err == nil || !strings.Contains(err.Error(), "more than one") {
			t.Errorf("two of a name: %v", err)
		}
		for _, f := range w.filters {
			if strings.Contains(f, "uid=*") || strings.Contains(f, "uid=a*") {
				t.Errorf("a name became a pattern: %s", f)
			}
		}
	}
}

// TestKept: a running test that asks again and again does not reach the server
// each time, and what it does to its answer is nobody else's.
func TestKept(t *testing.T) {
	w := serve(t, true)
	d := make1(t, w.config("ldaps"))
	for range 5 {
		a, _, err := d.Account(t.Context(), "ann")
		if err != nil || a.Limits.Bytes[daily] != 50<<20 {
			t.Fatalf("%+v, %v", a, err)
		}
		a.Limits.Bytes[daily] = 1
		d.Account(t.Context(), "nobody")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.filters); n != 2 {
		t.Errorf("%d searches: %q", n, w.filters)
	}
}

func TestLogin(t *testing.T) {
	w := serve(t, true)
	d := make1(t, w.config("ldaps"))
	for _, tt := range []struct {
		name, password string
		role           account.Role
	}{
		{"ann", "secret", account.Admin},
		{"carl", "carl's", account.Viewer},
		{"ann", "Secret", ""},
		{"ann", "", ""}, // would bind as nobody, and succeed
		{"bob", "hunter2", ""},
		{"dora", "d", ""},
		{"nobody", "secret", ""},
		{"ann)(uid=*", "secret", ""},
		{"", "", ""},
		{"ann\n", "secret", ""},
	} {
		role, err := d.Login(t.Context(), tt.name, tt.password)
		if role != tt.role || (err == nil) != (tt.role != "") || err != nil && !errors.Is(err, ErrLogin) {
			t.Errorf("%q, %q: %q, %v, want %q", tt.name, tt.password, role, err, tt.role)
		}
	}
}

// TestLoginsLookAlike: as many exchanges whatever is wrong.
func TestLoginsLookAlike(t *testing.T) {
	w := serve(t, true)
	d := make1(t, w.config("ldaps"))
	exchanges := map[string][2]int{}
	for _, name := range []string{"dora", "nobody"} {
		w.mu.Lock()
		w.filters, w.binds = nil, nil
		w.mu.Unlock()
		d.Login(t.Context(), name, "wrong")
		w.mu.Lock()
		exchanges[name] = [2]int{len(w.filters), len(w.binds)}
		w.mu.Unlock()
	}
	if exchanges["dora"] != exchanges["nobody"] || exchanges["dora"][1] != 2 {
		t.Errorf("searches and binds: %v", exchanges)
	}
}

// TestTLS: nothing is said in clear unless that was asked for, nor to a server
// that nobody vouches for.
func TestTLS(t *testing.T) {
	plain, secure := serve(t, false), serve(t, true)
	for _, tt := range []struct {
		name string
		w    *world
		c    func(*Config)
		url  string
		ok   bool
	}{
		{"StartTLS", plain, func(*Config) {}, "ldap", true},
		{"StartTLS with a stranger's certificate", plain, func(c *Config) { c.TLS = &tls.Config{RootCAs: x509.NewCertPool()} }, "ldap", false},
		{"plain by choice", plain, func(c *Config) { c.Plain = true }, "ldap", true},
		{"LDAPS", secure, func(*Config) {}, "ldaps", true},
		{"LDAPS with a stranger's certificate", secure, func(c *Config) { c.TLS = nil }, "ldaps", false},
		{"LDAPS of another name", secure, func(c *Config) { c.TLS.ServerName = "dc.example.com" }, "ldaps", false},
		{"LDAPS where there is none", plain, func(c *Config) { c.Timeout = time.Second }, "ldaps", false},
	} {
		c := tt.w.config(tt.url)
		tt.c(&c)
		_, found, err := make1(t, c).Account(t.Context(), "ann")
		if found != tt.ok || (err == nil) != tt.ok {
			t.Errorf("%s: %v, %v", tt.name, found, err)
		}
	}
}

// TestSilentServer: who does not answer is given up, and the caller's context ends
// the wait.
func TestSilentServer(t *testing.T) {
	w := serve(t, true)
	w.mute = true
	c := w.config("ldaps")
	c.Timeout = 200 * time.Millisecond
	if _, _, err := make1(t, c).Account(t.Context(), "ann"); err == nil {
		t.Error("an answer from a mute server")
	}
	c.Timeout = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, _, err := make1(t, c).Account(ctx, "ann"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	c.URL = "ldaps://" + l.Addr().String()
	if _, _, err := make1(t, c).Account(t.Context(), "ann"); err == nil || !strings.Contains(err.Error(), c.URL) {
		t.Errorf("nobody there: %v", err)
	}
	c = w.config("ldaps")
	c.BindPassword = "wrong"
	if _, _, err := make1(t, c).Account(t.Context(), "ann"); err == nil || !strings.Contains(err.Error(), "bind as cn=reader") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("a wrong password of the reader: %v", err)
	}
}

// fixed are the accounts of a store.
type fixed map[string]account.Account

func (f fixed) Account(_ context.Context, name string) (account.Account, bool, error) {
	a, ok := f[name]
	return a, ok, nil
}

// TestOver: the directory says who may test, its limits go first.
func TestOver(t *testing.T) {
	w := serve(t, true)
	limits := account.Limits{Bytes: map[account.Window]uint64{daily: 1, {Period: account.Week}: 7}, Tests: new(3)}
	all := make1(t, w.config("ldaps")).Over(fixed{"ann": {Name: "ann", Limits: limits}, "dora": {Name: "dora"}, "bob": {Name: "bob"}})
	a, found, err := all.Account(t.Context(), "ann")
	if err != nil || !found || a.Disabled || a.Limits.Bytes[daily] != 50<<20 || a.Limits.Bytes[account.Window{Period: account.Week}] != 7 || *a.Limits.Tests != 3 {
		t.Errorf("ann: %+v, %v, %v", a, found, err)
	}
	for _, name := range []string{"dora", "bob"} {
		if a, found, err := all.Account(t.Context(), name); err != nil || !found || !a.Disabled {
			t.Errorf("%s: %+v, %v, %v", name, a, found, err)
		}
	}
	if _, found, _ := all.Account(t.Context(), "carl"); found {
		t.Error("carl has no secret in the store, and is found")
	}
}

func TestValidate(t *testing.T) {
	good := Config{URL: "ldaps://dc.example.com", BaseDN: "dc=example,dc=com"}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for what, change := range map[string]func(*Config){
		"no address":     func(c *Config) { c.URL = "" },
		"http":           func(c *Config) { c.URL = "http://x" },
		"no host":        func(c *Config) { c.URL = "ldaps://" },
		"plain LDAPS":    func(c *Config) { c.Plain = true },
		"no base":        func(c *Config) { c.BaseDN = "" },
		"a bad base":     func(c *Config) { c.BaseDN = "example" },
		"empty password": func(c *Config) { c.BindDN = "cn=x" },
		"no name":        func(c *Config) { c.Filter = "(objectClass=person)" },
		"a bad filter":   func(c *Config) { c.Filter = "(uid={name}" },
		"a bad group":    func(c *Config) { c.Users = "testers" },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
}

// TestDashboard: logins of a store and of a directory side by side, and no way
// from one into the role of another.
func TestDashboard(t *testing.T) {
	w := serve(t, true)
	s, err := store.Open(t.Context(), store.Config{DSN: filepath.Join(t.TempDir(), "sonde.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for name, role := range map[string]account.Role{"root": account.Admin, "carl": account.Admin} {
		if err := s.SetLogin(t.Context(), time.Now(), name, "local", role); err != nil {
			t.Fatal(err)
		}
	}
	l := Logins{Store: s, Directory: make1(t, w.config("ldaps"))}
	for _, tt := range []struct {
		name, password string
		role           account.Role
	}{
		{"root", "local", account.Admin},
		{"root", "wrong", ""},
		{"ann", "secret", account.Admin},
		{"ann", "local", ""},
		{"carl", "local", account.Admin},
		{"carl", "carl's", ""}, // a viewer there, an admin here: not the same person
		{"dora", "d", ""},
		{"nobody", "", ""},
	} {
		got, err := l.CheckLogin(t.Context(), tt.name, tt.password)
		if got.Role != tt.role || (err == nil) != (tt.role != "") || err != nil && !errors.Is(err, store.ErrLogin) {
			t.Errorf("%q, %q: %+v, %v", tt.name, tt.password, got, err)
		}
	}
	for name, role := range map[string]account.Role{"root": account.Admin, "ann": account.Admin, "carl": account.Admin, "bob": "", "dora": "", "nobody": "", "*": ""} {
		got, err := l.Login(t.Context(), name)
		if got.Role != role || (role == "") != store.IsNotFound(err) {
			t.Errorf("%q later: %+v, %v", name, got, err)
		}
	}
	w.mu.Lock()
	w.mute = true
	w.mu.Unlock()
	l.Directory.config.Timeout = 100 * time.Millisecond
	if got, err := l.CheckLogin(t.Context(), "root", "local"); err != nil || got.Role != account.Admin {
		t.Errorf("the directory is silent, and the store's login does not work: %+v, %v", got, err)
	}
	if _, err := l.CheckLogin(t.Context(), "ann", "secret"); err == nil || errors.Is(err, store.ErrLogin) {
		t.Errorf("the directory is silent: %v", err)
	}
}
