package rperf

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// pinTo keeps the calling goroutine on one processor for the rest of its life:
// the thread ends with it.
func pinTo(cpu int) error {
	runtime.LockOSThread()
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("processor %d: %w", cpu, err)
	}
	return nil
}
