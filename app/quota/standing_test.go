package quota

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-net/sonde/app/account"
)

// books say that a megabyte came in and two went out.
type books struct{ asked []time.Time }

func (b *books) Usage(_ context.Context, _ account.Subject, since ...time.Time) ([]account.Use, error) {
	b.asked = since
	uses := make([]account.Use, len(since))
	for i := range uses {
		uses[i] = account.Use{In: 1e6, Out: 2e6}
	}
	return uses, nil
}

func (*books) Frees(_ context.Context, now time.Time, _ account.Subject, _ account.Window, bytes uint64) (time.Time, error) {
	return now.Add(time.Duration(bytes)), nil
}

func TestStandings(t *testing.T) {
	now := time.Date(2026, 11, 28, 15, 0, 0, 0, time.UTC)
	daily, weekly, monthly := account.Window{Period: account.Day}, account.Window{Period: account.Week}, account.Window{Period: account.Month}
	monthlyIn := account.Window{Period: account.Month, Flow: account.In}
	rules := Rules{Users: account.Limits{Bytes: map[account.Window]uint64{daily: 10e6, monthlyIn: 1e6}}}
	p := &Policy{Clock: func() time.Time { return now }}
	p.SetRules(rules)
	b := &books{}
	check := func(s account.Subject, want ...Standing) {
		t.Helper()
		got, err := p.Standings(t.Context(), b, s)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%v (-want +got)\n%s", s, d)
		}
	}
	need := min(uint64(enough), 500_000)
	check(account.Subject{Account: "ann"},
		Standing{Window: daily, Used: 3e6, Limit: 10e6}, Standing{Window: weekly, Used: 3e6}, Standing{Window: monthly, Used: 3e6},
		Standing{Window: monthlyIn, Used: 1e6, Limit: 1e6, Until: now.Add(time.Duration(need))})
	check(account.Subject{}, Standing{Window: daily, Used: 3e6}, Standing{Window: weekly, Used: 3e6}, Standing{Window: monthly, Used: 3e6})
	rules.Calendar = &Calendar{}
	p.SetRules(rules)
	check(account.Subject{Account: "ann"},
		Standing{Window: daily, Used: 3e6, Limit: 10e6}, Standing{Window: weekly, Used: 3e6}, Standing{Window: monthly, Used: 3e6},
		Standing{Window: monthlyIn, Used: 1e6, Limit: 1e6, Until: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)})
	if want := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC); !b.asked[0].Equal(want) {
		t.Errorf("the day began at %v", b.asked[0])
	}
}
