package pace

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// spinTime is how long before the moment the sleep ends: a sleep with a slack of
// 1 ns still wakes up to 20 µs late.
const spinTime = 20 * time.Microsecond

// A sleeper sleeps on CLOCK_MONOTONIC until an absolute time. The timespec lives
// here so that a wait allocates nothing.
type sleeper struct{ at unix.Timespec }

// prepare asks for exact timers on this thread: the default slack of 50 µs is
// longer than the gaps of a fast flow. Being refused costs exactness only, and
// the result shows what was reached.
func (s *sleeper) prepare() time.Duration {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	return spinTime
}

// restore gives the thread its default slack back, before others use it.
func (s *sleeper) restore() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) }

func (s *sleeper) sleep(d time.Duration) {
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &s.at) != nil {
		return
	}
	s.at = unix.NsecToTimespec(s.at.Nano() + int64(d))
	for {
		_, _, e := unix.Syscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME,
			uintptr(unsafe.Pointer(&s.at)), 0, 0, 0)
		if e != unix.EINTR {
			return
		}
	}
}
