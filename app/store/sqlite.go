package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

//go:embed migrations
var migrations embed.FS

// sqliteEngine keeps all in one file. SQLite has one writer at a time: a pool of
// one connection makes writers wait in Go instead of failing in SQLite.
type sqliteEngine struct{ file string }

func (e sqliteEngine) name() string    { return "sqlite" }
func (e sqliteEngine) place() string   { return e.file }
func (e sqliteEngine) keyFile() string { return e.file + ".key" }

// readers is how many queries run at once beside the writer.
const readers = 4

func (e sqliteEngine) open(ctx context.Context) (write, read *sql.DB, err error) {
	if err := e.check(); err != nil {
		return nil, nil, err
	}
	if write, err = e.pool(1, "&_txlock=immediate"); err != nil {
		return nil, nil, err
	}
	if read, err = e.pool(readers, "&_pragma=query_only(1)"); err != nil {
		return nil, nil, errors.Join(err, write.Close())
	}
	// Who makes the same file at this moment turns its journal to WAL, as we do,
	// which waits for nobody.
	for range migrateTries {
		if err = write.PingContext(ctx); err == nil {
			return write, read, nil
		}
		if fault := e.fault(err); fault == nil || !fault.again || ctx.Err() != nil {
			break
		}
		time.Sleep(migratePause)
	}
	return nil, nil, errors.Join(err, write.Close(), read.Close())
}

// check finds what SQLite would only say at the first write, or not at all: it
// opens a file that it may not write for reading alone.
func (e sqliteEngine) check() error {
	_, missing := os.Stat(e.file)
	f, err := os.OpenFile(e.file, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil && errors.Is(missing, fs.ErrNotExist) {
		err = giveToOwner(e.file)
	}
	if err != nil {
		return &Fault{Place: e.file, Doing: "open", Err: err, Hint: "the file and its directory have to be writable by the user that the server runs as"}
	}
	if err := f.Close(); err != nil {
		return err
	}
	// WAL keeps two files beside the database.
	probe, err := os.CreateTemp(filepath.Dir(e.file), ".sonde-*")
	if err != nil {
		return &Fault{Place: e.file, Doing: "open", Text: "its directory is not writable", Err: err, Hint: "SQLite keeps two more files beside the database"}
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// pool opens n connections. NORMAL with a write-ahead log survives the death of
// the process; a power cut can take the last moments but damages nothing.
func (e sqliteEngine) pool(n int, more string) (*sql.DB, error) {
	path := (&url.URL{Path: e.file}).EscapedPath()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)"+
		"&_pragma=foreign_keys(1)&_pragma=cache_size(-16000)"+more)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db, nil
}

func (e sqliteEngine) migrate(ctx context.Context, db *sql.DB) error {
	var word string
	if err := db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&word); err != nil {
		return err
	}
	if word != "ok" {
		return &Fault{Place: e.file, Doing: "open", Text: "the file is damaged: " + word, Hint: damagedHint}
	}
	switch foreign, err := isBtestRS(ctx, db); {
	case err != nil:
		return err
	case foreign:
		return &Fault{Place: e.file, Doing: "open", Text: "it is a database of btest-rs",
			Hint: "take its users over into a new one: sonde users import " + e.file + " --store NEW.db"}
	}
	files, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		return err
	}
	// A program that makes or updates the same file at this moment takes steps away
	// from us: ours fail, and the next try finds them done.
	for range migrateTries {
		if err = migrate(ctx, goose.DialectSQLite3, db, files); err == nil || errors.As(err, new(errNewer)) || ctx.Err() != nil {
			break
		}
		time.Sleep(migratePause)
	}
	return err
}

const (
	migrateTries = 5
	migratePause = 100 * time.Millisecond
)

// migrate brings the schema up to date.
func migrate(ctx context.Context, dialect goose.Dialect, db *sql.DB, files fs.FS, opts ...goose.ProviderOption) error {
	knows, err := latest(files)
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(dialect, db, files, append(opts, goose.WithDisableGlobalRegistry(true))...)
	if err != nil {
		return err
	}
	has, err := p.GetDBVersion(ctx)
	if err != nil {
		return err
	}
	if has > knows {
		return errNewer{has, knows}
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bring the schema up to date: %w", err)
	}
	return nil
}

const damagedHint = "keep a copy, then restore a backup, or recover what is left with sqlite3's .recover; move the file away to begin anew"

func (e sqliteEngine) fault(err error) *Fault {
	if newer, ok := errors.AsType[errNewer](err); ok {
		return &Fault{Text: newer.Error(), Hint: newerHint}
	}
	s, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return nil
	}
	switch s.Code() & 0xff { // the rest says more of the same
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return &Fault{Text: "another process keeps it locked", Hint: "only one server may use an SQLite file; several share a PostgreSQL", again: true}
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH:
		return &Fault{Text: "it cannot be written", Hint: "the file and its directory have to be writable by the user that the server runs as"}
	case sqlite3.SQLITE_FULL:
		return &Fault{Text: "the disk is full", Hint: "make room; nothing that was written before is lost"}
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return &Fault{Text: "the file is damaged or no database", Hint: damagedHint}
	case sqlite3.SQLITE_IOERR:
		return &Fault{Text: "the disk does not work", Hint: "look at the system's log"}
	}
	return nil
}

const newerHint = "run the version of sonde that wrote it, or a later one; or restore the backup from before the upgrade"
