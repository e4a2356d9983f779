package iperf3

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sonde-net/sonde/iperf3/wire"
	"github.com/sonde-net/sonde/result"
)

// An output is what a server prints of one test, for a client that asks for
// it. A nil output does nothing.
type output struct {
	report wire.Report
	rep    *reporter
	kept   int // figures of streams in the report
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
func (o *output) take(_ string, data any) {
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
func (o *output) put(r *wire.Results, asJSON bool) {
	if o == nil {
		return
	}
	if !asJSON {
		r.ServerText = o.text()
		return
	}
	if doc, err := json.Marshal(o.report); err == nil { // it is made of numbers and strings
		r.ServerDocument = doc
	}
}

// text is a short form of what iperf3 prints.
func (o *output) text() string {
	var b strings.Builder
	line := func(socket *int, f wire.ReportFigures, end string) {
		id := "SUM"
		if socket != nil {
			id = fmt.Sprintf("%3d", *socket)
		}
		fmt.Fprintf(&b, "[%s] %6.2f-%-6.2f sec  %12d Bytes  %14.0f bits/sec", id, f.Start, f.End, f.Bytes, f.BitsPerSecond)
		if f.LostPackets != nil && f.Packets != nil {
			fmt.Fprintf(&b, "  %.3f ms  %d/%d (%.2g%%)", *f.JitterMS, *f.LostPackets, *f.Packets, *f.LostPercent)
		}
		b.WriteString(end + "\n")
	}
	s := o.report.Start
	if s.Accepted != nil {
		fmt.Fprintf(&b, "Accepted connection from %s, port %d\n", s.Accepted.Host, s.Accepted.Port)
	}
	for _, c := range s.Connected {
		fmt.Fprintf(&b, "[%3d] local %s port %d connected to %s port %d\n", c.Socket, c.LocalHost, c.LocalPort, c.RemoteHost, c.RemotePort)
	}
	for _, i := range o.report.Intervals {
		for _, f := range i.Streams {
			line(f.Socket, f, "")
		}
	}
	b.WriteString("- - - - - - - - - - - - - - - - - - - - - - - - -\n")
	for _, one := range o.report.End.Streams {
		if one.UDP != nil {
			line(one.UDP.Socket, *one.UDP, "")
			continue
		}
		line(one.Sender.Socket, *one.Sender, "  sender")
		line(one.Receiver.Socket, *one.Receiver, "  receiver")
	}
	return b.String()
}
