//go:build !nano

package cli

import (
	"context"
	"time"

	"github.com/sonde-net/sonde/app/store"
	"github.com/sonde-net/sonde/btest"
)

// storeLogins are the users of a store, looked up at each login.
type storeLogins struct{ store *store.Store }

// lookupTime bounds one lookup: a store that does not answer lets nobody in.
const lookupTime = 5 * time.Second

// Account implements btest.Accounts.
func (l storeLogins) Account(ctx context.Context, name string) (btest.Account, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	c, err := l.store.Credentials(ctx, name)
	if store.IsNotFound(err) {
		return btest.Account{}, false, nil
	}
	return btest.Account{Record: c.Record, Password: c.Password, Disabled: c.Disabled}, err == nil, err
}

// loginFromStore makes clients of s log in as the users of a store. It fails if
// the store's secrets cannot be opened, since nobody could log in then.
func loginFromStore(ctx context.Context, s *btest.Server, from *store.Store) error {
	key, err := from.Key(ctx)
	if err != nil {
		return err
	}
	s.Accounts, s.Decoys = storeLogins{from}, key.Derive("btest decoys")
	return nil
}
