//go:build unix

package store

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/internal/testpg"
	"github.com/sonde-net/sonde/result"
)

func TestMain(m *testing.M) { testpg.Main(m) }

// onBoth runs a test on either engine, with an empty store.
func onBoth(t *testing.T, test func(t *testing.T, dsn string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, "sqlite://"+filepath.Join(t.TempDir(), "with space?.db")) })
	t.Run("postgres", func(t *testing.T) { test(t, testpg.Shared(t).Database(t)) })
}

func open(t testing.TB, c Config) *Store {
	t.Helper()
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

var (
	ann   = account.Subject{Account: "ann"}
	start = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
)

// ask is a step of a lease of ann's with a daily cap on both ways.
func ask(lease string, in, out, want, limit uint64, now time.Time) account.Ask {
	return account.Ask{Lease: lease, Subject: ann.Key(), Server: "s", In: in, Out: out,
		Want:    account.Slice{want, account.Unlimited, account.Unlimited},
		Caps:    []account.Cap{{Flow: account.Both, Since: now.Add(-24 * time.Hour), Limit: limit}},
		Expires: now.Add(30 * time.Second)}
}

func (s *Store) mustRenew(t testing.TB, now time.Time, a account.Ask) account.Answer {
	t.Helper()
	got, err := s.Renew(t.Context(), now, []account.Ask{a})
	if err != nil {
		t.Fatal(err)
	}
	return got[0]
}

func (s *Store) mustUse(t testing.TB, since time.Time) account.Use {
	t.Helper()
	u, err := s.Usage(t.Context(), ann, since)
	if err != nil {
		t.Fatal(err)
	}
	return u[0]
}

func TestLease(t *testing.T) {
	onBoth(t, func(t *testing.T, dsn string) {
		s := open(t, Config{DSN: dsn})
		now := start
		want := func(what string, a account.Answer, have, used, held uint64, tight int) {
			t.Helper()
			if a.Have[account.Both] != have || a.Used[0] != used || a.Held[0] != held || a.Tight[account.Both] != tight {
				t.Errorf("%s: %+v, want %d in hand, %d used, %d held, tight %d", what, a, have, used, held, tight)
			}
		}
		want("first", s.mustRenew(t, now, ask("a", 0, 0, 60, 100, now)), 60, 0, 0, -1)
		want("another server gets what is left", s.mustRenew(t, now, ask("b", 0, 0, 60, 100, now)), 40, 0, 60, 0)
		want("some was moved, in and out", s.mustRenew(t, now, ask("a", 10, 20, 30, 100, now)), 30, 30, 40, -1)
		want("the same once more", s.mustRenew(t, now, ask("a", 10, 20, 30, 100, now)), 30, 30, 40, -1)
		want("given back", s.mustRenew(t, now, ask("b", 5, 0, 0, 100, now)), 0, 35, 30, -1)
		want("a late repeat of what was before", s.mustRenew(t, now, ask("b", 0, 0, 0, 100, now)), 0, 35, 30, -1)
		if u := s.mustUse(t, now.Add(-time.Hour)); u != (account.Use{In: 15, Out: 20}) {
			t.Errorf("used %+v", u)
		}
		// The server of a dies: what it had in hand is free once its lease expires.
		now = now.Add(31 * time.Second)
		want("after its expiry", s.mustRenew(t, now, ask("c", 0, 0, 100, 100, now)), 65, 35, 0, 0)
		if n, err := s.Reap(t.Context(), now); n != 1 || err != nil {
			t.Errorf("reaped %d, %v, want the one of the dead server", n, err)
		}
		// It comes back after all: what it moved meanwhile counts, once.
		want("back from the dead", s.mustRenew(t, now, ask("a", 20, 30, 10, 100, now)), 0, 55, 65, 0)
		want("over the cap, never negative", s.mustRenew(t, now, ask("c", 200, 0, 10, 100, now)), 0, 255, 0, 0)
		want("lowered", s.mustRenew(t, now, ask("c", 200, 0, 10, 1, now)), 0, 255, 0, 0)
	})
}

// TestLeaseFlows holds that in and out are counted on their own side, and that a
// cap on one of them does not count the other.
// TestLeaseGivenBack: the last word on a lease is exact, also when less was moved than
// was booked.
func TestLeaseGivenBack(t *testing.T) {
	onBoth(t, func(t *testing.T, dsn string) {
		s := open(t, Config{DSN: dsn})
		s.mustRenew(t, start, ask("a", 0, 500, 1000, 10_000, start))
		s.mustRenew(t, start.Add(time.Second), ask("a", 0, 400, 1000, 10_000, start))
		if u := s.mustUse(t, start.Add(-time.Hour)); u.Out != 500 {
			t.Errorf("%+v booked, want 500 until the sender has caught up", u)
		}
		last := ask("a", 0, 400, 0, 10_000, start)
		last.Want = account.Slice{}
		s.mustRenew(t, start.Add(2*time.Minute), last)
		s.mustRenew(t, start.Add(2*time.Minute), last)
		if u := s.mustUse(t, start.Add(-time.Hour)); u.Out != 400 {
			t.Errorf("%+v booked, want 400", u)
		}
		if u := s.mustUse(t, start.Add(90*time.Second)); u.Out != 0 {
			t.Errorf("%+v booked since, want none, and not less", u)
		}
	})
}

func TestLeaseFlows(t *testing.T) {
	onBoth(t, func(t *testing.T, dsn string) {
		s := open(t, Config{DSN: dsn})
		a := ask("a", 70, 20, 1000, 500, start)
		a.Want = account.Slice{1000, 1000, 1000}
		a.Caps = append(a.Caps, account.Cap{Flow: account.In, Since: start.Add(-time.Hour), Limit: 100},
			account.Cap{Flow: account.Out, Since: start.Add(-time.Hour), Limit: 200})
		got := s.mustRenew(t, start, a)
		want := account.Answer{Have: account.Slice{410, 30, 180}, Used: []uint64{90, 70, 20}, Held: []uint64{0, 0, 0}, Tight: [account.Flows]int{0, 1, 2}}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
}

// TestLeaseConcurrent has several servers spend one cap as fast as they can.
func TestLeaseConcurrent(t *testing.T) {
	onBoth(t, func(t *testing.T, dsn string) {
		const limit, servers = 100_000, 4
		stores := []*Store{open(t, Config{DSN: dsn})}
		for range servers - 1 {
			if strings.HasPrefix(dsn, "postgres") {
				stores = append(stores, open(t, Config{DSN: dsn}))
			} else {
				stores = append(stores, stores[0])
			}
		}
		var wg sync.WaitGroup
		spent := make([]uint64, servers)
		for n, s := range stores {
			wg.Go(func() {
				random := rand.New(rand.NewPCG(uint64(n), 1))
				lease := fmt.Sprintf("lease %d", n)
				have := uint64(0)
				for range 10_000 {
					a := ask(lease, spent[n], 0, 3000, limit, start)
					got, err := s.Renew(t.Context(), start, []account.Ask{a})
					if err != nil {
						t.Error(err)
						return
					}
					if have = got[0].Have[account.Both]; have == 0 && got[0].Held[0] == 0 {
						break
					}
					spent[n] += random.Uint64N(have + 1)
					if have <= 10 { // take the rest, so that the end comes
						a.In, a.Want[account.Both] = spent[n], 0
						if _, err := s.Renew(t.Context(), start, []account.Ask{a}); err != nil {
							t.Error(err)
						}
						return
					}
				}
				if _, err := s.Renew(t.Context(), start, []account.Ask{ask(lease, spent[n], 0, 0, limit, start)}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		var sum uint64
		for _, n := range spent {
			sum += n
		}
		if u := stores[0].mustUse(t, start.Add(-time.Hour)); u.In != sum || sum > limit || sum < limit/2 {
			t.Errorf("%d booked, %d spent, of %d", u.In, sum, limit)
		}
	})
}

func TestWindows(t *testing.T) {
	onBoth(t, func(t *testing.T, dsn string) {
		s := open(t, Config{DSN: dsn})
		// A byte each minute of two days, by one lease.
		const minutes = 2 * 24 * 60
		var asks []account.Ask
		for n := range minutes {
			now := start.Add(time.Duration(n) * time.Minute)
			asks = append(asks[:0], account.Ask{Lease: "a", Subject: ann.Key(), In: uint64(n + 1), Expires: now})
			if _, err := s.Renew(t.Context(), now, asks); err != nil {
				t.Fatal(err)
			}
			if n%500 == 0 {
				if err := s.age(t.Context(), now); err != nil {
					t.Fatal(err)
				}
			}
		}
		end := start.Add(minutes * time.Minute)
		for range 2 { // to roll up changes no window
			for _, tt := range []struct {
				since time.Duration
				want  uint64
			}{{time.Hour, 60}, {24 * time.Hour, 24 * 60}, {36 * time.Hour, 36 * 60}, {7 * 24 * time.Hour, minutes}, {0, 0}} {
				if u := s.mustUse(t, end.Add(-tt.since)); u.In != tt.want {
					t.Errorf("in the last %v: %d, want %d", tt.since, u.In, tt.want)
				}
			}
			if err := s.age(t.Context(), end); err != nil {
				t.Fatal(err)
			}
		}
		free, err := s.Frees(t.Context(), end, ann, account.Window{Period: account.Day}, 10)
		if want := end.Add(10 * time.Minute); err != nil || !free.Equal(want) {
			t.Errorf("10 bytes are free at %v, %v, want %v", free, err, want)
		}
		if free, err = s.Frees(t.Context(), end, ann, account.Window{Period: account.Day}, 1e6); !free.IsZero() || err != nil {
			t.Errorf("more than was used is free at %v, %v", free, err)
		}
		// The clock is set back, then forward again: nothing is lost or negative.
		if u := s.mustUse(t, start.Add(-24*time.Hour)); u.In != minutes {
			t.Errorf("with a clock set back: %d, want all %d", u.In, minutes)
		}
		if err := s.age(t.Context(), end.Add(46*24*time.Hour)); err != nil {
			t.Fatal(err)
		}
		if u := s.mustUse(t, start.Add(-time.Hour)); u.In != 0 {
			t.Errorf("%d is kept after 46 days", u.In)
		}
	})
}

// run is the events of a test of so many seconds.
func run(id result.ID, at time.Time, who string, peer string, seconds int) []any {
	h := result.Head{Run: id, Time: at, Protocol: "btest", Role: result.Server}
	events := []any{result.Begin{Head: h, Transport: result.UDP, Direction: result.Both, Streams: 2, Account: who, Login: "md5", Peer: netip.MustParseAddrPort(peer)}}
	for n := range seconds {
		h.Time = at.Add(time.Duration(n+1) * time.Second)
		i := result.Interval{Head: h, Seq: n + 1, Direction: result.Down, Stream: result.AllStreams, Start: time.Duration(n) * time.Second,
			End: time.Duration(n+1) * time.Second, Sent: &result.View{Bytes: uint64(1000 * (n + 1))}, CPU: result.CPU{Local: result.Some(50.0)}}
		up := i
		up.Direction, up.Sent = result.Up, nil
		up.Received = &result.View{Bytes: 500, Packets: result.Some(uint64(5)), Lost: result.Some(int64(1))}
		up.RTT = &result.Delay{Mean: time.Millisecond, Max: time.Duration(n+2) * time.Millisecond}
		one := up
		one.Stream = 0
		events = append(events, i, up, one)
	}
	total := uint64(seconds)
	return append(events, result.End{Head: h, Elapsed: time.Duration(seconds) * time.Second, Reason: result.ReasonClientGone,
		Down: &result.Total{Sent: &result.View{Bytes: 500 * total * (total + 1)}},
		Up:   &result.Total{Received: &result.View{Bytes: 500 * total, Lost: result.Some(int64(seconds))}}})
}

func TestResults(t *testing.T) {
	onBoth(t, func(t *testing.T, dsn string) {
		s := open(t, Config{DSN: dsn})
		hostile := "\"><script>\x00\xff" + strings.Repeat("é", 400)
		for range 2 { // the same batch again, as after a lost answer
			if err := s.writeEntries(t.Context(), run("one", start, hostile, "192.0.2.7:999", 3)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.writeEntries(t.Context(), run("two", start.Add(time.Hour), "bob", "[2001:db8::1%eth0]:1", 1)[:2]); err != nil {
			t.Fatal(err)
		}
		runs, err := s.Runs(t.Context(), Filter{})
		if err != nil || len(runs) != 2 || runs[0].ID != "two" {
			t.Fatalf("runs: %+v, %v", runs, err)
		}
		two, one := runs[0], runs[1]
		if !two.Ended.IsZero() || two.In != nil || two.Out != nil || two.Elapsed != nil || two.Address != "2001:db8::1" {
			t.Errorf("running: %+v", two)
		}
		if *one.In != 1500 || *one.Out != 6000 || *one.Lost != 3 || one.Reason != "client_disconnected" || !strings.HasPrefix(one.Account, "\"><script>�") {
			t.Errorf("ended: %+v", one)
		}
		for _, tt := range []struct {
			f    Filter
			want int
		}{
			{Filter{Account: "bob"}, 1}, {Filter{Account: hostile}, 1}, {Filter{Account: "' OR 1=1 --"}, 0}, {Filter{Address: "192.0.2.7"}, 1},
			{Filter{From: start.Add(time.Second)}, 1}, {Filter{To: start.Add(time.Second)}, 1}, {Filter{Protocol: "rperf"}, 0},
			{Filter{Before: two.Num}, 1}, {Filter{Limit: 1}, 1},
		} {
			if got, err := s.Runs(t.Context(), tt.f); err != nil || len(got) != tt.want {
				t.Errorf("%+v: %d runs, %v, want %d", tt.f, len(got), err, tt.want)
			}
		}
		if _, err := s.Run(t.Context(), 12345); !IsNotFound(err) {
			t.Errorf("no such run: %v", err)
		}
		is, err := s.Intervals(t.Context(), one.Num)
		if err != nil || len(is) != 6 || is[0].Direction != result.Down || *is[4].Bytes != 3000 || is[4].Lost != nil || *is[5].RTTMax != 4*time.Millisecond {
			t.Errorf("intervals: %+v, %v", is, err)
		}
		total, err := s.Totals(t.Context(), Filter{Address: "192.0.2.7"})
		if err != nil || total != (Totals{Runs: 1, In: 1500, Out: 6000, InTime: 3 * time.Second, OutTime: 3 * time.Second}) {
			t.Errorf("totals: %+v, %v", total, err)
		}
		r := Refusal{Time: start, Protocol: "btest", Account: hostile, Address: "192.0.2.7", Word: "user_daily_quota_exceeded", Text: "no", Used: result.Some(uint64(7)), Until: start.Add(time.Hour)}
		if err := s.writeEntries(t.Context(), []any{r}); err != nil {
			t.Fatal(err)
		}
		rs, err := s.Refusals(t.Context(), Filter{Address: "192.0.2.7", From: start})
		if err != nil || len(rs) != 1 || *rs[0].Used != 7 || rs[0].Limit != nil || !rs[0].Until.Equal(r.Until) {
			t.Errorf("refusals: %+v, %v", rs, err)
		}
		if n, err := s.EndLost(t.Context(), start.Add(2*time.Hour)); n != 1 || err != nil {
			t.Errorf("ended %d lost runs, %v", n, err)
		}
	})
}

func TestRetention(t *testing.T) {
	onBoth(t, func(t *testing.T, dsn string) {
		day := 24 * time.Hour
		s := open(t, Config{DSN: dsn, Retention: Retention{Runs: 400 * day, Hours: 300 * day}})
		if err := s.writeEntries(t.Context(), run("one", start, "ann", "192.0.2.7:999", 150)); err != nil {
			t.Fatal(err)
		}
		r, err := s.RunByID(t.Context(), "one")
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			after time.Duration
			rows  int // of one direction
			width time.Duration
		}{
			{day, 150, time.Second},
			{7*day + 30*time.Second, 122, time.Minute}, // the first 29 s are one minute
			{8 * day, 3, time.Minute},
			{8 * day, 3, time.Minute},
			{91 * day, 1, time.Hour},
			{301 * day, 0, 0},
		} {
			if err := s.Age(t.Context(), start.Add(tt.after)); err != nil {
				t.Fatal(err)
			}
			is, err := s.Intervals(t.Context(), r.Num)
			if err != nil || len(is) != 2*tt.rows {
				t.Fatalf("after %v: %d rows, %v, want %d", tt.after, len(is), err, 2*tt.rows)
			}
			if len(is) == 0 {
				break
			}
			if is[0].Width != tt.width {
				t.Errorf("after %v: width %v, want %v", tt.after, is[0].Width, tt.width)
			}
			var bytes uint64
			var length time.Duration
			for _, i := range is {
				if i.Direction == result.Down {
					bytes += *i.Bytes
					length += i.Length
				}
			}
			if bytes != 500*150*151 || length != 150*time.Second {
				t.Errorf("after %v: %d bytes in %v: a roll-up keeps sums", tt.after, bytes, length)
			}
			if tt.width == time.Hour {
				q, ok := is[0].Quantiles(50)
				if !ok || q[0] < 590_000 || q[0] > 620_000 || *is[0].RateMax != 1_200_000 || *is[0].CPU.Local != 50 || is[0].CPU.Remote != nil {
					t.Errorf("hour: median %v of 8 to 1200 kbit/s, %+v", q, is[0])
				}
			}
		}
		if err := s.Age(t.Context(), start.Add(401*day)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.RunByID(t.Context(), "one"); !IsNotFound(err) {
			t.Errorf("the run is kept: %v", err)
		}
	})
}
