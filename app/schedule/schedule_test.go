package schedule

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A turn is one that was taken.
type turn struct {
	n  int
	at time.Duration
}

// take runs a plan whose turns last so long, and says when they began.
func take(ctx context.Context, p Plan, lasts ...time.Duration) (all []turn) {
	start := time.Now()
	for n := range p.Turns(ctx) {
		all = append(all, turn{n, time.Since(start)})
		if len(lasts) > 0 {
			time.Sleep(lasts[0])
			lasts = lasts[1:]
		}
	}
	return all
}

// TestNoDrift: what a turn takes does not push back the next.
func TestNoDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := take(t.Context(), Plan{Every: 10 * time.Minute, Count: 1000}, slices.Repeat([]time.Duration{37 * time.Second}, 1000)...)
		if len(got) != 1000 {
			t.Fatalf("%d turns, want 1000", len(got))
		}
		for n, g := range got {
			if want := time.Duration(n) * 10 * time.Minute; g.n != n || g.at != want {
				t.Fatalf("turn %d began at %v, want turn %d at %v", g.n, g.at, n, want)
			}
		}
	})
}

// TestLeftOut: turns that are due while one runs are left out, and do not
// follow each other at once afterwards.
func TestLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const m = time.Minute
		got := take(t.Context(), Plan{Every: 10 * m, Count: 4}, m, 25*m, m, m)
		want := []turn{{0, 0}, {1, 10 * m}, {4, 40 * m}, {5, 50 * m}}
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// TestJitter: turns begin by chance within their jitter, and the beat stays.
func TestJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := Plan{Every: 10 * time.Minute, Jitter: time.Minute, Count: 500}
		different := map[time.Duration]bool{}
		for _, g := range take(t.Context(), p) {
			late := g.at - time.Duration(g.n)*p.Every
			if late < 0 || late >= p.Jitter {
				t.Fatalf("turn %d began %v after its time, want less than %v", g.n, late, p.Jitter)
			}
			different[late] = true
		}
		if len(different) < 400 {
			t.Errorf("only %d different moments of 500", len(different))
		}
	})
}

// TestStops: the end of the context ends the wait at once.
func TestStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		start := time.Now()
		got := take(ctx, Plan{Every: 10 * time.Second})
		if len(got) != 3 || time.Since(start) != 25*time.Second {
			t.Errorf("%d turns in %v, want 3 in 25s", len(got), time.Since(start))
		}
		if got := take(ctx, Plan{Every: time.Second}); len(got) != 0 {
			t.Errorf("%d turns of a context that has ended", len(got))
		}
	})
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		p    Plan
		want string // in the error; empty for none
	}{
		{Plan{Every: time.Minute}, ""},
		{Plan{Every: time.Minute, Jitter: 59 * time.Second, Count: 3}, ""},
		{Plan{}, "every 0s"},
		{Plan{Every: -1}, "every -1ns"},
		{Plan{Every: time.Minute, Jitter: time.Minute}, "jitter 1m0s"},
		{Plan{Every: time.Minute, Jitter: -1}, "jitter -1ns"},
		{Plan{Every: time.Minute, Count: -1}, "count -1"},
	} {
		switch err := tt.p.Validate(); {
		case tt.want == "" && err != nil:
			t.Errorf("%+v: %v", tt.p, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%+v: %v, want %q", tt.p, err, tt.want)
		}
	}
}
