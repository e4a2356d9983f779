package cli

import (
	"errors"
	"os"
	"sync"

	"github.com/sonde-net/sonde/app/chart"
	"github.com/sonde-net/sonde/result"
)

// openPlot makes the sink for --plot, nil without it.
func (o *output) openPlot() (result.Sink, error) {
	if o.plot == "" {
		return nil, nil
	}
	// Whether it can be written is better known before a test than after it.
	f, err := os.OpenFile(o.plot, os.O_CREATE|os.O_WRONLY, 0o666)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return nil, cannotWrite("plot", o.plot, err)
	}
	d := &drawing{file: o.plot, runs: map[result.ID]*chart.Test{}}
	o.flushes = append(o.flushes, d.failed)
	return d, nil
}

// mostDrawn bounds the intervals that are kept of one test: a day of seconds,
// both ways.
const mostDrawn = 2 * 86400

// A drawing draws each test into a file when it ends.
type drawing struct {
	file string

	mu   sync.Mutex // guards what follows
	runs map[result.ID]*chart.Test
	err  error
}

// Put implements result.Sink.
func (d *drawing) Put(e result.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch e := e.(type) {
	case result.Begin:
		if d.runs[e.Run] == nil {
			d.runs[e.Run] = &chart.Test{}
		}
	case result.Interval:
		if t := d.runs[e.Run]; t != nil && len(t.Intervals) < mostDrawn {
			t.Intervals = append(t.Intervals, e)
		}
	case result.End:
		t := d.runs[e.Run]
		delete(d.runs, e.Run)
		if t == nil {
			return
		}
		t.End = &e
		if c, ok := chart.Main(*t); ok {
			c.Title = e.Protocol + ": " + c.Title
			d.err = errors.Join(d.err, os.WriteFile(d.file, c.File(), 0o666))
		}
	}
}

func (d *drawing) failed() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}
