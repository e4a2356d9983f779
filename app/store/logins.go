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
	"github.com/sonde-net/sonde/app/secret"
)

// A Login may use the dashboard, or, if it is a token, its API. It is not an
// account: who may test may not look at others.
type Login struct {
	Name    string
	Role    account.Role
	Created time.Time // or when its password was set last: sessions from before end
	Expires time.Time // of a token; zero is never
}

// ErrLogin is any login that failed: a wrong name, a wrong password, a token that
// is none or has expired.
var ErrLogin = errors.New("wrong name or password")

// CheckLogin returns the login of name if that is its password. It costs the same
// whatever is wrong, and fails with ErrLogin or, if too many wait, with
// secret.ErrBusy.
func (s *Store) CheckLogin(ctx context.Context, name, password string) (Login, error) {
	var l Login
	var kept string
	var created int64
	err := s.again(ctx, "read a login", func() error {
		err := s.read.QueryRowContext(ctx, "SELECT name, role, hash, created FROM login WHERE name = $1", text(name)).Scan(&l.Name, &l.Role, &kept, &created)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil {
		return Login{}, err
	}
	right, err := s.hasher.Check(ctx, kept, password)
	switch {
	case err != nil:
		return Login{}, err
	case !right || l.Name != name:
		return Login{}, ErrLogin
	}
	l.Created = at(created)
	return l, nil
}

// SetLogin makes a login, or gives the one of that name another password and role.
func (s *Store) SetLogin(ctx context.Context, now time.Time, name, password string, role account.Role) error {
	if err := cmp.Or(account.CheckName(name), account.CheckRole(role)); err != nil {
		return err
	}
	hash, err := s.hasher.Hash(ctx, password)
	if err != nil {
		return err
	}
	return s.within(ctx, "write a login", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO login (name, role, hash, created) VALUES ($1, $2, $3, $4)
			ON CONFLICT (name) DO UPDATE SET role = excluded.role, hash = excluded.hash, created = excluded.created`, name, string(role), hash, ns(now))
		return err
	})
}

// Login returns what is kept of a login, for those that are signed in already:
// it may be gone, or have another role. See IsNotFound.
func (s *Store) Login(ctx context.Context, name string) (Login, error) {
	all, err := s.Logins(ctx)
	for _, l := range all {
		if l.Name == name {
			return l, nil
		}
	}
	return Login{}, cmp.Or(err, errNotFound)
}

// Logins returns all logins by name.
func (s *Store) Logins(ctx context.Context) ([]Login, error) {
	return s.logins(ctx, "SELECT name, role, created, NULL FROM login")
}

// DeleteLogin forgets a login. See IsNotFound.
func (s *Store) DeleteLogin(ctx context.Context, name string) error {
	return s.within(ctx, "delete a login", func(tx *sql.Tx) error {
		return touch(tx.ExecContext(ctx, "DELETE FROM login WHERE name = $1", text(name)))
	})
}

// AddToken makes a token and returns it; only a hash of it is kept. A zero
// expires is never. It fails with ErrExists.
func (s *Store) AddToken(ctx context.Context, now time.Time, name string, role account.Role, expires time.Time) (token string, err error) {
	if err := cmp.Or(account.CheckName(name), account.CheckRole(role)); err != nil {
		return "", err
	}
	var until *int64
	if !expires.IsZero() {
		until = new(ns(expires))
	}
	token = secret.NewToken()
	hash := secret.HashToken(token)
	return token, s.within(ctx, "add a token", func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO token (name, role, hash, created, expires) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO NOTHING`,
			name, string(role), hash, ns(now), until); err != nil {
			return err
		}
		var ours int // also of a commit whose answer got lost
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM token WHERE name = $1 AND hash = $2", name, hash).Scan(&ours); err != nil {
			return err
		}
		if ours == 0 {
			return answer{fmt.Errorf("token %q: %w", name, ErrExists)}
		}
		return nil
	})
}

// CheckToken returns what a token stands for. It fails with ErrLogin.
func (s *Store) CheckToken(ctx context.Context, now time.Time, token string) (Login, error) {
	all, err := s.logins(ctx, "SELECT name, role, created, expires FROM token WHERE hash = $1 AND (expires IS NULL OR expires > $2)", secret.HashToken(token), ns(now))
	if err != nil || len(all) == 0 {
		return Login{}, cmp.Or(err, ErrLogin)
	}
	return all[0], nil
}

// Tokens returns all tokens by name, but not what they are.
func (s *Store) Tokens(ctx context.Context) ([]Login, error) {
	return s.logins(ctx, "SELECT name, role, created, expires FROM token")
}

// DeleteToken makes a token worthless. See IsNotFound.
func (s *Store) DeleteToken(ctx context.Context, name string) error {
	return s.within(ctx, "delete a token", func(tx *sql.Tx) error {
		return touch(tx.ExecContext(ctx, "DELETE FROM token WHERE name = $1", text(name)))
	})
}

func (s *Store) logins(ctx context.Context, query string, args ...any) ([]Login, error) {
	scan := func(rows *sql.Rows) (Login, error) {
		var l Login
		var created int64
		var expires *int64
		err := rows.Scan(&l.Name, &l.Role, &created, &expires)
		l.Created = at(created)
		if expires != nil {
			l.Expires = at(*expires)
		}
		return l, err
	}
	var all []Login
	err := s.again(ctx, "read logins", func() (err error) {
		all, err = scanAll(ctx, s.read, scan, query, args...)
		return err
	})
	slices.SortFunc(all, func(a, b Login) int { return cmp.Compare(a.Name, b.Name) })
	return all, err
}
