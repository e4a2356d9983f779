package host

import (
	"time"

	"golang.org/x/sys/windows"
)

// Spent is the processor time that this process has used so far, in all its
// threads; false where the system does not tell.
func Spent() (time.Duration, bool) {
	var made, ended, kernel, user windows.Filetime
	if windows.GetProcessTimes(windows.CurrentProcess(), &made, &ended, &kernel, &user) != nil {
		return 0, false
	}
	return ticks(kernel) + ticks(user), true
}

// ticks are units of 100 ns.
func ticks(f windows.Filetime) time.Duration {
	return time.Duration(int64(f.HighDateTime)<<32|int64(f.LowDateTime)) * 100
}
