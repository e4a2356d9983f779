//go:build !nano

package cli

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/app/store"
)

// storeFlags say where a store is.
type storeFlags struct{ dsn, key string }

// The environment's places for them.
const (
	storeVariable    = "SONDE_STORE_DSN"
	storeKeyVariable = "SONDE_STORE_KEY_FILE"
)

func (f *storeFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.dsn, "store", "", "`DSN` of the store: a file of SQLite, or postgres://USER@HOST/DATABASE (default $"+storeVariable+")")
	fs.StringVar(&f.key, "store-key", "", "`FILE` of the key that seals its secrets (default the file of SQLite with .key behind it)")
}

// place is the DSN that is meant, "" for none.
func (f *storeFlags) place(e *env) string {
	if f.dsn != "" {
		return f.dsn
	}
	return e.getenv(storeVariable)
}

// open opens the store that is meant: that of sonde serve's configuration if none
// is given.
func (f *storeFlags) open(ctx context.Context, e *env, log *slog.Logger) (*store.Store, error) {
	c := f.config(e, log)
	if c.DSN == "" {
		l, err := (&configFlags{}).load(e)
		if l != nil {
			c.DSN, c.KeyFile = l.Store.DSN, cmp.Or(c.KeyFile, l.Store.KeyFile)
		}
		switch {
		case c.DSN == "" && err != nil:
			return nil, misuse("give --store FILE, or mend the configuration", "no store is given, where users are kept, and none is to be had from the configuration: %w", err)
		case c.DSN == "":
			return nil, misuse("", "no store is given, where users are kept; give --store FILE, --store postgres://USER@HOST/DATABASE, set %s, or store.dsn in the configuration", storeVariable)
		}
	}
	return store.Open(ctx, c)
}

// config says what to open.
func (f *storeFlags) config(e *env, log *slog.Logger) store.Config {
	return store.Config{DSN: f.place(e), KeyFile: cmp.Or(f.key, e.getenv(storeKeyVariable)), Log: log}
}

// with does something with the store and closes it.
func (f *storeFlags) with(ctx context.Context, e *env, do func(*store.Store, time.Time) error) (err error) {
	s, err := f.open(ctx, e, nil)
	if err != nil {
		return err
	}
	defer func() {
		if closed := s.Close(); err == nil {
			err = closed
		}
	}()
	return do(s, time.Now())
}
