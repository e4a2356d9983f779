//go:build unix

package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/btest/auth"
	"github.com/sonde-net/sonde/internal/testpg"
	"github.com/sonde-net/sonde/result"
)

// withKey is the config of a store with a key.
func withKey(t *testing.T, dsn string) Config {
	return Config{DSN: dsn, KeyFile: filepath.Join(t.TempDir(), "key")}
}

// limited are limits of every kind, those that say nothing, and 0.
var limited = account.Limits{
	Bytes: map[account.Window]uint64{
		{Period: account.Day, Flow: account.Both}:   50 << 20,
		{Period: account.Month, Flow: account.In}:   1 << 40,
		{Period: account.Week, Flow: account.Both}:  0,
		{Period: account.Month, Flow: account.Both}: 1 << 61,
	},
	Duration: new(5 * time.Minute),
	Tests:    new(3),
	Rate:     new(uint64(100_000_000_000)),
}

func TestAccounts(t *testing.T) {
	onBoth(t, func(t *testing.T, dsn string) {
		s := open(t, withKey(t, dsn))
		hostile := `"><script>%_' OR 1=1 --`
		for _, a := range []account.Account{{Name: "ann", Limits: limited}, {Name: "bob", Disabled: true}, {Name: hostile}, {Name: "Ann"}} {
			if err := s.CreateAccount(t.Context(), start, a, NewSecrets(a.Name, "secret of "+a.Name, a.Name == "bob")); err != nil {
				t.Fatal(err)
			}
		}
		err := s.CreateAccount(t.Context(), start.Add(time.Second), account.Account{Name: "ann"}, NewSecrets("ann", "x", false))
		if !errors.Is(err, ErrExists) || err.Error() != `user "ann": there is one of that name already` {
			t.Errorf("twice: %v", err)
		}
		got, err := s.Account(t.Context(), "ann")
		if d := cmp.Diff(account.Account{Name: "ann", Limits: limited}, got); d != "" || err != nil {
			t.Errorf("ann: %v\n%s", err, d)
		}
		for _, nobody := range []string{"", "carl", "an", "ann ", "%", "a%", "_nn", "ANN", "ann\x00", "ann\xff", "' OR 1=1 --", strings.Repeat("x", 5000)} {
			if a, err := s.Account(t.Context(), nobody); !IsNotFound(err) {
				t.Errorf("%.20q: %+v, %v", nobody, a, err)
			}
			if _, err := s.Credentials(t.Context(), nobody); !IsNotFound(err) {
				t.Errorf("credentials of %.20q: %v", nobody, err)
			}
			if err := s.DeleteAccount(t.Context(), nobody); !IsNotFound(err) {
				t.Errorf("deleted %.20q: %v", nobody, err)
			}
		}
		all, err := s.Entries(t.Context())
		if err != nil || len(all) != 4 || all[0].Name != hostile || all[1].Name != "Ann" || all[2].Name != "ann" || all[2].MD5 || !all[3].MD5 || !all[3].Disabled {
			t.Errorf("list: %+v, %v", all, err)
		}
		if err := s.DeleteAccount(t.Context(), hostile); err != nil {
			t.Error(err)
		}
		if _, err := s.Account(t.Context(), hostile); !IsNotFound(err) {
			t.Errorf("deleted: %v", err)
		}
	})
}

func TestChangeAccount(t *testing.T) {
	onBoth(t, func(t *testing.T, dsn string) {
		s := open(t, withKey(t, dsn))
		if err := s.CreateAccount(t.Context(), start, account.Account{Name: "ann", Limits: limited}, NewSecrets("ann", "old", true)); err != nil {
			t.Fatal(err)
		}
		change := func(f func(*Entry) error, secrets *Secrets) error {
			return s.ChangeAccount(t.Context(), start.Add(time.Hour), "ann", f, secrets)
		}
		weekly := account.Window{Period: account.Week}
		if err := change(func(e *Entry) error { e.Limits.Bytes[weekly] = 7; e.Limits.Tests = nil; e.Disabled = true; return nil }, nil); err != nil {
			t.Fatal(err)
		}
		got, err := s.Entry(t.Context(), "ann")
		if err != nil || got.Limits.Bytes[weekly] != 7 || len(got.Limits.Bytes) != 4 || got.Limits.Tests != nil || !got.Disabled || !got.MD5 || !got.Changed.Equal(start.Add(time.Hour)) || !got.Created.Equal(start) {
			t.Errorf("changed: %+v, %v", got, err)
		}
		if c, err := s.Credentials(t.Context(), "ann"); err != nil || !c.Disabled || *c.Password != "old" || c.Record == (auth.Record{}) {
			t.Errorf("credentials: %+v, %v", c, err)
		}
		before, _ := s.Credentials(t.Context(), "ann")
		if err := change(func(e *Entry) error { e.MD5 = false; return nil }, nil); err != nil {
			t.Error(err)
		}
		if c, err := s.Credentials(t.Context(), "ann"); err != nil || c.Password != nil || c.Record != before.Record {
			t.Errorf("without MD5: %+v, %v", c, err)
		}
		if err := change(func(e *Entry) error { e.MD5 = true; return nil }, nil); err == nil {
			t.Error("MD5 without a password")
		}
		if err := change(func(*Entry) error { return nil }, new(NewSecrets("ann", "new", true))); err != nil {
			t.Error(err)
		}
		if c, err := s.Credentials(t.Context(), "ann"); err != nil || *c.Password != "new" || c.Record.Salt == before.Record.Salt {
			t.Errorf("with a new password: %+v, %v", c, err)
		}
		no := errors.New("no")
		if err := change(func(e *Entry) error { e.Limits.Tests = new(99); return no }, nil); err != no {
			t.Errorf("refused: %v", err)
		}
		err = s.ChangeAccount(t.Context(), start, "carl", func(*Entry) error { t.Error("called"); return nil }, nil)
		if !IsNotFound(err) {
			t.Errorf("nobody: %v", err)
		}
		// Changes at the same time do not undo each other.
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if err := change(func(e *Entry) error { e.Limits.Bytes[weekly]++; return nil }, nil); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got, err := s.Account(t.Context(), "ann"); err != nil || got.Limits.Bytes[weekly] != 17 {
			t.Errorf("after ten at once: %+v, %v", got, err)
		}
	})
}

// TestSecretsAreSealed looks for the password in all that a thief of the
// database would have, and holds that no row's secret serves another name.
func TestSecretsAreSealed(t *testing.T) {
	onBoth(t, func(t *testing.T, dsn string) {
		s := open(t, withKey(t, dsn))
		for _, name := range []string{"ann", "bob"} {
			if err := s.CreateAccount(t.Context(), start, account.Account{Name: name}, NewSecrets(name, "hunter2hunter2", true)); err != nil {
				t.Fatal(err)
			}
		}
		c, _ := s.Credentials(t.Context(), "ann")
		var record, password []byte
		if err := s.read.QueryRowContext(t.Context(), "SELECT record, password FROM account WHERE name = 'ann'").Scan(&record, &password); err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"hunter2hunter2", string(c.Record.X[:]), string(c.Record.Salt[:])} {
			if strings.Contains(string(record), secret) || strings.Contains(string(password), secret) {
				t.Errorf("%q can be read in the database", secret)
			}
		}
		for _, bad := range []struct{ what, sql string }{
			{"bob's secrets put in ann's row", "UPDATE account SET record = (SELECT record FROM account WHERE name = 'bob'), password = (SELECT password FROM account WHERE name = 'bob') WHERE name = 'ann'"},
			{"the two exchanged", "UPDATE account SET record = password, password = record WHERE name = 'bob'"},
		} {
			if _, err := s.write.ExecContext(t.Context(), bad.sql); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.write.ExecContext(t.Context(), "INSERT INTO account (name, disabled, record, created, changed) VALUES ('carl', 0, $1, 0, 0), ('dora', 0, NULL, 0, 0)", []byte{}); err != nil {
			t.Fatal(err)
		}
		if c, err := s.Credentials(t.Context(), "carl"); c != (Credentials{}) { // engines differ on whether it is NULL
			t.Errorf("an empty record: %+v, %v", c, err)
		}
		for _, name := range []string{"ann", "bob"} {
			if c, err := s.Credentials(t.Context(), name); err == nil || c != (Credentials{}) || result.HintOf(err) == "" {
				t.Errorf("%s: %+v, %v", name, c, err)
			}
		}
		if c, err := s.Credentials(t.Context(), "dora"); err != nil || c != (Credentials{}) {
			t.Errorf("without secrets: %+v, %v", c, err)
		}
	})
}

// TestKeyOfStore: without the right key nobody's credentials can be had, and all
// else goes on.
func TestKeyOfStore(t *testing.T) {
	onBoth(t, func(t *testing.T, dsn string) {
		c := withKey(t, dsn)
		first := open(t, c)
		if err := first.CreateAccount(t.Context(), start, account.Account{Name: "ann"}, NewSecrets("ann", "secret", true)); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(c.KeyFile)
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, c)
		refused := func(what, say string) {
			t.Helper()
			if got, err := s.Credentials(t.Context(), "ann"); err == nil || got != (Credentials{}) || !strings.Contains(err.Error(), say) || result.HintOf(err) == "" {
				t.Errorf("%s: %+v, %v", what, got, err)
			}
			if err := s.CreateAccount(t.Context(), start, account.Account{Name: "bob"}, NewSecrets("bob", "x", false)); err == nil {
				t.Errorf("%s: a user was made", what)
			}
			if _, err := s.Account(t.Context(), "ann"); err != nil {
				t.Errorf("%s: limits: %v", what, err)
			}
		}
		write := func(text string) {
			t.Helper()
			if err := os.WriteFile(c.KeyFile, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("")
		refused("an empty key", "is empty")
		write(string(text[:30]))
		refused("a damaged key", "damaged")
		if err := os.Remove(c.KeyFile); err != nil {
			t.Fatal(err)
		}
		refused("no key", "no such file")
		if _, err := os.Stat(c.KeyFile); err == nil {
			t.Error("a second key was made")
		}
		other := open(t, withKey(t, "sqlite://"+filepath.Join(t.TempDir(), "other.db")))
		if _, err := other.Key(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.keyFile = other.keyFile
		refused("another store's key", "another store")
		s.keyFile = c.KeyFile
		write(string(text))
		if got, err := s.Credentials(t.Context(), "ann"); err != nil || *got.Password != "secret" {
			t.Errorf("the right key is back: %+v, %v", got, err)
		}
	})
	t.Run("none", func(t *testing.T) {
		s := &Store{engine: postgresEngine{}}
		if _, err := s.Key(t.Context()); err == nil || !strings.Contains(result.HintOf(err), "--store-key") {
			t.Errorf("no file: %v", err)
		}
	})
}

func TestLogins(t *testing.T) {
	onBoth(t, func(t *testing.T, dsn string) {
		s := open(t, Config{DSN: dsn})
		if err := s.SetLogin(t.Context(), start, "root", "secret", account.Admin); err != nil {
			t.Fatal(err)
		}
		if l, err := s.CheckLogin(t.Context(), "root", "secret"); err != nil || l != (Login{Name: "root", Role: account.Admin, Created: start}) {
			t.Errorf("%+v, %v", l, err)
		}
		for _, bad := range [][2]string{{"root", "secreT"}, {"root", ""}, {"nobody", "-"}, {"root\x00", "secret"}} {
			if l, err := s.CheckLogin(t.Context(), bad[0], bad[1]); err != ErrLogin || l != (Login{}) {
				t.Errorf("%q: %+v, %v", bad, l, err)
			}
		}
		if err := s.SetLogin(t.Context(), start.Add(time.Hour), "root", "other", account.Viewer); err != nil {
			t.Error(err)
		}
		if l, err := s.Login(t.Context(), "root"); err != nil || l.Role != account.Viewer || !l.Created.Equal(start.Add(time.Hour)) {
			t.Errorf("%+v, %v", l, err)
		}
		for _, bad := range []error{s.SetLogin(t.Context(), start, "x", "", account.Admin), s.SetLogin(t.Context(), start, "x", "y", "god"), s.SetLogin(t.Context(), start, "x\n", "y", account.Admin)} {
			if bad == nil {
				t.Error("a login without name, password or role")
			}
		}
		if err := errors.Join(s.DeleteLogin(t.Context(), "root")); err != nil {
			t.Error(err)
		}
		if _, err := s.CheckLogin(t.Context(), "root", "other"); err != ErrLogin {
			t.Errorf("deleted: %v", err)
		}
		if err := s.DeleteLogin(t.Context(), "root"); !IsNotFound(err) {
			t.Errorf("deleted twice: %v", err)
		}
	})
}

func TestTokens(t *testing.T) {
	onBoth(t, func(t *testing.T, dsn string) {
		s := open(t, Config{DSN: dsn})
		token, err := s.AddToken(t.Context(), start, "grafana", account.Viewer, start.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.AddToken(t.Context(), start, "grafana", account.Admin, time.Time{}); !errors.Is(err, ErrExists) {
			t.Errorf("twice: %v", err)
		}
		if l, err := s.CheckToken(t.Context(), start, token); err != nil || l.Role != account.Viewer || l.Name != "grafana" {
			t.Errorf("%+v, %v", l, err)
		}
		for _, bad := range []string{"", "grafana", token + "x", token[:len(token)-1], strings.ToUpper(token), "%", strings.Repeat("x", 1e5)} {
			if l, err := s.CheckToken(t.Context(), start, bad); err != ErrLogin || l != (Login{}) {
				t.Errorf("%.30q: %+v, %v", bad, l, err)
			}
		}
		if _, err := s.CheckToken(t.Context(), start.Add(time.Hour), token); err != ErrLogin {
			t.Errorf("expired: %v", err)
		}
		var kept []byte
		if err := s.read.QueryRowContext(t.Context(), "SELECT hash FROM token").Scan(&kept); err != nil || strings.Contains(token, string(kept)) {
			t.Errorf("kept % x, %v", kept, err)
		}
		if err := s.DeleteToken(t.Context(), "grafana"); err != nil {
			t.Error(err)
		}
		if _, err := s.CheckToken(t.Context(), start, token); err != ErrLogin {
			t.Errorf("deleted: %v", err)
		}
		if forever, err := s.AddToken(t.Context(), start, "cron", account.Admin, time.Time{}); err != nil {
			t.Error(err)
		} else if _, err := s.CheckToken(t.Context(), start.Add(1e6*time.Hour), forever); err != nil {
			t.Errorf("without an end: %v", err)
		}
	})
}

// TestOneKeyForAll: servers that start together on an empty database agree on
// one key, and who has another one says so.
func TestOneKeyForAll(t *testing.T) {
	onBoth(t, func(t *testing.T, dsn string) {
		one, two := open(t, withKey(t, dsn)), open(t, withKey(t, dsn))
		var wg sync.WaitGroup
		var errs [2]error
		for n, s := range []*Store{one, two} {
			wg.Go(func() { _, errs[n] = s.Key(context.Background()) })
		}
		wg.Wait()
		if (errs[0] == nil) == (errs[1] == nil) {
			t.Errorf("two keys of one store: %v, %v", errs[0], errs[1])
		}
	})
}

// TestOwner: what root makes for a server belongs to the user that it runs as, who
// owns the directory.
func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	dir := t.TempDir()
	if err := os.Chown(dir, 12345, 12346); err != nil {
		t.Fatal(err)
	}
	s := open(t, Config{DSN: filepath.Join(dir, "sonde.db")})
	if _, err := s.Key(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	for _, f := range files { // the log of SQLite, too
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); st.Uid != 12345 || st.Gid != 12346 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s belongs to %d:%d, %v", f, st.Uid, st.Gid, info.Mode())
		}
	}
}

// TestLoginsOutlivePostgreSQL: while PostgreSQL is away nobody logs in, and that is
// said at once; when it is back the first login works.
func TestLoginsOutlivePostgreSQL(t *testing.T) {
	if _, err := testpg.Find(); err != nil {
		t.Skip(err)
	}
	server, err := testpg.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	s := open(t, withKey(t, server.DSN("postgres")))
	if err := s.CreateAccount(t.Context(), start, account.Account{Name: "ann"}, NewSecrets("ann", "secret", true)); err != nil {
		t.Fatal(err)
	}
	for range 3 { // several connections wait in the pool
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if c, err := s.Credentials(t.Context(), "ann"); err != nil || *c.Password != "secret" {
					t.Errorf("%+v, %v", c, err)
				}
			})
		}
		wg.Wait()
		if err := server.Halt(); err != nil {
			t.Fatal(err)
		}
		if c, err := s.Credentials(t.Context(), "ann"); err == nil || c != (Credentials{}) || IsNotFound(err) {
			t.Errorf("while it is away: %+v, %v", c, err)
		}
		if err := server.Run(); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := s.Credentials(t.Context(), "ann"); err != nil || *c.Password != "secret" {
		t.Errorf("when it is back: %+v, %v", c, err)
	}
}
