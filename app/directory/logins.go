package directory

import (
	"context"
	"errors"

	"github.com/go-ldap/ldap/v3"

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/store"
)

// Logins are those of the dashboard, in a store and in a directory. A name that
// the store has is the store's alone, or somebody of that name in the directory
// would have its role.
type Logins struct {
	Store     *store.Store
	Directory *Directory
}

// CheckLogin returns the login of name if that is its password. What is wrong does
// not show: the directory is asked whatever the store says.
func (l Logins) CheckLogin(ctx context.Context, name, password string) (store.Login, error) {
	kept, inStore := l.Store.CheckLogin(ctx, name, password)
	if inStore == nil || !errors.Is(inStore, store.ErrLogin) {
		return kept, inStore
	}
	role, err := l.Directory.Login(ctx, name, password)
	_, known := l.Store.Login(ctx, name)
	switch {
	case store.IsNotFound(known) && err == nil:
		return store.Login{Name: name, Role: role}, nil
	case err != nil && !errors.Is(err, ErrLogin):
		return store.Login{}, err
	case known != nil && !store.IsNotFound(known):
		return store.Login{}, known
	}
	return store.Login{}, store.ErrLogin
}

// Login returns what is known of somebody who has signed in before: the role may
// have changed since. See store.IsNotFound.
func (l Logins) Login(ctx context.Context, name string) (store.Login, error) {
	kept, err := l.Store.Login(ctx, name)
	if !store.IsNotFound(err) {
		return kept, err
	}
	role, failed := l.Directory.Role(ctx, name)
	switch {
	case failed != nil:
		return store.Login{}, failed
	case role == "":
		return store.Login{}, err
	}
	return store.Login{Name: name, Role: role}, nil
}

// Role is what a name may do in the dashboard, "" for nothing. Answers are kept
// for a while, since every page asks.
func (d *Directory) Role(ctx context.Context, name string) (account.Role, error) {
	if account.CheckName(name) != nil {
		return "", nil
	}
	return d.roles.get(name, func() (role account.Role, err error) {
		err = d.with(ctx, func(conn *ldap.Conn) error {
			e, err := d.find(conn, name, "memberOf", "userAccountControl")
			if err != nil || e == nil || isDisabled(e) {
				return err
			}
			role, err = d.roleOf(conn, e)
			return err
		})
		return role, err
	})
}
