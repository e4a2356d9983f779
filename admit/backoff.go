package admit

import (
	"cmp"
	"net/netip"
	"sync"
	"time"
)

// A Backoff makes an address that keeps failing to log in wait: after Free
// failures the next attempt is refused for a second, then two, four and so on
// up to Longest. A success forgets the address. It is safe for concurrent use
// and remembers at most Addresses addresses; who is not waiting goes first.
type Backoff struct {
	Free      int           // failures without a wait; 0 means 5
	Longest   time.Duration // 0 means 5 minutes
	Addresses int           // 0 means 65536

	once  sync.Once
	fails table[netip.Addr]
}

func (b *Backoff) table() *table[netip.Addr] {
	b.once.Do(func() {
		b.fails.free, b.fails.longest, b.fails.most = cmp.Or(b.Free, 5), cmp.Or(b.Longest, 5*time.Minute), cmp.Or(b.Addresses, 65536)
	})
	return &b.fails
}

// Check returns a *RefusedError while peer has to wait.
func (b *Backoff) Check(peer netip.Addr, now time.Time) error {
	until, waits := b.table().check(Site(peer), now)
	if !waits {
		return nil
	}
	return &RefusedError{Word: TooManyLogins, Text: "too many failed logins from " + peer.String(), Until: until}
}

// Failed counts a failure of peer.
func (b *Backoff) Failed(peer netip.Addr, now time.Time) { b.table().failed(Site(peer), now) }

// Succeeded forgets the failures of peer.
func (b *Backoff) Succeeded(peer netip.Addr) { b.table().succeeded(Site(peer)) }

// A table counts the failures of each key.
type table[K comparable] struct {
	free    int
	longest time.Duration
	most    int

	mu sync.Mutex // guards of
	of map[K]*failures
}

type failures struct {
	n     int
	last  time.Time
	until time.Time
}

// check is when k may try again, if it has to wait.
func (t *table[K]) check(k K, now time.Time) (until time.Time, waits bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.of[k]
	if f == nil || !now.Before(f.until) {
		return time.Time{}, false
	}
	return f.until, true
}

func (t *table[K]) failed(k K, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.of[k]
	switch {
	case f == nil:
		if t.of == nil {
			t.of = map[K]*failures{}
		}
		t.makeRoom(now)
		f = &failures{}
		t.of[k] = f
	case now.Sub(f.last) > 2*t.longest:
		*f = failures{}
	}
	f.n++
	f.last = now
	if over := f.n - t.free; over > 0 {
		wait := t.longest
		if over <= 20 {
			wait = min(t.longest, time.Second<<(over-1))
		}
		f.until = now.Add(wait)
	}
}

func (t *table[K]) succeeded(k K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.of, k)
}

// makeRoom keeps the table below most. To look through a full table is dear, so
// it makes room for many: first the stale ones go, then those that are not
// waiting, then any.
func (t *table[K]) makeRoom(now time.Time) {
	if len(t.of) < t.most {
		return
	}
	for k, f := range t.of {
		if now.Sub(f.last) > 2*t.longest {
			delete(t.of, k)
		}
	}
	enough := t.most - 1 - t.most/16
	for _, waiting := range []bool{false, true} {
		for k, f := range t.of {
			if len(t.of) <= enough {
				return
			}
			if waiting || !now.Before(f.until) {
				delete(t.of, k)
			}
		}
	}
}
