package quota

import (
	"context"
	"time"

	"github.com/sonde-net/sonde/app/account"
)

// Books are what a store knows of use, for those who only look.
type Books interface {
	// Usage is what a subject moved since each of the moments.
	Usage(ctx context.Context, s account.Subject, since ...time.Time) ([]account.Use, error)
	// Frees is when so many bytes will have left a rolling window; zero when
	// they never do.
	Frees(ctx context.Context, now time.Time, s account.Subject, w account.Window, bytes uint64) (time.Time, error)
}

// A Standing is how one quota of a subject stands.
type Standing struct {
	account.Window
	Used  uint64
	Limit uint64    // 0 is none
	Until time.Time // of one that is used up: when it works again; zero when not known
}

// Standings are how the quotas of a subject stand: those with a limit, and of each
// period what was used both ways. What is under way comes within a second.
func (p *Policy) Standings(ctx context.Context, books Books, s account.Subject) ([]Standing, error) {
	p.init()
	rules, now := p.rules.Load(), p.Clock()
	limits := rules.address(s.Address)
	if s.Account != "" {
		limits = rules.Users
		if p.Accounts != nil {
			a, _, err := p.find(ctx, s.Account)
			if err != nil {
				return nil, err
			}
			limits = a.Limits.Over(rules.Users)
		}
	}
	var shown []account.Window
	for period := range account.Periods {
		for flow := range account.Flows {
			if w := (account.Window{Period: period, Flow: flow}); flow == account.Both || limits.Bytes[w] > 0 {
				shown = append(shown, w)
			}
		}
	}
	caps := rules.caps(now, limits, shown)
	since := make([]time.Time, len(caps))
	for i, c := range caps {
		since[i] = c.Since
	}
	uses, err := books.Usage(ctx, s, since...)
	if err != nil {
		return nil, err
	}
	all := make([]Standing, len(shown))
	for i, w := range shown {
		all[i] = Standing{Window: w, Used: uses[i].Of(w.Flow), Limit: caps[i].Limit}
		need := min(enough, all[i].Limit/2)
		if all[i].Limit == 0 || left(all[i].Limit, all[i].Used) >= need {
			continue
		}
		if rules.Calendar != nil {
			all[i].Until = rules.Calendar.begin(now, w.Period, 1)
		} else if all[i].Until, err = books.Frees(ctx, now, s, w, all[i].Used+need-all[i].Limit); err != nil {
			return nil, err
		}
	}
	return all, nil
}
