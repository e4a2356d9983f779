package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// postgresEngine is a database that several servers may share.
type postgresEngine struct {
	config *pgx.ConnConfig
	shown  string
}

// connections of one server: leases are short, results are written by one
// goroutine, the rest is for pages.
const connections = 10

func newPostgres(dsn string) (engine, error) {
	shown := "postgres"
	if u, err := url.Parse(dsn); err == nil {
		shown = u.Redacted()
	}
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		// Its text may hold the password.
		return nil, fmt.Errorf("store: %s is no address of a PostgreSQL; want postgres://USER@HOST:PORT/DATABASE", shown)
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 5 * time.Second
	}
	return postgresEngine{config: c, shown: shown}, nil
}

func (e postgresEngine) name() string    { return "postgres" }
func (e postgresEngine) place() string   { return e.shown }
func (e postgresEngine) keyFile() string { return "" }

func (e postgresEngine) open(ctx context.Context) (write, read *sql.DB, err error) {
	db := stdlib.OpenDB(*e.config)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	if err := db.PingContext(ctx); err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, db, nil
}

// migrate brings the schema up to date. Servers that start together take turns.
func (e postgresEngine) migrate(ctx context.Context, db *sql.DB) error {
	files, err := fs.Sub(migrations, "migrations/postgres")
	if err != nil {
		return err
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60), lock.WithUnlockTimeout(1, 10))
	if err != nil {
		return err
	}
	return migrate(ctx, goose.DialectPostgres, db, files, goose.WithSessionLocker(locker))
}

func (e postgresEngine) fault(err error) *Fault {
	if newer, ok := errors.AsType[errNewer](err); ok {
		return &Fault{Text: newer.Error(), Hint: newerHint}
	}
	if p, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch class := p.Code[:min(2, len(p.Code))]; {
		case p.Code == "40001", p.Code == "40P01":
			return &Fault{Text: "lost against another transaction", again: true}
		case class == "57", class == "08":
			return &Fault{Text: "PostgreSQL is stopping or has stopped", Hint: "it is tried again", again: true}
		case class == "28":
			return &Fault{Text: "PostgreSQL refuses the login", Hint: "look at the user and password of the DSN, and at pg_hba.conf"}
		case class == "3D":
			return &Fault{Text: "there is no such database", Hint: "make it: createdb"}
		case class == "53":
			return &Fault{Text: "PostgreSQL has run out of disk, memory or connections"}
		case class == "25", class == "42" && p.Code == "42501":
			return &Fault{Text: "PostgreSQL lets it be read only"}
		}
		return nil
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return &Fault{Text: "no PostgreSQL answers", Hint: "is it running, and does its address in the DSN fit?", again: true}
	}
	if _, ok := errors.AsType[net.Error](err); ok || pgconn.SafeToRetry(err) {
		return &Fault{Text: "the connection was lost", again: true}
	}
	return nil
}
