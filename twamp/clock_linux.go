package twamp

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonde-net/sonde/twamp/wire"
)

// stampError is what a timestamp of the kernel adds to the error of the clock.
const stampError = 2 * time.Microsecond

// clockEstimate returns what the kernel knows of the system's clock: whether
// something keeps it right, and how far it may be off.
func clockEstimate() wire.ErrorEstimate {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil || state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0 {
		return wire.UnknownError
	}
	return wire.NewErrorEstimate(time.Duration(t.Esterror)*time.Microsecond+stampError, true, false)
}
