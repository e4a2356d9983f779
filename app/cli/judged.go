package cli

import (
	"fmt"
	"sync"

	"github.com/sonde-net/sonde/app/diagnose"
	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/app/selfcheck"
	"github.com/sonde-net/sonde/result"
)

// judged puts what the readers of results add, why a test was not faster and
// how far its figures can be believed, into the events on their way to next.
func judged(next result.Sink) result.Sink {
	if next == nil {
		return result.Discard
	}
	if f, ok, err := selfcheck.Kept(); ok && err == nil { // a damaged file only costs the comparison
		next = &ceilings{next: next, figures: f, begins: map[result.ID]result.Begin{}}
	}
	return diagnose.Sink(next)
}

// ceilings adds to the evidence of each test how near it came to what this host
// can send to itself.
type ceilings struct {
	next    result.Sink
	figures selfcheck.Figures

	mu     sync.Mutex // guards begins
	begins map[result.ID]result.Begin
}

// Put implements result.Sink.
func (c *ceilings) Put(e result.Event) {
	c.next.Put(c.compared(e))
}

func (c *ceilings) compared(e result.Event) result.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e := e.(type) {
	case result.Begin:
		c.begins[e.Run] = e
	case result.End:
		begin, ok := c.begins[e.Run]
		delete(c.begins, e.Run)
		if ok && e.Why != nil {
			return c.withEvidence(begin, e)
		}
	}
	return e
}

func (c *ceilings) withEvidence(begin result.Begin, e result.End) result.End {
	ceiling, ok := c.figures.Ceiling(begin.Transport, begin.Streams, begin.Size)
	if !ok {
		return e
	}
	why := *e.Why
	why.Evidence = why.Evidence[:len(why.Evidence):len(why.Evidence)]
	for _, d := range begin.Direction.Each() {
		v := e.Local(d)
		if v == nil {
			continue
		}
		if rate := result.Rate(v.Bytes, e.Elapsed); rate != nil {
			why.Evidence = append(why.Evidence, fmt.Sprintf("%v: %s of the %s that this host can send to itself",
				d, report.FormatPercent(float64(*rate)/float64(ceiling)), report.FormatRate(ceiling)))
		}
	}
	e.Why = &why
	return e
}
