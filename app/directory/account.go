package directory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/go-ldap/ldap/v3"

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/unit"
)

// Account returns what the directory says of a user: who is not in the group of
// users is not found. Answers are kept for a while, since running tests ask again
// and again.
func (d *Directory) Account(ctx context.Context, name string) (account.Account, bool, error) {
	if account.CheckName(name) != nil {
		return account.Account{}, false, nil
	}
	a, err := d.accounts.get(name, func() (a answer, err error) {
		err = d.with(ctx, func(conn *ldap.Conn) error {
			a, err = d.ask(conn, name)
			return err
		})
		return a, err
	})
	if err != nil {
		return account.Account{}, false, err
	}
	a.account.Limits = a.account.Limits.Over(account.Limits{}) // a map of its own for whoever asks
	return a.account, a.found, nil
}

func (d *Directory) ask(conn *ldap.Conn, name string) (answer, error) {
	attributes := append([]string{"memberOf", "userAccountControl"}, slices.Sorted(maps.Values(d.config.Quotas))...)
	e, err := d.find(conn, name, attributes...)
	if err != nil || e == nil {
		return answer{}, err
	}
	if d.config.Users != "" {
		if in, err := d.isMember(conn, e, d.config.Users); err != nil || !in {
			return answer{}, err
		}
	}
	a := account.Account{Name: name, Disabled: isDisabled(e), Limits: account.Limits{Bytes: map[account.Window]uint64{}}}
	for w, attribute := range d.config.Quotas {
		text := e.GetEqualFoldAttributeValue(attribute)
		if text == "" {
			continue
		}
		n, err := unit.ParseSize(text)
		if err != nil {
			// Not the default: it might be more than was meant.
			return answer{}, fmt.Errorf("%s: %s %q: %w", e.DN, attribute, text, err)
		}
		a.Limits.Bytes[w] = n
	}
	return answer{account: a, found: true}, nil
}

func isDisabled(e *ldap.Entry) bool {
	flags, err := strconv.ParseInt(e.GetEqualFoldAttributeValue("userAccountControl"), 10, 64)
	return err == nil && flags&disabledBit != 0
}

// Accounts knows accounts, such as a store does.
type Accounts interface {
	Account(ctx context.Context, name string) (account.Account, bool, error)
}

// Over are the accounts of a store whose users have to be in the directory as
// well: those that are not are disabled, and a limit that the directory has goes
// before the store's.
func (d *Directory) Over(base Accounts) Accounts { return over{d, base} }

type over struct {
	directory *Directory
	base      Accounts
}

// Account implements Accounts.
func (o over) Account(ctx context.Context, name string) (account.Account, bool, error) {
	a, found, err := o.base.Account(ctx, name)
	if err != nil || !found {
		return a, found, err
	}
	in, found, err := o.directory.Account(ctx, name)
	if err != nil {
		return account.Account{}, false, fmt.Errorf("%w: %w", account.ErrDirectory, err)
	}
	a.Disabled = a.Disabled || !found || in.Disabled
	a.Limits = in.Limits.Over(a.Limits)
	return a, true, nil
}
