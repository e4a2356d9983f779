//go:build nano

package cli

import (
	"context"
	"log/slog"

	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/result"
)

// pages are none: this build is without them.
type pages struct{}

func newPages() pages                                  { return pages{} }
func (pages) live() result.Sink                        { return nil }
func (pages) stoppable(next admit.Policy) admit.Policy { return next }
func (*guard) browse(context.Context, *slog.Logger, service) (end func(), err error) {
	return func() {}, nil
}

// A webFlags is nothing.
type webFlags struct{}

func (webFlags) register(*pflag.FlagSet) {}
func (webFlags) validate() error         { return nil }

func (pages) open(webFlags) {}
