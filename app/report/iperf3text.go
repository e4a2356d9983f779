package report

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/sonde-net/sonde/iperf3/wire"
	"github.com/sonde-net/sonde/result"
)

const iperf3Rule = "- - - - - - - - - - - - - - - - - - - - - - - - -\n"

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

// iperf3Start tells whom the test is with, and heads the table.
func iperf3Start(c Iperf3Config, r *wire.Report) string {
	var t strings.Builder
	s := r.Start
	switch {
	case s.ConnectingTo != nil:
		fmt.Fprintf(&t, "Connecting to host %s, port %d\n", clean(s.ConnectingTo.Host), s.ConnectingTo.Port)
		if s.TestStart.Reverse != 0 {
			fmt.Fprintf(&t, "Reverse mode, remote host %s is sending\n", clean(s.ConnectingTo.Host))
		}
	case s.Accepted != nil:
		fmt.Fprintf(&t, "Accepted connection from %s, port %d\n", clean(s.Accepted.Host), s.Accepted.Port)
	}
	for _, one := range s.Connected {
		fmt.Fprintf(&t, "[%3d] local %s port %d connected to %s port %d\n", one.Socket, one.LocalHost, one.LocalPort, one.RemoteHost, one.RemotePort)
	}
	t.WriteString(iperf3Heading(c, s.TestStart, false))
	return t.String()
}

// sends says whether this end sends, in a test one way.
func (c Iperf3Config) sends(s *wire.ReportTestStart) bool { return (s.Reverse != 0) == c.Server }

// iperf3Heading is the heading of the intervals' table, or of the totals'.
func iperf3Heading(c Iperf3Config, s *wire.ReportTestStart, totals bool) string {
	role, columns := "", ""
	bidir := s.Bidir != 0
	if bidir {
		role = "[Role]"
	}
	switch {
	case s.Protocol == "UDP" && (totals || bidir || !c.sends(s)):
		columns = "         Jitter    Lost/Total Datagrams"
	case s.Protocol == "UDP":
		columns = "         Total Datagrams"
	case !bidir && !c.sends(s):
		if totals && !c.Server {
			columns = "         Retr"
		}
	case totals:
		columns = "         Retr"
	default:
		columns = "         Retr  Cwnd"
	}
	return "[ ID]" + role + " Interval           Transfer     Bitrate" + columns + "\n"
}

// iperf3Interval is a line for each stream, and one for their sum where there
// are several.
func iperf3Interval(c Iperf3Config, r *wire.Report, i wire.ReportInterval) string {
	var t strings.Builder
	s := r.Start.TestStart
	if s == nil {
		return ""
	}
	if len(r.Intervals) > 1 && (s.NumStreams > 1 || s.Bidir != 0 && len(i.Streams) > 1) {
		t.WriteString(iperf3Rule)
	}
	for n, f := range i.Streams {
		t.WriteString(iperf3Line(c, s, f))
		last := n+1 == len(i.Streams) || i.Streams[n+1].Sender != f.Sender
		if s.NumStreams > 1 && last {
			sum := i.Sum
			if sum.Sender != f.Sender && i.SumReverse != nil {
				sum = *i.SumReverse
			}
			sum.Socket = nil
			t.WriteString(iperf3Line(c, s, sum))
		}
	}
	return t.String()
}

// iperf3Line is one stream, or a sum, in an interval.
func iperf3Line(c Iperf3Config, s *wire.ReportTestStart, f wire.ReportFigures) string {
	t := iperf3Front(c, s, f)
	switch {
	case s.Protocol == "UDP" && f.Sender:
		if s.Bidir != 0 {
			t += "          "
		}
		t += fmt.Sprintf("  %d  ", orZero(f.Packets))
	case s.Protocol == "UDP":
		t += iperf3Losses(f) + "  "
	case f.Sender && f.Retransmits != nil && f.SndCwnd != nil:
		t += fmt.Sprintf("  %3d   %sBytes       ", *f.Retransmits, iperf3Scaled(float64(*f.SndCwnd), 1024, 0))
	case f.Sender && f.Retransmits != nil:
		t += fmt.Sprintf("  %3d             ", *f.Retransmits)
	default:
		t += "                  "
	}
	if f.Omitted != nil && *f.Omitted {
		t += "(omitted)"
	}
	return t + "\n"
}

// iperf3Front is what all lines begin with: stream, time, bytes and rate.
func iperf3Front(c Iperf3Config, s *wire.ReportTestStart, f wire.ReportFigures) string {
	id, role := "SUM", ""
	if f.Socket != nil {
		id = fmt.Sprintf("%3d", *f.Socket)
	}
	if s.Bidir != 0 {
		role = "[" + map[bool]string{true: "TX", false: "RX"}[f.Sender] + "-" + map[bool]string{true: "S", false: "C"}[c.Server] + "]"
	}
	return fmt.Sprintf("[%s]%s %6.2f-%-6.2f sec  %sBytes  %s/sec", id, role, f.Start, f.End,
		iperf3Scaled(float64(f.Bytes), 1024, 0), iperf3Rate(c.Unit, f.BitsPerSecond))
}

func iperf3Losses(f wire.ReportFigures) string {
	var jitter, percent float64
	if f.JitterMS != nil {
		jitter = *f.JitterMS
	}
	if f.LostPercent != nil {
		percent = *f.LostPercent
	}
	return fmt.Sprintf("  %5.3f ms  %d/%d (%.2g%%)", jitter, orZero(f.LostPackets), orZero(f.Packets), percent)
}

func orZero[T any](p *T) (n T) {
	if p != nil {
		n = *p
	}
	return n
}

// iperf3Scaled is n with a prefix and three digits, in four columns or more;
// unit is a fixed prefix, or 0.
func iperf3Scaled(n, step float64, unit byte) string {
	const prefixes = "KMGT"
	prefix := ""
	for k := 0; k < len(prefixes); k++ {
		if unit == 0 && n < step || unit != 0 && prefix == strings.ToUpper(string(unit)) {
			break
		}
		n /= step
		prefix = prefixes[k : k+1]
	}
	digits := 0
	switch {
	case n < 9.995:
		digits = 2
	case n < 99.95:
		digits = 1
	}
	return fmt.Sprintf("%4.*f %s", digits, n, prefix)
}

// iperf3Rate is a rate in bits, or for a capital unit in bytes.
func iperf3Rate(unit byte, bits float64) string {
	if unit >= 'A' && unit <= 'Z' {
		return iperf3Scaled(bits/8, 1024, unit) + "Bytes"
	}
	return iperf3Scaled(bits, 1000, unit) + "bits"
}

// iperf3End are the totals: of each stream the sender's and the receiver's
// line, and what the server printed.
func iperf3End(c Iperf3Config, r *wire.Report, end result.End) string {
	s := r.Start.TestStart
	if s == nil {
		return ""
	}
	var t strings.Builder
	t.WriteString(iperf3Rule + iperf3Heading(c, s, true))
	index := map[bool]int{} // of the next stream, by whether we send it
	for n, one := range r.End.Streams {
		sends := streamSends(one)
		sent, received := bothEnds(one, bytesReceived(end, sends, index[sends], s.NumStreams))
		index[sends]++
		if c.Server && sends { // it knows its own end only
			received = nil
		} else if c.Server {
			sent = nil
		}
		t.WriteString(iperf3Total(c, s, sent, sends, "sender") + iperf3Total(c, s, received, sends, "receiver"))
		if last := n+1 == len(r.End.Streams) || streamSends(r.End.Streams[n+1]) != sends; last && s.NumStreams > 1 {
			t.WriteString(iperf3Sums(c, s, r.End, sends))
		}
	}
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

// streamSends says whether our end sends the stream.
func streamSends(one wire.ReportStream) bool {
	if one.UDP != nil {
		return one.UDP.Sender
	}
	return one.Sender != nil && one.Sender.Sender || one.Sender == nil && one.Receiver != nil && one.Receiver.Sender
}

// bothEnds are the sender's and the receiver's figures of a stream. The
// document of UDP has one record for both, with the sender's bytes.
func bothEnds(one wire.ReportStream, received *uint64) (sent, got *wire.ReportFigures) {
	if one.UDP == nil {
		return one.Sender, one.Receiver
	}
	s, g := *one.UDP, *one.UDP
	s.JitterMS, s.LostPackets, s.LostPercent = nil, nil, nil
	if received != nil {
		g.Bytes, g.BitsPerSecond = *received, 0
		if g.Seconds > 0 {
			g.BitsPerSecond = float64(*received) * 8 / g.Seconds
		}
	}
	return &s, &g
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

// iperf3Sums are the two lines of a direction's sums.
func iperf3Sums(c Iperf3Config, s *wire.ReportTestStart, e wire.ReportEnd, sends bool) string {
	sent, received := e.SumSent, e.SumReceived
	if sent != nil && sent.Sender != sends && s.Bidir != 0 && e.SumSentReverse != nil {
		sent, received = e.SumSentReverse, e.SumReceivedReverse
	}
	return iperf3Total(c, s, sent, sends, "sender") + iperf3Total(c, s, received, sends, "receiver")
}

// iperf3Total is one line of the totals: what one end counted.
func iperf3Total(c Iperf3Config, s *wire.ReportTestStart, f *wire.ReportFigures, sends bool, end string) string {
	if f == nil {
		return ""
	}
	one := *f
	one.Sender = sends
	t := iperf3Front(c, s, one)
	switch {
	case s.Protocol == "UDP":
		t += iperf3Losses(one) + "  "
	case end == "sender" && one.Retransmits != nil:
		t += fmt.Sprintf("  %3d             ", *one.Retransmits)
	default:
		t += "                  "
	}
	return t + end + "\n"
}
