package quota

import (
	"context"
	"sync"
	"time"

	"github.com/sonde-net/sonde/app/account"
)

// Run books what tests move, fills their slices and checks them, until ctx ends;
// then it gives back what it can. Tests should have ended by then.
func (p *Policy) Run(ctx context.Context) {
	p.init()
	book := time.NewTicker(bookEvery)
	defer book.Stop()
	reap := time.NewTicker(reapEvery)
	defer reap.Stop()
	var checks sync.WaitGroup
	checks.Go(func() { p.checks(ctx) })
	defer checks.Wait()
	for {
		every := false
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
			defer cancel()
			p.renew(last, true)
			return
		case <-reap.C:
			p.reap(ctx)
			continue
		case <-book.C:
			every = true
		case <-p.kicks:
		}
		p.renew(ctx, every)
	}
}

// renew takes a step of the books that are due; with every also of those that
// have moved something, or whose lease is getting old.
func (p *Policy) renew(ctx context.Context, every bool) {
	if p.Ledger == nil {
		return
	}
	rules, now := p.rules.Load(), p.Clock()
	var books []*book
	var asks []account.Ask
	p.mu.Lock()
	p.rounds++
	for _, b := range p.books {
		if b.due.Load() || every && b.isDue() {
			books, asks = append(books, b), append(asks, b.ask(now, rules))
		}
	}
	round := p.rounds
	p.mu.Unlock()
	if len(books) == 0 {
		return
	}
	step, cancel := context.WithTimeout(ctx, storeTime)
	answers, err := p.Ledger.Renew(step, now, asks)
	cancel()
	if ctx.Err() != nil && err != nil {
		return // what waits for the answer ends with it
	}
	p.mu.Lock()
	for i, b := range books {
		if err == nil {
			b.take(asks[i], answers[i])
		} else {
			b.miss(err, rules.GoOn)
		}
	}
	p.mu.Unlock()
	if err == nil {
		p.explain(ctx, rules, now, books)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.remark(err)
	for i, b := range books {
		b.renewed = round
		close(b.round)
		b.round = make(chan struct{})
		p.endDry(b)
		if b.users == 0 && err == nil && asks[i].Want == (account.Slice{}) {
			delete(p.books, b.subject)
		}
	}
}

// isDue reports whether b is to be renewed though nobody is in need.
func (b *book) isDue() bool {
	if b.users == 0 || !b.told || b.fault != nil || time.Until(b.expires) < b.policy.Lease/2 {
		return true
	}
	for f := range b.need {
		if b.need[f] > 0 {
			return true
		}
	}
	return b.moved(account.In) > b.booked.In || b.moved(account.Out) > b.booked.Out
}

// miss takes it that the store did not answer. A lease that has run out may be
// somebody else's by now.
func (b *book) miss(err error, goOn bool) {
	b.fault = err
	for f := range b.slices {
		flow := account.Flow(f)
		switch balance := b.slices[f].Balance(); {
		case goOn && b.dry && balance < enough:
			b.lend(flow, enough)
		case !goOn && b.told && time.Now().After(b.expires) && b.added[f] < all:
			b.withdraw(flow, balance)
		}
	}
	b.dry = b.dry && !goOn
}

// remark tells the operator when the store goes and when it is back.
func (p *Policy) remark(err error) {
	switch {
	case err != nil && !p.gone:
		p.Log.Error("the store does not answer: tests end with what they have in hand", "err", err)
	case err == nil && p.gone:
		p.Log.Info("the store is back; what was moved meanwhile is booked")
	}
	p.gone = err != nil
}

// explain prepares what is said to tests of books that run out, with the time
// when it works again.
func (p *Policy) explain(ctx context.Context, rules *Rules, now time.Time, books []*book) {
	type want struct {
		book *book
		flow account.Flow
	}
	var wants []want
	p.mu.Lock()
	for _, b := range books {
		for f := range account.Flows {
			if b.users > 0 && b.runsOut(f) {
				wants = append(wants, want{b, f})
			}
		}
	}
	p.mu.Unlock()
	for _, w := range wants {
		until := p.worksAgain(ctx, rules, now, w.book, w.flow)
		p.mu.Lock()
		w.book.spent[w.flow] = w.book.exceeded(w.flow, until)
		p.mu.Unlock()
	}
}

// worksAgain is when all quotas of a flow will have enough for a test: zero if that
// is not known. Only Run's goroutine changes what it reads.
func (p *Policy) worksAgain(ctx context.Context, rules *Rules, now time.Time, b *book, f account.Flow) time.Time {
	var latest time.Time
	for i, c := range b.caps {
		need := min(enough, c.Limit/2)
		if c.Flow != f || left(c.Limit, b.answer.Used[i]) >= need {
			continue
		}
		var at time.Time
		if rules.Calendar != nil {
			at = rules.Calendar.begin(now, b.windows[i].Period, 1)
		} else {
			step, cancel := context.WithTimeout(ctx, storeTime)
			var err error
			at, err = p.Ledger.Frees(step, now, b.subject, b.windows[i], b.answer.Used[i]+need-c.Limit)
			cancel()
			if err != nil {
				p.Log.Warn("when a quota works again is not known", "subject", b.subject.String(), "err", err)
			}
		}
		if at.IsZero() {
			return at
		}
		if at.After(latest) {
			latest = at
		}
	}
	return latest
}

// endDry ends the tests of b that cannot wait and find nothing left: their
// packets would go unanswered for ever.
func (p *Policy) endDry(b *book) {
	if !b.dry {
		return
	}
	b.dry = false
	for t := range p.tests {
		for _, mine := range t.books() {
			if mine == b {
				p.endSpent(t, b)
			}
		}
	}
}

func (p *Policy) endSpent(t *test, b *book) {
	for f, moves := range [account.Flows]bool{account.Both: true, account.In: t.request.Receive, account.Out: t.request.Transmit} {
		if moves && b.spent[f] != nil && b.fault == nil && !b.others(account.Flow(f)) {
			t.end(b.spent[f])
		}
	}
}

func (p *Policy) reap(ctx context.Context) {
	if p.Ledger == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	if n, err := p.Ledger.Reap(ctx, p.Clock()); err == nil && n > 0 { // that the store is gone is told elsewhere
		p.Log.Warn("leases of servers that died were taken back", "leases", n)
	}
}
