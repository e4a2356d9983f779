//go:build nano

package cli

import (
	"context"

	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/result"
)

// A testScreen stands in for the screens that the small build is without.
type testScreen struct{}

func (testScreen) register(*pflag.FlagSet) {}

func (testScreen) faults(*output) error { return nil }

func (testScreen) open(*output) {}

func (testScreen) shown() bool { return false }

func (testScreen) beside(next result.Sink) result.Sink { return next }

func (testScreen) summary(*output) result.Sink { return nil }

func (testScreen) watch(ctx context.Context, _ *output, run func(context.Context) error) error {
	return run(ctx)
}
