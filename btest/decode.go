package btest

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/transcript"
)

// DecodeOptions say how Decode prints.
type DecodeOptions struct {
	Secrets bool   // show hashes and confirmations, with which passwords can be guessed
	Hex     bool   // add the bytes of each message
	Port    uint16 // the server's TCP port in a capture; 0 means 2000
}

// Decode prints a recording in words, message by message in the order of time.
// It reads the JSON that a Recorder writes, captures (pcap, pcapng), and the
// text form of recordings.
func Decode(r io.Reader, w io.Writer, o DecodeOptions) error {
	port := o.Port
	if port == 0 {
		port = wire.DefaultPort
	}
	rec, err := transcript.Read(r, port)
	if err != nil {
		return fmt.Errorf("btest: %w", err)
	}
	out := bufio.NewWriter(w)
	printHead(out, rec)
	for _, l := range decode(rec) {
		l.print(out, o)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("btest: decode: %w", err)
	}
	return nil
}

func printHead(out *bufio.Writer, rec *transcript.Recording) {
	for _, head := range []struct{ what, value string }{
		{"recording", rec.Name}, {"", rec.Description}, {"server", rec.Server}, {"client", rec.Client}} {
		if head.value != "" {
			fmt.Fprintf(out, "%-9s  %s\n", head.what, head.value)
		}
	}
	for _, n := range rec.Notes {
		fmt.Fprintf(out, "%-9s  %s\n", "note", n)
	}
	if out.Buffered() > 0 {
		fmt.Fprintln(out)
	}
}

// A decodedLine is one message, or another event, of a recording.
type decodedLine struct {
	conn int // 0 for what belongs to no TCP connection
	message
}

// print writes l: a line, and one more for each field.
func (l *decodedLine) print(out *bufio.Writer, o DecodeOptions) {
	where, who := "    ", ""
	switch {
	case l.conn > 0:
		where = fmt.Sprintf("#%-3d", l.conn)
	case l.from != 0:
		where = "udp "
	}
	if l.from != 0 {
		who = l.from.String()
	}
	fmt.Fprintf(out, "%9.3f s  %s %-6s  %s", l.at.Seconds(), where, who, l.name)
	if l.text != "" {
		fmt.Fprintf(out, ": %s", l.text)
	}
	fmt.Fprintln(out)
	indent := "                              "
	for _, f := range l.fields {
		fmt.Fprintf(out, "%s%-13s  %s", indent, f.name, f.shown(o.Secrets))
		if f.meaning != "" {
			fmt.Fprintf(out, "  %s", f.meaning)
		}
		fmt.Fprintln(out)
	}
	if (o.Hex || l.kind == kindUnknown) && len(l.raw) > 0 {
		fmt.Fprintf(out, "%s%s\n", indent, l.hex(o.Secrets))
	}
}

// decode turns a recording into words, in the order of time.
func decode(rec *transcript.Recording) []decodedLine {
	d := decoder{dialogs: map[int]*dialog{}, tests: map[wire.Token]wire.Command{}}
	for i := range rec.Events {
		d.event(&rec.Events[i])
	}
	for _, conn := range slices.Sorted(maps.Keys(d.dialogs)) {
		d.ended(conn)
	}
	slices.SortStableFunc(d.lines, func(a, b decodedLine) int { return cmp.Compare(a.at, b.at) })
	return d.lines
}

// A decoder goes through the events of a recording.
type decoder struct {
	lines   []decodedLine
	dialogs map[int]*dialog // of connections that are open
	tests   map[wire.Token]wire.Command
	last    time.Duration
}

// note adds a line that is no message.
func (d *decoder) note(e *transcript.Event, name, text string) {
	l := decodedLine{message: message{kind: kindData, from: e.From, at: e.At, length: e.Len, name: name, text: text}}
	if e.Kind.TCP() {
		l.conn = e.Conn
	}
	d.lines = append(d.lines, l)
}

func (d *decoder) event(e *transcript.Event) {
	d.last = max(d.last, e.At)
	switch e.Kind {
	case transcript.Open:
		d.ended(e.Conn)
		d.note(e, "connects", "")
	case transcript.Data:
		g := d.dialog(e.Conn)
		g.feed(e.From, e.At, e.Data)
		if e.Cut() {
			g.missing(e.From, e.At, e.End(), e.Len-int64(len(e.Data)))
		}
	case transcript.Zeros:
		d.dialog(e.Conn).zeros(e.From, e.At, e.End(), e.Len)
	case transcript.Fin, transcript.Reset:
		d.dialog(e.Conn).flush(e.From, e.At)
		d.note(e, map[transcript.Kind]string{transcript.Fin: "closes", transcript.Reset: "resets the connection"}[e.Kind], "")
	case transcript.Datagram, transcript.Run:
		d.note(e, "datagram", datagramWords(e))
	case transcript.Fragments:
		d.note(e, "IP fragments", fmt.Sprintf("%d: packets are larger than the path takes in one piece", e.Count))
	case transcript.Unreachable:
		d.note(e, "ICMP", fmt.Sprintf("%d times port unreachable: the socket was not open yet, or no longer", e.Count))
	case transcript.Omitted:
		d.lines = append(d.lines, decodedLine{message: message{kind: kindData, at: d.last, name: "left out", text: fmt.Sprintf("%d further events", e.Count)}})
	}
}

// dialog returns the dialog of a connection.
func (d *decoder) dialog(conn int) *dialog {
	g := d.dialogs[conn]
	if g == nil {
		g = &dialog{tests: d.tests, tell: func(m message) { d.lines = append(d.lines, decodedLine{conn, m}) }}
		d.dialogs[conn] = g
	}
	return g
}

// ended tells what a connection still holds back.
func (d *decoder) ended(conn int) {
	if g := d.dialogs[conn]; g != nil {
		g.flush(transcript.Client, d.last)
		g.flush(transcript.Server, d.last)
		delete(d.dialogs, conn)
	}
}

// datagramWords tells a datagram, or a run of them.
func datagramWords(e *transcript.Event) string {
	ports := fmt.Sprintf("%d > %d", e.Src.Port(), e.Dst.Port())
	if e.Kind == transcript.Run {
		text := fmt.Sprintf("%s: %d of %d bytes each", ports, e.Count, e.Len)
		if e.Numbered {
			text += fmt.Sprintf(", sequence %d to %d", e.First, e.Final)
			if step := int64(e.Final-e.First) + 1; step > e.Count {
				text += fmt.Sprintf(" (%d numbers not among them)", step-e.Count)
			}
		}
		if took := e.End() - e.At; took >= 100*time.Millisecond {
			text += fmt.Sprintf(" until %.3f s, %s of payload", e.End().Seconds(), megabits(uint64(float64(e.Bytes())*8/took.Seconds())))
		}
		return text
	}
	seq, err := wire.ParseSequence(e.Data)
	switch {
	case e.Len == 0:
		return ports + ": empty, a probe that opens NATs and firewalls"
	case err != nil:
		return fmt.Sprintf("%s: %d bytes, too short for a sequence number: a probe", ports, e.Len)
	}
	return fmt.Sprintf("%s: sequence %d, %d bytes", ports, seq, e.Len)
}
