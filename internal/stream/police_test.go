package stream

import (
	"net/netip"
	"testing"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
)

// TestPolice: over any time no more than the rate and one burst passes, whole
// trains or a part of them; a flow that keeps to the rate passes whole.
func TestPolice(t *testing.T) {
	t.Parallel()
	const over = 28
	for _, tt := range []struct {
		name     string
		rate     uint64
		size     int // of a datagram
		train    int // datagrams in one message
		gap      time.Duration
		passes   float64 // share
		messages int
	}{
		{"keeps to the rate", 12e6, 1472, 10, 10 * time.Millisecond, 1, 1000},
		{"in bursts", 12e6, 1472, 50, 50 * time.Millisecond, 1, 200},
		{"twice the rate", 12e6, 1472, 20, 10 * time.Millisecond, 0.5, 1000},
		{"ten times", 1.2e6, 1472, 1, 1 * time.Millisecond, 0.1, 10_000},
		{"slow", 8e3, 1472, 1, 1500 * time.Millisecond, 1, 100},
		{"larger than the bucket", 8e3, 63972, 1, 64 * time.Second, 1, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			told := 0
			p := &Police{Rate: tt.rate, First: func() { told++ }}
			now := time.Unix(0, 0)
			passed := 0
			for range tt.messages {
				m := sock.Message{Len: tt.train * tt.size}
				if tt.train > 1 {
					m.Segment = tt.size
				}
				if p.pass(&m, over, now) {
					passed += m.Len / tt.size
				}
				now = now.Add(tt.gap)
			}
			all := tt.train * tt.messages
			slack := float64(tt.rate)*policeBurst.Seconds()/8/float64(tt.size+over) + 3
			if want := tt.passes * float64(all); float64(passed) < want-slack || float64(passed) > want+slack {
				t.Errorf("%d of %d datagrams passed, want %.0f", passed, all, want)
			}
			if want := map[bool]int{true: 1}[tt.passes < 1]; told != want {
				t.Errorf("told %d times, want %d", told, want)
			}
		})
	}
}

// TestPoliceStrangers: what is not of the test takes nothing from its rate, and
// two receivers share one.
func TestPoliceStrangers(t *testing.T) {
	peer, other := netip.MustParseAddrPort("192.0.2.1:2257"), netip.MustParseAddrPort("192.0.2.9:1")
	p := &Police{Rate: 8e3}
	counted := uint64(0)
	for range 2 {
		in := &messages{}
		for range 50 {
			for _, from := range []netip.AddrPort{other, peer} {
				in.next = append(in.next, sock.Message{Data: []byte{1}, Len: 1472, From: from})
			}
		}
		r := &Receiver{Conn: in, Police: p, Overhead: 28, Accept: func(from netip.AddrPort, _ []byte) bool { return from == peer }}
		b := newBatches(r)
		b.whose, b.mine = make([]*source, len(in.next)), make([]bool, len(in.next))
		if err := b.take(in.next, time.Now()); err != nil {
			t.Fatal(err)
		}
		counted += *r.View().Packets
	}
	if counted < 2 || counted > 3 {
		t.Errorf("%d datagrams passed, want a burst of 2", counted)
	}
}

// TestPoliceOutOfOrder: receivers that share a rate come with moments out of
// order, which must not count the time between them twice.
func TestPoliceOutOfOrder(t *testing.T) {
	p := &Police{Rate: 8e6} // a megabyte a second
	start := time.Now()
	kept := 0
	for n := range 1000 { // one second, in which two receivers are half a millisecond apart
		at := start.Add(time.Duration(n) * time.Millisecond)
		for _, now := range []time.Time{at, at.Add(-500 * time.Microsecond)} {
			for range 4 {
				m := &sock.Message{Len: 1000}
				if p.pass(m, 0, now) {
					kept += m.Len
				}
			}
		}
	}
	if most := 1_000_000 + 200_000 + 1000; kept > most || kept < 1_000_000 {
		t.Errorf("%d bytes passed in a second, want at most %d", kept, most)
	}
}

// messages is a PacketConn that holds trains of datagrams.
type messages struct {
	sock.PacketConn
	next []sock.Message
}

func (m *messages) Dropped() (uint64, bool) { return 0, false }
