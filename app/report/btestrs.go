package report

import (
	"fmt"
	"io"

	"github.com/sonde-net/sonde/result"
)

// A BtestRSConfig says what BtestRS writes.
type BtestRSConfig struct {
	Quiet bool      // no interval lines; log lines still appear
	Log   io.Writer // where the lines of starts, ends and logins go; nil is nowhere
}

// A BtestRSSink writes the lines of btest-rs 0.6.3.
type BtestRSSink struct {
	out
	c      BtestRSConfig
	begins map[result.ID]result.Begin
	crumbs map[result.ID][]result.Interval // not shown if they are the last of a run
}

// BtestRS writes what the program btest-rs prints: a line for each second and
// direction, and TEST_START and TEST_END in the log. Bytes are counted with
// headers where the protocol does so. The line of zeros that btest-rs prints
// before a TCP client has measured anything is left out.
//
//	[   3]   RX  430.51 Mbps (53813376 bytes)  lost: 5  cpu: 18%/45%
//	[   4]   TX  450.00 Mbps (56250000 bytes)  cpu: 72%/85% !
func BtestRS(w io.Writer, c BtestRSConfig) *BtestRSSink {
	return &BtestRSSink{out: out{w: w}, c: c, begins: map[result.ID]result.Begin{}, crumbs: map[result.ID][]result.Interval{}}
}

// Put implements result.Sink.
func (s *BtestRSSink) Put(e result.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e := e.(type) {
	case result.Begin:
		s.begins[e.Run] = e
		s.log(startLine(e))
	case result.Interval:
		if e.Stream == result.AllStreams && !s.c.Quiet {
			s.interval(e)
		}
	case result.Note:
		if line, ok := loginLine(e); ok {
			s.log(line)
		}
	case result.End:
		delete(s.crumbs, e.Run)
		if begin, ok := s.begins[e.Run]; ok {
			delete(s.begins, e.Run)
			s.log(endLine(record{begin: begin, end: e, btestRS: true}))
		}
	}
}

// interval prints an interval, and those before it that were not the last ones.
func (s *BtestRSSink) interval(i result.Interval) {
	if isCrumb(i) {
		s.crumbs[i.Run] = append(s.crumbs[i.Run], i)
		return
	}
	for _, one := range append(s.crumbs[i.Run], i) {
		s.write([]byte(btestRSLine(s.begins[i.Run].Transport, one) + "\n"))
	}
	delete(s.crumbs, i.Run)
}

// log writes a line of the log: time, level, event.
func (s *BtestRSSink) log(l eventLine) {
	if s.c.Log == nil {
		return
	}
	level := " INFO"
	if l.severity == severityWarning {
		level = " WARN"
	}
	if _, err := fmt.Fprintf(s.c.Log, "%s %s %s\n", stamp(l.at), level, l.text); err != nil && s.err == nil {
		s.err = err
	}
}

// btestRSLine is one interval. Only a receiver of datagrams knows of loss, a
// TCP server does not print the CPU, and neither does anybody before both
// ends' are known.
func btestRSLine(t result.Transport, i result.Interval) string {
	direction := "RX"
	if i.Direction == transmit(i.Role) {
		direction = "TX"
	}
	var v result.View
	if local := i.Local(); local != nil {
		v = *local
	}
	n := counted(v, true)
	line := fmt.Sprintf("[%4d]  %3s  %s (%d bytes)", i.Seq, direction, btestRSRate(n, i), n)
	if v.Lost != nil && *v.Lost > 0 {
		line += fmt.Sprintf("  lost: %d", *v.Lost)
	}
	if t == result.TCP && i.Role == result.Server || i.CPU.Local == nil || i.CPU.Remote == nil {
		return line
	}
	line += fmt.Sprintf("  cpu: %.0f%%/%.0f%%", *i.CPU.Local, *i.CPU.Remote)
	if busy(i.CPU.Local) || busy(i.CPU.Remote) {
		line += " !"
	}
	return line
}

// btestRSRate has the units of btest-rs: steps of 1000, two decimals but for
// bps.
func btestRSRate(n uint64, i result.Interval) string {
	rate := result.Rate(n, i.End-i.Start)
	if rate == nil {
		return "0 bps"
	}
	return scaled(float64(*rate), 1000, "bps", "Kbps", "Mbps", "Gbps")
}
