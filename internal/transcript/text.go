package transcript

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// The text form is for recordings that a person writes, one event a line:
//
//	# UDP download, no login.            the first comment is the description
//	< 01 00 00 00                        # hello: from the server
//	> 00020100 dc050000 00000000 00000000 # from the client
//	@1.5 2> zeros 32768 until 3.0        # at 1.5 s, on connection 2
//	> fin                                # or open, rst
//	< 07 e4 of 300                       # 300 bytes, of which two are known
//	< udp 2001 2257 00000001 of 1472     # a datagram, ports of sender and receiver
//	< udp 2001 2257 run 110 of 1472 from 4 to 113 until 0.362
//	! fragments 3                        # or unreachable, omitted
//
// Without @ an event is at the time of the one before, without a number it is
// on connection 1.

// ReadText reads a recording from its text form. An error names the line.
func ReadText(r io.Reader) (*Recording, error) {
	limited := &io.LimitedReader{R: r, N: MaxFile + 1}
	lines := bufio.NewScanner(limited)
	lines.Buffer(nil, 1<<20)
	rec := &Recording{Events: []Event{}}
	var at time.Duration
	n := 0
	for lines.Scan() {
		n++
		line, comment, commented := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			if commented && rec.Description == "" && len(rec.Events) == 0 {
				rec.Description = strings.TrimSpace(comment)
			}
			continue
		}
		e, err := textEvent(words, at)
		if err == nil {
			err = e.check()
		}
		if err == nil && len(rec.Events) == MaxEvents {
			err = fmt.Errorf("more than %d events", MaxEvents)
		}
		if err != nil {
			return nil, fmt.Errorf("transcript: line %d: %w", n, err)
		}
		at = e.At
		rec.Events = append(rec.Events, e)
	}
	if limited.N <= 0 {
		return nil, fmt.Errorf("transcript: longer than %d bytes", MaxFile)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("transcript: line %d: %w", n+1, err)
	}
	return rec, nil
}

// textEvent reads one line; at is the time of the event before.
func textEvent(words []string, at time.Duration) (e Event, err error) {
	e.At = at
	if s, ok := strings.CutPrefix(words[0], "@"); ok {
		if e.At, err = textTime(s); err != nil {
			return e, err
		}
		words = words[1:]
	}
	if len(words) < 2 {
		return e, errors.New("want < or > and what was sent")
	}
	who, rest := words[0], words[1:]
	switch {
	case who == "!":
		return e, textNote(&e, rest)
	case strings.HasSuffix(who, ">"):
		e.From = Client
	case strings.HasSuffix(who, "<"):
		e.From = Server
	default:
		return e, fmt.Errorf("%q, want < or >", who)
	}
	if rest[0] == "udp" {
		if len(who) > 1 {
			return e, fmt.Errorf("%q: a datagram belongs to no connection", who)
		}
		return e, textUDP(&e, rest[1:])
	}
	e.Conn = 1
	if n := who[:len(who)-1]; n != "" {
		if e.Conn, err = strconv.Atoi(n); err != nil {
			return e, fmt.Errorf("connection %q: not a number", n)
		}
	}
	return e, textTCP(&e, rest)
}

func textTCP(e *Event, words []string) error {
	switch words[0] {
	case "open":
		e.Kind = Open
	case "fin":
		e.Kind = Fin
	case "rst":
		e.Kind = Reset
	case "zeros":
		e.Kind = Zeros
		return fields(words, map[string]func(string) error{
			"zeros": number(&e.Len), "until": until(e)})
	default:
		e.Kind = Data
		return textBytes(e, words)
	}
	return fields(words[1:], nil)
}

func textUDP(e *Event, words []string) error {
	if len(words) < 2 {
		return errors.New("udp: want the ports of sender and receiver")
	}
	for i, end := range []func(uint16){
		func(p uint16) { e.Src = port(p) },
		func(p uint16) { e.Dst = port(p) },
	} {
		p, err := strconv.ParseUint(words[i], 10, 16)
		if err != nil {
			return fmt.Errorf("port %q: want 0 to 65535", words[i])
		}
		end(uint16(p))
	}
	words = words[2:]
	if len(words) == 0 || words[0] != "run" {
		e.Kind = Datagram
		return textBytes(e, words)
	}
	e.Kind = Run
	sequence := func(p *uint32) func(string) error {
		return func(s string) error {
			n, err := strconv.ParseUint(s, 10, 32)
			*p, e.Numbered = uint32(n), true
			return err
		}
	}
	return fields(words, map[string]func(string) error{
		"run": number(&e.Count), "of": number(&e.Len), "until": until(e),
		"from": sequence(&e.First), "to": sequence(&e.Final)})
}

func textNote(e *Event, words []string) error {
	kinds := map[string]Kind{"fragments": Fragments, "unreachable": Unreachable, "omitted": Omitted}
	e.Kind = kinds[words[0]]
	if e.Kind == 0 {
		return fmt.Errorf("note %q, want fragments, unreachable or omitted", words[0])
	}
	if e.Kind == Omitted {
		e.At = 0
	}
	return fields(words, map[string]func(string) error{words[0]: number(&e.Count)})
}

// textBytes reads hex, then perhaps "of" and the full length, then perhaps
// "until" and the time of the last part.
func textBytes(e *Event, words []string) error {
	for len(words) > 0 && words[0] != "of" && words[0] != "until" {
		b, err := hex.DecodeString(words[0])
		if err != nil {
			return fmt.Errorf("%q: want pairs of hex digits", words[0])
		}
		e.Data = append(e.Data, b...)
		words = words[1:]
	}
	e.Len = int64(len(e.Data))
	return fields(words, map[string]func(string) error{"of": number(&e.Len), "until": until(e)})
}

// fields reads pairs of a word and a value.
func fields(words []string, known map[string]func(string) error) error {
	for ; len(words) > 0; words = words[2:] {
		set, ok := known[words[0]]
		if !ok {
			return fmt.Errorf("%q was not expected here", words[0])
		}
		if len(words) == 1 {
			return fmt.Errorf("%q without a number", words[0])
		}
		if err := set(words[1]); err != nil {
			return fmt.Errorf("%s %q: %w", words[0], words[1], err)
		}
	}
	return nil
}

func number(p *int64) func(string) error {
	return func(s string) (err error) {
		*p, err = strconv.ParseInt(s, 10, 64)
		return err
	}
}

func until(e *Event) func(string) error {
	return func(s string) (err error) {
		e.Joined = true
		e.Last, err = textTime(s)
		return err
	}
}

// textTime reads a number of seconds.
func textTime(s string) (time.Duration, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f >= 0 && f <= maxTime.Seconds()) {
		return 0, fmt.Errorf("time %q: want seconds, 0 to %.0f", s, maxTime.Seconds())
	}
	return time.Duration(math.Round(f * 1e9)), nil
}

// WriteText writes r in its text form. The remarks of notes are comments.
func (r *Recording) WriteText(w io.Writer) error {
	out := bufio.NewWriter(w)
	comments := []string{r.Description}
	if r.Name != "" || r.Server != "" || r.Client != "" {
		comments = append(comments, fmt.Sprintf("%s: server %s, client %s", r.Name, r.Server, r.Client))
	}
	for _, c := range append(comments, r.Notes...) {
		fmt.Fprintln(out, "#", strings.Join(strings.Fields(c), " "))
	}
	for i := range r.Events {
		fmt.Fprintln(out, r.Events[i].String())
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("transcript: write: %w", err)
	}
	return nil
}

// String returns e as a line of the text form.
func (e Event) String() string {
	if e.Kind == Omitted {
		return fmt.Sprintf("! omitted %d", e.Count)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "@%v ", seconds(e.At))
	if e.From == 0 {
		fmt.Fprintf(&b, "! %v %d", e.Kind, e.Count)
		if e.Note != "" {
			fmt.Fprintf(&b, " # %s", strings.Join(strings.Fields(e.Note), " "))
		}
		return b.String()
	}
	if e.Kind.TCP() && e.Conn != 1 {
		fmt.Fprint(&b, e.Conn)
	}
	b.WriteByte(map[Side]byte{Client: '>', Server: '<'}[e.From])
	switch e.Kind {
	case Open, Fin, Reset:
		fmt.Fprintf(&b, " %v", e.Kind)
	case Zeros:
		fmt.Fprintf(&b, " zeros %d", e.Len)
	case Datagram, Run:
		fmt.Fprintf(&b, " udp %d %d", e.Src.Port(), e.Dst.Port())
	}
	if e.Kind == Run {
		fmt.Fprintf(&b, " run %d of %d", e.Count, e.Len)
		if e.Numbered {
			fmt.Fprintf(&b, " from %d to %d", e.First, e.Final)
		}
	}
	if e.Kind == Data || e.Kind == Datagram {
		for part := e.Data; len(part) > 0; {
			n := min(4, len(part))
			fmt.Fprintf(&b, " %x", part[:n])
			part = part[n:]
		}
		if e.Len != int64(len(e.Data)) || e.Len == 0 {
			fmt.Fprintf(&b, " of %d", e.Len)
		}
	}
	if e.Joined {
		fmt.Fprintf(&b, " until %v", seconds(e.Last))
	}
	return b.String()
}
