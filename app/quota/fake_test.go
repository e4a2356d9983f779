package quota

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sonde-net/sonde/app/account"
)

// ledger is a Ledger in memory, exact to the nanosecond.
type ledger struct {
	mu     sync.Mutex
	down   bool
	used   map[string][]use
	leases map[string]lease
	rounds int
}

type use struct {
	at      time.Time
	in, out int64
}

type lease struct {
	subject string
	in, out uint64
	hold    account.Slice
	expires time.Time
}

func newLedger() *ledger { return &ledger{used: map[string][]use{}, leases: map[string]lease{}} }

var errDown = errors.New("no route to the database")

func (l *ledger) Renew(_ context.Context, now time.Time, asks []account.Ask) ([]account.Answer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, errDown
	}
	l.rounds++
	var answers []account.Answer
	for _, a := range asks {
		answers = append(answers, l.renew(now, a))
	}
	return answers, nil
}

func (l *ledger) renew(now time.Time, a account.Ask) account.Answer {
	mine := l.leases[a.Lease]
	in, out := max(mine.in, a.In), max(mine.out, a.Out)
	if a.Want == (account.Slice{}) {
		in, out = a.In, a.Out
	}
	l.used[a.Subject] = append(l.used[a.Subject], use{now, int64(in - mine.in), int64(out - mine.out)})
	got := account.Answer{Have: a.Want, Used: make([]uint64, len(a.Caps)), Held: make([]uint64, len(a.Caps)), Tight: [account.Flows]int{-1, -1, -1}}
	for i, c := range a.Caps {
		got.Used[i] = l.since(a.Subject, c.Since).Of(c.Flow)
		for id, other := range l.leases {
			if id != a.Lease && other.subject == a.Subject && other.expires.After(now) && other.hold[c.Flow] < account.Unlimited {
				got.Held[i] += other.hold[c.Flow]
			}
		}
		if free := left(c.Limit, got.Used[i]+got.Held[i]); free < got.Have[c.Flow] {
			got.Have[c.Flow], got.Tight[c.Flow] = free, i
		}
	}
	l.leases[a.Lease] = lease{a.Subject, in, out, got.Have, a.Expires}
	return got
}

func (l *ledger) since(subject string, t time.Time) account.Use {
	var in, out int64
	for _, u := range l.used[subject] {
		if u.at.After(t) {
			in, out = in+u.in, out+u.out
		}
	}
	return account.Use{In: uint64(max(0, in)), Out: uint64(max(0, out))}
}

func (l *ledger) total(s account.Subject) account.Use {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.since(s.Key(), time.Time{})
}

func (l *ledger) held(s account.Subject) (n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.leases {
		if one.subject == s.Key() && one.hold[account.Both] < account.Unlimited {
			n += one.hold[account.Both]
		}
	}
	return n
}

func (l *ledger) Frees(_ context.Context, now time.Time, s account.Subject, w account.Window, bytes uint64) (time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var gone int64
	for _, u := range l.used[s.Key()] {
		if u.at.Before(now.Add(-w.Period.Length())) {
			continue
		}
		n := u.in + u.out
		switch w.Flow {
		case account.In:
			n = u.in
		case account.Out:
			n = u.out
		}
		if gone += n; gone >= int64(bytes) {
			return u.at.Add(w.Period.Length()), nil
		}
	}
	return time.Time{}, nil
}

func (l *ledger) Reap(_ context.Context, now time.Time) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, id := range slices.Collect(maps.Keys(l.leases)) {
		if one := l.leases[id]; !one.expires.After(now) {
			delete(l.leases, id)
			n++
		}
	}
	return n, nil
}

// steps is how many have been taken.
func (l *ledger) steps() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rounds
}

func (l *ledger) set(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
}

// people are Accounts in memory.
type people struct {
	mu  sync.Mutex
	all map[string]account.Account
	err error
}

func (p *people) Account(_ context.Context, name string) (account.Account, bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.all[name]
	return a, ok, p.err
}

func (p *people) change(name string, f func(*account.Account)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.all[name]
	f(&a)
	p.all[name] = a
}
