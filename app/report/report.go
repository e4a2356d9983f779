// Package report turns the events of package result into what people and
// programs read: text, JSON, CSV, the lines of the older btest programs, and
// syslog. It knows no protocol's engine, and nothing else prints results.
//
// Every output is a result.Sink, safe for concurrent use, that keeps a bounded
// amount of memory for each run between its Begin and its End. The outputs
// that write to an io.Writer write whole lines, flush after each event, and
// remember the first error, which Err returns: a Sink cannot return it.
//
//	Text      one line a second and a summary, for a person
//	JSON      one document for each run, at its end
//	JSONLines one object for each event
//	CSV       one row for each run
//	BtestRS   the lines of btest-rs
//	Twping    summaries in the form of twping's
//	Rperf     the text and the JSON document of rperf
//	Iperf3    the text, the document and the events of iperf3
//	Syslog    logins, starts and ends of tests, over the network
//
// docs/results.md says what each figure means; docs/schema holds the JSON
// Schema. A figure that was not measured is "-" in text, null in JSON and an
// empty cell in CSV.
package report

import (
	"io"
	"sync"
)

// An out is where lines go. The embedding Sink guards its own state with mu
// and holds it while it writes, so that lines of different runs do not mix.
type out struct {
	mu  sync.Mutex // guards w, err and the state of the Sink
	w   io.Writer
	err error
}

// write hands p to the writer in one call and flushes it. After an error it
// writes nothing more. The caller holds mu.
func (o *out) write(p []byte) {
	if o.err != nil || len(p) == 0 {
		return
	}
	if _, o.err = o.w.Write(p); o.err != nil {
		return
	}
	if f, ok := o.w.(interface{ Flush() error }); ok {
		o.err = f.Flush()
	}
}

// Err returns the first error of writing, or nil.
func (o *out) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}
