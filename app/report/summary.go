package report

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/sonde-net/sonde/result"
)

// reasons are the words of result.End.Reason for a person.
var reasons = map[string]string{
	result.ReasonDone:          "as asked",
	result.ReasonInterrupted:   "stopped by the user",
	result.ReasonClientGone:    "the client closed the test",
	result.ReasonServerGone:    "the server closed the test before its time",
	result.ReasonPeerSilent:    "nothing came from the far end any more",
	result.ReasonMaxDuration:   "the server's longest time for a test is over",
	result.ReasonShutdown:      "the server is shutting down",
	result.ReasonFailed:        "failed",
	result.ReasonTooManyTests:  "too many tests",
	result.ReasonBytesExceeded: "the byte budget is used up",
}

// A sheet is a summary under construction: rows of a label and its text.
type sheet struct {
	strings.Builder
	c TextConfig
}

// row adds a line; no label means that it belongs to the row before.
func (s *sheet) row(label, format string, args ...any) {
	line := fmt.Sprintf("  %-10s%s", label, fmt.Sprintf(format, args...))
	s.WriteString(strings.TrimRight(line, " ") + "\n")
}

// summary is the block that closes a run: what both ends counted, side by
// side, what is remarkable about it, and why it was not more.
func summary(c TextConfig, b result.Begin, e result.End) string {
	s := &sheet{c: c}
	title := fmt.Sprintf("--- %s %s, %s, %s", clean(b.Protocol), way(b), peerOf(b), FormatElapsed(e.Elapsed))
	s.WriteString(c.paint(bold, title) + "\n")
	for _, d := range b.Direction.Each() {
		if t := e.Total(d); t != nil {
			s.direction(b, e.Role, d, t)
		}
	}
	s.machines(e.CPU, e.Why)
	s.latency(e.Latency)
	s.why(e.Why)
	s.ended(e)
	return s.String()
}

// direction adds one direction: the two views side by side, then what the
// receiver saw.
func (s *sheet) direction(b result.Begin, role result.Role, d result.Direction, t *result.Total) {
	sent, received := "sent there", "received here"
	if (role == result.Client) == (d == result.Up) {
		sent, received = "sent here", "received there"
	}
	s.row("", "%16s %19s", sent, received)
	s.row(d.String(), "%16s %19s", orUnknown(rateOf(t.Sent, t.Elapsed), FormatRate), orUnknown(rateOf(t.Received, t.Elapsed), FormatRate))
	s.row("", "%16s %19s", size(t.Sent), size(t.Received))
	if b.Transport == result.UDP {
		s.row("", "%16s %19s", packets(t.Sent), packets(t.Received))
		s.arrivals(t.Received)
	}
	s.sending(t.Sent)
	s.remark(t)
	s.steady(t.Steady)
	if s.c.Streams {
		s.streams(t.Streams)
	}
}

func size(v *result.View) string {
	if v == nil {
		return unknown
	}
	return FormatSize(v.Bytes)
}

func packets(v *result.View) string {
	if v == nil || v.Packets == nil {
		return unknown
	}
	return formatCount(*v.Packets, "packet")
}

// arrivals tells what became of datagrams on the way.
func (s *sheet) arrivals(v *result.View) {
	if v == nil {
		s.row("lost", unknown)
		return
	}
	lost := lossText(v)
	if r := v.LossRuns; r != nil && r.Count > 0 {
		lost += fmt.Sprintf(", in %s, the longest of %s", formatCount(r.Count, "run"), formatCount(r.Longest, "packet"))
	}
	s.row("lost", "%s", lost)
	if v.Dropped != nil && *v.Dropped > 0 {
		s.row("", "%d of them by the receiving machine itself: its socket buffer was full", *v.Dropped)
	}
	if d := disorder(v); d != "" {
		s.row("order", "%s", d)
	}
	s.row("jitter", "%s", orUnknown(v.Jitter, FormatDelay))
}

// sending tells what the sender itself held up.
func (s *sheet) sending(v *result.View) {
	if v == nil {
		return
	}
	if v.Skipped != nil && *v.Skipped > 0 {
		s.row("skipped", "%s: this sender was too late to send them", formatCount(*v.Skipped, "packet"))
	}
	if t := v.TCP; t != nil {
		congestion := ""
		if t.Congestion != "" {
			congestion = ", " + clean(t.Congestion)
		}
		s.row("TCP", "%s, RTT %s, least %s%s", formatCount(t.Retransmits, "retransmit"), FormatDelay(t.RTT), FormatDelay(t.MinRTT), congestion)
	}
}

// remark says so when sender and receiver are far apart.
func (s *sheet) remark(t *result.Total) {
	d := differ(t)
	if d == nil || math.Abs(*d) <= differMuch {
		return
	}
	apart := FormatPercent(math.Abs(*d))
	if *d > 0 {
		s.row("remark", "the receiver counted %s more than the sender: they count differently, or over different times", apart)
		return
	}
	s.row("remark", "the receiver counted %s less than the sender: believe the receiver", apart)
}

// steady is the rate without its ramp-up, and how far to trust it.
func (s *sheet) steady(r *result.Steady) {
	if r == nil {
		return
	}
	if r.Rate == 0 {
		s.row("steady", "%s", clean(r.Confidence))
		return
	}
	t := FormatRate(r.Rate)
	if r.From > 0 {
		t += " from " + FormatElapsed(r.From) + " on"
	}
	t += ", spread " + FormatPercent(r.Spread)
	for n, at := range r.Changes {
		if n == 0 {
			t += ", changed at "
		} else {
			t += " and "
		}
		t += FormatElapsed(at)
	}
	if r.Confidence != "" {
		t += " (" + clean(r.Confidence) + ")"
	}
	s.row("steady", "%s", t)
}

func (s *sheet) streams(streams []result.Total) {
	for n, t := range streams {
		s.row(fmt.Sprintf("stream %d", n), "%16s %19s", orUnknown(rateOf(t.Sent, t.Elapsed), FormatRate), orUnknown(rateOf(t.Received, t.Elapsed), FormatRate))
	}
}

// machines tells how busy both ends were, and what that may mean where nothing
// else says why.
func (s *sheet) machines(cpu result.CPU, why *result.Why) {
	s.row("CPU", "%s", s.c.cpus(cpu))
	if why != nil && why.Limit != "unknown" {
		return
	}
	const remark = "above %d %% %s: the machine may be the limit, not the path"
	switch here, there := busy(cpu.Local), busy(cpu.Remote); {
	case here && there:
		s.row("", remark, busyCPU, "at both ends")
	case here:
		s.row("", remark, busyCPU, "here")
	case there:
		s.row("", remark, busyCPU, "there")
	}
}

// latency compares the delay of the idle path with that under load.
func (s *sheet) latency(l *result.Latency) {
	if l == nil {
		return
	}
	median := func(d result.Delay) string { return FormatDelay(d.P50) }
	t := "idle " + orUnknown(l.Idle, median) + ", loaded " + orUnknown(l.Loaded, median)
	if l.Idle != nil && l.Loaded != nil {
		t += fmt.Sprintf(" (%+.1f ms)", float64(l.Loaded.P50-l.Idle.P50)/float64(time.Millisecond))
	}
	if l.RPM != nil {
		t += fmt.Sprintf(", %.0f round trips a minute", *l.RPM)
	}
	if l.Grade != "" {
		t += ", grade " + clean(l.Grade)
	}
	if l.Method != "" {
		t += " (" + clean(l.Method) + ")"
	}
	s.row("latency", "%s", t)
	if l.Remark != "" {
		s.row("", "%s", clean(l.Remark))
	}
}

// why names the limit, the figures that show it, and what to try.
func (s *sheet) why(w *result.Why) {
	if w == nil {
		return
	}
	s.row("why", "%s", s.c.paint(bold, clean(w.Text)))
	for _, line := range w.Evidence {
		s.row("", "- %s", clean(line))
	}
	if w.Try != "" {
		s.row("", "try: %s", clean(w.Try))
	}
}

// ended tells why the run stopped.
func (s *sheet) ended(e result.End) {
	reason, ok := reasons[e.Reason]
	if !ok {
		reason = cmp.Or(clean(strings.ReplaceAll(e.Reason, "_", " ")), unknown)
	}
	s.row("ended", "after %s: %s", FormatElapsed(e.Elapsed), reason)
	if e.Err != nil {
		s.row("error", "%s", s.c.paint(red, clean(e.Err.Error())))
	}
}
