package btest

import (
	"context"
	"crypto/rand"

	"github.com/sonde-net/sonde/btest/auth"
	"github.com/sonde-net/sonde/btest/wire"
)

// An Account may log in to a server.
type Account struct {
	Record   auth.Record // for EC-SRP5; the password cannot be read from it
	Password *string     // for MD5, which needs it; nil means the account refuses MD5
	Disabled bool
}

// Accounts looks up who may log in, for every login anew; false is nobody. An
// error fails the login and is told to the operator alone. It must be safe for
// concurrent use, and its lookups should do equal work for known and unknown
// names; what is left of a difference the server covers by answering at fixed
// times.
type Accounts interface {
	Account(ctx context.Context, name string) (Account, bool, error)
}

// AnyName as a name in a List stands for every name that is not in it: with a
// password alone, any user name will do.
const AnyName = "*"

// A List is a fixed set of accounts, by name.
type List map[string]Secret

// A Secret is a password in memory, the form a command line or a file gives.
type Secret struct {
	Password string
	NoMD5    bool // refuse MD5 logins, which expose a hash to guessing
}

// NewList prepares l for logins: EC-SRP5 records get a fresh salt, and are made
// now so that a lookup does not show by its time whether the name is known.
func NewList(l List) Accounts {
	made := &list{accounts: map[string]Account{}}
	rand.Read(made.secret[:])
	for name, s := range l {
		if name == AnyName {
			made.any = &s
			continue
		}
		var salt [wire.SaltLen]byte
		rand.Read(salt[:])
		made.accounts[name] = s.account(name, salt)
	}
	return made
}

// account is what a login of name needs.
func (s Secret) account(name string, salt [wire.SaltLen]byte) Account {
	a := Account{Record: auth.NewRecord(name, s.Password, salt)}
	if !s.NoMD5 {
		a.Password = &s.Password
	}
	return a
}

type list struct {
	accounts map[string]Account
	any      *Secret
	secret   [32]byte // of the salts that names get under AnyName
}

// Account implements Accounts.
func (l *list) Account(_ context.Context, name string) (Account, bool, error) {
	a, ok := l.accounts[name]
	if !ok && l.any != nil {
		return l.any.account(name, auth.Decoy(l.secret, name).Salt), true, nil // the same salt on each try
	}
	return a, ok, nil
}
