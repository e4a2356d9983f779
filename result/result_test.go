package result

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestLocalAndRemote(t *testing.T) {
	s, r := &View{Bytes: 1}, &View{Bytes: 2}
	for _, tt := range []struct {
		role      Role
		direction Direction
		local     *View
	}{
		{Client, Down, r}, {Client, Up, s}, {Server, Down, s}, {Server, Up, r},
	} {
		i := Interval{Head: Head{Role: tt.role}, Direction: tt.direction, Sent: s, Received: r}
		if i.Local() != tt.local || i.Remote() == tt.local {
			t.Errorf("%s, %v: local %+v, remote %+v", tt.role, tt.direction, i.Local(), i.Remote())
		}
		e := End{Head: i.Head}
		if e.Local(tt.direction) != nil {
			t.Error("a view of a direction that was not used")
		}
		e.Down, e.Up = &Total{Sent: s, Received: r}, &Total{Sent: s, Received: r}
		if e.Local(tt.direction) != tt.local {
			t.Errorf("End, %s, %v: local %+v", tt.role, tt.direction, e.Local(tt.direction))
		}
	}
}

func TestIntervalsAddUp(t *testing.T) {
	total := View{Bytes: 100, Packets: Some(uint64(10)), Lost: Some(int64(2)), WireBytes: Some(uint64(380)), Stalled: Some(time.Second)}
	before := View{Bytes: 60, Packets: Some(uint64(6)), Lost: Some(int64(3)), WireBytes: Some(uint64(228)), Stalled: Some(time.Second)}
	d := total.Sub(before)
	if d.Bytes != 40 || *d.Packets != 4 || *d.Lost != -1 || *d.WireBytes != 152 || *d.Stalled != 0 {
		t.Errorf("Sub = %+v", d)
	}
	back := Sum(before, d)
	if back.Bytes != total.Bytes || *back.Packets != *total.Packets || *back.Lost != *total.Lost {
		t.Errorf("Sum = %+v", back)
	}
	if d.Late != nil || back.Late != nil {
		t.Error("a figure that nobody measured appeared")
	}
	if d := total.Sub(View{}); *d.Packets != 10 {
		t.Errorf("against nothing: %+v", d)
	}
}

func TestSumOfStreams(t *testing.T) {
	one := View{Bytes: 1, Jitter: Some(2 * time.Millisecond), LossRuns: &LossRuns{Count: 1, Longest: 3},
		TCP: &TCPInfo{RTT: 10, MinRTT: 4, Retransmits: 1, Cwnd: 100}}
	two := View{Bytes: 2, Jitter: Some(4 * time.Millisecond), LossRuns: &LossRuns{Count: 2, Longest: 1},
		TCP: &TCPInfo{RTT: 20, MinRTT: 3, Retransmits: 5, Cwnd: 50}}
	s := Sum(one, two, View{Bytes: 4})
	if s.Bytes != 7 || *s.Jitter != 3*time.Millisecond || *s.LossRuns != (LossRuns{3, 3}) {
		t.Errorf("Sum = %+v, jitter %v, runs %+v", s, *s.Jitter, *s.LossRuns)
	}
	if s.TCP.RTT != 15 || s.TCP.MinRTT != 3 || s.TCP.Retransmits != 6 || s.TCP.Cwnd != 150 {
		t.Errorf("TCP = %+v", s.TCP)
	}
	if one.TCP.Cwnd != 100 || *one.Jitter != 2*time.Millisecond {
		t.Error("Sum changed what it was given")
	}
}

func TestDirections(t *testing.T) {
	for d, want := range map[Direction]string{Down: "download", Up: "upload", Both: "both", 0: "direction(0)"} {
		if d.String() != want {
			t.Errorf("%d is %q, want %q", uint8(d), d, want)
		}
	}
	if len(Both.Each()) != 2 || Both.Each()[0] != Down || len(Up.Each()) != 1 {
		t.Errorf("Each: %v, %v", Both.Each(), Up.Each())
	}
}

func TestCodes(t *testing.T) {
	for word, exit := range exits {
		err := fmt.Errorf("around: %w", &Error{Word: word, Text: "what", Hint: "do this", Err: errors.New("cause")})
		if CodeOf(err) != word || ExitCode(err) != exit || HintOf(err) != "do this" {
			t.Errorf("%s: code %q, exit %d, hint %q", word, CodeOf(err), ExitCode(err), HintOf(err))
		}
	}
	if CodeOf(nil) != "" || ExitCode(nil) != 0 || ExitCode(errors.New("x")) != 1 || HintOf(errors.New("x")) != "" {
		t.Error("errors without a code")
	}
	if got := (&Error{Text: "what", Err: errors.New("cause")}).Error(); got != "what: cause" {
		t.Errorf("Error() = %q", got)
	}
}

func TestTee(t *testing.T) {
	var a, b int
	s := Tee(nil, Func(func(Event) { a++ }), Func(func(Event) { b++ }))
	s.Put(End{})
	Tee().Put(End{})
	if a != 1 || b != 1 {
		t.Errorf("%d and %d events", a, b)
	}
}

func TestRate(t *testing.T) {
	if r := Rate(125, time.Second); r == nil || *r != 1000 {
		t.Errorf("Rate = %v", r)
	}
	if Rate(125, 0) != nil {
		t.Error("a rate over no time")
	}
	if a, b := NewID(), NewID(); a >= b || len(a) != 36 {
		t.Errorf("IDs %s, %s do not sort by time", a, b)
	}
}

// TestSubTCP: what TCP has counted is of the interval, what it knows is of now.
func TestSubTCP(t *testing.T) {
	before := TCPInfo{Retransmits: 4, Busy: time.Second, RwndLimited: 10, SndbufLimited: 20, Cwnd: 100, RTT: 5}
	now := TCPInfo{Retransmits: 7, Busy: 3 * time.Second, RwndLimited: 11, SndbufLimited: 25, Cwnd: 50, RTT: 6}
	got := View{TCP: &now}.Sub(View{TCP: &before}).TCP
	want := TCPInfo{Retransmits: 3, Busy: 2 * time.Second, RwndLimited: 1, SndbufLimited: 5, Cwnd: 50, RTT: 6}
	if *got != want || now.Retransmits != 7 {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := (View{TCP: &now}).Sub(View{}).TCP; *got != now {
		t.Errorf("%+v, want %+v", got, now)
	}
}
