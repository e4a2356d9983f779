package report

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-net/sonde/result"
)

// reasons are the words of result.End.Reason for a person.
var reasons = map[string]string{
	result.ReasonDone:               "its time is over",
	result.ReasonInterrupted:        "stopped by the user",
	result.ReasonClientGone:         "the client closed the test",
	result.ReasonServerGone:         "the server closed the test before its time",
	result.ReasonPeerSilent:         "nothing came from the far end any more",
	result.ReasonMaxDuration:        "the server's longest time for a test is over",
	result.ReasonShutdown:           "the server is shutting down",
	result.ReasonFailed:             "failed",
	result.ReasonTooManyConnections: "too many tests",
	result.ReasonBytesExceeded:      "the byte budget is used up",
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

// Summary is the block that closes a run, as Text writes it.
func Summary(c TextConfig, b result.Begin, e result.End) string { return summary(c, b, e) }

// summary is the block that closes a run: what got through, with both ends'
// counts side by side, what is remarkable about it, and why it was not more.
// Figures for those who look closer are left to Verbose.
func summary(c TextConfig, b result.Begin, e result.End) string {
	s := &sheet{c: c}
	title := fmt.Sprintf("--- %s %s, %s, %s", clean(b.Protocol), way(b), peerOf(b), FormatElapsed(e.Elapsed))
	s.WriteString(c.paint(bold, title) + "\n")
	s.table(b, e)
	for n := range e.RoundTrips {
		if len(e.RoundTrips) > 1 {
			s.row("session", "%d", n)
		}
		s.trips(e.Role, &e.RoundTrips[n])
	}
	for _, d := range b.Direction.Each() {
		if t := e.Total(d); t != nil {
			s.details(b, d, t)
		}
	}
	s.steady(b, e)
	s.machines(e.CPU, e.Why)
	s.latency(e.Latency)
	s.why(e.Why)
	s.verdict(e.Verdict)
	s.ended(e)
	return s.String()
}

// table has a line for each direction: the sender's rate, the receiver's, how
// much came through and, for datagrams, what was lost.
func (s *sheet) table(b result.Begin, e result.End) {
	lost := ""
	if b.Transport == result.UDP {
		lost = "lost"
	}
	const columns = "%14s  %14s  %10s  %s"
	header := false
	for _, d := range b.Direction.Each() {
		t := e.Total(d)
		if t == nil {
			continue
		}
		if !header {
			s.row("", columns, "sent", "received", "data", lost)
			header = true
		}
		if lost != "" {
			lost = lossText(t.Received)
		}
		s.row(d.String(), columns, rateText(t.Sent, t.Elapsed), rateText(t.Received, t.Elapsed), dataText(t), lost)
		if s.c.Streams {
			for n, one := range t.Streams {
				s.row(fmt.Sprintf(" stream %d", n), columns, rateText(one.Sent, one.Elapsed), rateText(one.Received, one.Elapsed), dataText(&one), "")
			}
		}
	}
}

func rateText(v *result.View, elapsed time.Duration) string {
	return orUnknown(rateOf(v, elapsed), FormatRate)
}

// dataText is how much came through, or was sent when the receiver did not
// tell of all of the time.
func dataText(t *result.Total) string {
	v := t.Received
	if v == nil || v.Covered > 0 && t.Sent != nil {
		v = t.Sent
	}
	if v == nil {
		return unknown
	}
	return FormatSize(v.Bytes)
}

// details are the rows of one direction that say something out of the ordinary,
// and with Verbose all of them.
func (s *sheet) details(b result.Begin, d result.Direction, t *result.Total) {
	name := ""
	if b.Direction == result.Both {
		name = d.String() + ": "
	}
	s.arrivals(name, t.Received)
	s.sending(name, t.Sent)
	s.remark(name, t)
	if s.c.Verbose && b.Transport == result.UDP {
		s.row("packets", "%s%s sent, %s received", name, packets(t.Sent), packets(t.Received))
	}
}

func packets(v *result.View) string {
	if v == nil {
		return unknown
	}
	return orUnknown(v.Packets, func(n uint64) string { return strconv.FormatUint(n, 10) })
}

// arrivals tells what became of datagrams on the way.
func (s *sheet) arrivals(name string, v *result.View) {
	if v == nil {
		return
	}
	if r := v.LossRuns; r != nil && r.Count > 0 {
		s.row("loss", "%sin %s, the longest of %s", name, formatCount(r.Count, "run"), formatCount(r.Longest, "packet"))
	}
	if v.Dropped != nil && *v.Dropped > 0 {
		s.row("", "%s%d of them lost by the receiving machine itself: its socket buffer was full", name, *v.Dropped)
	}
	if d := disorder(v); d != "" {
		s.row("order", "%s%s", name, d)
	}
	if v.Jitter != nil {
		s.row("jitter", "%s%s", name, FormatDelay(*v.Jitter))
	}
}

// sending tells what the sender itself held up.
func (s *sheet) sending(name string, v *result.View) {
	if v == nil {
		return
	}
	if v.Skipped != nil && *v.Skipped > 0 {
		s.row("skipped", "%s%s, because the sender was too late to send them", name, formatCount(*v.Skipped, "packet"))
	}
	if t := v.TCP; t != nil && s.c.Verbose {
		congestion := ""
		if t.Congestion != "" {
			congestion = ", " + clean(t.Congestion)
		}
		s.row("TCP", "%s%s, RTT %s, least %s%s", name, formatCount(t.Retransmits, "retransmit"), FormatDelay(t.RTT), FormatDelay(t.MinRTT), congestion)
	}
}

// remark says so when sender and receiver are far apart.
func (s *sheet) remark(name string, t *result.Total) {
	d := differ(t)
	if d == nil || math.Abs(*d) <= differMuch {
		return
	}
	apart := FormatPercent(math.Abs(*d))
	if *d > 0 {
		s.row("remark", "%sthe receiver counted %s more than the sender: they count differently, or over different times", name, apart)
		return
	}
	s.row("remark", "%sthe receiver counted %s less than the sender: believe the receiver", name, apart)
}

// steady says how far to trust the rates.
func (s *sheet) steady(b result.Begin, e result.End) {
	var texts []string
	for _, d := range b.Direction.Each() {
		t := e.Total(d)
		if t == nil || t.Steady == nil {
			continue
		}
		name := ""
		if b.Direction == result.Both {
			name = d.String() + " "
		}
		texts = append(texts, name+steadyText(t.Steady))
	}
	if len(texts) == 2 && strings.TrimPrefix(texts[0], "download ") == strings.TrimPrefix(texts[1], "upload ") {
		texts = []string{strings.TrimPrefix(texts[0], "download ")}
	}
	if len(texts) > 0 {
		s.row("steady", "%s", strings.Join(texts, "; "))
	}
}

// steadyText is the rate without its ramp-up and how far to trust it, or why it
// cannot be told.
func steadyText(r *result.Steady) string {
	if r.Rate == 0 || r.Confidence == tooShort {
		return clean(cmp.Or(r.Confidence, unknown))
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
	return t
}

// tooShort is the confidence with which a steady rate is not worth a figure.
const tooShort = "too short to tell"

// machines tells how busy both ends were, and what that may mean where nothing
// else says why.
func (s *sheet) machines(cpu result.CPU, why *result.Why) {
	if cpu.Local == nil && cpu.Remote == nil {
		return
	}
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
	if l.Idle == nil && l.Loaded == nil {
		s.row("latency", "%s", cmp.Or(clean(l.Remark), unknown))
		return
	}
	median := func(d result.Delay) string { return FormatDelay(d.P50) }
	t := orUnknown(l.Idle, median) + " idle, " + orUnknown(l.Loaded, median) + " under load"
	if l.Idle != nil && l.Loaded != nil {
		t += " (" + addedText(l.Loaded.P50-l.Idle.P50) + ")"
	}
	if l.Grade != "" {
		t += ": grade " + clean(l.Grade)
	}
	s.row("latency", "%s", t)
	if s.c.Verbose {
		s.row("", "by %s, %s round trips a minute", cmp.Or(clean(l.Method), unknown),
			orUnknown(l.RPM, func(n float64) string { return strconv.FormatFloat(n, 'f', 0, 64) }))
	}
	if l.Remark != "" {
		s.row("", "%s", clean(l.Remark))
	}
}

// addedText is how much longer a delay is: "+31.8 ms", or "no more" below what
// the figures can tell.
func addedText(d time.Duration) string {
	ms := math.Round(float64(d)/float64(time.Millisecond)*10) / 10
	if ms == 0 {
		return "no more"
	}
	return strconv.FormatFloat(math.Abs(ms), 'f', 1, 64) + map[bool]string{true: " ms more", false: " ms less"}[ms > 0]
}

// why names the limit and what to try, and with Verbose the figures that show
// it.
func (s *sheet) why(w *result.Why) {
	if w == nil {
		return
	}
	s.row("why", "%s", s.c.paint(bold, clean(once(w.Text))))
	if s.c.Verbose {
		for _, line := range w.Evidence {
			s.row("", "- %s", clean(line))
		}
	}
	if w.Try != "" {
		s.row("", "try: %s", clean(w.Try))
	}
}

// once is a text that says the same of both directions said once.
func once(text string) string {
	down, up, two := strings.Cut(text, "; upload: ")
	if down, ok := strings.CutPrefix(down, "download: "); two && ok && down == up {
		return up
	}
	return text
}

// ended tells why the run stopped, if not because its time was over. The error
// of a client is told by the command that ran it.
func (s *sheet) ended(e result.End) {
	if e.Reason == result.ReasonDone && e.Err == nil {
		return
	}
	reason, ok := reasons[e.Reason]
	if !ok {
		reason = cmp.Or(clean(strings.ReplaceAll(e.Reason, "_", " ")), unknown)
	}
	s.row("ended", "%s", reason)
	asking := e.Role == result.Client || e.Role == result.Sender
	if e.Err != nil && (!asking || s.c.Notes == nil) {
		s.row("error", "%s", s.c.paint(red, clean(e.Err.Error())))
	}
}
