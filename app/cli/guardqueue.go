package cli

import (
	"time"

	"github.com/spf13/pflag"
)

func registerQueue(fs *pflag.FlagSet, queue *duration) {
	*queue = duration(8 * time.Second)
	fs.Var(queue, "queue-time", "who finds no place waits so long for one, in a fair order; 0 refuses at once")
}

// queueTime is a wait as rules have it, where less than 0 is none.
func queueTime(d duration) time.Duration {
	if d == 0 {
		return -1
	}
	return time.Duration(d)
}
