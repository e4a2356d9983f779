//go:build unix && !nano

package cli

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/quota"
	"github.com/sonde-net/sonde/app/store"
	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/internal/testpg"
	"github.com/sonde-net/sonde/result"
)

// TestServersShareAStore: three servers on one PostgreSQL and thirty clients of one user,
// a PostgreSQL that restarts in the middle of a test, and a server that is killed.
func TestServersShareAStore(t *testing.T) {
	t.Parallel()
	pg := aPostgres(t)
	t.Run("thirty clients", func(t *testing.T) {
		dsn := pg.Database(t)
		servers := []*public{openPublic(t, dsn, quota.Rules{}), openPublic(t, dsn, quota.Rules{}), openPublic(t, dsn, quota.Rules{})}
		servers[0].add("ann", dailyBytes(account.Both, 20*megabyte))
		fifty(t, servers, 30)
		for _, p := range servers {
			p.use("ann")
		}
		u, moved := servers[0].use("ann"), movedBy(servers...)
		if moved > 20*megabyte+30*aBatch || moved < 18*megabyte || u.In+u.Out != moved {
			t.Errorf("%d bytes moved of %d, booked %+v", moved, 20*megabyte, u)
		}
	})
	t.Run("killed", func(t *testing.T) { killedServer(t, pg.Database(t)) })
	t.Run("restarted", func(t *testing.T) {
		// A stream waits 5 s for its store: on a busy machine a restart may take longer,
		// and is made again.
		for n := 1; !restartedStore(t, pg, n == 5); n++ {
			t.Log("once more: the store was away for too long")
		}
	})
}

// restartedStore: a PostgreSQL that is back soon is not noticed by a test. It is false when
// it was not back soon; the last time it has to be.
func restartedStore(t *testing.T, pg *testpg.Server, last bool) bool {
	t.Helper()
	p := openPublic(t, pg.Database(t), quota.Rules{})
	defer p.stop()
	p.add("ann", dailyBytes(account.Both, 20*megabyte))
	done := make(chan error, 1)
	go func() {
		done <- p.test("ann", btest.Client{Direction: result.Down, DownRate: 16e6, Duration: 60 * time.Second})
	}()
	p.underWay(megabyte)
	away := time.Now()
	if err := pg.Halt(); err != nil {
		t.Log(err) // it was told to
	}
	if err := pg.Run(); err != nil {
		t.Fatal(err)
	}
	soon := time.Since(away) < 3*time.Second
	err := <-done
	e := p.end()
	if e.Reason == account.WordStore && !soon && !last {
		return false
	}
	if result.ExitCode(err) != 7 {
		t.Error(err)
	}
	if e.Reason != "user_daily_quota_exceeded" || e.Moved.Sent > 20*megabyte+aBatch || e.Moved.Sent < 19*megabyte {
		t.Errorf("%d bytes moved, then %s: %v", e.Moved.Sent, e.Reason, e.Err)
	}
	if u := p.use("ann"); u.Out != e.Moved.Sent {
		t.Errorf("booked %+v, moved %d", u, e.Moved.Sent)
	}
	return true
}

// killedServer: what a server moved is booked to a second when it is killed, what it had in
// hand is free once its lease has expired, and nothing counts twice.
func killedServer(t *testing.T, dsn string) {
	key := keyFor(t, dsn)
	cmd := exec.Command("sonde", "btest", "server", "--listen", "127.0.0.1:0", "--store", dsn, "--store-key", key)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	p := openPublic(t, dsn, quota.Rules{}) // before it: both bring the schema up to date
	p.add("ann", dailyBytes(account.Both, 16*megabyte))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }() // it was killed below
	addr := ""
	for lines := bufio.NewScanner(log); addr == "" && lines.Scan(); {
		if m := regexp.MustCompile(`msg=listening address=(\S+)`).FindStringSubmatch(lines.Text()); m != nil {
			addr = m[1]
		}
	}
	c := btest.Client{Target: addr, Account: "ann", Password: "ann", Direction: result.Down, DownRate: 8e6, Duration: time.Minute}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var came uint64
	var mu sync.Mutex
	begun := make(chan struct{})
	first := sync.OnceFunc(func() { close(begun) })
	over := make(chan error, 1)
	go func() {
		over <- c.Run(ctx, result.Func(func(e result.Event) {
			mu.Lock()
			defer mu.Unlock()
			switch e := e.(type) {
			case result.Interval:
				if v := e.Local(); v != nil {
					came += v.Bytes
				}
				if came > 3*megabyte {
					first()
				}
			}
		}))
	}()
	select {
	case <-begun:
	case err := <-over:
		t.Fatalf("the test ended: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	<-over
	mu.Lock()
	moved := came
	mu.Unlock()
	u, err := p.store.Usage(t.Context(), account.Subject{Account: "ann"}, time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	// 8 Mbit/s are 1 MB a second; and what a sender has in hand was booked already.
	const second = 1_000_000 + megabyte
	if lost := int64(moved) - int64(u[0].Out); lost > second || lost < -second {
		t.Errorf("%d bytes came, %d are booked", moved, u[0].Out)
	}
	// Its lease holds the rest of its slice until it expires. Time passes here by asking
	// with a later clock.
	later := time.Now().Add(time.Minute)
	ask := account.Ask{Lease: "test", Subject: account.Subject{Account: "ann"}.Key(), Server: "test", Expires: later.Add(time.Second),
		Want: account.Slice{1 << 40, account.Unlimited, account.Unlimited},
		Caps: []account.Cap{{Flow: account.Both, Since: later.Add(-24 * time.Hour), Limit: 16 * megabyte}}}
	now, err := p.store.Renew(t.Context(), time.Now(), []account.Ask{ask})
	if err != nil {
		t.Fatal(err)
	}
	if held := now[0].Held[0]; held == 0 || held > 2*megabyte {
		t.Errorf("%d bytes are held by the server that was killed", held)
	}
	then, err := p.store.Renew(t.Context(), later, []account.Ask{ask})
	if err != nil {
		t.Fatal(err)
	}
	if then[0].Held[0] != 0 || then[0].Used[0] != u[0].Out || then[0].Have[0] != 16*megabyte-u[0].Out {
		t.Errorf("after its lease: %+v, %d were used", then[0], u[0].Out)
	}
}

// TestStoresThatCannotServe: a store that cannot be used keeps a server from starting, with
// a line that says why; one that fails later gives nobody a free ride.
func TestStoresThatCannotServe(t *testing.T) {
	t.Parallel()
	newer := filepath.Join(t.TempDir(), "newer.db")
	s, err := store.Open(t.Context(), store.Config{DSN: newer})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", newer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	garbage := filepath.Join(t.TempDir(), "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ dsn, said string }{
		{newer, "its schema is version 9999"},
		{garbage, "damaged or no database"},
		{filepath.Join(t.TempDir(), "no", "such", "folder", "sonde.db"), "no such file"},
		{"postgres://nobody@127.0.0.1:1/none", "no PostgreSQL answers"},
	} {
		out, err := exec.Command("sonde", "btest", "server", "--listen", "127.0.0.1:0", "--store", tt.dsn).CombinedOutput()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 6 || !strings.Contains(string(out), tt.said) {
			t.Errorf("%s: %v\n%s", tt.dsn, err, out)
		}
	}
}
