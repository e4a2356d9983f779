package admit

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestBudgetIsExact(t *testing.T) {
	const all, batch = 1_000_003, 64
	b := NewBudget(all, "user_daily_quota_exceeded", "daily bytes of user ann")
	var moved atomic.Int64
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for b.Spend(batch) == nil {
				moved.Add(batch)
			}
		})
	}
	wg.Wait()
	left, ok := b.Left()
	if !ok || moved.Load()+int64(left) != all || left >= batch {
		t.Errorf("%d moved and %d left of %d", moved.Load(), left, all)
	}
	err := b.Spend(batch)
	e, ok := errors.AsType[*ExceededError](err)
	if !ok || e.Code() != "user_daily_quota_exceeded" || e.ExitCode() != 5 || e.Limit != all {
		t.Errorf("Spend of too much = %v", err)
	}
	b.Return(batch)
	if b.Spend(batch) != nil {
		t.Error("what was returned cannot be spent")
	}
}

func TestNilBudget(t *testing.T) {
	var b *Budget
	if err := b.Spend(1 << 40); err != nil {
		t.Error(err)
	}
	b.Return(5)
	if _, ok := b.Left(); ok {
		t.Error("a nil budget has an end")
	}
}

func TestGate(t *testing.T) {
	g := &Gate{Total: 3, PerAddress: 2}
	one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	enter := func(a netip.Addr, want bool) func() {
		t.Helper()
		leave, err := g.Enter(a)
		if (err == nil) != want {
			t.Fatalf("Enter(%v) = %v", a, err)
		}
		return leave
	}
	a := enter(one, true)
	b := enter(one, true)
	enter(one, false)
	enter(netip.MustParseAddr("::ffff:192.0.2.1"), false)
	c := enter(two, true)
	enter(two, false)
	a()
	a() // again: nothing more is freed
	if g.Open() != 2 {
		t.Errorf("%d open", g.Open())
	}
	d := enter(two, true)
	for _, leave := range []func(){b, c, d} {
		leave()
	}
	if g.Open() != 0 || len(g.from) != 0 {
		t.Errorf("%d open, %d addresses remembered", g.Open(), len(g.from))
	}
}

func TestSite(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7":          "192.0.2.7",
		"::ffff:192.0.2.7":   "192.0.2.7",
		"2001:db8:1:2:3::4":  "2001:db8:1:2::",
		"fe80::1%eth0":       "fe80::",
		"2001:db8:1:2:ff::1": "2001:db8:1:2::",
	} {
		if got := Site(netip.MustParseAddr(in)); got.String() != want {
			t.Errorf("Site(%s) = %v, want %s", in, got, want)
		}
	}
}

func TestLimits(t *testing.T) {
	l := &Limits{Tests: 2, TestsPerAddress: 1, Duration: time.Minute, Rate: 5}
	first, err := l.Admit(t.Context(), Request{Peer: netip.MustParseAddr("192.0.2.1")})
	if err != nil || first.Time != time.Minute || first.Rate != 5 {
		t.Fatalf("Admit = %+v, %v", first, err)
	}
	_, err = l.Admit(t.Context(), Request{Peer: netip.MustParseAddr("192.0.2.1")})
	if r, ok := errors.AsType[*RefusedError](err); !ok || r.Code() != TooManyTests || r.ExitCode() != 5 {
		t.Errorf("a second test was answered %v", err)
	}
	first.Settle(1, 2)
	if _, err := l.Admit(t.Context(), Request{Peer: netip.MustParseAddr("192.0.2.1")}); err != nil {
		t.Errorf("after the first was settled: %v", err)
	}
}

func TestBackoff(t *testing.T) {
	b := &Backoff{Free: 2, Longest: time.Minute, Addresses: 10}
	peer := netip.MustParseAddr("192.0.2.1")
	now := time.Unix(1_000_000, 0)
	var waits []time.Duration
	for range 12 {
		b.Failed(peer, now)
		err := b.Check(peer, now)
		r, refused := errors.AsType[*RefusedError](err)
		if !refused {
			waits = append(waits, 0)
			continue
		}
		waits = append(waits, r.Until.Sub(now))
	}
	want := []time.Duration{0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60}
	for i := range want {
		if waits[i] != want[i]*time.Second {
			t.Fatalf("waits %v, want %v seconds", waits, want)
		}
	}
	if b.Check(peer, now.Add(time.Minute)) != nil {
		t.Error("still refused after the wait")
	}
	b.Succeeded(peer)
	if b.Check(peer, now) != nil {
		t.Error("refused after a success")
	}
	for n := range 1000 {
		b.Failed(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), now)
	}
	if len(b.failed) > 10 {
		t.Errorf("%d addresses remembered", len(b.failed))
	}
}

func TestCounters(t *testing.T) {
	var c Counters
	end := c.Begin()
	c.Add(5, 7)
	sent, received := c.Bytes()
	begun, running := c.Tests()
	if sent != 5 || received != 7 || begun != 1 || running != 1 {
		t.Errorf("%d, %d bytes, %d, %d tests", sent, received, begun, running)
	}
	end()
	if _, running := c.Tests(); running != 0 {
		t.Errorf("%d tests run", running)
	}
	var none *Counters
	none.Begin()()
	none.Add(1, 1)
}
