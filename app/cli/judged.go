package cli

import (
	"github.com/sonde-net/sonde/app/diagnose"
	"github.com/sonde-net/sonde/result"
)

// judged puts what the readers of results add, why a test was not faster and
// how far its figures can be believed, into the events on their way to next.
func judged(next result.Sink) result.Sink {
	if next == nil {
		return result.Discard
	}
	return diagnose.Sink(next)
}
