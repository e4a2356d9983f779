package report

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sonde-net/sonde/result"
)

func TestText(t *testing.T) {
	for _, tt := range []struct {
		name   string
		c      TextConfig
		events []result.Event
	}{
		{"text-udp-both.txt", TextConfig{}, udpBoth()},
		{"text-verbose.txt", TextConfig{Verbose: true}, udpBoth()},
		{"text-tcp-lost.txt", TextConfig{Streams: true, Many: true, Verbose: true}, tcpLost()},
		{"text-colour.txt", TextConfig{Color: true}, udpBoth()},
		{"text-refused.txt", TextConfig{}, refused()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			s := Text(&b, tt.c)
			put(s, tt.events)
			if err := s.Err(); err != nil {
				t.Fatal(err)
			}
			if !tt.c.Color && strings.ContainsAny(b.String(), "\x1b\r") {
				t.Error("there are escape codes or carriage returns")
			}
			if len(s.runs) != 0 {
				t.Errorf("%d runs are still kept after their End", len(s.runs))
			}
			golden(t, tt.name, b.String())
		})
	}
}

func TestTextNotesElsewhere(t *testing.T) {
	var results, notes bytes.Buffer
	put(Text(&results, TextConfig{Notes: &notes}), udpBoth())
	if strings.Contains(results.String(), "warning") {
		t.Errorf("a warning is among the results:\n%s", &results)
	}
	want := "warning: CPU of the far end is at 72 %\n  hint: test through the router, not to it\n"
	if got := notes.String(); got != want {
		t.Errorf("notes = %q, want %q", got, want)
	}
}

// A direction that never comes must not hold back the other for ever.
func TestTextOneDirectionMissing(t *testing.T) {
	events := udpBoth()
	var b bytes.Buffer
	s := Text(&b, TextConfig{})
	s.Put(events[0])
	s.Put(events[1]) // download 1
	s.Put(events[3]) // download 2
	s.Put(events[len(events)-1])
	if n := strings.Count(b.String(), "\n   1  download"); n != 1 {
		t.Errorf("line 1 was printed %d times", n)
	}
	if n := strings.Count(b.String(), "\n   2  download"); n != 1 {
		t.Errorf("line 2 was printed %d times", n)
	}
}

// Text from a peer must not reach the terminal as anything but text.
func TestTextHostile(t *testing.T) {
	var b bytes.Buffer
	s := Text(&b, TextConfig{Many: true})
	begin := tcpLost()[0].(result.Begin)
	begin.Account = "a\x1b]0;pwned\x07\r\nb\u202ec"
	s.Put(begin)
	s.Put(result.Note{Head: begin.Head, Level: result.Warning, Text: "said \x9b31m\xff"})
	if strings.ContainsAny(b.String(), "\x1b\x07\r\u202e\u009b") || strings.Count(b.String(), "\n") != 2 {
		t.Errorf("control characters came through: %q", b.String())
	}
}

// The far end's rate is shown where it is far from ours, now and just before.
func TestFarOff(t *testing.T) {
	r := &textRun{before: map[result.Direction]uint64{}}
	for n, tt := range []struct {
		here, there uint64
		shown       bool
	}{
		{1000, 0, false}, {2000, 1000, false}, {2000, 2000, false}, {2000, 1000, true}, {2000, 1900, false}, {2000, 1899, true}, {1000, 2101, true},
	} {
		i := result.Interval{Head: at("", result.Client, 0), Direction: result.Up, Start: time.Duration(n) * time.Second, End: time.Duration(n+1) * time.Second,
			Sent: &result.View{Bytes: tt.here}, Received: &result.View{Bytes: tt.there}}
		if tt.there == 0 {
			i.Received = nil
		}
		got := r.farOff(i)
		if (got != nil) != tt.shown {
			t.Errorf("%d: here %d, there %d: %v, want shown %v", n, tt.here, tt.there, got, tt.shown)
		}
	}
}

// The last interval of a run is not shown when it is but some milliseconds; one
// in the middle is.
func TestCrumbs(t *testing.T) {
	begin := tcpLost()[0].(result.Begin)
	interval := func(seq int, start, end time.Duration) result.Interval {
		return result.Interval{Head: begin.Head, Seq: seq, Direction: result.Up, Stream: result.AllStreams,
			Start: start, End: end, Received: &result.View{Bytes: 1000}}
	}
	events := []result.Event{begin, interval(1, 0, 1000*ms), interval(2, 1000*ms, 1010*ms), interval(3, 1010*ms, 2000*ms),
		interval(4, 2000*ms, 2002*ms), result.End{Head: begin.Head, Elapsed: 2002 * ms}}
	var text, old bytes.Buffer
	put(Text(&text, TextConfig{}), events)
	put(BtestRS(&old, BtestRSConfig{}), events)
	if n := strings.Count(text.String(), "  upload   "); n != 3 {
		t.Errorf("%d lines of 3:\n%s", n, &text)
	}
	if n := strings.Count(old.String(), "\n"); n != 3 || !strings.Contains(old.String(), "[   2]") {
		t.Errorf("%d lines of 3:\n%s", n, &old)
	}
}

type brokenWriter struct{ n int }

var errBroken = errors.New("broken pipe")

func (w *brokenWriter) Write([]byte) (int, error) {
	w.n++
	return 0, errBroken
}

func TestErrIsKept(t *testing.T) {
	w := &brokenWriter{}
	s := Text(w, TextConfig{})
	put(s, udpBoth())
	if !errors.Is(s.Err(), errBroken) || w.n != 1 {
		t.Errorf("Err = %v after %d writes, want %v after 1", s.Err(), w.n, errBroken)
	}
}

// What the machines' load may mean is said only where nothing else says why.
func TestSummaryOfMachines(t *testing.T) {
	busy, calm := result.Some(85.0), result.Some(3.0)
	for _, tt := range []struct {
		cpu  result.CPU
		why  *result.Why
		want string
	}{
		{result.CPU{Local: busy, Remote: calm}, nil, "above 70 % here:"},
		{result.CPU{Local: calm, Remote: busy}, &result.Why{Limit: "unknown"}, "above 70 % there:"},
		{result.CPU{Local: busy, Remote: busy}, nil, "above 70 % at both ends:"},
		{result.CPU{Local: busy, Remote: busy}, &result.Why{Limit: "path_full"}, ""},
		{result.CPU{Local: calm}, nil, ""},
	} {
		s := &sheet{}
		s.machines(tt.cpu, tt.why)
		if got := s.String(); tt.want == "" && strings.Contains(got, "above") || !strings.Contains(got, tt.want) {
			t.Errorf("%+v, %+v: %q, want %q in it", tt.cpu, tt.why, got, tt.want)
		}
	}
}

// A change that the figures cannot tell has no sign.
func TestAddedText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "no more", -26 * us: "no more", 40 * us: "no more", 60 * us: "0.1 ms more", -60 * us: "0.1 ms less", 31_800 * us: "31.8 ms more",
	} {
		if got := addedText(d); got != want {
			t.Errorf("addedText(%v) = %q, want %q", d, got, want)
		}
	}
}

// What is the same of both directions is said once.
func TestSaidOnce(t *testing.T) {
	for text, want := range map[string]string{
		"download: not known: x; upload: not known: x": "not known: x",
		"download: not known: x; upload: not known: y": "download: not known: x; upload: not known: y",
		"upload: not known: x":                         "upload: not known: x",
		"the path is full":                             "the path is full",
	} {
		if got := once(text); got != want {
			t.Errorf("once(%q) = %q, want %q", text, got, want)
		}
	}
	short := &result.Steady{Confidence: tooShort}
	s := &sheet{}
	s.steady(result.Begin{Direction: result.Both}, result.End{Down: &result.Total{Steady: short}, Up: &result.Total{Steady: short}})
	if got, want := s.String(), "  steady    too short to tell\n"; got != want {
		t.Errorf("steady = %q, want %q", got, want)
	}
}

// Standard error may be a file while standard output is a terminal.
func TestNotesHaveColoursOfTheirOwn(t *testing.T) {
	for _, tt := range []struct{ color, notes, want bool }{{true, false, false}, {false, true, true}} {
		var notes bytes.Buffer
		put(Text(&bytes.Buffer{}, TextConfig{Color: tt.color, Notes: &notes, ColorNotes: tt.notes}), udpBoth())
		if got := strings.Contains(notes.String(), "\x1b["); got != tt.want {
			t.Errorf("Color %v, ColorNotes %v: escape codes in the notes: %v, want %v", tt.color, tt.notes, got, tt.want)
		}
	}
}

// Remarks are made when sender and receiver are more than 5 % apart, either way.
func TestSummaryOfDifference(t *testing.T) {
	for _, tt := range []struct {
		sent, received uint64
		want           string
	}{
		{1000, 1000, ""}, {1000, 951, ""}, {1000, 500, "50.0 % less"}, {1000, 2000, "100 % more"}, {0, 1000, ""},
	} {
		s := &sheet{}
		s.remark("", &result.Total{Sent: &result.View{Bytes: tt.sent}, Received: &result.View{Bytes: tt.received}, Elapsed: 1e9})
		if got := s.String(); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("sent %d, received %d: %q, want %q in it", tt.sent, tt.received, got, tt.want)
		}
	}
}
