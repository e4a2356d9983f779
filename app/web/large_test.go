package web_test

import (
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/store"
	"github.com/sonde-net/sonde/app/web"
)

// TestLarge asks a store with 1,000 accounts for every page. It has as many rows
// of intervals as SONDE_WEB_ROWS says; docs/performance.md has the times of ten
// million.
func TestLarge(t *testing.T) {
	rows := 20_000
	if text := os.Getenv("SONDE_WEB_ROWS"); text != "" {
		var err error
		if rows, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "sonde.db")
	s, err := store.Open(t.Context(), store.Config{DSN: file})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fill(t, file, rows)
	token, err := s.AddToken(t.Context(), time.Now(), "reader", account.Viewer, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	handler := (&web.Site{State: web.NewState(), Store: s}).Handler()
	for _, path := range []string{
		"/", "/dashboard/10.0.0.1", "/dashboard/10.0.0.1?before=100", "/api/ip/10.0.0.1/sessions", "/api/ip/10.0.0.1/stats", "/api/ip/10.0.0.1/quota",
		"/api/ip/10.0.0.1/export", "/api/session/1/intervals", "/tests", "/tests?user=user0001", "/tests.csv", "/admin/users", "/admin/users?q=9", "/admin/user?name=user0001",
		"/admin/quotas", "/admin/refusals", "/admin/refusals.csv", "/api/users", "/api/refusals",
	} {
		var took []time.Duration
		var size int
		for range 5 {
			r := httptest.NewRequest("GET", path, nil)
			r.Header.Set("Authorization", "Bearer "+token)
			w := httptest.NewRecorder()
			began := time.Now()
			handler.ServeHTTP(w, r)
			took = append(took, time.Since(began))
			if size = w.Body.Len(); w.Code != http.StatusOK {
				t.Fatalf("%s: %d %s", path, w.Code, w.Body)
			}
		}
		t.Logf("%-34s first %8v, then %8v, %8d bytes", path, took[0].Round(100*time.Microsecond), slices.Min(took).Round(100*time.Microsecond), size)
	}
}

// runRows is how many rows of intervals a run has: 150 s of both directions.
const runRows = 300

// fill makes 1,000 accounts with an address each, and runs of theirs; a tenth of
// the runs are from 10.0.0.1.
func fill(t *testing.T, file string, rows int) {
	t.Helper()
	db, err := sql.Open("sqlite", file+"?_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	now := time.Now().UnixNano()
	day := int64(24 * time.Hour)
	for _, one := range []string{
		fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999)
			INSERT INTO account (name, disabled, created, changed) SELECT printf('user%%04d', i), 0, %d, %d FROM n`, now, now),
		`INSERT INTO account_quota (account, period, flow, bytes) SELECT name, 'daily', 'combined', 1000000000 FROM account`,
		fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %[1]d)
			INSERT INTO run (num, id, protocol, role, transport, direction, account, login, address, port, target, streams, started, ended, elapsed, bytes_in, bytes_out, reason, error)
			SELECT i, printf('run-%%d', i), 'btest', 'server', 'tcp', 3, printf('user%%04d', i %% 1000), 'ecsrp5', CASE WHEN i %% 10 = 1 THEN '10.0.0.1' ELSE printf('10.0.%%d.%%d', i %% 1000 / 250, i %% 250) END,
			2000, '', 1, %[2]d - (%[1]d - i) * %[3]d / %[1]d, %[2]d - (%[1]d - i) * %[3]d / %[1]d + 150000000000, 150000000000, 1000000000, 2000000000, 'done', '' FROM n`, max(1, rows/runRows), now, 6*day),
		`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 149)
			INSERT INTO run_interval (run, width, start, direction, length, bytes, rate_min, rate_max, at)
			SELECT num, 1000000000, i * 1000000000, d, 1000000000, 10000000, 80000000, 80000000, started + (i + 1) * 1000000000
			FROM run, n, (SELECT 1 AS d UNION ALL SELECT 2)`,
		fmt.Sprintf(`INSERT OR IGNORE INTO usage (subject, width, start, bytes_in, bytes_out)
			SELECT 'account:' || account, 900000000000, started - started %% 900000000000, 1000000, 2000000 FROM run UNION ALL
			SELECT 'address:' || address, 60000000000, started - started %% 60000000000, 1000000, 2000000 FROM run WHERE started > %d`, now-day),
		fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
			INSERT INTO refusal (at, protocol, account, address, word, text) SELECT %d + i, 'btest', printf('user%%04d', i %% 1000), '10.0.0.1', 'user_daily_quota_exceeded', 'used up' FROM n`, max(1, rows/100), now),
	} {
		if _, err := db.ExecContext(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}
}
