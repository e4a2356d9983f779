package wire

import (
	"fmt"
	"strings"
)

// A Text writes a Report as the lines that iperf3 prints. They are on the wire
// too, where a client asks for what the server prints.
type Text struct {
	Unit   byte // of rates, as iperf3's -f takes it: k, m, g, t bits, K, M, G, T bytes; 0 chooses
	Server bool // whose lines they are
}

const textRule = "- - - - - - - - - - - - - - - - - - - - - - - - -\n"

// Start tells whom the test is with, and heads the table.
func (c Text) Start(r *Report) string {
	var t strings.Builder
	s := r.Start
	switch {
	case s.ConnectingTo != nil:
		fmt.Fprintf(&t, "Connecting to host %s, port %d\n", s.ConnectingTo.Host, s.ConnectingTo.Port)
		if s.TestStart.Reverse != 0 {
			fmt.Fprintf(&t, "Reverse mode, remote host %s is sending\n", s.ConnectingTo.Host)
		}
	case s.Accepted != nil:
		fmt.Fprintf(&t, "Accepted connection from %s, port %d\n", s.Accepted.Host, s.Accepted.Port)
	}
	for _, one := range s.Connected {
		fmt.Fprintf(&t, "[%3d] local %s port %d connected to %s port %d\n", one.Socket, one.LocalHost, one.LocalPort, one.RemoteHost, one.RemotePort)
	}
	t.WriteString(c.heading(s.TestStart, false))
	return t.String()
}

// sends says whether this end sends, in a test one way.
func (c Text) sends(s *ReportTestStart) bool { return (s.Reverse != 0) == c.Server }

// heading is the heading of the intervals' table, or of the totals'.
func (c Text) heading(s *ReportTestStart, totals bool) string {
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

// Interval is a line for each stream, and one for their sum where there
// are several.
func (c Text) Interval(r *Report, i ReportInterval) string {
	var t strings.Builder
	s := r.Start.TestStart
	if s == nil {
		return ""
	}
	if len(r.Intervals) > 1 && (s.NumStreams > 1 || s.Bidir != 0 && len(i.Streams) > 1) {
		t.WriteString(textRule)
	}
	for n, f := range i.Streams {
		t.WriteString(c.line(s, f))
		last := n+1 == len(i.Streams) || i.Streams[n+1].Sender != f.Sender
		if s.NumStreams > 1 && last {
			sum := i.Sum
			if sum.Sender != f.Sender && i.SumReverse != nil {
				sum = *i.SumReverse
			}
			sum.Socket = nil
			t.WriteString(c.line(s, sum))
		}
	}
	return t.String()
}

// line is one stream, or a sum, in an interval.
func (c Text) line(s *ReportTestStart, f ReportFigures) string {
	t := c.front(s, f)
	switch {
	case s.Protocol == "UDP" && f.Sender:
		if s.Bidir != 0 {
			t += "          "
		}
		t += fmt.Sprintf("  %d  ", orZero(f.Packets))
	case s.Protocol == "UDP":
		t += losses(f) + "  "
	case f.Sender && f.Retransmits != nil && f.SndCwnd != nil:
		t += fmt.Sprintf("  %3d   %sBytes       ", *f.Retransmits, scaled(float64(*f.SndCwnd), 1024, 0))
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

// front is what all lines begin with: stream, time, bytes and rate.
func (c Text) front(s *ReportTestStart, f ReportFigures) string {
	id, role := "SUM", ""
	if f.Socket != nil {
		id = fmt.Sprintf("%3d", *f.Socket)
	}
	if s.Bidir != 0 {
		role = "[" + map[bool]string{true: "TX", false: "RX"}[f.Sender] + "-" + map[bool]string{true: "S", false: "C"}[c.Server] + "]"
	}
	return fmt.Sprintf("[%s]%s %6.2f-%-6.2f sec  %sBytes  %s/sec", id, role, f.Start, f.End,
		scaled(float64(f.Bytes), 1024, 0), textRate(c.Unit, f.BitsPerSecond))
}

func losses(f ReportFigures) string {
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

// scaled is n with a prefix and three digits, in four columns or more;
// unit is a fixed prefix, or 0.
func scaled(n, step float64, unit byte) string {
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

// textRate is a rate in bits, or for a capital unit in bytes.
func textRate(unit byte, bits float64) string {
	if unit >= 'A' && unit <= 'Z' {
		return scaled(bits/8, 1024, unit) + "Bytes"
	}
	return scaled(bits, 1000, unit) + "bits"
}

// End are the totals: of each stream the sender's and the receiver's line.
func (c Text) End(r *Report, received func(sends bool, stream int) *uint64) string {
	s := r.Start.TestStart
	if s == nil {
		return ""
	}
	var t strings.Builder
	t.WriteString(textRule + c.heading(s, true))
	index := map[bool]int{} // of the next stream, by whether we send it
	for n, one := range r.End.Streams {
		sends := streamSends(one)
		sent, got := bothEnds(one, received(sends, index[sends]))
		index[sends]++
		if c.Server && sends { // it knows its own end only
			got = nil
		} else if c.Server {
			sent = nil
		}
		t.WriteString(c.total(s, sent, sends, "sender") + c.total(s, got, sends, "receiver"))
		if last := n+1 == len(r.End.Streams) || streamSends(r.End.Streams[n+1]) != sends; last && s.NumStreams > 1 {
			t.WriteString(c.sums(s, r.End, sends))
		}
	}
	return t.String()
}

// streamSends says whether our end sends the stream.
func streamSends(one ReportStream) bool {
	if one.UDP != nil {
		return one.UDP.Sender
	}
	return one.Sender != nil && one.Sender.Sender || one.Sender == nil && one.Receiver != nil && one.Receiver.Sender
}

// bothEnds are the sender's and the receiver's figures of a stream. The
// document of UDP has one record for both, with the sender's bytes.
func bothEnds(one ReportStream, received *uint64) (sent, got *ReportFigures) {
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

// sums are the lines of a direction's sums.
func (c Text) sums(s *ReportTestStart, e ReportEnd, sends bool) string {
	sent, received := e.SumSent, e.SumReceived
	if sent != nil && sent.Sender != sends && s.Bidir != 0 && e.SumSentReverse != nil {
		sent, received = e.SumSentReverse, e.SumReceivedReverse
	}
	switch {
	case c.Server && sends: // it knows its own end only
		received = nil
	case c.Server:
		sent = nil
	}
	return c.total(s, sent, sends, "sender") + c.total(s, received, sends, "receiver")
}

// total is one line of the totals: what one end counted.
func (c Text) total(s *ReportTestStart, f *ReportFigures, sends bool, end string) string {
	if f == nil {
		return ""
	}
	one := *f
	one.Sender = sends
	t := c.front(s, one)
	switch {
	case s.Protocol == "UDP":
		t += losses(one) + "  "
	case end == "sender" && one.Retransmits != nil:
		t += fmt.Sprintf("  %3d             ", *one.Retransmits)
	default:
		t += "                  "
	}
	return t + end + "\n"
}
