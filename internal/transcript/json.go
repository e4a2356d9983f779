package transcript

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// The JSON of a recording, one event a line:
//
//	{ "name", "description", "server_impl", "client_impl", "notes": [..], "events": [ .. ] }
//
// t and t_last are seconds; dir is c2s or s2c. A TCP event has event (connect,
// fin, rst), or len and hex (truncated when cut), or zeros. A UDP event has
// len and hex (its first bytes), or len and collapsed (datagrams in a row)
// with first_seq and last_seq; and ip_tos and ip_ttl where they matter. ipfrag
// and icmp have count; truncated_events says how many events were left out.
type jsonEvent struct {
	T         *seconds `json:"t,omitempty"`
	Proto     string   `json:"proto,omitempty"`
	Conn      int      `json:"conn,omitempty"`
	Dir       string   `json:"dir,omitempty"`
	Event     string   `json:"event,omitempty"`
	Sport     *uint16  `json:"sport,omitempty"`
	Dport     *uint16  `json:"dport,omitempty"`
	TOS       uint8    `json:"ip_tos,omitempty"`
	TTL       uint8    `json:"ip_ttl,omitempty"`
	Len       *int64   `json:"len,omitempty"`
	Hex       *string  `json:"hex,omitempty"`
	Truncated bool     `json:"truncated,omitempty"`
	Zeros     int64    `json:"zeros,omitempty"`
	Collapsed int64    `json:"collapsed,omitempty"`
	FirstSeq  *uint32  `json:"first_seq,omitempty"`
	LastSeq   *uint32  `json:"last_seq,omitempty"`
	TLast     *seconds `json:"t_last,omitempty"`
	Count     int64    `json:"count,omitempty"`
	Note      string   `json:"note,omitempty"`
	Omitted   int64    `json:"truncated_events,omitempty"`
}

// seconds is a duration that JSON holds as a number of seconds.
type seconds time.Duration

func (s seconds) MarshalJSON() ([]byte, error) { return []byte(s.String()), nil }

// String is s in full, such as 0.0 or 1.993.
func (s seconds) String() string {
	whole, rest := s/1e9, s%1e9
	text := strings.TrimRight(fmt.Sprintf("%d.%09d", whole, rest), "0")
	if strings.HasSuffix(text, ".") {
		text += "0"
	}
	return text
}

func (s *seconds) UnmarshalJSON(b []byte) error {
	var f float64
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	if f < 0 || f > maxTime.Seconds() {
		return fmt.Errorf("time %v s is outside 0 to %v", f, maxTime)
	}
	*s = seconds(math.Round(f * 1e9))
	return nil
}

// ReadJSON reads a recording from its JSON. Keys it does not know are skipped.
// An error names the event by its place in events, from 0.
func ReadJSON(r io.Reader) (*Recording, error) {
	limited := &io.LimitedReader{R: r, N: MaxFile + 1}
	d := json.NewDecoder(limited)
	rec, err := readRecording(d)
	switch {
	case err != nil && limited.N <= 0:
		return nil, fmt.Errorf("transcript: longer than %d bytes", MaxFile)
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("transcript: JSON: %w", io.ErrUnexpectedEOF)
	case err != nil:
		return nil, fmt.Errorf("transcript: JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("transcript: JSON: something follows the recording")
	}
	return rec, nil
}

// readRecording reads the object event by event, so that a wrong file is
// refused before it fills the memory.
func readRecording(d *json.Decoder) (*Recording, error) {
	if err := expect(d, '{'); err != nil {
		return nil, err
	}
	rec := &Recording{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		switch key {
		case "name":
			err = d.Decode(&rec.Name)
		case "description":
			err = d.Decode(&rec.Description)
		case "server_impl":
			err = d.Decode(&rec.Server)
		case "client_impl":
			err = d.Decode(&rec.Client)
		case "notes":
			err = d.Decode(&rec.Notes)
		case "events":
			rec.Events, err = readEvents(d)
		default:
			err = d.Decode(&json.RawMessage{})
		}
		if err != nil {
			return nil, err
		}
	}
	if rec.Events == nil {
		return nil, errors.New("no events: not a recording")
	}
	return rec, expect(d, '}')
}

func readEvents(d *json.Decoder) ([]Event, error) {
	if err := expect(d, '['); err != nil {
		return nil, err
	}
	events := []Event{}
	for d.More() {
		var j jsonEvent
		err := d.Decode(&j)
		if err != nil {
			return nil, fmt.Errorf("event %d: %w", len(events), err)
		}
		e, err := j.event()
		if err == nil {
			err = e.check()
		}
		if err != nil {
			return nil, fmt.Errorf("event %d: %w", len(events), err)
		}
		if len(events) == MaxEvents {
			return nil, fmt.Errorf("more than %d events", MaxEvents)
		}
		events = append(events, e)
	}
	return events, expect(d, ']')
}

// expect reads one delimiter.
func expect(d *json.Decoder, want json.Delim) error {
	got, err := d.Token()
	if err == nil && got != want {
		err = fmt.Errorf("%v where %v was expected", got, want)
	}
	return err
}

// event is what j stands for.
func (j *jsonEvent) event() (Event, error) {
	if j.Omitted != 0 {
		return Event{Kind: Omitted, Count: j.Omitted}, nil
	}
	if j.T == nil {
		return Event{}, errors.New("has no t")
	}
	e := Event{At: time.Duration(*j.T), Note: j.Note}
	if j.TLast != nil {
		e.Last, e.Joined = time.Duration(*j.TLast), true
	}
	switch j.Dir {
	case "c2s":
		e.From = Client
	case "s2c":
		e.From = Server
	case "":
	default:
		return e, fmt.Errorf("dir %q, want c2s or s2c", j.Dir)
	}
	switch j.Proto {
	case "tcp":
		return e, j.tcp(&e)
	case "udp":
		return e, j.udp(&e)
	case "ipfrag":
		e.Kind = Fragments
	case "icmp":
		e.Kind = Unreachable
	default:
		return e, fmt.Errorf("proto %q, want tcp, udp, ipfrag or icmp", j.Proto)
	}
	e.Count = max(1, j.Count)
	return e, nil
}

func (j *jsonEvent) tcp(e *Event) error {
	e.Conn = j.Conn
	switch {
	case j.Event == "connect":
		e.Kind = Open
	case j.Event == "fin":
		e.Kind = Fin
	case j.Event == "rst":
		e.Kind = Reset
	case j.Event != "":
		return fmt.Errorf("event %q, want connect, fin or rst", j.Event)
	case j.Zeros != 0:
		e.Kind, e.Len = Zeros, j.Zeros
	default:
		e.Kind = Data
		return j.payload(e)
	}
	return nil
}

func (j *jsonEvent) udp(e *Event) error {
	if j.Sport == nil || j.Dport == nil {
		return errors.New("udp without sport and dport")
	}
	e.Src, e.Dst, e.TOS, e.TTL = port(*j.Sport), port(*j.Dport), j.TOS, j.TTL
	if j.Collapsed == 0 {
		e.Kind = Datagram
		return j.payload(e)
	}
	if j.Len == nil {
		return errors.New("udp run without len")
	}
	e.Kind, e.Count, e.Len = Run, j.Collapsed, *j.Len
	if (j.FirstSeq == nil) != (j.LastSeq == nil) {
		return errors.New("udp run with only one of first_seq and last_seq")
	}
	if j.FirstSeq != nil {
		e.Numbered, e.First, e.Final = true, *j.FirstSeq, *j.LastSeq
	}
	return nil
}

// payload reads hex and len.
func (j *jsonEvent) payload(e *Event) error {
	if j.Hex == nil {
		return errors.New("has neither hex nor zeros nor an event")
	}
	data, err := hex.DecodeString(*j.Hex)
	if err != nil {
		return fmt.Errorf("hex %.20q: %w", *j.Hex, err)
	}
	e.Data, e.Len = data, int64(len(data))
	if j.Len != nil {
		e.Len = *j.Len
	}
	if e.Kind == Data && e.Len > int64(len(data)) && !j.Truncated {
		return fmt.Errorf("len %d, but hex has %d bytes and truncated is not said", e.Len, len(data))
	}
	return nil
}

// WriteJSON writes r as JSON, one event a line.
func (r *Recording) WriteJSON(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprint(out, "{\n")
	for _, head := range []struct {
		key   string
		value any
	}{{"name", r.Name}, {"description", r.Description}, {"server_impl", r.Server},
		{"client_impl", r.Client}, {"notes", append([]string{}, r.Notes...)}} {
		if err := writeValue(out, " "+strconv.Quote(head.key)+": ", head.value, ",\n"); err != nil {
			return err
		}
	}
	fmt.Fprint(out, ` "events": [`)
	for i := range r.Events {
		before := ",\n  "
		if i == 0 {
			before = "\n  "
		}
		if err := writeValue(out, before, jsonOf(&r.Events[i]), ""); err != nil {
			return err
		}
	}
	fmt.Fprint(out, "\n ]\n}\n")
	if err := out.Flush(); err != nil {
		return fmt.Errorf("transcript: write: %w", err)
	}
	return nil
}

// writeValue writes v as JSON between before and after. Errors of out surface
// in its Flush.
func writeValue(out *bufio.Writer, before string, v any, after string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("transcript: %w", err)
	}
	out.WriteString(before)
	out.Write(bytes.TrimRight(b.Bytes(), "\n"))
	out.WriteString(after)
	return nil
}

// jsonOf is e as it is written.
func jsonOf(e *Event) jsonEvent {
	if e.Kind == Omitted {
		return jsonEvent{Omitted: e.Count}
	}
	at := seconds(e.At)
	j := jsonEvent{T: &at, Note: e.Note}
	switch e.From {
	case Client:
		j.Dir = "c2s"
	case Server:
		j.Dir = "s2c"
	}
	if e.Joined {
		last := seconds(e.Last)
		j.TLast = &last
	}
	switch {
	case e.Kind.TCP():
		j.Proto, j.Conn = "tcp", e.Conn
	case e.Kind.UDP():
		sport, dport := e.Src.Port(), e.Dst.Port()
		j.Proto, j.Sport, j.Dport, j.TOS, j.TTL = "udp", &sport, &dport, e.TOS, e.TTL
	}
	switch e.Kind {
	case Open:
		j.Event = "connect"
	case Fin:
		j.Event = "fin"
	case Reset:
		j.Event = "rst"
	case Zeros:
		j.Zeros = e.Len
	case Data, Datagram:
		text := hex.EncodeToString(e.Data)
		j.Len, j.Hex, j.Truncated = &e.Len, &text, e.Cut()
	case Run:
		j.Collapsed, j.Len = e.Count, &e.Len
		if e.Numbered {
			j.FirstSeq, j.LastSeq = &e.First, &e.Final
		}
	case Fragments:
		j.Proto, j.Count = "ipfrag", e.Count
	case Unreachable:
		j.Proto, j.Count = "icmp", e.Count
	}
	return j
}
