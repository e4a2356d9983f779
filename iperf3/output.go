package iperf3

import (
	"encoding/json"
	"strings"

	"github.com/sonde-net/sonde/iperf3/wire"
	"github.com/sonde-net/sonde/result"
)

// An output is what a server prints of one test, for a client that asks for
// it. A nil output does nothing.
type output struct {
	report wire.Report
	rep    *reporter
	kept   int                          // figures of streams in the report
	also   func(event string, data any) // is told too; may be nil
}

// mostFigures bounds what is kept of a long test, or of one of many streams:
// about 4 MB.
const mostFigures = 16384

func newOutput(p wire.Parameters) *output {
	o := &output{}
	o.rep = &reporter{emit: o.take, params: p, role: result.Server}
	return o
}

func (o *output) reporter() *reporter {
	if o == nil {
		return nil
	}
	return o.rep
}

// take keeps one event of the document.
func (o *output) take(event string, data any) {
	if o.also != nil {
		o.also(event, data)
	}
	switch d := data.(type) {
	case wire.ReportStart:
		o.report.Start = d
	case wire.ReportInterval:
		if o.kept += len(d.Streams); o.kept <= mostFigures {
			o.report.Intervals = append(o.report.Intervals, d)
		}
	case wire.ReportEnd:
		o.report.End = d
	}
}

// put writes the output into our results.
func (o *output) put(r *wire.Results, flows []*flow, asJSON bool) {
	if o == nil {
		return
	}
	if !asJSON {
		r.ServerText = o.text(flows)
		return
	}
	if doc, err := json.Marshal(o.report); err == nil { // it is made of numbers and strings
		r.ServerDocument = doc
	}
}

// text is what iperf3 prints at a server.
func (o *output) text(flows []*flow) string {
	lines := wire.Text{Server: true}
	so := o.report
	so.Intervals = nil
	var b strings.Builder
	b.WriteString(lines.Start(&so))
	for n, i := range o.report.Intervals {
		so.Intervals = o.report.Intervals[:n+1]
		b.WriteString(lines.Interval(&so, i))
	}
	received := map[bool][]*uint64{} // of each stream, by whether we send it
	for _, f := range flows {
		var bytes *uint64
		if !f.sends {
			bytes = result.Some(f.measured().Bytes)
		}
		received[f.sends] = append(received[f.sends], bytes)
	}
	b.WriteString(lines.End(&so, func(sends bool, stream int) *uint64 { return received[sends][stream] }))
	return b.String()
}
