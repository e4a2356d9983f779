//go:build !nano

package cli

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/store"
	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/btest/auth"
)

// TestSaltsOutliveRestarts: whether a name is a user's does not show by what
// changes when the server starts again: salts of users, of users with a shared
// password and of nobody all stay.
func TestSaltsOutliveRestarts(t *testing.T) {
	dsn := filepath.Join(t.TempDir(), "sonde.db")
	type salts struct{ user, shared, nobody [16]byte }
	start := func() (all salts) {
		st, err := store.Open(t.Context(), store.Config{DSN: dsn})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		_ = st.CreateAccount(t.Context(), time.Now(), account.Account{Name: "ann"}, store.NewSecrets("ann", "secret", false)) // the second time it is there
		s := &btest.Server{}
		if err := loginFromStore(t.Context(), s, st); err != nil {
			t.Fatal(err)
		}
		a, known, err := s.Accounts.Account(t.Context(), "ann")
		if err != nil || !known {
			t.Fatal(known, err)
		}
		b, known, err := sharedLogins{s.Accounts, "other", false, s.Decoys}.Account(t.Context(), "ann")
		if err != nil || !known || b.Password != nil {
			t.Fatal(known, err)
		}
		if _, known, err := s.Accounts.Account(t.Context(), "ghost"); known || err != nil {
			t.Fatal(known, err)
		}
		return salts{a.Record.Salt, b.Record.Salt, auth.Decoy(s.Decoys, "ghost").Salt}
	}
	first, second := start(), start()
	if first != second {
		t.Errorf("salts %x, after a restart %x", first, second)
	}
}
