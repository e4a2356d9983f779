package transcript

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const sample = `
# UDP download, no login.
# More about it.
< 01 00 00 00                                        # hello
> 00 02 01 00  dc 05 00 00  00 00 00 00  00 00 00 00 # command
@0.25 < 01000000
2> open
@1.5 2> zeros 32768 until 3
< 07 e4 of 300
< udp 2001 2257 00000001 of 1472
> udp 2257 2001
< udp 2001 2257 run 110 of 1472 from 4 to 113 until 3.5
! fragments 3
> fin
! omitted 12
`

func TestReadText(t *testing.T) {
	r, err := ReadText(strings.NewReader(sample))
	if err != nil {
		t.Fatal(err)
	}
	const ms = time.Millisecond
	want := &Recording{Description: "UDP download, no login.", Events: []Event{
		{Kind: Data, From: Server, Conn: 1, Len: 4, Data: []byte{1, 0, 0, 0}},
		{Kind: Data, From: Client, Conn: 1, Len: 16, Data: []byte{0, 2, 1, 0, 0xdc, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
		{Kind: Data, From: Server, At: 250 * ms, Conn: 1, Len: 4, Data: []byte{1, 0, 0, 0}},
		{Kind: Open, From: Client, At: 250 * ms, Conn: 2},
		{Kind: Zeros, From: Client, At: 1500 * ms, Last: 3000 * ms, Joined: true, Conn: 2, Len: 32768},
		{Kind: Data, From: Server, At: 1500 * ms, Conn: 1, Len: 300, Data: []byte{7, 0xe4}},
		{Kind: Datagram, From: Server, At: 1500 * ms, Src: port(2001), Dst: port(2257), Len: 1472, Data: []byte{0, 0, 0, 1}},
		{Kind: Datagram, From: Client, At: 1500 * ms, Src: port(2257), Dst: port(2001)},
		{Kind: Run, From: Server, At: 1500 * ms, Last: 3500 * ms, Joined: true, Src: port(2001), Dst: port(2257),
			Len: 1472, Count: 110, Numbered: true, First: 4, Final: 113},
		{Kind: Fragments, At: 1500 * ms, Count: 3},
		{Kind: Fin, From: Client, At: 1500 * ms, Conn: 1},
		{Kind: Omitted, Count: 12},
	}}
	if d := cmp.Diff(want, r, cmp.Comparer(sameEnds)); d != "" {
		t.Errorf("ReadText (-want +got):\n%s", d)
	}
}

func TestReadTextErrors(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"01 00", `line 1: "01", want < or >`},
		{"\n<", "line 2: want < or >"},
		{"< 0", `"0": want pairs`},
		{"< 00 of", `"of" without a number`},
		{"< 00 of x", `of "x"`},
		{"< 00 of 0", "0 bytes shows 1"},
		{"< fin 3", `"3" was not expected`},
		{"0> fin", "on connection 0"},
		{"x> fin", `connection "x"`},
		{"@-1 > fin", `time "-1"`},
		{"@NaN > fin", `time "NaN"`},
		{"> zeros 0", "run of 0 zeros"},
		{"> udp 1", "ports of sender and receiver"},
		{"> udp 1 65536 00", `port "65536"`},
		{"1> udp 1 2 00", "belongs to no connection"},
		{"> udp 1 2 run 0 of 8", "count 0"},
		{"! thunder 1", `note "thunder"`},
	} {
		if _, err := ReadText(strings.NewReader(tt.in)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("ReadText(%q): %v, want an error with %q", tt.in, err, tt.want)
		}
	}
}

// TestTextRoundTrip writes the recordings as text and reads them again.
func TestTextRoundTrip(t *testing.T) {
	for _, name := range recordings(t) {
		r, _ := load(t, name)
		again := throughText(t, r)
		for i := range r.Events {
			r.Events[i].Note = ""
		}
		if d := cmp.Diff(r.Events, again.Events, cmp.Comparer(sameEnds), cmp.Comparer(bytes.Equal)); d != "" {
			t.Errorf("%s (-was +is):\n%s", name, d)
		}
	}
}

func throughText(t *testing.T, r *Recording) *Recording {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	again, err := ReadText(&b)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return again
}

func FuzzReadText(f *testing.F) {
	f.Add(sample)
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ReadText(strings.NewReader(s))
		if err != nil {
			return
		}
		if again := throughText(t, r); !reflect.DeepEqual(r.Events, again.Events) {
			t.Errorf("%q became %+v, was %+v", s, again.Events, r.Events)
		}
	})
}
