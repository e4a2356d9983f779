package cli

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// pinTo keeps every thread of this process to some processors; threads made
// later inherit that. Processors that may not be used are returned.
func pinTo(cpus []int) (missing []int, err error) {
	var may, want unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		return nil, fmt.Errorf("sched_getaffinity: %w", err)
	}
	for _, n := range cpus {
		if may.IsSet(n) {
			want.Set(n)
		} else {
			missing = append(missing, n)
		}
	}
	if want.Count() == 0 {
		return missing, errors.New("none of these processors can be used")
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return missing, err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			continue // no thread
		}
		if err := unix.SchedSetaffinity(id, &want); err != nil && !errors.Is(err, unix.ESRCH) {
			return missing, fmt.Errorf("sched_setaffinity: %w", err)
		}
	}
	return missing, nil
}
