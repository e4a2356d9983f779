// Package store keeps what a public server must not forget: what was used, the
// leases in hand, accounts and results. It stands on SQLite, or on a PostgreSQL
// that several servers share, with one text of SQL for both.
//
// Times are nanoseconds since 1970 in UTC, from the caller's clock and never
// from the database's. A figure that was not measured is NULL.
package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/sonde-net/sonde/app/secret"
)

// Config says where a Store is. Its zero value keeps everything for the default
// times.
type Config struct {
	// DSN is the name of an SQLite file, with or without sqlite:// before it, or
	// a postgres:// address.
	DSN string
	// KeyFile holds the key of the secrets in it; empty is the name of the SQLite
	// file with ".key" behind it, and none for a PostgreSQL.
	KeyFile   string
	Retention Retention
	Log       *slog.Logger // nil discards
}

// A Store is an open database. Its methods are safe for concurrent use.
type Store struct {
	engine engine
	write  *sql.DB // of one connection where the engine has one writer
	read   *sql.DB
	keep   Retention
	log    *slog.Logger
	place  string // for messages: never with a password

	keyFile string
	keyTurn sync.Mutex // guards key
	key     *secret.Key
	hasher  secret.Hasher
}

// An engine is what SQLite and PostgreSQL do differently.
type engine interface {
	name() string
	// open connects: a pool that writes and one that reads, which may be the same.
	open(ctx context.Context) (write, read *sql.DB, err error)
	migrate(ctx context.Context, db *sql.DB) error
	// fault turns an error of the driver into one that a person can act upon; nil
	// when it knows nothing better.
	fault(err error) *Fault
	place() string
	keyFile() string // the usual one; "" if there is none
}

// Open opens the store at c.DSN, creates it if there is none and brings its
// schema up to date. It refuses a schema that is newer than it knows.
func Open(ctx context.Context, c Config) (*Store, error) {
	e, err := engineOf(c.DSN)
	if err != nil {
		return nil, err
	}
	s := &Store{engine: e, keep: c.Retention.withDefaults(), log: cmp.Or(c.Log, slog.New(slog.DiscardHandler)), place: e.place()}
	if s.keyFile = c.KeyFile; s.keyFile == "" {
		s.keyFile = e.keyFile()
	}
	if s.write, s.read, err = e.open(ctx); err != nil {
		return nil, s.explain("open", err)
	}
	if err := e.migrate(ctx, s.write); err != nil {
		s.Close()
		return nil, s.explain("open", err)
	}
	return s, nil
}

func engineOf(dsn string) (engine, error) {
	scheme, rest, ok := strings.Cut(dsn, "://")
	switch {
	case dsn == "":
		return nil, errors.New("store: no DSN; want the name of a file, or postgres://USER@HOST/DATABASE")
	case !ok:
		return sqliteEngine{file: strings.TrimPrefix(dsn, "sqlite:")}, nil
	case scheme == "sqlite":
		return sqliteEngine{file: rest}, nil
	case scheme == "postgres", scheme == "postgresql":
		return newPostgres(dsn)
	}
	return nil, fmt.Errorf("store: DSN of unknown kind %q; want sqlite:///FILE or postgres://USER@HOST/DATABASE", scheme)
}

// CheckDSN tells what is wrong with a DSN, without looking whether anything is there.
func CheckDSN(dsn string) error {
	_, err := engineOf(dsn)
	return err
}

// Engine is "sqlite" or "postgres".
func (s *Store) Engine() string { return s.engine.name() }

// Close closes the database. What a Sink still holds has to be written before:
// see Sink.Close.
func (s *Store) Close() error {
	err := s.write.Close()
	if s.read != s.write {
		err = errors.Join(err, s.read.Close())
	}
	return err
}

// Ping tells whether the store can be read.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	return s.explain("ping", s.read.QueryRowContext(ctx, "SELECT 1").Scan(&one))
}

// attempts is how often something is tried that lost against another transaction,
// or its connection.
const attempts = 10

// within runs f in a transaction, again if it lost against another one. What f
// does has to be right when it is done twice, since a commit may have come
// through although its answer got lost.
func (s *Store) within(ctx context.Context, what string, f func(tx *sql.Tx) error) error {
	return s.again(ctx, what, func() error { return s.once(ctx, f) })
}

// again does f until it does not fail for a reason that may pass: after a restart
// of PostgreSQL every connection that waited in the pool fails once.
func (s *Store) again(ctx context.Context, what string, f func() error) error {
	var err error
	for n := range attempts {
		if err = f(); err == nil {
			return nil
		}
		if said, ok := errors.AsType[answer](err); ok {
			return said.error
		}
		if fault := s.engine.fault(err); fault == nil || !fault.again || ctx.Err() != nil {
			break
		}
		pause := time.NewTimer(time.Duration(rand.IntN(1+n*10)) * time.Millisecond)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
	return s.explain(what, err)
}

// An answer is an error that is none of the store's: what was asked for is not
// there, or not to be had.
type answer struct{ error }

func (s *Store) once(ctx context.Context, f func(tx *sql.Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return errors.Join(err, ignoreDone(tx.Rollback()))
	}
	return tx.Commit()
}

// ignoreDone forgets that a transaction has ended already: with its context.
func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// schema is the highest migration in dir.
func latest(files fs.FS) (int64, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil || len(names) == 0 {
		return 0, fmt.Errorf("no migrations: %w", err)
	}
	var top int64
	for _, name := range names {
		var n int64
		if _, err := fmt.Sscanf(name, "%d_", &n); err != nil {
			return 0, fmt.Errorf("migration %s: %w", name, err)
		}
		top = max(top, n)
	}
	return top, nil
}

// ns is t for the database.
func ns(t time.Time) int64 { return t.UnixNano() }

// at is a time of the database.
func at(n int64) time.Time { return time.Unix(0, n).UTC() }

// count is n for the database, whose integers have a sign.
func count(n uint64) int64 { return int64(min(n, 1<<62)) }
