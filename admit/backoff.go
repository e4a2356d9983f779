package admit

import (
	"net/netip"
	"sync"
	"time"
)

// A Backoff makes an address that keeps failing to log in wait: after Free
// failures the next attempt is refused for a second, then two, four and so on
// up to Longest. A success forgets the address. It is safe for concurrent use
// and remembers at most Addresses addresses, the least recent ones go first.
type Backoff struct {
	Free      int           // failures without a wait; 0 means 5
	Longest   time.Duration // 0 means 5 minutes
	Addresses int           // 0 means 65536

	mu     sync.Mutex // guards failed
	failed map[netip.Addr]*failures
}

type failures struct {
	n     int
	last  time.Time
	until time.Time
}

// Check returns a *RefusedError while peer has to wait.
func (b *Backoff) Check(peer netip.Addr, now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.failed[Site(peer)]
	if f == nil || !now.Before(f.until) {
		return nil
	}
	return &RefusedError{Word: TooManyLogins, Text: "too many failed logins from " + peer.String(), Until: f.until}
}

// Failed counts a failure of peer.
func (b *Backoff) Failed(peer netip.Addr, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	free, longest, most := b.Free, b.Longest, b.Addresses
	if free == 0 {
		free = 5
	}
	if longest == 0 {
		longest = 5 * time.Minute
	}
	if most == 0 {
		most = 65536
	}
	site := Site(peer)
	f := b.failed[site]
	switch {
	case f == nil:
		if b.failed == nil {
			b.failed = map[netip.Addr]*failures{}
		}
		b.makeRoom(most, longest, now)
		f = &failures{}
		b.failed[site] = f
	case now.Sub(f.last) > 2*longest:
		*f = failures{}
	}
	f.n++
	f.last = now
	if over := f.n - free; over > 0 {
		wait := longest
		if over <= 20 {
			wait = min(longest, time.Second<<(over-1))
		}
		f.until = now.Add(wait)
	}
}

// Succeeded forgets the failures of peer.
func (b *Backoff) Succeeded(peer netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.failed, Site(peer))
}

// makeRoom keeps the table below most: first the stale ones go, then any one
// that is not waiting, then any one at all.
func (b *Backoff) makeRoom(most int, longest time.Duration, now time.Time) {
	if len(b.failed) < most {
		return
	}
	for site, f := range b.failed {
		if now.Sub(f.last) > 2*longest {
			delete(b.failed, site)
		}
	}
	for site, f := range b.failed {
		if len(b.failed) < most {
			return
		}
		if !now.Before(f.until) {
			delete(b.failed, site)
		}
	}
	for site := range b.failed {
		if len(b.failed) < most {
			return
		}
		delete(b.failed, site)
	}
}
