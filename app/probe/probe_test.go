package probe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/app/verdict"
	"github.com/sonde-net/sonde/result"
)

// A diary is a Watcher that remembers.
type diary struct {
	mu      sync.Mutex
	runs    []Run
	missed  map[string]int
	changes []string
}

func (d *diary) Ran(r Run) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.runs = append(d.runs, r)
}

func (d *diary) Missed(m Missed) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.missed == nil {
		d.missed = map[string]int{}
	}
	d.missed[m.Reason] += m.Runs
}

func (d *diary) Changed(c Change) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.changes = append(d.changes, fmt.Sprintf("%s: %s -> %s: %s", c.Probe.Name, c.Before, c.State, c.Text))
}

// of are the tests of one probe.
func (d *diary) of(name string) (all []Run) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.runs {
		if r.Probe.Name == name {
			all = append(all, r)
		}
	}
	return all
}

// lasting is a test that takes so long and moves so many bytes.
func lasting(d time.Duration, bytes uint64) func(context.Context, *admit.Budget, result.Sink) error {
	return func(ctx context.Context, budget *admit.Budget, sink result.Sink) error {
		h := result.Head{Run: result.NewID(), Time: time.Now(), Protocol: "btest", Role: result.Client}
		sink.Put(result.Begin{Head: h, Direction: result.Down})
		end := result.End{Head: h, Reason: result.ReasonDone, Elapsed: d}
		moved := bytes
		if left, limited := budget.Left(); limited && left < bytes {
			moved, end.Err = left, &admit.ExceededError{Word: result.ReasonBytesExceeded, Text: "bytes of the test"}
			end.Reason = result.ReasonBytesExceeded
		}
		select {
		case <-time.After(d):
		case <-ctx.Done():
			end.Err, end.Reason = context.Cause(ctx), result.ReasonInterrupted
		}
		end.Down = &result.Total{Received: &result.View{Bytes: moved}, Elapsed: d}
		sink.Put(end)
		return end.Err
	}
}

// TestMonth: thirty days in which the clock is set, summer time ends and tests
// take too long. No turn moves, none comes twice, and each is made or missed.
func TestMonth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		zone, err := time.LoadLocation("Europe/Riga")
		if err != nil {
			t.Skip("no time zones on this machine")
		}
		start := time.Now()
		summer := time.Date(2026, 10, 10, 0, 0, 0, 0, zone).Sub(start) // summer time ends on the 25th
		var wrong atomic.Int64
		steps := []time.Duration{-3 * time.Hour, 5 * time.Hour, -17 * time.Second, 40 * 24 * time.Hour, -41 * 24 * time.Hour, time.Hour}
		d := &diary{}
		var began []time.Duration
		h := &Host{Watchers: []Watcher{d}, Now: func() time.Time { return time.Now().Add(summer + time.Duration(wrong.Load())).In(zone) }}
		const every = 5 * time.Minute
		n := 0
		p := Planned{Probe: Probe{Name: "a", Every: every, Test: func(ctx context.Context, b *admit.Budget, s result.Sink) error {
			d.mu.Lock()
			began = append(began, time.Since(start))
			d.mu.Unlock()
			if n++; n%1000 == 0 {
				wrong.Add(int64(steps[n/1000%len(steps)]))
			}
			took := 2 * time.Second
			if n%100 == 0 {
				took = every + time.Second // its deadline ends it, and the next turn is near
			}
			return lasting(took, 1)(ctx, b, s)
		}}}
		p.Deadline = every - time.Second
		slow := Planned{Probe: Probe{Name: "b", Every: every, Deadline: 3 * every, Test: lasting(every+every/2, 1)}}
		set := &Set{Host: h}
		set.Become(t.Context(), []Planned{p, slow})
		const turns = 30 * 24 * int(time.Hour/every)
		time.Sleep(time.Duration(turns)*every - every/2)
		synctest.Wait()
		d.mu.Lock()
		all := slices.Clone(began)
		d.mu.Unlock()
		if len(all) != turns {
			t.Errorf("%d tests in 30 days, want %d", len(all), turns)
		}
		for n, at := range all {
			if at != all[0]+time.Duration(n)*every {
				t.Fatalf("test %d began at %v, want %v: %v after the one before", n, at, all[0]+time.Duration(n)*every, at-all[max(0, n-1)])
			}
		}
		time.Sleep(2 * every)
		synctest.Wait()
		if made, missed := len(d.of("b")), d.missed[MissedRunning]; made != turns/2+1 || missed != made-1 && missed != made {
			t.Errorf("%d slow tests were made, %d missed, of %d turns", made, missed, turns)
		}
		set.Stop()
	})
}

// TestFirstTurn: the first test is at a multiple of the interval by the clock,
// however often the probe is started; a reload keeps the turn of what is the same.
func TestFirstTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{}
		set := &Set{Host: &Host{Watchers: []Watcher{d}}}
		same := Planned{Probe: Probe{Name: "same", Every: time.Hour, Test: lasting(time.Second, 1)}}
		gone := []string{}
		set.Gone = func(name string) {
			d.mu.Lock()
			defer d.mu.Unlock()
			gone = append(gone, name)
		}
		time.Sleep(17 * time.Minute)
		for n := range 1000 { // a storm
			set.Become(t.Context(), []Planned{same, {Probe: Probe{Name: "other", Every: time.Hour, Test: lasting(time.Second, 1)}, Settings: fmt.Sprint(n)}})
			if n%100 == 0 {
				time.Sleep(time.Second)
			}
		}
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		for _, name := range []string{"same", "other"} {
			runs := d.of(name)
			if len(runs) != 3 {
				t.Errorf("%s: %d tests in three hours", name, len(runs))
			}
			for _, r := range runs {
				if !r.Began.Equal(r.Began.Truncate(time.Hour)) || !r.Success || r.State != OK || len(r.Document) == 0 {
					t.Errorf("%s: %+v", name, r)
				}
			}
		}
		set.Become(t.Context(), []Planned{same})
		set.Become(t.Context(), []Planned{})
		set.Stop()
		if slices.Sort(gone); len(gone) != 2 || set.Len() != 0 || len(d.changes) != 0 || len(d.missed) != 0 {
			t.Errorf("gone %v, changes %v, missed %v", gone, d.changes, d.missed)
		}
	})
}

// TestHangAndPanic: a test that does not end, and one that panics, cost only
// their own probe; the one that hangs is not made again before it has ended.
func TestHangAndPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, events := &diary{}, map[result.ID]int{}
		var mu sync.Mutex
		sink := result.Func(func(e result.Event) {
			mu.Lock()
			defer mu.Unlock()
			switch e.(type) {
			case result.Begin:
				events[e.Of().Run]++
			case result.End:
				events[e.Of().Run]--
			}
		})
		line := make(chan struct{}, 1)
		take := func(ctx context.Context) (func(), error) {
			select {
			case line <- struct{}{}:
				return func() { <-line }, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		free := make(chan struct{})
		hang := Probe{Name: "hang", Every: time.Minute, Deadline: 10 * time.Second, Length: 10 * time.Second, Alone: true,
			Test: func(_ context.Context, _ *admit.Budget, s result.Sink) error {
				h := result.Head{Run: result.NewID(), Protocol: "btest", Role: result.Client}
				s.Put(result.Begin{Head: h})
				<-free
				s.Put(result.End{Head: h})
				return nil
			}}
		fall := Probe{Name: "fall", Every: time.Minute, Test: func(context.Context, *admit.Budget, result.Sink) error { panic("oh") }}
		good := Probe{Name: "good", Every: time.Minute, Length: time.Second, Alone: true, Test: lasting(time.Second, 1)}
		set := &Set{Host: &Host{Watchers: []Watcher{d}, Sink: sink, Line: take, Log: slog.New(slog.DiscardHandler)}}
		set.Become(t.Context(), []Planned{{Probe: hang}, {Probe: fall}, {Probe: good}})
		time.Sleep(10*time.Minute - time.Second)
		synctest.Wait()
		if h := d.of("hang"); len(h) != 1 || h[0].Success || result.CodeOf(h[0].Err) != CodeDeadline || h[0].Took != 15*time.Second || d.missed[MissedHanging] != 9 {
			t.Errorf("the one that hangs: %+v, missed %v", h, d.missed)
		}
		if f := d.of("fall"); len(f) != 10 || result.CodeOf(f[0].Err) != CodePanic || f[9].State != Failed {
			t.Errorf("the one that panics: %d tests, %+v", len(f), f)
		}
		if g := d.of("good"); len(g) != 10 || !g[0].Success || !g[9].Success {
			t.Errorf("the good one: %d tests, %+v", len(g), g)
		}
		close(free)
		time.Sleep(time.Minute)
		synctest.Wait()
		if h := d.of("hang"); len(h) != 2 || h[1].Err != nil {
			t.Errorf("once it ended: %+v", h)
		}
		set.Stop()
		for id, n := range events {
			if n != 0 {
				t.Errorf("run %s has begun and not ended", id)
			}
		}
	})
}

// TestLine: of throughput tests that are due at once one runs at a time; who does
// not get the line in time has missed the turn, and it is said.
func TestLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{}
		line := make(chan struct{}, 1)
		most := 0
		var plans []Planned
		for n := range 5 {
			plans = append(plans, Planned{Probe: Probe{Name: fmt.Sprint(n), Every: time.Minute, Length: 20 * time.Second, Alone: true,
				Test: func(ctx context.Context, b *admit.Budget, s result.Sink) error {
					most = max(most, len(line))
					return lasting(19*time.Second, 1)(ctx, b, s)
				}}})
		}
		set := &Set{Host: &Host{Watchers: []Watcher{d}, Line: func(ctx context.Context) (func(), error) {
			if ctx.Err() == nil {
				select {
				case line <- struct{}{}:
					return func() { <-line }, nil
				case <-ctx.Done():
				}
			}
			return nil, ctx.Err()
		}}}
		set.Become(t.Context(), plans)
		time.Sleep(10*time.Minute + time.Second)
		set.Stop()
		made := 0
		for _, r := range d.runs {
			if r.Success {
				made++
			}
		}
		if made+d.missed[MissedLine] < 50 || made < 28 || most != 1 || d.missed[MissedRunning] != 0 {
			t.Errorf("%d made, missed %v, %d at once", made, d.missed, most)
		}
	})
}

// TestPerDay: a day's bytes are not exceeded, whatever the clock does, and over a
// restart as the store knows it.
func TestPerDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{}
		var wrong atomic.Int64
		h := &Host{Watchers: []Watcher{d}, Now: func() time.Time { return time.Now().Add(time.Duration(wrong.Load())) }}
		set := &Set{Host: h}
		plan := []Planned{{Probe: Probe{Name: "a", Every: time.Hour, PerDay: 1000, Test: lasting(time.Second, 300)}}}
		moved := func() (n uint64) {
			for _, r := range d.of("a") {
				n += r.Bytes
			}
			return n
		}
		check := func(what string, want uint64, missed int) {
			t.Helper()
			synctest.Wait()
			if moved() != want || d.missed[MissedCap] != missed {
				t.Errorf("%s: %d bytes, missed %v; want %d and %d", what, moved(), d.missed, want, missed)
			}
		}
		set.Become(t.Context(), plan)
		time.Sleep(12*time.Hour - time.Minute)
		check("half a day", 900, 9) // the hundred that is left is too little for a test
		wrong.Add(int64(24 * time.Hour))
		time.Sleep(2 * time.Hour)
		check("the clock was set to tomorrow", 1500, 9)
		wrong.Add(-int64(24 * time.Hour))
		time.Sleep(2 * time.Hour)
		check("and back", 1500, 11)
		plan[0].Settings = "changed"
		set.Become(t.Context(), plan)
		time.Sleep(time.Hour)
		check("other settings", 1600, 11) // what a test takes with these is not known: what is left is tried, and cut
		set.Stop()

		h.Known = func(context.Context, string, time.Time) (State, uint64, error) { return Failed, 950, nil }
		set = &Set{Host: h}
		set.Become(t.Context(), plan)
		time.Sleep(2 * time.Hour)
		check("started anew", 1650, 12)
		if last := d.of("a")[len(d.of("a"))-1]; !last.Stopped || last.State != Failed || last.Err != nil {
			t.Errorf("a test that was cut: %+v", last)
		}
		set.Stop()
	})
}

// TestBytes: a test that has moved what it may is a success.
func TestBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{}
		set := &Set{Host: &Host{Watchers: []Watcher{d}}}
		set.Become(t.Context(), []Planned{{Probe: Probe{Name: "a", Every: time.Hour, Bytes: 100, Test: lasting(time.Second, 300)}}})
		time.Sleep(time.Minute)
		set.Stop()
		if r := d.of("a"); len(r) != 1 || !r[0].Success || r[0].Bytes != 100 || r[0].End.Reason != result.ReasonBytesExceeded || r[0].Stopped {
			t.Errorf("%+v", r)
		}
	})
}

// TestState: one bad test is not an alarm where M of N are asked for.
func TestState(t *testing.T) {
	rules, err := verdict.Parse("download.rate<1k")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		d := &diary{}
		n := 0
		outcomes := "gggbgbggggeebgggg" // good, bad, error
		p := Probe{Name: "a", Every: time.Minute, M: 2, N: 3, Rules: rules, Test: func(ctx context.Context, b *admit.Budget, s result.Sink) error {
			n++
			switch outcomes[n-1] {
			case 'e':
				return &result.Error{Word: result.CodeUnreachable, Text: "no answer"}
			case 'b':
				return lasting(time.Second, 1)(ctx, b, s)
			}
			return lasting(time.Second, 1000)(ctx, b, s)
		}}
		set := &Set{Host: &Host{Watchers: []Watcher{d}}}
		set.Become(t.Context(), []Planned{{Probe: p}})
		time.Sleep(time.Duration(len(outcomes))*time.Minute - time.Second)
		set.Stop()
		states := ""
		for _, r := range d.of("a") {
			states += string(r.State)[:1]
		}
		if want := "ooooofooooofffooo"; states != want {
			t.Errorf("states %s, want %s", states, want)
		}
		want := []string{"a: ok -> failed: 2 of the last 3 tests were no success; the latest: threshold crossed: download.rate<1k (it is 8bit/s)",
			"a: failed -> ok: the test was a success", "a: ok -> failed: 2 of the last 3 tests were no success; the latest: no answer", "a: failed -> ok: the test was a success"}
		if len(d.changes) != len(want) {
			t.Fatalf("changes %q", d.changes)
		}
		for i, w := range want {
			if d.changes[i] != w {
				t.Errorf("change %q, want %q", d.changes[i], w)
			}
		}
	})
}

// TestAsleep: turns that were due while the machine slept are said.
func TestAsleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{}
		var slept atomic.Int64
		slept.Store(int64(3 * time.Hour)) // before we started
		set := &Set{Host: &Host{Watchers: []Watcher{d}, Asleep: func() time.Duration { return time.Duration(slept.Load()) }}}
		set.Become(t.Context(), []Planned{{Probe: Probe{Name: "a", Every: time.Minute, Test: lasting(time.Second, 1)}}})
		time.Sleep(90 * time.Second)
		slept.Add(int64(10*time.Minute + 30*time.Second))
		time.Sleep(5 * time.Minute)
		set.Stop()
		if d.missed[MissedAsleep] != 10 || len(d.missed) != 1 {
			t.Errorf("missed %v", d.missed)
		}
	})
}

// TestStop ends running tests, in time even if they do not want to, and holds
// none of it against the path.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{}
		free := make(chan struct{})
		defer close(free)
		set := &Set{Host: &Host{Watchers: []Watcher{d}}}
		set.Become(t.Context(), []Planned{
			{Probe: Probe{Name: "long", Every: time.Hour, Test: lasting(time.Hour, 1)}},
			{Probe: Probe{Name: "hang", Every: time.Hour, Test: func(context.Context, *admit.Budget, result.Sink) error { <-free; return nil }}},
		})
		time.Sleep(time.Minute)
		before := time.Now()
		set.Stop()
		if took := time.Since(before); took > 2*patience {
			t.Errorf("it took %v", took)
		}
		for _, name := range []string{"long", "hang"} {
			if r := d.of(name); len(r) != 1 || !r[0].Stopped || r[0].State != Unknown || !errors.Is(r[0].Err, errStopped) {
				t.Errorf("%s: %+v", name, r)
			}
		}
		if len(d.changes) > 0 {
			t.Errorf("changes %v", d.changes)
		}
	})
}

// TestThousands of probes that all fail at once.
func TestThousands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{}
		set := &Set{Host: &Host{Watchers: []Watcher{d}}}
		var plans []Planned
		for n := range 3000 {
			plans = append(plans, Planned{Probe: Probe{Name: fmt.Sprint(n), Every: time.Minute, Jitter: 30 * time.Second,
				Test: func(context.Context, *admit.Budget, result.Sink) error { return errors.New("no") }}})
		}
		set.Become(t.Context(), plans)
		time.Sleep(2*time.Minute - time.Second)
		set.Stop()
		if len(d.runs) != 6000 || len(d.changes) != 3000 || len(d.missed) != 0 {
			t.Errorf("%d tests, %d changes, missed %v", len(d.runs), len(d.changes), d.missed)
		}
	})
}
