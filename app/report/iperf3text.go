package report

import (
	"encoding/json"
	"strings"

	"github.com/sonde-net/sonde/iperf3/wire"
	"github.com/sonde-net/sonde/result"
)

// rawJSON is d as JSON, if it is that already.
func rawJSON(d any) (json.RawMessage, bool) {
	switch d := d.(type) {
	case json.RawMessage:
		return d, true
	case []byte:
		return d, true
	}
	return nil, false
}

// bytesReceived are what the receiver of a stream counted, nil if it did not
// tell.
func bytesReceived(end result.End, sends bool, stream, streams int) *uint64 {
	d := result.Down
	if sends == (end.Role != result.Server) {
		d = result.Up
	}
	total := end.Total(d)
	if total == nil {
		return nil
	}
	if stream < len(total.Streams) {
		total = &total.Streams[stream]
	} else if streams > 1 {
		return nil
	}
	if total.Received == nil {
		return nil
	}
	return &total.Received.Bytes
}

func orZero[T any](p *T) (n T) {
	if p != nil {
		n = *p
	}
	return n
}

// lines is what writes the text.
func (c Iperf3Config) lines() wire.Text { return wire.Text{Unit: c.Unit, Server: c.Server} }

// iperf3Start is the text of the start. A name that a person gave may hold
// anything.
func iperf3Start(c Iperf3Config, r *wire.Report) string {
	one := *r
	if to := r.Start.ConnectingTo; to != nil {
		one.Start.ConnectingTo = &wire.ReportHost{Host: clean(to.Host), Port: to.Port}
	}
	return c.lines().Start(&one)
}

// iperf3End are the totals, and what the server printed.
func iperf3End(c Iperf3Config, r *wire.Report, end result.End) string {
	s := r.Start.TestStart
	if s == nil {
		return ""
	}
	var t strings.Builder
	t.WriteString(c.lines().End(r, func(sends bool, stream int) *uint64 { return bytesReceived(end, sends, stream, s.NumStreams) }))
	if r.ServerText != "" {
		t.WriteString("\nServer output:\n")
		for line := range strings.Lines(r.ServerText) {
			t.WriteString(clean(strings.TrimRight(line, "\n")) + "\n")
		}
		t.WriteString("\n")
	}
	if end.Err == nil && !c.Server {
		t.WriteString("\niperf Done.\n")
	}
	return t.String()
}
