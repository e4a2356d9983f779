package quota

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/result"
)

// TestCheck: what the ledger cannot see ends tests at the next check, with its word.
func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*people)
		word   string // empty: the test goes on
	}{
		{"nothing", func(*people) {}, ""},
		{"disabled", func(p *people) { p.change("ann", func(a *account.Account) { a.Disabled = true }) }, account.WordDisabled},
		{"deleted", func(p *people) { p.mu.Lock(); delete(p.all, "ann"); p.mu.Unlock() }, account.WordNotFound},
		{"shorter", func(p *people) {
			p.change("ann", func(a *account.Account) { a.Limits.Duration = new(10 * time.Second) })
		}, result.ReasonMaxDuration},
		{"fewer at once", func(p *people) { p.change("ann", func(a *account.Account) { a.Limits.Tests = new(1) }) }, ""},
		{"unreadable", func(p *people) { p.mu.Lock(); p.err = errors.New("no such table"); p.mu.Unlock() }, ""},
		{"quota lowered", func(p *people) {
			p.change("ann", func(a *account.Account) { a.Limits = daily(account.Both, 2*mega) })
		}, "user_daily_quota_exceeded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			who := &people{all: map[string]account.Account{"ann": {Name: "ann"}}}
			p := &Policy{Ledger: newLedger(), Accounts: who}
			inBubble(t, p, Rules{Users: daily(account.Both, 100*mega)}, func(t *testing.T) {
				g := mustAdmit(t, p.At(Server{}), upload("ann"))
				other := mustAdmit(t, p.At(Server{}), upload("ann"))
				if err := g.Budget.In().Spend(3 * mega); err != nil {
					t.Fatal(err)
				}
				time.Sleep(20 * time.Second)
				tt.change(who)
				time.Sleep(usualCheck + time.Second)
				err := context.Cause(g.Ended)
				if err == nil && tt.word == "user_daily_quota_exceeded" {
					err = g.Budget.In().Spend(1)
				}
				if got := result.CodeOf(err); got != tt.word {
					t.Errorf("ended with %q (%v), want %q", got, err, tt.word)
				}
				g.Settle(0, 3*mega)
				other.Settle(0, 0)
			})
		})
	}
}

func TestDisabledIsRefused(t *testing.T) {
	who := &people{all: map[string]account.Account{"ann": {Name: "ann", Disabled: true}}}
	p := &Policy{Ledger: newLedger(), Accounts: who}
	inBubble(t, p, Rules{}, func(t *testing.T) {
		_, err := p.At(Server{}).Admit(t.Context(), upload("ann"))
		refused(t, err, account.WordDisabled)
		mustAdmit(t, p.At(Server{}), upload("bob")).Settle(0, 0)
	})
}

// TestLimits: own limits come before the defaults, and of several the lowest counts.
func TestLimits(t *testing.T) {
	who := &people{all: map[string]account.Account{
		"ann": {Name: "ann", Limits: account.Limits{Duration: new(time.Duration(0)), Rate: new(uint64(50))}},
	}}
	p := &Policy{Accounts: who}
	rules := Rules{
		Users:     account.Limits{Duration: new(time.Minute), Rate: new(uint64(100))},
		Addresses: account.Limits{Duration: new(3 * time.Minute), Rate: new(uint64(70))},
	}
	inBubble(t, p, rules, func(t *testing.T) {
		for _, tt := range []struct {
			name string
			time time.Duration
			rate uint64
		}{
			{"ann", 3 * time.Minute, 50}, {"bob", time.Minute, 70}, {"", 2 * time.Minute, 60},
		} {
			g := mustAdmit(t, p.At(Server{Duration: map[string]time.Duration{"": 2 * time.Minute}[tt.name], Rate: map[string]uint64{"": 60}[tt.name]}), upload(tt.name))
			if g.Time != tt.time || g.Rate != tt.rate {
				t.Errorf("%q may %v at %d, want %v at %d", tt.name, g.Time, g.Rate, tt.time, tt.rate)
			}
			g.Settle(0, 0)
		}
	})
}

// TestStoreLost: the slice in hand is finished, then tests end, or go on where that
// is wanted; what was moved is booked once the store is back.
func TestStoreLost(t *testing.T) {
	for _, goOn := range []bool{false, true} {
		l := newLedger()
		p := &Policy{Ledger: l}
		inBubble(t, p, Rules{Users: daily(account.Both, 64*mega), GoOn: goOn}, func(t *testing.T) {
			g := mustAdmit(t, p.At(Server{}), upload("ann"))
			time.Sleep(time.Second)
			hand, _ := g.Budget.In().Left()
			l.set(true)
			began := time.Now()
			moved := uint64(0)
			var err error
			for ; moved < 128*mega && err == nil; moved += 64 << 10 {
				err = g.Budget.In().Spend(64 << 10)
			}
			if err != nil {
				moved -= 64 << 10
			}
			if goOn {
				if err != nil {
					t.Errorf("ended after %d bytes: %v", moved, err)
				}
				mustAdmit(t, p.At(Server{}), upload("bob")).Settle(0, 0)
			} else {
				refused(t, err, account.WordStore)
				if moved != hand || time.Since(began) < patience {
					t.Errorf("%d bytes of %d in hand, ended after %v", moved, hand, time.Since(began))
				}
				_, err := p.At(Server{}).Admit(t.Context(), upload("bob"))
				refused(t, err, account.WordStore)
			}
			time.Sleep(time.Hour)
			l.set(false)
			time.Sleep(time.Second)
			if u := l.total(ann); u.In != moved {
				t.Errorf("%d moved, %d booked", moved, u.In)
			}
			if err := g.Budget.In().Spend(64 << 10); (err != nil) != goOn {
				t.Errorf("after the store came back: %v", err)
			}
			g.Settle(0, moved)
		})
	}
}

// TestStoreBackInTime: a store that is away for a moment is waited for.
func TestStoreBackInTime(t *testing.T) {
	l := newLedger()
	p := &Policy{Ledger: l}
	inBubble(t, p, Rules{Users: daily(account.Both, 64*mega)}, func(t *testing.T) {
		g := mustAdmit(t, p.At(Server{}), upload("ann"))
		l.set(true)
		time.AfterFunc(patience-2*time.Second, func() { l.set(false) })
		moved, err := spend(g.Budget.In(), 64<<10)
		exceeded(t, err)
		if moved != 64*mega {
			t.Errorf("%d bytes moved", moved)
		}
		g.Settle(0, moved)
	})
}

// TestLeaseRunsOut: what is in hand is gone when others may have it.
func TestLeaseRunsOut(t *testing.T) {
	l := newLedger()
	p := &Policy{Ledger: l}
	inBubble(t, p, Rules{Users: daily(account.Both, 64*mega)}, func(t *testing.T) {
		g := mustAdmit(t, p.At(Server{}), upload("ann"))
		time.Sleep(time.Second)
		l.set(true)
		time.Sleep(usualLease + 2*time.Second)
		if err := g.Budget.In().Spend(1); err == nil {
			t.Error("the slice of an expired lease is spent")
		}
		g.Settle(0, 0)
	})
}

// TestDry: a test that cannot wait ends as well when nothing is left.
func TestDry(t *testing.T) {
	p := &Policy{Ledger: newLedger()}
	inBubble(t, p, Rules{Addresses: daily(account.Out, mega)}, func(t *testing.T) {
		g := mustAdmit(t, p.At(Server{}), admit.Request{Protocol: "twamp", Peer: home, Transmit: true, Receive: true})
		sent := uint64(0)
		for range 100_000 {
			if g.Budget.Out().Try(100) {
				sent += 100
			} else if g.Ended.Err() == nil {
				time.Sleep(time.Millisecond)
			}
		}
		if e := exceeded(t, context.Cause(g.Ended)); e.Word != "ip_outbound_daily_quota_exceeded" || sent > mega || sent < mega-100 {
			t.Errorf("%d sent, then %v", sent, e)
		}
		g.Settle(sent, 0)
	})
}
