package cli

import "github.com/sonde-net/sonde/app/unit"

// The kinds of flag values that the configuration file has, too.
type (
	rate     = unit.Rate
	size     = unit.Size
	duration = unit.Duration
	count    = unit.Count
	port     = unit.Port
)
