package quota

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/app/account"
)

const mega = 1 << 20

var (
	ann  = account.Subject{Account: "ann"}
	home = netip.MustParseAddr("192.0.2.7")
)

// daily are limits of n bytes a day in one flow.
func daily(f account.Flow, n uint64) account.Limits {
	return account.Limits{Bytes: map[account.Window]uint64{{Period: account.Day, Flow: f}: n}}
}

// inBubble runs a test with the clock of synctest, and p for as long.
func inBubble(t *testing.T, p *Policy, rules Rules, test func(t *testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		p.init()
		p.SetRules(rules)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); p.Run(ctx) }()
		test(t)
		stop()
		<-done
	})
}

// openBooks is how many books p has.
func openBooks(p *Policy) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.books)
}

func upload(name string) admit.Request {
	return admit.Request{Protocol: "btest", Account: name, Peer: home, Receive: true, Streams: 1}
}

func download(name string) admit.Request {
	return admit.Request{Protocol: "btest", Account: name, Peer: home, Transmit: true, Streams: 1}
}

func mustAdmit(t *testing.T, p admit.Policy, r admit.Request) *admit.Grant {
	t.Helper()
	g, err := p.Admit(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// spend moves bytes until the budget ends, and returns how many and why.
func spend(b *admit.Budget, batch int) (moved uint64, err error) {
	for {
		if err := b.Spend(batch); err != nil {
			return moved, err
		}
		moved += uint64(batch)
	}
}

func exceeded(t *testing.T, err error) *admit.ExceededError {
	t.Helper()
	e, ok := errors.AsType[*admit.ExceededError](err)
	if !ok {
		t.Fatalf("got %v, want a quota that is exceeded", err)
	}
	return e
}

func refused(t *testing.T, err error, word string) *admit.RefusedError {
	t.Helper()
	e, ok := errors.AsType[*admit.RefusedError](err)
	if !ok || e.Word != word {
		t.Fatalf("got %v, want it refused as %s", err, word)
	}
	return e
}

// Tests of one user that run at once see each other and share one
// remainder.
func TestFault1And2ParallelTestsShareOneRemainder(t *testing.T) {
	const limit, batch, tests = 10 * mega, 64 << 10, 50
	l := newLedger()
	p := &Policy{Ledger: l}
	inBubble(t, p, Rules{Users: daily(account.Both, limit)}, func(t *testing.T) {
		var moved atomic.Uint64
		var wg sync.WaitGroup
		for n := range tests {
			wg.Go(func() {
				g, err := p.At(Server{}).Admit(t.Context(), admit.Request{Account: "ann", Peer: home, Receive: true, Transmit: true})
				if err != nil {
					exceeded(t, err)
					return
				}
				way, in := g.Budget.Out(), uint64(0)
				if n%2 == 0 {
					way = g.Budget.In()
				}
				sum, err := spend(way, batch)
				if e := exceeded(t, err); e.Word != "user_daily_quota_exceeded" || e.Limit != limit {
					t.Errorf("ended with %v", err)
				}
				moved.Add(sum)
				if n%2 == 0 {
					in, sum = sum, 0
				}
				g.Settle(sum, in)
			})
		}
		wg.Wait()
		if n := moved.Load(); n > limit || n <= limit-batch {
			t.Errorf("%d bytes moved of %d", n, limit)
		}
		time.Sleep(time.Second)
		if u := l.total(ann); u.In+u.Out != moved.Load() {
			t.Errorf("%d bytes booked, %d moved", u.In+u.Out, moved.Load())
		}
		if n, open := l.held(ann), openBooks(p); n != 0 || open != 0 {
			t.Errorf("%d bytes still held, %d books open", n, open)
		}
	})
}

func TestRefusedWithTime(t *testing.T) {
	l := newLedger()
	var told []Refusal
	p := &Policy{Ledger: l, Refused: func(r Refusal) { told = append(told, r) }}
	inBubble(t, p, Rules{Users: daily(account.In, 5*mega)}, func(t *testing.T) {
		began := time.Now()
		g := mustAdmit(t, p.At(Server{}), upload("ann"))
		moved, err := spend(g.Budget.In(), 1400)
		e := exceeded(t, err)
		if e.Word != "user_inbound_daily_quota_exceeded" || moved > 5*mega || moved < 5*mega-1400 {
			t.Errorf("%d moved, then %v", moved, err)
		}
		g.Settle(0, moved)
		time.Sleep(time.Hour)
		_, err = p.At(Server{}).Admit(t.Context(), upload("ann"))
		e = exceeded(t, err)
		// All was booked within a second; a batch's worth of it leaves the window first.
		if at := e.Until.Sub(began) - 24*time.Hour; at < 0 || at > time.Second {
			t.Errorf("works again %v after a day: %v", at, err)
		}
		if len(told) != 1 || told[0].Word != e.Word || told[0].Used != moved || told[0].Limit != 5*mega || !told[0].Until.Equal(e.Until) {
			t.Errorf("told %+v", told)
		}
		mustAdmit(t, p.At(Server{}), download("ann")).Settle(0, 0) // the other way is free
		time.Sleep(time.Until(e.Until) + time.Millisecond)
		mustAdmit(t, p.At(Server{}), upload("ann")).Settle(0, 0)
	})
}

// TestFault5: in is what the server receives.
func TestFault5InAndOutAreNotSwapped(t *testing.T) {
	l := newLedger()
	p := &Policy{Ledger: l}
	inBubble(t, p, Rules{}, func(t *testing.T) {
		g := mustAdmit(t, p.At(Server{}), admit.Request{Account: "ann", Peer: home, Receive: true, Transmit: true})
		_, _ = g.Budget.In().Charge(100), g.Budget.Out().Spend(7)
		g.Settle(7, 100)
		time.Sleep(time.Second)
		for _, s := range []account.Subject{ann, {Address: home}} {
			if u := l.total(s); u.In != 100 || u.Out != 7 {
				t.Errorf("%v: %+v booked", s, u)
			}
		}
	})
}

// TestFault9: what goes the other way does not take from the budget of one.
func TestFault9OneDirectionIsChargedWithItsOwnBytes(t *testing.T) {
	p := &Policy{Ledger: newLedger()}
	limits := account.Limits{Bytes: map[account.Window]uint64{
		{Period: account.Day, Flow: account.In}: 2 * mega, {Period: account.Day, Flow: account.Out}: 3 * mega,
	}}
	inBubble(t, p, Rules{Addresses: limits}, func(t *testing.T) {
		g := mustAdmit(t, p.At(Server{}), admit.Request{Peer: home, Receive: true, Transmit: true})
		out, err := spend(g.Budget.Out(), 4096)
		if e := exceeded(t, err); e.Word != "ip_outbound_daily_quota_exceeded" || out != 3*mega {
			t.Errorf("%d sent, then %v", out, err)
		}
		in, err := spend(g.Budget.In(), 4096)
		if e := exceeded(t, err); e.Word != "ip_inbound_daily_quota_exceeded" || in != 2*mega {
			t.Errorf("%d received, then %v", in, err)
		}
		g.Settle(out, in)
	})
}

// TestSettleIsExact: what a server counts is what is booked, whatever its streams
// spent, and also when a sender gave back what was booked already.
func TestSettleIsExact(t *testing.T) {
	l := newLedger()
	p := &Policy{Ledger: l}
	inBubble(t, p, Rules{Users: daily(account.Both, 100*mega)}, func(t *testing.T) {
		g := mustAdmit(t, p.At(Server{}), download("ann"))
		if err := g.Budget.Out().Spend(3 * mega); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if u := l.total(ann); u.Out != 3*mega {
			t.Errorf("%+v booked", u)
		}
		g.Budget.Out().Return(2 * mega)
		g.Settle(mega, 5)
		g.Settle(77, 77) // again: nothing more
		time.Sleep(time.Second)
		if u := l.total(ann); u.Out != mega || u.In != 5 {
			t.Errorf("%+v booked", u)
		}
	})
}

// TestServersShare: what several servers let through with one ledger stays within
// the quota, and one that dies takes its slice only until its lease has expired.
func TestServersShare(t *testing.T) {
	const limit = 40 * mega
	l := newLedger()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var moved atomic.Uint64
		var wg, loops sync.WaitGroup
		for range 3 {
			p := &Policy{Ledger: l}
			p.init()
			p.SetRules(Rules{Users: daily(account.Both, limit)})
			loops.Go(func() { p.Run(ctx) })
			for range 10 {
				wg.Go(func() {
					g := mustAdmit(t, p.At(Server{}), upload("ann"))
					mine := uint64(0)
					for g.Budget.In().Spend(64<<10) == nil {
						mine += 64 << 10
						time.Sleep(10 * time.Millisecond)
					}
					moved.Add(mine)
					g.Settle(0, mine)
				})
			}
		}
		dead := &Policy{Ledger: l}
		dead.init()
		dead.SetRules(Rules{Users: daily(account.Both, limit)})
		loops.Go(func() { dead.Run(ctx) })
		mustAdmit(t, dead.At(Server{}), upload("ann")) // and holds it
		wg.Wait()
		stop()
		loops.Wait()
		if n := moved.Load(); n > limit || n < limit-limit/slicePart-mega {
			t.Errorf("%d bytes moved of %d", n, limit)
		}
	})
}

// TestFastTestLeavesTheStoreAlone: where much is left, 100 Gbit/s take no more steps with the
// store than the two a second that book what was moved, and those of the check.
func TestFastTestLeavesTheStoreAlone(t *testing.T) {
	const second, length = 100e9 / 8, 20 // bytes, s
	const usual = 2*length + length*time.Second/usualCheck
	l := newLedger()
	p := &Policy{Ledger: l}
	inBubble(t, p, Rules{Users: daily(account.Both, 1<<50)}, func(t *testing.T) {
		g := mustAdmit(t, p.At(Server{}), download("ann"))
		before := l.steps()
		for range length * 1000 {
			if err := g.Budget.Out().Spend(second / 1000); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		if n := l.steps() - before; n > int(usual) {
			t.Errorf("%d steps in %d seconds, want %d", n, length, usual)
		}
		g.Settle(second*length, 0)
	})
}

// BenchmarkSpend is what admission costs a batch: of a user's and an address's quotas,
// both ways together and one way.
func BenchmarkSpend(b *testing.B) {
	p := &Policy{Ledger: newLedger()}
	p.init()
	limits := account.Limits{Bytes: map[account.Window]uint64{}}
	for f := range account.Flows {
		limits.Bytes[account.Window{Flow: f}] = 1 << 60
	}
	p.SetRules(Rules{Users: limits, Addresses: limits})
	ctx, stop := context.WithCancel(b.Context())
	var runs sync.WaitGroup
	runs.Go(func() { p.Run(ctx) })
	defer runs.Wait()
	defer stop()
	g, err := p.At(Server{}).Admit(ctx, download("ann"))
	if err != nil {
		b.Fatal(err)
	}
	out, n := g.Budget.Out(), uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		if err := out.Spend(64 << 10); err != nil {
			b.Fatal(err)
		}
		n += 64 << 10
	}
	g.Settle(n, 0)
}
