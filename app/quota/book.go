package quota

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/app/account"
)

// Sizes of a slice, bytes. What is in hand is a part of what is left, so that
// several servers can share the rest; the engines make batches of 64 KiB once a
// slice is small. A step with the store costs a millisecond of a processor, so half
// of the largest is what 100 Gbit/s move between two bookings: where much is left
// these renew it, and no stream has to ask.
const (
	smallSlice = 256 << 10
	largeSlice = 16 << 30
	slicePart  = 16
)

// enough is what a test needs to begin, unless the whole quota is little more: a
// batch. With less it would be cut at once.
const enough = 64 << 10

// A book is what one subject may still move, and what it has moved. It is there
// while tests of the subject are, and until its lease was given back. Its fields
// are guarded by the Policy's mutex unless they say otherwise.
type book struct {
	policy  *Policy
	subject account.Subject
	limits  account.Limits
	users   int // tests that have it open

	// slices are what is in hand, by Flow. They are spent without the mutex.
	slices [account.Flows]*admit.Budget
	added  [account.Flows]int64 // put into each, in all

	lease   string
	booked  account.Use // as the ledger has it
	told    bool        // the ledger knows the lease
	expires time.Time   // of the lease, by our own clock

	windows []account.Window // of the latest ask
	caps    []account.Cap
	answer  account.Answer
	fault   error                // why there was no answer
	spent   [account.Flows]error // what ends tests that want more; nil while there is more
	need    [account.Flows]int64 // most that a stream waits for
	dry     bool                 // somebody who cannot wait found too little
	due     atomic.Bool          // wants to be renewed at once
	round   chan struct{}        // closed when it has been renewed, or that failed
	renewed uint64               // number of the latest round that it was in
}

// open returns the book of a subject, which the caller has to close.
func (p *Policy) open(s account.Subject, l account.Limits) *book {
	b := p.books[s]
	if b == nil {
		b = &book{policy: p, subject: s, lease: rand.Text(), round: make(chan struct{})}
		for f := range b.slices {
			b.slices[f] = admit.NewSlice(tap{b, account.Flow(f)})
		}
		p.books[s] = b
		if p.Ledger == nil {
			b.unlimited()
		}
	}
	b.limits = l
	b.users++
	return b
}

// unlimited makes a book without a ledger: it counts for nobody.
func (b *book) unlimited() {
	for f := range b.slices {
		b.put(account.Flow(f), all)
	}
}

// put makes the slice of f so large in all.
func (b *book) put(f account.Flow, all int64) {
	b.slices[f].Add(all-b.added[f], b.mark(f, all))
	b.added[f] = all
}

// mark is the level at which a slice is renewed: half of it.
func (b *book) mark(f account.Flow, all int64) int64 {
	return max(0, all-b.added[f]+b.slices[f].Balance()) / 2
}

// moved is what went through a slice.
func (b *book) moved(f account.Flow) uint64 {
	return uint64(max(0, b.added[f]-b.slices[f].Balance()))
}

// A tap is the Source of one slice.
type tap struct {
	book *book
	flow account.Flow
}

// Low implements admit.Source.
func (t tap) Low() { t.book.kick() }

// Dry implements admit.Source.
func (t tap) Dry() {
	p := t.book.policy
	if !p.mu.TryLock() {
		return // it is called again with the next packet
	}
	t.book.dry = true
	p.mu.Unlock()
	t.book.kick()
}

// kick has b renewed at once.
func (b *book) kick() {
	if b.due.Swap(true) {
		return
	}
	select {
	case b.policy.kicks <- struct{}{}:
	default: // the loop looks at all books anyway
	}
}

// More implements admit.Source.
func (t tap) More(n int) error {
	b, p := t.book, t.book.policy
	if p.Ledger == nil {
		return &admit.ExceededError{Word: account.WordStore, Text: "bytes without a ledger", Limit: all}
	}
	until := time.Now().Add(patience)
	for {
		p.mu.Lock()
		if b.slices[t.flow].Balance() >= int64(n) {
			p.mu.Unlock()
			return nil
		}
		last := !time.Now().Before(until)
		switch {
		case b.fault != nil && p.rules.Load().GoOn:
			b.lend(t.flow, n)
			p.mu.Unlock()
			return nil
		case b.fault != nil && last:
			p.mu.Unlock()
			return unavailable()
		case b.fault == nil && b.spent[t.flow] != nil && (last || !b.others(t.flow)):
			err := b.spent[t.flow]
			p.mu.Unlock()
			return err
		case last:
			p.mu.Unlock()
			return unavailable()
		}
		b.need[t.flow] = max(b.need[t.flow], int64(n))
		wait := b.round
		hurry := b.fault == nil && b.spent[t.flow] == nil
		p.mu.Unlock()
		if hurry {
			b.kick()
		}
		timer := time.NewTimer(time.Until(until))
		select {
		case <-wait:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// lend lets tests go on without the store. What they move is booked when it is
// there again.
func (b *book) lend(f account.Flow, n int) {
	b.put(f, b.added[f]+max(int64(n), largeSlice))
}

// others reports whether other servers have some of what is missing to f in
// hand: they may give it back.
func (b *book) others(f account.Flow) bool {
	tight := b.answer.Tight[f]
	return tight >= 0 && b.answer.Held[tight] > 0
}

// fresh waits until b was renewed in a round that began after now.
func (p *Policy) fresh(ctx context.Context, b *book) error {
	if p.Ledger == nil {
		return nil
	}
	until := time.NewTimer(patience)
	defer until.Stop()
	p.mu.Lock()
	next := p.rounds + 1
	for b.renewed < next {
		wait := b.round
		p.mu.Unlock()
		b.kick()
		select {
		case <-wait:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-until.C:
			return unavailable()
		}
		p.mu.Lock()
	}
	defer p.mu.Unlock()
	switch {
	case b.fault == nil:
		return nil
	case !p.rules.Load().GoOn:
		return unavailable()
	}
	for f := range b.slices {
		if b.slices[f].Balance() < enough {
			b.lend(account.Flow(f), enough)
		}
	}
	return nil
}

// begins tells whether there is enough to begin a test.
func (b *book) begins(r admit.Request) error {
	b.policy.mu.Lock()
	defer b.policy.mu.Unlock()
	for f, wanted := range [account.Flows]bool{account.Both: true, account.In: r.Receive, account.Out: r.Transmit} {
		if wanted && b.spent[f] != nil && b.slices[f].Balance() < b.least(account.Flow(f)) {
			return b.spent[f]
		}
	}
	return nil
}

// least is what a test needs to begin.
func (b *book) least(f account.Flow) int64 {
	if tight := b.answer.Tight[f]; tight >= 0 {
		return int64(min(enough, b.caps[tight].Limit/2))
	}
	return enough
}

// correct books what a server counted otherwise than its streams spent.
func (b *book) correct(f account.Flow, counted uint64, budget *admit.Budget) {
	left, _ := budget.Left()
	missing := int64(min(counted, all)) - int64(all-left)
	for _, way := range []account.Flow{f, account.Both} {
		s := b.slices[way]
		s.Add(-missing, b.mark(way, b.added[way]))
	}
}

// ask is the next step of the lease of b. What is in hand beyond what it is to
// be goes back: it is taken out before the ledger may give it to others.
func (b *book) ask(now time.Time, rules *Rules) account.Ask {
	p := b.policy
	b.windows = windows(b.limits)
	b.caps = rules.caps(now, b.limits, b.windows)
	a := account.Ask{
		Lease: b.lease, Subject: b.subject.Key(), Server: p.Name, Caps: b.caps,
		Expires: now.Add(p.Lease),
	}
	for f := range a.Want {
		a.Want[f] = b.want(account.Flow(f))
		if a.Want[f] < all {
			b.withdraw(account.Flow(f), b.slices[f].Balance()-int64(a.Want[f]))
		}
	}
	b.due.Store(false) // from here on who is in need has to say so again
	a.In, a.Out = b.moved(account.In), b.moved(account.Out)
	return a
}

// withdraw takes n bytes out of what is in hand, unless they are being spent.
func (b *book) withdraw(f account.Flow, n int64) {
	if n > 0 && b.slices[f].Try(int(n)) {
		b.added[f] -= n
	}
}

// want is how much of f b is to have in hand.
func (b *book) want(f account.Flow) uint64 {
	if b.users == 0 {
		return 0
	}
	var limited bool
	free := uint64(all)
	for i, c := range b.caps {
		if c.Flow != f {
			continue
		}
		limited = true
		if b.told && i < len(b.answer.Used) {
			free = min(free, left(c.Limit, b.answer.Used[i]+b.answer.Held[i]))
		} else { // at most; how much there is comes with the answer
			free = min(free, c.Limit)
		}
	}
	if !limited {
		return all
	}
	return max(smallSlice, min(free/slicePart, largeSlice), uint64(b.need[f]))
}

// left is what is left of a limit.
func left(limit, taken uint64) uint64 {
	if taken >= limit {
		return 0
	}
	return limit - taken
}

// take takes the answer to an ask.
func (b *book) take(a account.Ask, got account.Answer) {
	first := !b.told
	b.told, b.fault, b.answer = true, nil, got
	b.expires = time.Now().Add(b.policy.Lease)
	if a.Want == (account.Slice{}) { // given back: exact
		b.booked = account.Use{In: a.In, Out: a.Out}
	} else {
		b.booked = account.Use{In: max(b.booked.In, a.In), Out: max(b.booked.Out, a.Out)}
	}
	for f := range b.slices {
		flow := account.Flow(f)
		b.put(flow, int64(b.booked.Of(flow))+b.have(flow))
		if !b.runsOut(flow) {
			b.spent[f] = nil
		}
		if b.slices[f].Balance() >= b.need[f] {
			b.need[f] = 0
		}
		if first && b.want(flow) > 2*got.Have[f] && got.Tight[f] < 0 {
			b.kick() // now it is known how much there is
		}
	}
}

// runsOut reports whether f is or will soon be used up: all that the quotas left is in
// hand, and it is not enough.
func (b *book) runsOut(f account.Flow) bool {
	return b.answer.Tight[f] >= 0 && b.answer.Have[f] < uint64(max(enough, b.need[f]))
}

// have is what is in hand of f beyond what was booked: less than nothing when that is
// more than there was.
func (b *book) have(f account.Flow) int64 {
	n := int64(b.answer.Have[f])
	for i, c := range b.caps {
		if c.Flow == f {
			n = min(n, int64(min(c.Limit, all))-int64(min(b.answer.Used[i]+b.answer.Held[i], all)))
		}
	}
	return n
}

// exceeded is what ends tests of b for want of f.
func (b *book) exceeded(f account.Flow, until time.Time) error {
	i := b.answer.Tight[f]
	w := b.windows[i]
	flow := ""
	if w.Flow != account.Both {
		flow = w.Flow.String() + " "
	}
	return &admit.ExceededError{
		Word: account.ExceededWord(b.subject, w), Text: fmt.Sprintf("the %s %squota of %s is", w.Period, flow, b.subject),
		Limit: b.caps[i].Limit, Used: b.answer.Used[i], Until: until,
	}
}
