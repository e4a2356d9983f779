//go:build unix

package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/btest/auth"
	"github.com/sonde-net/sonde/result"
)

// foreign makes a database with the tables of btest-rs, as far as they matter.
func foreign(t *testing.T, raw bool, rows ...[]any) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "btest users?.db")
	db, err := sql.Open("sqlite", "file:"+strings.ReplaceAll(strings.ReplaceAll(file, " ", "%20"), "?", "%3F")+"?_pragma=journal_mode(WAL)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	column := ""
	if raw {
		column = "password_raw TEXT NOT NULL DEFAULT '',"
	}
	exec := func(query string, args ...any) {
		if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, username TEXT UNIQUE NOT NULL, password_hash TEXT NOT NULL, ` + column + `
		daily_quota INTEGER NOT NULL DEFAULT 0, weekly_quota INTEGER NOT NULL DEFAULT 0, enabled INTEGER NOT NULL DEFAULT 1, created_at TEXT)`)
	exec("CREATE TABLE usage (id INTEGER PRIMARY KEY, username TEXT, date TEXT, tx_bytes INTEGER, rx_bytes INTEGER, test_count INTEGER)")
	exec("CREATE TABLE ip_usage (id INTEGER PRIMARY KEY, ip TEXT, date TEXT, inbound_bytes INTEGER, outbound_bytes INTEGER, test_count INTEGER)")
	for _, r := range rows {
		if raw {
			exec("INSERT INTO users (username, password_hash, daily_quota, weekly_quota, enabled, password_raw) VALUES ($1, $2, $3, $4, $5, $6)", r...)
		} else {
			exec("INSERT INTO users (username, password_hash, daily_quota, weekly_quota, enabled) VALUES ($1, $2, $3, $4, $5)", r[:5]...)
		}
	}
	return file
}

// innerHash is what btest-rs keeps of a password.
func innerHash(name, password string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(name+":"+password)))
}

// TestImportWithoutPasswords: a user of btest-rs logs in with the password that
// nobody told us.
func TestImportWithoutPasswords(t *testing.T) {
	file := foreign(t, false,
		[]any{"ann", innerHash("ann", "secret"), 50 << 20, 0, 1},
		[]any{"bob", strings.ToUpper(innerHash("bob", "hunter2")), 0, 7, 0},
		[]any{"bad", "zz", 0, 0, 1},
		[]any{"open", innerHash("open", ""), 0, 0, 1},
		[]any{"none", "", 0, 0, 1},
		[]any{"line\nfeed", innerHash("line\nfeed", "x"), 0, 0, 1})
	all, err := ReadBtestRS(t.Context(), file)
	if err != nil || len(all) != 6 {
		t.Fatalf("%d users, %v", len(all), err)
	}
	for n, password := range []string{"secret", "hunter2"} {
		u := all[n]
		if u.Fault != nil || u.Password != nil || !logsIn(t, u.Account.Name, password, u.Secrets.Record) || logsIn(t, u.Account.Name, "wrong", u.Secrets.Record) {
			t.Errorf("%+v does not log in with %q, or does with another", u, password)
		}
	}
	if all[0].Account.Disabled || all[0].Account.Limits.Bytes[account.Window{Period: account.Day}] != 50<<20 || len(all[0].Account.Limits.Bytes) != 1 {
		t.Errorf("ann: %+v", all[0])
	}
	if !all[1].Account.Disabled || all[1].Account.Limits.Bytes[account.Window{Period: account.Week}] != 7 {
		t.Errorf("bob: %+v", all[1])
	}
	for n, word := range map[int]string{2: "damaged", 3: "empty", 4: "no password", 5: "not shown"} {
		if u := all[n]; u.Fault == nil || !strings.Contains(u.Fault.Error(), word) || u.Secrets != (Secrets{}) {
			t.Errorf("%+v, want a fault with %q", u, word)
		}
	}
}

// logsIn runs an EC-SRP5 login.
func logsIn(t *testing.T, name, password string, r auth.Record) bool {
	t.Helper()
	client, err := auth.NewClient(name, password, random{})
	if err != nil {
		t.Fatal(err)
	}
	server, err := auth.NewServer(r, true, random{})
	if err != nil {
		t.Fatal(err)
	}
	key, err := server.Key(client.Key())
	if err != nil {
		t.Fatal(err)
	}
	confirm, err := client.Confirm(key)
	if err != nil {
		t.Fatal(err)
	}
	_, ok := server.Check(confirm)
	return ok
}

// random is a source of numbers that are none.
type random struct{}

func (random) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(i + 1)
	}
	return len(b), nil
}

// TestImportClear: where the clear password is there too, it is what that server
// lets in by.
func TestImportClear(t *testing.T) {
	file := foreign(t, true, []any{"ann", innerHash("ann", "old"), 0, 0, 1, "new"}, []any{"bob", innerHash("bob", "x"), 0, 0, 1, ""})
	all, err := ReadBtestRS(t.Context(), file)
	if err != nil || len(all) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	if u := all[0]; u.Password == nil || *u.Password != "new" || u.Secrets.Password != nil || !logsIn(t, "ann", "new", u.Secrets.Record) {
		t.Errorf("ann: %+v", u)
	}
	if u := all[1]; u.Password != nil || !logsIn(t, "bob", "x", u.Secrets.Record) {
		t.Errorf("bob: %+v", u)
	}
}

// TestForeignIsNotOurs: such a database is not opened as a store, nor changed.
func TestForeignIsNotOurs(t *testing.T) {
	file := foreign(t, true, []any{"ann", innerHash("ann", "x"), 0, 0, 1, "x"})
	_, err := Open(context.Background(), Config{DSN: file})
	if err == nil || !strings.Contains(err.Error(), "btest-rs") || !strings.Contains(result.HintOf(err), "sonde users import") {
		t.Errorf("%v, hint %q", err, result.HintOf(err))
	}
	if all, err := ReadBtestRS(t.Context(), file); err != nil || len(all) != 1 {
		t.Errorf("afterwards: %+v, %v", all, err)
	}
	for _, other := range []string{filepath.Join(t.TempDir(), "none.db"), t.TempDir()} {
		if _, err := ReadBtestRS(t.Context(), other); err == nil {
			t.Errorf("%s is a database", other)
		}
	}
}
