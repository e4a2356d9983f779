package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/sonde-net/sonde/app/account"
)

// A Foreign is a user of another server's database.
type Foreign struct {
	Account  account.Account
	Secrets  Secrets // refuses MD5; see Password
	Password *string // if the database has it in clear
	Fault    error   // why the user cannot be taken over; nil if that works
}

// ReadBtestRS reads the users of a database of btest-rs. Nobody's password need
// be known: what is kept of it there, SHA-256 of NAME:PASSWORD, is what an EC-SRP5
// record is made of. A quota of 0 is left to the server's default, as it is there.
func ReadBtestRS(ctx context.Context, file string) ([]Foreign, error) {
	if _, err := os.Stat(file); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: file}).EscapedPath()+"?mode=ro&_pragma=query_only(1)&_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	var raw int // the column came with a later version
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM pragma_table_info('users') WHERE name = 'password_raw'").Scan(&raw); err != nil {
		return nil, fmt.Errorf("%s: read: %w", file, err)
	}
	clear := "NULL"
	if raw > 0 {
		clear = "CAST(password_raw AS TEXT)"
	}
	all, err := scanAll(ctx, db, scanForeign, "SELECT CAST(username AS TEXT), CAST(password_hash AS TEXT), "+clear+`, CAST(daily_quota AS INTEGER),
		CAST(weekly_quota AS INTEGER), CAST(enabled AS INTEGER) FROM users ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("%s: read its users: %w", file, err)
	}
	return all, nil
}

func scanForeign(rows *sql.Rows) (Foreign, error) {
	var f Foreign
	var name, hash, clear *string
	var daily, weekly, enabled *int64
	if err := rows.Scan(&name, &hash, &clear, &daily, &weekly, &enabled); err != nil {
		return f, err
	}
	if name != nil {
		f.Account.Name = *name
	}
	f.Account.Disabled = enabled != nil && *enabled == 0
	f.Account.Limits.Bytes = map[account.Window]uint64{}
	for p, n := range map[account.Period]*int64{account.Day: daily, account.Week: weekly} {
		if n != nil && *n > 0 {
			f.Account.Limits.Bytes[account.Window{Period: p}] = uint64(*n)
		}
	}
	if f.Fault = account.CheckName(f.Account.Name); f.Fault != nil {
		return f, nil
	}
	f.Secrets, f.Fault = foreignSecrets(f.Account.Name, hash, clear)
	if f.Fault == nil && clear != nil && *clear != "" {
		f.Password = clear
	}
	return f, nil
}

// foreignSecrets makes the record of a user from the clear password, by which
// that server lets in, or else from its hash.
func foreignSecrets(name string, hash, clear *string) (Secrets, error) {
	if clear != nil && *clear != "" {
		return NewSecrets(name, *clear, false), nil
	}
	if hash == nil || *hash == "" {
		return Secrets{}, errors.New("has no password")
	}
	inner, err := hex.DecodeString(strings.TrimSpace(*hash))
	switch {
	case err != nil || len(inner) != sha256.Size:
		return Secrets{}, errors.New("the hash of the password is damaged: it is not 64 hexadecimal digits")
	case [sha256.Size]byte(inner) == sha256.Sum256([]byte(name+":")):
		return Secrets{}, errors.New("the password is empty, and would let everybody in")
	}
	return SecretsFromInner([sha256.Size]byte(inner)), nil
}

// isBtestRS reports whether a database is one of btest-rs.
func isBtestRS(ctx context.Context, db *sql.DB) (bool, error) {
	var n int
	err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('users', 'ip_usage')").Scan(&n)
	return n == 2, err
}
