//go:build !nano

package cli

import (
	"context"
	_ "time/tzdata" // for calendars where the system has no zones

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/directory"
	"github.com/sonde-net/sonde/app/quota"
	"github.com/sonde-net/sonde/app/store"
	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/result"
)

// kept is where a guard keeps what it knows; nothing without a store.
type kept struct {
	store *store.Store
	sink  *store.Sink
	// directory is where users have to be as well; nil is none.
	directory *directory.Directory
}

// openKept opens a store for servers.
func openKept(ctx context.Context, c store.Config) (kept, error) {
	s, err := store.Open(ctx, c)
	if err != nil {
		return kept{}, err
	}
	return kept{store: s, sink: s.NewSink()}, nil
}

// join makes p stand on the store.
func (k kept) join(p *quota.Policy) {
	if k.store == nil {
		return
	}
	p.Ledger, p.Accounts = k.store, knownAccounts{k.store}
	if k.directory != nil {
		p.Accounts = k.directory.Over(p.Accounts)
	}
	p.Refused = func(r quota.Refusal) {
		one := store.Refusal{
			Time: r.Time, Protocol: r.Request.Protocol, Account: r.Request.Account, Address: r.Request.Peer.Unmap().WithZone("").String(),
			Word: r.Word, Text: r.Text, Until: r.Until,
		}
		if r.Limit > 0 {
			one.Used, one.Limit = &r.Used, &r.Limit
		}
		k.sink.Refuse(one)
	}
}

// logins makes clients of s log in as the users of the store.
func (k kept) logins(ctx context.Context, s *btest.Server) error {
	return loginFromStore(ctx, s, k.store)
}

// keep drops what is old, until ctx ends.
func (k kept) keep(ctx context.Context) {
	if k.store != nil {
		k.store.Keep(ctx)
	}
}

// ping reports whether the store answers.
func (k kept) ping(ctx context.Context) error {
	if k.store == nil {
		return nil
	}
	return k.store.Ping(ctx)
}

// results is where results are kept.
func (k kept) results() result.Sink {
	if k.sink == nil {
		return result.Discard
	}
	return k.sink
}

func (k kept) close() error {
	if k.store == nil {
		return nil
	}
	k.sink.Close()
	return k.store.Close()
}

// knownAccounts are those of a store, as quotas ask for them.
type knownAccounts struct{ store *store.Store }

// Account implements quota.Accounts.
func (k knownAccounts) Account(ctx context.Context, name string) (account.Account, bool, error) {
	a, err := k.store.Account(ctx, name)
	if store.IsNotFound(err) {
		return account.Account{}, false, nil
	}
	return a, err == nil, err
}
