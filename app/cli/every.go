package cli

import (
	"cmp"
	"context"
	"time"

	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/app/schedule"
	"github.com/sonde-net/sonde/result"
)

// everyFlags repeat a test on a schedule.
type everyFlags struct {
	every, jitter duration
	count         count
}

func (f *everyFlags) register(fs *pflag.FlagSet) {
	fs.Var(&f.every, "every", "repeat the test so often, on a schedule that does not drift; one JSON line for each, unless --format says otherwise")
	fs.Var(&f.jitter, "jitter", "with --every: begin each test up to so much later, by chance")
	fs.Var(&f.count, "count", "with --every: so many tests; 0 until stopped")
}

// plan is the schedule, nil for a single test.
func (f *everyFlags) plan(fs *pflag.FlagSet) (*schedule.Plan, error) {
	if !fs.Changed("every") {
		for _, name := range []string{"jitter", "count"} {
			if fs.Changed(name) {
				return nil, misuse("", "--%s %v: there is no schedule without --every; add it, such as --every 10m", name, fs.Lookup(name).Value)
			}
		}
		return nil, nil
	}
	p := &schedule.Plan{Every: time.Duration(f.every), Jitter: time.Duration(f.jitter), Count: int(f.count)}
	if err := p.Validate(); err != nil {
		return nil, misuse("", "--%w", err)
	}
	if p.Every < time.Second {
		return nil, misuse("", "--every %v: want 1s or more", p.Every)
	}
	return p, nil
}

// runClients runs one test, or with a plan one after the other on its schedule,
// with their results where the flags say.
func (o *output) runClients(ctx context.Context, plan *schedule.Plan, fs *pflag.FlagSet, validate func() error, run func(context.Context, result.Sink) error) error {
	if plan == nil {
		if o.fail.runs != "" {
			return misuse("", "%s: there is no schedule without --every; add it, such as --every 10m", flagValue("fail-runs", o.fail.runs))
		}
		return o.runClient(ctx, validate, run)
	}
	if fs.Lookup("tui") != nil && fs.Changed("tui") {
		return misuse("", "--tui and --every exclude each other: a screen is of one test; leave one out")
	}
	if !o.machine() && !fs.Changed("format") && o.csv != "-" {
		o.json = true
	}
	o.env.terminal = false // one line for each test, on a terminal too
	return o.runClient(ctx, validate, func(ctx context.Context, sink result.Sink) error {
		return repeat(ctx, *plan, func() error { return run(ctx, sink) })
	})
}

// repeat runs at each turn of the plan. A test that could not be made, or that
// found the path broken, is a result and no reason to stop; the error is that of
// the last test that had one.
func repeat(ctx context.Context, plan schedule.Plan, run func() error) (last error) {
	for range plan.Turns(ctx) {
		if err := run(); err != nil {
			last = err
		}
	}
	if ctx.Err() != nil {
		return cmp.Or(context.Cause(ctx), last)
	}
	return last
}
