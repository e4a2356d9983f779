// Package quota is the admit.Policy of a public server: who may run how many
// tests at once, how long, how fast and with how many bytes.
//
// All running tests of a process share one ledger in memory. Each account and
// each address has a book in it, with one remainder that all of its tests spend;
// the book is a lease of what the store counts, renewed before it is used up and
// given back at the end, so that several servers can share one store and a
// server that dies takes at most its slice with it, for as long as a lease lasts.
//
// Logins, protocols and databases are not in it: it meets the store through
// Ledger and Accounts.
package quota

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/result"
)

// A Ledger keeps what was used, and leases: see the store.
type Ledger interface {
	// Renew takes a step of several leases: all or none. To ask again is safe.
	Renew(ctx context.Context, now time.Time, asks []account.Ask) ([]account.Answer, error)
	// Frees is when so many bytes will have left a rolling window; zero when
	// they never do.
	Frees(ctx context.Context, now time.Time, s account.Subject, w account.Window, bytes uint64) (time.Time, error)
	// Reap takes back what expired leases have in hand.
	Reap(ctx context.Context, now time.Time) (int, error)
}

// Accounts knows the limits of who logged in. It is false for a name that it
// does not have: then the defaults hold.
type Accounts interface {
	Account(ctx context.Context, name string) (account.Account, bool, error)
}

// Times of a Policy.
const (
	usualLease = 30 * time.Second
	usualCheck = 10 * time.Second
	usualWait  = 8 * time.Second        // clients of btest wait 10 s for an answer
	bookEvery  = 500 * time.Millisecond // what was moved is booked: a crash loses no more than a second
	storeTime  = 2 * time.Second        // for one step with the store
	patience   = 5 * time.Second        // of a stream that waits for the store: less than a peer's
	reapEvery  = time.Minute
)

// A Policy admits the tests of all servers of a process. Set its fields, then let
// Run run for as long as there are tests. At is what a server gets.
type Policy struct {
	Ledger   Ledger   // nil: nothing is counted, and there are no quotas
	Accounts Accounts // nil: the defaults hold for everybody
	Name     string   // of this server, for the operator
	Lease    time.Duration
	Log      *slog.Logger  // nil discards
	Refused  func(Refusal) // told of each refusal; nil: nobody wants to know
	// Clock is the wall clock, which may step; nil is time.Now.
	Clock func() time.Time

	rules atomic.Pointer[Rules]
	queue queue
	kicks chan struct{} // has a value when a book is due

	mu     sync.Mutex // guards what follows, and what is in the books
	books  map[account.Subject]*book
	tests  map[*test]bool
	rounds uint64 // begun so far
	gone   bool   // the store did not answer the last time
	once   sync.Once
}

// A Refusal is a test that was not admitted.
type Refusal struct {
	Time        time.Time
	Request     admit.Request
	Word, Text  string
	Used, Limit uint64    // of a quota; 0 where it is not about one
	Until       time.Time // when it may work again; zero when not known
}

// A Server is what one server allows whoever comes, besides the rules of all.
type Server struct {
	Tests           int           // at once; 0 is no limit
	TestsPerAddress int           // 0 is no limit
	Duration        time.Duration // longest test; 0 is no limit
	Rate            uint64        // bit/s each way of one test; 0 is no limit
	// Members has whoever logged in be one of Accounts. Without it the server has
	// users of its own.
	Members bool
}

// At is the Policy of one server.
func (p *Policy) At(s Server) admit.Policy {
	p.init()
	return &at{p, &s}
}

type at struct {
	policy *Policy
	server *Server
}

func (a *at) Admit(ctx context.Context, r admit.Request) (*admit.Grant, error) {
	g, err := a.policy.admit(ctx, a.server, r)
	if err != nil {
		a.policy.tell(r, err)
		return nil, err
	}
	return g, nil
}

// SetRules changes the rules. Running tests follow at the next check.
func (p *Policy) SetRules(r Rules) {
	p.rules.Store(&r)
	p.queue.mu.Lock()
	defer p.queue.mu.Unlock()
	p.queue.tests = r.Tests
	p.queue.next()
}

func (p *Policy) init() {
	p.once.Do(func() {
		p.books, p.tests = map[account.Subject]*book{}, map[*test]bool{}
		p.kicks = make(chan struct{}, 1)
		p.rules.CompareAndSwap(nil, &Rules{})
		p.Log = cmp.Or(p.Log, slog.New(slog.DiscardHandler))
		p.Lease = cmp.Or(p.Lease, usualLease)
		if p.Clock == nil {
			p.Clock = time.Now
		}
	})
}

// tell tells of a refusal.
func (p *Policy) tell(r admit.Request, err error) {
	if p.Refused == nil {
		return
	}
	told := Refusal{Time: p.Clock(), Request: r, Word: result.CodeOf(err), Text: err.Error()}
	if e, ok := errors.AsType[*admit.ExceededError](err); ok {
		told.Used, told.Limit, told.Until = e.Used, e.Limit, e.Until
	} else if e, ok := errors.AsType[*admit.RefusedError](err); ok {
		told.Until = e.Until
	} else {
		return // the client left, or the server stops
	}
	p.Refused(told)
}

// Settled reports whether all that was moved is booked, and all leases given back.
func (p *Policy) Settled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.books) == 0
}

// A test is one that was admitted.
type test struct {
	request admit.Request
	server  *Server
	account *book // nil without a login
	address *book
	known   bool // the account is one of Accounts
	since   time.Time
	place   *place
	in, out *admit.Budget // what this test has spent, counted down from all
	end     context.CancelCauseFunc
	over    sync.Once
}

// all is more than a test can spend.
const all = account.Unlimited

func (p *Policy) admit(ctx context.Context, server *Server, r admit.Request) (*admit.Grant, error) {
	rules := p.rules.Load()
	t := &test{request: r, server: server}
	site := admit.Site(r.Peer)
	ofAccount, err := p.limits(ctx, rules, t)
	if err != nil {
		return nil, err
	}
	ofAddress := rules.address(r.Peer.Unmap().WithZone(""))
	p.mu.Lock()
	if r.Account != "" {
		t.account = p.open(account.Subject{Account: r.Account}, ofAccount)
	}
	t.address = p.open(account.Subject{Address: site}, ofAddress)
	p.mu.Unlock()
	if err := p.enter(ctx, rules, t, ofAccount, ofAddress); err != nil {
		p.close(t)
		return nil, err
	}
	return p.grant(t, least(ofAccount.Duration, ofAddress.Duration, &server.Duration), least(ofAccount.Rate, ofAddress.Rate, &server.Rate)), nil
}

// limits are those of the account that logged in.
func (p *Policy) limits(ctx context.Context, rules *Rules, t *test) (account.Limits, error) {
	name := t.request.Account
	switch {
	case name == "":
		return account.Limits{}, nil
	case p.Accounts == nil:
		return rules.Users, nil
	}
	a, known, err := p.find(ctx, name)
	switch {
	case err != nil && ctx.Err() != nil:
		return account.Limits{}, context.Cause(ctx)
	case err != nil && rules.GoOn && !errors.Is(err, account.ErrDirectory): // who proved to be them at the login
		return rules.Users, nil
	case err != nil:
		p.Log.Error("account not read", "user", name, "err", err)
		return account.Limits{}, unavailable()
	case !known && t.server.Members:
		return account.Limits{}, notFound(name)
	case known && a.Disabled:
		return account.Limits{}, disabled(name)
	}
	t.known = known
	return a.Limits.Over(rules.Users), nil
}

func (p *Policy) find(ctx context.Context, name string) (account.Account, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	return p.Accounts.Account(ctx, name)
}

// enter waits for what the books have, and for a place.
func (p *Policy) enter(ctx context.Context, rules *Rules, t *test, ofAccount, ofAddress account.Limits) error {
	if err := p.suffices(ctx, t); err != nil {
		return err
	}
	t.place = &place{
		server: t.server, account: t.request.Account, site: t.address.subject.Address,
		ofServer: t.server.Tests, ofServerAddress: t.server.TestsPerAddress, ofAccount: value(ofAccount.Tests), ofAddress: value(ofAddress.Tests),
	}
	waited, err := p.queue.enter(ctx, t.place, rules.wait(), t.request.Queued)
	if err == nil && waited {
		err = p.suffices(ctx, t) // the others have gone on spending
	}
	return err
}

// suffices waits until the books of t were opened, and tells whether there is
// enough in them to begin.
func (p *Policy) suffices(ctx context.Context, t *test) error {
	for _, b := range t.books() {
		if err := p.fresh(ctx, b); err != nil {
			return err
		}
		if err := b.begins(t.request); err != nil {
			return err
		}
	}
	return nil
}

// books are those of a test.
func (t *test) books() []*book {
	if t.account == nil {
		return []*book{t.address}
	}
	return []*book{t.account, t.address}
}

// grant is what t may do.
func (p *Policy) grant(t *test, longest time.Duration, rate uint64) *admit.Grant {
	const word, text = result.ReasonBytesExceeded, "bytes of one test"
	t.in, t.out = admit.NewBudget(all, word, text), admit.NewBudget(all, word, text)
	p.mu.Lock()
	defer p.mu.Unlock()
	// What a stream waits for comes first: In and Out say what was moved.
	var in, out []*admit.Budget
	for _, b := range t.books() {
		in, out = append(in, b.slices[account.Both]), append(out, b.slices[account.Both])
	}
	for _, b := range t.books() {
		in, out = append(in, b.slices[account.In]), append(out, b.slices[account.Out])
	}
	in, out = append(in, t.in), append(out, t.out)
	t.since = time.Now()
	ended, end := context.WithCancelCause(context.Background())
	t.end = end
	p.tests[t] = true
	return &admit.Grant{
		Budget: admit.Split(admit.Join(in...), admit.Join(out...)), Time: longest, Rate: rate, Ended: ended,
		Settle: func(sent, received uint64) { t.over.Do(func() { p.settle(t, sent, received) }) },
	}
}

func unavailable() error {
	return &admit.RefusedError{Word: account.WordStore, Text: "what was used cannot be read or written at the moment"}
}

func disabled(name string) error {
	return &admit.RefusedError{Word: account.WordDisabled, Text: fmt.Sprintf("user %q is disabled", name)}
}

func notFound(name string) error {
	return &admit.RefusedError{Word: account.WordNotFound, Text: fmt.Sprintf("there is no user %q", name)}
}

// settle ends a test: its bytes are those that its server counted.
func (p *Policy) settle(t *test, sent, received uint64) {
	t.end(nil)
	p.mu.Lock()
	for _, b := range t.books() {
		b.correct(account.In, received, t.in)
		b.correct(account.Out, sent, t.out)
	}
	delete(p.tests, t)
	p.mu.Unlock()
	p.close(t)
}

// close gives back the place and the books of t.
func (p *Policy) close(t *test) {
	if t.place != nil {
		p.queue.leave(t.place)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range t.books() {
		b.users--
		switch {
		case b.users == 0 && p.Ledger == nil:
			delete(p.books, b.subject)
		case b.users == 0:
			b.kick() // it is given back
		}
	}
}

// value is what a limit says, 0 where it says nothing.
func value[T any](v *T) (n T) {
	if v != nil {
		n = *v
	}
	return n
}

// least is the lowest of the limits that limit.
func least[T cmp.Ordered](limits ...*T) (low T) {
	var none T
	for _, v := range limits {
		if n := value(v); n > none && (low == none || n < low) {
			low = n
		}
	}
	return low
}
