package admit

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// Limits is the Policy of a server without accounts: so many tests at once, so
// long, so fast. The zero Limits admits everything.
type Limits struct {
	Tests           int           // at once in all; 0 is no limit
	TestsPerAddress int           // at once from one address (an IPv6 /64 counts as one); 0 is no limit
	Duration        time.Duration // longest test; 0 is no limit
	Rate            uint64        // bit/s each way of one test; 0 is no limit

	once  sync.Once
	tests *Gate
}

// Admit implements Policy.
func (l *Limits) Admit(_ context.Context, r Request) (*Grant, error) {
	l.once.Do(func() {
		l.tests = &Gate{Total: l.Tests, PerAddress: l.TestsPerAddress, What: "tests"}
	})
	leave, err := l.tests.Enter(r.Peer)
	if err != nil {
		return nil, err
	}
	return &Grant{Time: l.Duration, Rate: l.Rate, Settle: func(_, _ uint64) { leave() }}, nil
}

// A Gate bounds how many of something are open at once, in all and for one
// address. It is safe for concurrent use; its memory is bounded by what is open.
type Gate struct {
	Total      int    // 0 is no limit
	PerAddress int    // 0 is no limit
	Word       string // of the refusal; TooManyConnections if empty
	What       string // "connections" if empty

	mu   sync.Mutex // guards what follows
	open int
	from map[netip.Addr]int
}

// Enter takes a place for peer and returns the function that gives it back,
// which may be called more than once.
func (g *Gate) Enter(peer netip.Addr) (leave func(), err error) {
	site := Site(peer)
	g.mu.Lock()
	defer g.mu.Unlock()
	word, what := g.Word, g.What
	if word == "" {
		word = TooManyConnections
	}
	if what == "" {
		what = "connections"
	}
	if g.Total > 0 && g.open >= g.Total {
		return nil, &RefusedError{Word: word, Text: fmt.Sprintf("%d %s are open, the limit of this server", g.open, what)}
	}
	if g.PerAddress > 0 && g.from[site] >= g.PerAddress {
		return nil, &RefusedError{Word: word, Text: fmt.Sprintf("%d %s from %v are open, the limit per address", g.from[site], what, peer)}
	}
	if g.from == nil {
		g.from = map[netip.Addr]int{}
	}
	g.open++
	g.from[site]++
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.open--
		if g.from[site]--; g.from[site] == 0 {
			delete(g.from, site)
		}
	}), nil
}

// Open returns how many places are taken.
func (g *Gate) Open() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open
}

// Site is the unit that limits per address count by: an IPv4 address, or the
// /64 an IPv6 address lies in, since one customer commonly owns all of it.
func Site(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Masked().Addr()
		}
	}
	return a
}

// Limit is what a field of limits that is n stands for: the default d for 0, no
// limit, which is 0, for less.
func Limit(n, d int) int {
	switch {
	case n == 0:
		return d
	case n < 0:
		return 0
	}
	return n
}
