package admit

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// An AccountBackoff slows down who guesses at one account from many addresses:
// after Free failures of a name in a row its logins fail for a second, then two,
// four and so on up to Longest, the right password or not. An address that has
// logged in by the name before is let try all the same, so that strangers cannot
// lock a user out of where they are. Names that nobody has are counted like any,
// or the count would tell which exist. It is safe for concurrent use and its
// memory is bounded.
type AccountBackoff struct {
	Free    int           // failures without a wait; 0 means 20
	Longest time.Duration // 0 means 1 minute

	once  sync.Once
	seed  maphash.Seed
	fails table[uint64]

	mu   sync.Mutex // guards home
	home map[homeKey]time.Time
}

// A homeKey is an address from which an account has logged in.
type homeKey struct {
	account uint64
	site    netip.Addr
}

// homes bounds the addresses that are remembered, homeTime how long.
const (
	homes    = 65536
	homeTime = 30 * 24 * time.Hour
)

// key stands for a name, which may be long and is a stranger's.
func (b *AccountBackoff) key(account string) uint64 {
	b.once.Do(func() {
		b.seed = maphash.MakeSeed()
		b.fails.free, b.fails.longest, b.fails.most = cmp.Or(b.Free, 20), cmp.Or(b.Longest, time.Minute), 65536
	})
	return maphash.String(b.seed, account)
}

// Check returns a *RefusedError while logins by the name have to fail.
func (b *AccountBackoff) Check(account string, peer netip.Addr, now time.Time) error {
	key := b.key(account)
	until, waits := b.fails.check(key, now)
	if !waits || b.isHome(homeKey{key, Site(peer)}, now) {
		return nil
	}
	return &RefusedError{Word: TooManyLogins, Text: fmt.Sprintf("too many failed logins as %q", account), Until: until}
}

// Failed counts a failed login by the name.
func (b *AccountBackoff) Failed(account string, now time.Time) { b.fails.failed(b.key(account), now) }

// Succeeded forgets the failures of the name and remembers where it logged in.
func (b *AccountBackoff) Succeeded(account string, peer netip.Addr, now time.Time) {
	key := b.key(account)
	b.fails.succeeded(key)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.home == nil {
		b.home = map[homeKey]time.Time{}
	}
	for old := range b.home {
		if len(b.home) < homes {
			break
		}
		delete(b.home, old)
	}
	b.home[homeKey{key, Site(peer)}] = now
}

func (b *AccountBackoff) isHome(k homeKey, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	last, ok := b.home[k]
	return ok && now.Sub(last) < homeTime
}
