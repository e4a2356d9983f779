package quota

import (
	"context"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/result"
)

// checks checks until ctx ends. It may wait for a directory, so it is none of what
// fills slices.
func (p *Policy) checks(ctx context.Context) {
	for timer := time.NewTimer(p.rules.Load().check()); ; timer.Reset(p.rules.Load().check()) {
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
			p.check(ctx)
		}
	}
}

// check ends what the ledger cannot see: tests that run for too long, and those of
// users who are not to test any more. Limits that have changed hold from now on.
// How many tests run is no business of it: who was admitted stays.
func (p *Policy) check(ctx context.Context) {
	rules := p.rules.Load()
	p.mu.Lock()
	var running []*test
	for t := range p.tests {
		running = append(running, t)
	}
	p.mu.Unlock()
	found := map[string]found{}
	for _, t := range running {
		name := t.request.Account
		one, ok := found[name]
		if !ok && name != "" && p.Accounts != nil {
			one.account, one.known, one.err = p.find(ctx, name)
			found[name] = one
		}
		p.checkTest(t, rules, one)
	}
}

// found is what is known of an account.
type found struct {
	account account.Account
	known   bool
	err     error // it could not be read: the limits of before stay
}

func (p *Policy) checkTest(t *test, rules *Rules, of found) {
	switch name := t.request.Account; {
	case of.err != nil:
	case of.known && of.account.Disabled:
		t.end(disabled(name))
		return
	case t.known && !of.known:
		t.end(notFound(name))
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	address := rules.address(t.request.Peer.Unmap().WithZone(""))
	longest := least(address.Duration, &t.server.Duration)
	t.address.limit(address)
	if t.account != nil {
		if of.err == nil {
			t.account.limit(of.account.Limits.Over(rules.Users))
		}
		longest = least(t.account.limits.Duration, &longest)
	}
	if ran := time.Since(t.since); longest > 0 && ran > longest+slack {
		t.end(&admit.RefusedError{Word: result.ReasonMaxDuration, Text: "the longest time of a test is " + longest.String()})
	}
}

// slack is what an engine may take to end a test by itself.
const slack = 3 * time.Second

// limit changes the limits of b.
func (b *book) limit(l account.Limits) {
	b.limits = l
	b.kick()
}
