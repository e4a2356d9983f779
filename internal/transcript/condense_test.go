package transcript

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// start is when the traffic of these tests begins.
var start = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// expand plays a recording's traffic to c: bulk in segments of 1460 bytes.
func expand(c *Condenser, r *Recording) {
	for i := range r.Events {
		e := &r.Events[i]
		at := start.Add(e.At)
		switch e.Kind {
		case Open:
			c.Open(at, e.Conn, e.From)
		case Fin, Reset:
			c.Close(at, e.Conn, e.From, e.Kind == Reset)
		case Data:
			c.TCP(at, e.Conn, e.From, e.Data)
		case Zeros:
			for left := e.Len; left > 0; left -= 1460 {
				c.TCP(at, e.Conn, e.From, make([]byte, min(1460, left)))
			}
		case Datagram:
			c.UDP(at, e.From, e.Src.Port(), e.Dst.Port(), e.Data, int(e.Len))
		case Run:
			for n := range e.Count {
				seq := e.First + uint32(int64(e.Final-e.First)*n/max(1, e.Count-1))
				c.UDP(at, e.From, e.Src.Port(), e.Dst.Port(), []byte{byte(seq >> 24), byte(seq >> 16), byte(seq >> 8), byte(seq)}, int(e.Len))
			}
		case Fragments:
			for range e.Count {
				c.Fragment(at)
			}
		case Unreachable:
			for range e.Count {
				c.Unreachable(at)
			}
		}
	}
}

// TestCondenseAsGolden: the traffic of a golden recording condenses to that
// recording. Times of runs apart, which expand does not keep.
func TestCondenseAsGolden(t *testing.T) {
	for _, name := range []string{
		"rs-tcp-both-noauth.json", "c-udp-both-noauth.json", "c-udp-receive-nat.json", "rs-udp-both-ipv6.json",
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := load(t, name)
			c := Condenser{Message: 12}
			expand(&c, r)
			want := withoutRepeatedNotes(r.Events)
			if d := cmp.Diff(want, c.Events(), cmp.Comparer(sameEnds), cmpopts.IgnoreFields(Event{}, "Last", "Joined"),
				cmp.Comparer(bytes.Equal)); d != "" {
				t.Errorf("(-golden +condensed):\n%s", d)
			}
		})
	}
}

// withoutRepeatedNotes adds the counts of later notes of a kind to the first.
func withoutRepeatedNotes(events []Event) []Event {
	var out []Event
	first := map[Kind]int{}
	for _, e := range events {
		if i, ok := first[e.Kind]; ok && e.From == 0 {
			out[i].Count += e.Count
			continue
		}
		first[e.Kind] = len(out)
		out = append(out, e)
	}
	return out
}

// TestCondenseStatus splits a stream of zeros with a status in it at every
// place: the status comes out whole and no byte is lost.
func TestCondenseStatus(t *testing.T) {
	status := []byte{7, 0xe3, 0, 0, 1, 0, 0, 0, 0xec, 0xd6, 0x0f, 0}
	data := append(append(make([]byte, 1000), status...), make([]byte, 1000)...)
	for cut := 900; cut < 1100; cut++ {
		c := Condenser{Message: len(status)}
		c.TCP(start, 1, Server, data[:cut])
		c.TCP(start, 1, Server, data[cut:])
		want := []Event{
			{Kind: Zeros, From: Server, Conn: 1, Len: 1000},
			{Kind: Data, From: Server, Conn: 1, Len: int64(len(status)), Data: status},
			{Kind: Zeros, From: Server, Conn: 1, Len: 1000},
		}
		if d := cmp.Diff(want, c.Events(), cmp.Comparer(sameEnds), cmpopts.IgnoreFields(Event{}, "Joined", "Last")); d != "" {
			t.Fatalf("cut at %d:\n%s", cut, d)
		}
	}
}

// TestCondenseKeepsBytes: whatever passes by in whatever pieces, the events
// stand for the same bytes.
func TestCondenseKeepsBytes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var sent, kept []byte
		c := Condenser{Message: random.IntN(13), Head: 1 << 20}
		for range random.IntN(8) {
			p := make([]byte, random.IntN(300))
			for range random.IntN(4) {
				if len(p) > 0 {
					p[random.IntN(len(p))] = byte(random.IntN(256))
				}
			}
			sent = append(sent, p...)
			c.TCP(start, 1, Client, p)
		}
		for _, e := range c.Events() {
			kept = append(kept, e.Data...)
			kept = append(kept, make([]byte, e.Len-int64(len(e.Data)))...)
		}
		if !bytes.Equal(sent, kept) {
			t.Fatalf("sent % x\nkept % x\nas %v", sent, kept, c.Events())
		}
	}
}

// TestCondenseBounds: bulk that is not zeros, endless runs and many ports do
// not make a recording grow.
func TestCondenseBounds(t *testing.T) {
	c := Condenser{MaxEvents: 100}
	noise := bytes.Repeat([]byte{0xa5}, 1460)
	for range 10_000 {
		c.TCP(start, 1, Client, noise)
	}
	if got := c.Events(); len(got) != 3 || got[2].Len != 9998*1460 || len(got[2].Data) != 96 {
		t.Errorf("10000 pieces of noise became %d events, the last %.40v", len(got), got[len(got)-1])
	}
	for n := range 10_000 {
		c.UDP(start, Client, uint16(n), 2001, nil, 100)
	}
	got := c.Events()
	if len(got) != 101 || got[100].Kind != Omitted || got[100].Count != 10_000-97 {
		t.Errorf("%d events, the last %v", len(got), got[len(got)-1])
	}
}
