package probe

import (
	"time"

	"golang.org/x/sys/unix"
)

// Asleep is how long the machine was suspended since it started: what its clock
// since boot has more than the monotonic one.
func Asleep() time.Duration {
	var boot, mono unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil || unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - mono.Nano()).Round(time.Millisecond)
}
