package cli

import (
	"fmt"

	"github.com/sonde-net/sonde/btest"
	"github.com/sonde-net/sonde/result"
)

// btestTrace is what -vv and -vvv show of the protocol, nil without them.
func (o *output) btestTrace(role result.Role) btest.Trace {
	if o.verbose < 2 {
		return nil
	}
	return &btest.Describer{
		Role: role, Hex: o.verbose > 2,
		Say: func(line string) { fmt.Fprintln(o.env.err, plain(line)) },
	}
}
