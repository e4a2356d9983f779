package cli

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"sync"

	"github.com/sonde-net/sonde/app/quota"
	"github.com/sonde-net/sonde/result"
)

// A guard is what the servers of a process share: who may test, and how much. It
// keeps what it knows in a store, if there is one.
type guard struct {
	policy *quota.Policy
	kept   // in a store
	pages  // of a browser

	stop context.CancelFunc
	runs sync.WaitGroup
}

// newGuard makes a guard of what is kept, and starts it. It outlives ctx, until it is
// closed.
func newGuard(ctx context.Context, log *slog.Logger, rules quota.Rules, k kept) *guard {
	name, _ := os.Hostname() // for the operator alone
	g := &guard{policy: &quota.Policy{Name: cmp.Or(name, "sonde"), Log: log}, kept: k, pages: newPages()}
	g.join(g.policy)
	g.policy.SetRules(rules)
	ctx, g.stop = context.WithCancel(context.WithoutCancel(ctx))
	g.runs.Go(func() { g.policy.Run(ctx) })
	g.runs.Go(func() { g.keep(ctx) })
	return g
}

// watch is next, and what the store and the pages see.
func (g *guard) watch(next result.Sink) result.Sink {
	return result.Tee(next, g.results(), g.live())
}

// close books what was moved, writes what is to be written and closes the store. The
// servers have ended.
func (g *guard) close() error {
	g.stop()
	g.runs.Wait()
	return g.kept.close()
}
