package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sonde-net/sonde/app/account"
)

// An Entry is an account as it is kept. Its secrets are not in it.
type Entry struct {
	account.Account
	SRP5    bool // can log in by EC-SRP5
	MD5     bool // can log in by MD5 too: the password is kept, sealed
	Created time.Time
	Changed time.Time
}

// ErrExists is a name that is taken.
var ErrExists = errors.New("there is one of that name already")

// Account returns the account of that name. See IsNotFound.
func (s *Store) Account(ctx context.Context, name string) (account.Account, error) {
	e, err := s.Entry(ctx, name)
	return e.Account, err
}

// Entry returns what is kept of an account. See IsNotFound.
func (s *Store) Entry(ctx context.Context, name string) (Entry, error) {
	var all []Entry
	err := s.again(ctx, "read a user", func() (err error) {
		if name == "" { // which the query takes for all
			return answer{errNotFound}
		}
		if all, err = entries(ctx, s.read, name); err == nil && len(all) == 0 {
			err = answer{errNotFound}
		}
		return err
	})
	if err != nil {
		return Entry{}, err
	}
	return all[0], nil
}

// Entries returns all accounts by name.
func (s *Store) Entries(ctx context.Context) ([]Entry, error) {
	var all []Entry
	err := s.again(ctx, "read the users", func() (err error) {
		all, err = entries(ctx, s.read, "")
		return err
	})
	return all, err
}

// A queryer is a database or a transaction.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// entries are the account of that name, or all of them for none.
func entries(ctx context.Context, q queryer, name string) ([]Entry, error) {
	var c conditions
	if name != "" {
		c.add("name = $%d", text(name))
	}
	all, err := scanAll(ctx, q, scanEntry, `SELECT name, disabled, duration, tests, rate, record IS NOT NULL, password IS NOT NULL, created, changed
		FROM account`+c.where(), c.args...)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(e Entry) bool { return name != "" && e.Name != name }) // text may have changed it
	of := map[string]*Entry{}
	for i := range all {
		all[i].Limits.Bytes = map[account.Window]uint64{}
		of[all[i].Name] = &all[i]
	}
	c = conditions{}
	if name != "" {
		c.add("account = $%d", text(name))
	}
	quotas, err := scanAll(ctx, q, scanQuota, "SELECT account, period, flow, bytes FROM account_quota"+c.where(), c.args...)
	for _, one := range quotas {
		if e := of[one.account]; e != nil {
			e.Limits.Bytes[one.window] = one.bytes
		}
	}
	// Engines sort text each in their own way.
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	return all, err
}

// scanAll reads all rows of a query.
func scanAll[T any](ctx context.Context, q queryer, scan func(*sql.Rows) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

func scanEntry(rows *sql.Rows) (Entry, error) {
	var e Entry
	var disabled, created, changed int64
	var duration, tests, rate *int64
	err := rows.Scan(&e.Name, &disabled, &duration, &tests, &rate, &e.SRP5, &e.MD5, &created, &changed)
	e.Disabled, e.Created, e.Changed = disabled != 0, at(created), at(changed)
	if duration != nil {
		e.Limits.Duration = new(time.Duration(*duration))
	}
	if tests != nil {
		e.Limits.Tests = new(int(*tests))
	}
	e.Limits.Rate = unsigned(rate)
	return e, err
}

// A quota is a row of account_quota.
type quota struct {
	account string
	window  account.Window
	bytes   uint64
}

func scanQuota(rows *sql.Rows) (quota, error) {
	var q quota
	var period, flow string
	var n int64
	if err := rows.Scan(&q.account, &period, &flow, &n); err != nil {
		return q, err
	}
	var err error
	q.bytes = *unsigned(&n)
	q.window, err = account.ParseWindow(period, flow)
	return q, err
}

// CreateAccount keeps a new account. It fails with ErrExists.
func (s *Store) CreateAccount(ctx context.Context, now time.Time, a account.Account, secrets Secrets) error {
	if err := account.CheckName(a.Name); err != nil {
		return err
	}
	record, password, err := s.seal(ctx, a.Name, secrets)
	if err != nil {
		return err
	}
	return s.within(ctx, "create a user", func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, `INSERT INTO account (name, disabled, created, changed) VALUES ($1, 0, $2, $2) ON CONFLICT (name) DO NOTHING`, a.Name, ns(now))
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			// A commit whose answer got lost has been ours.
			var ours int
			err = errors.Join(err, tx.QueryRowContext(ctx, "SELECT count(*) FROM account WHERE name = $1 AND created = $2", a.Name, ns(now)).Scan(&ours))
			if err != nil || ours == 0 {
				return cmp.Or(err, error(answer{fmt.Errorf("user %q: %w", a.Name, ErrExists)}))
			}
		}
		if err := writeSecrets(ctx, tx, a.Name, record, password); err != nil {
			return err
		}
		return writeAccount(ctx, tx, now, a)
	})
}

// ChangeAccount lets change have its way with an account, and gives it other
// secrets unless they are nil. An Entry whose MD5 was taken away loses the
// password; change may be called again if the store was busy. See IsNotFound.
func (s *Store) ChangeAccount(ctx context.Context, now time.Time, name string, change func(*Entry) error, secrets *Secrets) error {
	var record, password any
	if secrets != nil {
		var err error
		if record, password, err = s.seal(ctx, name, *secrets); err != nil {
			return err
		}
	}
	return s.within(ctx, "change a user", func(tx *sql.Tx) error {
		// Locks the row for those that change it at the same time.
		if err := touch(tx.ExecContext(ctx, "UPDATE account SET changed = changed WHERE name = $1", text(name))); err != nil {
			return err
		}
		all, err := entries(ctx, tx, name)
		if err != nil || len(all) == 0 {
			return cmp.Or(err, error(answer{errNotFound}))
		}
		e := all[0]
		had := e.MD5
		if err := change(&e); err != nil {
			return answer{err}
		}
		e.Name = name
		switch {
		case secrets != nil:
			err = writeSecrets(ctx, tx, name, record, password)
		case had && !e.MD5:
			_, err = tx.ExecContext(ctx, "UPDATE account SET password = NULL WHERE name = $1", name)
		case e.MD5 && !had:
			err = answer{errors.New("an MD5 login needs the password")}
		}
		if err != nil {
			return err
		}
		return writeAccount(ctx, tx, now, e.Account)
	})
}

// touch answers errNotFound if a statement found no row.
func touch(done sql.Result, err error) error {
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err != nil || n == 0 {
		return cmp.Or(err, error(answer{errNotFound}))
	}
	return nil
}

func writeSecrets(ctx context.Context, tx *sql.Tx, name string, record, password any) error {
	_, err := tx.ExecContext(ctx, "UPDATE account SET record = $2, password = $3 WHERE name = $1", name, record, password)
	return err
}

// writeAccount writes all of a, which is there, but its secrets.
func writeAccount(ctx context.Context, tx *sql.Tx, now time.Time, a account.Account) error {
	disabled := 0
	if a.Disabled {
		disabled = 1
	}
	var duration, tests, rate *int64
	if d := a.Limits.Duration; d != nil {
		duration = new(int64(*d))
	}
	if n := a.Limits.Tests; n != nil {
		tests = new(int64(*n))
	}
	if r := a.Limits.Rate; r != nil {
		rate = new(count(*r))
	}
	if _, err := tx.ExecContext(ctx, "UPDATE account SET disabled = $2, duration = $3, tests = $4, rate = $5, changed = $6 WHERE name = $1",
		a.Name, disabled, duration, tests, rate, ns(now)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM account_quota WHERE account = $1", a.Name); err != nil {
		return err
	}
	for w, n := range a.Limits.Bytes {
		if _, err := tx.ExecContext(ctx, "INSERT INTO account_quota (account, period, flow, bytes) VALUES ($1, $2, $3, $4)",
			a.Name, w.Period.String(), w.Flow.String(), count(n)); err != nil {
			return err
		}
	}
	return nil
}

// DeleteAccount forgets an account. What it has used stays for as long as
// anybody's does: made anew, it does not begin with fresh quotas. See IsNotFound.
func (s *Store) DeleteAccount(ctx context.Context, name string) error {
	return s.within(ctx, "delete a user", func(tx *sql.Tx) error {
		return touch(tx.ExecContext(ctx, "DELETE FROM account WHERE name = $1", text(name)))
	})
}
