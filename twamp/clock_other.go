//go:build !linux

package twamp

import "github.com/sonde-net/sonde/twamp/wire"

// clockEstimate knows nothing of the clock here.
func clockEstimate() wire.ErrorEstimate { return wire.UnknownError }
