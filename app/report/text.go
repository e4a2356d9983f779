package report

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sonde-net/sonde/result"
)

// A TextConfig says how Text writes. The zero TextConfig is ready to use: plain
// lines without escape codes, remarks among the results.
type TextConfig struct {
	Color   bool      // escape codes may be used; no meaning hangs on them alone
	Streams bool      // a line for each stream as well as for their sum
	Many    bool      // runs may mix, as at a server: each line begins with the peer
	Verbose bool      // remarks that are no warnings, too
	Notes   io.Writer // where remarks go, such as os.Stderr; nil is among the results
	// ColorNotes is Color for Notes, which may be another terminal, or none.
	ColorNotes bool
}

// A TextSink writes lines for a person.
type TextSink struct {
	out
	c    TextConfig
	runs map[result.ID]*textRun
}

// A textRun is what is kept of a run between its Begin and its End.
type textRun struct {
	begin   result.Begin
	waiting *result.Interval            // one direction of a moment, until the other comes
	crumbs  []result.Interval           // so short that they are not shown if they are the last
	before  map[result.Direction]uint64 // our rate, bit/s, in the interval before
}

// Text writes a heading for each run, one line for each interval with both
// directions on it, warnings, and a summary.
func Text(w io.Writer, c TextConfig) *TextSink {
	return &TextSink{out: out{w: w}, c: c, runs: map[result.ID]*textRun{}}
}

// Put implements result.Sink.
func (s *TextSink) Put(e result.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e := e.(type) {
	case result.Begin:
		s.runs[e.Run] = &textRun{begin: e, before: map[result.Direction]uint64{}}
		s.print(&e, s.c.heading(e))
	case result.Interval:
		s.interval(e)
	case result.Note:
		s.note(e)
	case result.End:
		s.end(e)
	}
}

// print writes one line, with the peer in front of it where runs mix.
func (s *TextSink) print(b *result.Begin, line string) {
	if s.c.Many && b != nil {
		line = fmt.Sprintf("%-21s  %s", peerOf(*b), line)
	}
	s.write([]byte(strings.TrimRight(line, " ") + "\n"))
}

// paint gives text a colour or weight (ECMA-48 SGR) where that is allowed.
func (c TextConfig) paint(sgr, text string) string {
	if !c.Color || text == "" {
		return text
	}
	return "\x1b[" + sgr + "m" + text + "\x1b[0m"
}

// The looks that paint uses.
const (
	bold   = "1"
	red    = "31"
	yellow = "33"
)

// peerOf names the far end: as the user did, or by its address.
func peerOf(b result.Begin) string {
	if b.Target != "" {
		return clean(b.Target)
	}
	if b.Peer.IsValid() {
		return netip.AddrPortFrom(b.Peer.Addr().Unmap(), b.Peer.Port()).String()
	}
	return unknown
}

// Heading tells in a line what was agreed, as Text does.
func Heading(b result.Begin) string { return TextConfig{}.heading(b) }

// heading tells what was agreed, such as "btest client: download over UDP,
// 192.0.2.1:2000, 10.0 s, at most 100.00 Mbit/s, login md5 as ann".
func (c TextConfig) heading(b result.Begin) string {
	var t strings.Builder
	fmt.Fprintf(&t, "%s %s: %s", clean(b.Protocol), b.Role, way(b))
	if !c.Many { // else the line begins with the peer
		t.WriteString(", " + peerOf(b))
	}
	if b.Streams > 1 {
		t.WriteString(", " + formatCount(b.Streams, map[bool]string{true: "session", false: "stream"}[b.Role == result.Sender]))
	}
	if b.Duration > 0 {
		t.WriteString(", " + FormatElapsed(b.Duration))
	}
	for _, limit := range []struct {
		rate uint64
		name string
	}{{b.DownRate, "download"}, {b.UpRate, "upload"}} {
		if limit.rate > 0 {
			t.WriteString(", " + limit.name + " at most " + FormatRate(limit.rate))
		}
	}
	if b.Login != "" && b.Login != "none" {
		t.WriteString(", login " + clean(b.Login))
	}
	if b.Account != "" {
		t.WriteString(" as " + clean(b.Account))
	}
	return t.String()
}

// way is the direction and transport: "download over UDP".
func way(b result.Begin) string {
	d := b.Direction.String()
	if b.Direction == result.Both {
		d = "both ways"
	}
	if b.Role == result.Sender || b.Role == result.Reflector {
		d = "round trips"
	}
	if b.Transport != "" {
		d += " over " + strings.ToUpper(string(b.Transport))
	}
	return d
}

// crumb is how short the last interval of a run is when it is left out of the
// lines: a server counts on for some milliseconds until the client's close has
// come. The totals have all of it.
const crumb = 50 * time.Millisecond

func isCrumb(i result.Interval) bool { return i.Seq > 1 && i.End-i.Start < crumb }

// interval shows an interval, and those before it that were not the last ones.
func (s *TextSink) interval(i result.Interval) {
	run := s.runs[i.Run]
	if run != nil && isCrumb(i) {
		run.crumbs = append(run.crumbs, i)
		return
	}
	if run != nil {
		for _, c := range run.crumbs {
			s.show(run, c)
		}
		run.crumbs = nil
	}
	s.show(run, i)
}

// show prints a line as soon as all directions of the moment have come.
func (s *TextSink) show(run *textRun, i result.Interval) {
	if i.RoundTrips != nil {
		s.print(beginOf(run), s.tripsMoment(run, i))
		return
	}
	if i.Stream != result.AllStreams {
		if s.c.Streams {
			s.print(beginOf(run), s.moment(run, i))
		}
		return
	}
	if run == nil || run.begin.Direction != result.Both {
		s.print(beginOf(run), s.moment(run, i))
		return
	}
	first := run.waiting
	switch {
	case first == nil:
		run.waiting = &i
	case first.Seq == i.Seq && first.Direction != i.Direction:
		run.waiting = nil
		if i.Direction == result.Down {
			*first, i = i, *first
		}
		s.print(&run.begin, s.moment(run, *first, i))
	default: // the other direction of that moment never came
		run.waiting = &i
		s.print(&run.begin, s.moment(run, *first))
	}
}

func beginOf(run *textRun) *result.Begin {
	if run == nil {
		return nil
	}
	return &run.begin
}

// moment is the line of one interval: its end in seconds, each direction, the
// CPUs and the delay.
func (s *TextSink) moment(run *textRun, directions ...result.Interval) string {
	last := directions[len(directions)-1]
	var t strings.Builder
	fmt.Fprintf(&t, "%4s", shortSeconds(last.End))
	if last.Stream != result.AllStreams {
		fmt.Fprintf(&t, "  stream %-3d", last.Stream)
	}
	rtt := last.RTT
	for _, i := range directions {
		t.WriteString("  " + s.oneWay(run, i))
		rtt = cmp.Or(rtt, i.RTT)
	}
	if last.Stream == result.AllStreams {
		t.WriteString("  CPU " + s.c.cpus(last.CPU))
		t.WriteString("  RTT " + orUnknown(rtt, func(d result.Delay) string { return FormatDelay(d.P50) }))
	}
	return t.String()
}

// shortSeconds is d in seconds with one decimal where that is not zero.
func shortSeconds(d time.Duration) string {
	return strconv.FormatFloat(math.Round(d.Seconds()*10)/10, 'f', -1, 64)
}

// oneWay is one direction of a line: its rate here, what became of its
// datagrams, and the other end's rate where that is far from ours.
func (s *TextSink) oneWay(run *textRun, i result.Interval) string {
	elapsed := i.End - i.Start
	t := fmt.Sprintf("%-8s %14s", i.Direction, orUnknown(rateOf(i.Local(), elapsed), FormatRate))
	if run == nil || run.begin.Transport != result.UDP {
		return t
	}
	if i.Direction == receive(i.Role) || i.Received != nil && i.Received.Lost != nil {
		lost := "lost " + lossText(i.Received)
		if d := disorder(i.Received); d != "" {
			lost += ", " + d
		}
		t += fmt.Sprintf("  %-8s", lost)
	}
	if there := run.farOff(i); there != nil {
		t += "  there " + FormatRate(*there)
	}
	return t
}

// farOff is the other end's rate where that is far from ours, else nil. What it
// tells may be of the interval before, so our rate of that one counts as well.
func (r *textRun) farOff(i result.Interval) *uint64 {
	here, there := rateOf(i.Local(), i.End-i.Start), rateOf(i.Remote(), i.End-i.Start)
	if here == nil {
		return there
	}
	before, ok := r.before[i.Direction]
	if !ok {
		before = *here
	}
	r.before[i.Direction] = *here
	if there == nil {
		return nil
	}
	least, most := float64(min(before, *here)), float64(max(before, *here))
	if rate := float64(*there); rate >= least*(1-differMuch) && rate <= most*(1+differMuch) {
		return nil
	}
	return there
}

// lossText is the loss that a receiver saw: "5 (0.01 %)".
func lossText(received *result.View) string {
	lost, ratio := lossOf(received)
	if lost == nil {
		return unknown
	}
	t := strconv.FormatInt(*lost, 10)
	if ratio != nil && *lost > 0 {
		t += " (" + FormatPercent(*ratio) + ")"
	}
	return t
}

// disorder lists what else happened to datagrams, or nothing.
func disorder(received *result.View) string {
	if received == nil {
		return ""
	}
	var parts []string
	for _, figure := range []struct {
		n    *uint64
		name string
	}{
		{received.Reordered, "reordered"},
		{received.Duplicate, "duplicate"},
		{received.Late, "late"},
	} {
		if figure.n != nil && *figure.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", *figure.n, figure.name))
		}
	}
	return strings.Join(parts, ", ")
}

// cpus is the busy share of both ends; a mark stands behind one above busyCPU.
func (c TextConfig) cpus(cpu result.CPU) string {
	return c.percent(cpu.Local) + " here, " + c.percent(cpu.Remote) + " there"
}

func (c TextConfig) percent(p *float64) string {
	t := orUnknown(finite(p, 0), func(p float64) string { return strconv.FormatFloat(p, 'f', 0, 64) + " %" })
	if busy(p) {
		t = c.paint(red, t+" !")
	}
	return t
}

// note prints a remark and what to do about it.
func (s *TextSink) note(n result.Note) {
	if n.Level != result.Warning && !s.c.Verbose {
		return
	}
	colours := s.c
	if s.c.Notes != nil {
		colours.Color = s.c.ColorNotes
	}
	word := "note"
	if n.Level == result.Warning {
		word = colours.paint(yellow, "warning")
	}
	line := word + ": " + clean(n.Text)
	if run := s.runs[n.Run]; s.c.Many && run != nil {
		line = word + ": " + peerOf(run.begin) + ": " + clean(n.Text)
	}
	if n.Hint != "" {
		line += "\n  hint: " + clean(n.Hint)
	}
	if s.c.Notes == nil {
		s.write([]byte(line + "\n"))
		return
	}
	if _, err := io.WriteString(s.c.Notes, line+"\n"); err != nil && s.err == nil {
		s.err = err
	}
}

// end prints what still waits, and the summary of a run that had begun.
func (s *TextSink) end(e result.End) {
	run := s.runs[e.Run]
	delete(s.runs, e.Run)
	if run == nil {
		return // nothing was agreed, nothing was measured: the error is all
	}
	if run.waiting != nil {
		s.print(&run.begin, s.moment(run, *run.waiting))
	}
	s.write([]byte(summary(s.c, run.begin, e)))
}
