//go:build nano

package cli

import (
	"context"

	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/app/quota"
	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/result"
)

// kept is nothing: this build has no store.
type kept struct{}

func (kept) join(*quota.Policy)                          {}
func (kept) logins(context.Context, *btest.Server) error { return nil }
func (kept) keep(context.Context)                        {}
func (kept) results() result.Sink                        { return result.Discard }
func (kept) close() error                                { return nil }

// guardFlags are the limits of all that a server allows; without a store there is
// none to count for.
type guardFlags struct{ queue duration }

func (f *guardFlags) register(fs *pflag.FlagSet) { registerQueue(fs, &f.queue) }

func (guardFlags) given(*env) bool { return false }

func (f *guardFlags) open(ctx context.Context, _ *env, o *output) (*guard, error) {
	return newGuard(ctx, o.logger(), quota.Rules{Wait: queueTime(f.queue)}, kept{}), nil
}
