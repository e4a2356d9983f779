//go:build unix

package host

import (
	"time"

	"golang.org/x/sys/unix"
)

// Spent is the processor time that this process has used so far, in all its
// threads; false where the system does not tell.
func Spent() (time.Duration, bool) {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0, false
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}
