package cli

import (
	"log/slog"
	"strconv"
	"strings"

	"github.com/sonde-net/sonde/result"
)

// mostCPUs bounds the number of a processor.
const mostCPUs = 1024

// processors reads a list such as "0,2".
func processors(list string) (cpus []int, err error) {
	if list == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 0 || n >= mostCPUs {
			return nil, misuse("", "%s: not a list of processors; give their numbers, such as 0,2", flagValue("affinity", list))
		}
		cpus = append(cpus, n)
	}
	return cpus, nil
}

// useCPUs keeps this process to the processors of a list. Those that there are
// not are left out with a warning.
func useCPUs(log *slog.Logger, list string) error {
	cpus, err := processors(list)
	if err != nil || len(cpus) == 0 {
		return err
	}
	missing, err := pinTo(cpus)
	for _, n := range missing {
		log.Warn("there is no such processor", "cpu", n)
	}
	if err != nil {
		return &result.Error{Word: result.CodeLocal, Text: flagValue("affinity", list), Err: err, Hint: "choose processors that this process may use, or leave the flag out"}
	}
	return nil
}
