package admit

import (
	"errors"
	"net/netip"
	"strconv"
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

// tank is a Source of so many bytes, in small slices.
type tank struct {
	b    *Budget
	left atomic.Int64
	dry  atomic.Int64
}

func (k *tank) Low() {}
func (k *tank) Dry() { k.dry.Add(1) }
func (k *tank) More(n int) error {
	for range 2 {
		if left := k.left.Load(); left <= 0 || !k.left.CompareAndSwap(left, left-min(left, 1000)) {
			continue
		} else {
			k.b.Add(min(left, 1000), 500)
			return nil
		}
	}
	if k.left.Load() > 0 {
		return nil // again
	}
	return &ExceededError{Word: "gone", Text: "the tank", Limit: 1, Until: time.Unix(60, 0)}
}

// TestSlice: what a source gives is spent to the last byte, with a second budget
// joined, and split by direction.
func TestSlice(t *testing.T) {
	k := &tank{}
	k.left.Store(100_050)
	k.b = NewSlice(k)
	if k.b.Try(1) || k.dry.Load() != 1 {
		t.Error("Try found something in an empty slice, or did not say that it found nothing")
	}
	b := Split(Join(k.b, NewBudget(1<<40, "", "")), Join(k.b, nil))
	var moved atomic.Int64
	var wg sync.WaitGroup
	for n := range 8 {
		way := b.In()
		if n%2 == 0 {
			way = b.Out()
		}
		wg.Go(func() {
			for way.Spend(10) == nil {
				moved.Add(10)
			}
		})
	}
	wg.Wait()
	if moved.Load() != 100_050 || k.b.Balance() != 0 {
		t.Errorf("%d moved, %d left", moved.Load(), k.b.Balance())
	}
	if err := b.In().Charge(7); err == nil || err.Error() != "the tank used up (1 bytes), try again after 1970-01-01T00:01:00Z" {
		t.Errorf("Charge = %v", err)
	}
	if k.b.Balance() != -7 {
		t.Errorf("%d left after a charge of 7 beyond", k.b.Balance())
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
	if r, ok := errors.AsType[*RefusedError](err); !ok || r.Code() != TooManyConnections || r.ExitCode() != 5 {
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
	if n := len(b.fails.of); n > 10 {
		t.Errorf("%d addresses remembered", n)
	}
}

func TestAccountBackoff(t *testing.T) {
	var b AccountBackoff
	now := time.Unix(1_000_000, 0)
	home, away := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	b.Succeeded("ann", home, now)
	for range 20 {
		b.Failed("ann", now)
	}
	if err := b.Check("ann", away, now); err != nil {
		t.Errorf("after 20 failures: %v", err)
	}
	for n, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		b.Failed("ann", now)
		r, ok := errors.AsType[*RefusedError](b.Check("ann", away, now))
		if !ok || r.Until.Sub(now) != want*time.Second || r.Code() != TooManyLogins {
			t.Errorf("failure %d: %v, want a wait of %d s", 21+n, r, want)
		}
	}
	if err := b.Check("ann", home, now); err != nil {
		t.Errorf("where she has logged in before: %v", err)
	}
	for _, other := range []string{"bob", "", "ANN"} {
		if err := b.Check(other, away, now); err != nil {
			t.Errorf("%q: %v", other, err)
		}
	}
	if err := b.Check("ann", away, now.Add(time.Minute)); err != nil {
		t.Errorf("after the wait: %v", err)
	}
	for range 30 { // a name that nobody has is no different
		b.Failed("ghost", now)
	}
	if b.Check("ghost", away, now) == nil {
		t.Error("an unknown name can be tried for ever")
	}
	b.Succeeded("ann", home, now)
	if err := b.Check("ann", away, now); err != nil {
		t.Errorf("after a success: %v", err)
	}
	for n := range homes + 100 {
		b.Succeeded("ann", netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), now)
		b.Failed(strconv.Itoa(n), now)
	}
	if len(b.home) > homes || len(b.fails.of) > 65536 {
		t.Errorf("%d addresses and %d names remembered", len(b.home), len(b.fails.of))
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
