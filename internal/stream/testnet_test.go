package stream

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/testnet"
)

// open opens a UDP socket of a host in memory.
func open(t *testing.T, h *testnet.Host, at string) sock.PacketConn {
	t.Helper()
	c, err := h.ListenPacket(context.Background(), "udp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return sock.Packets(c)
}

// stampTime puts the number and the time into a datagram.
func stampTime(b []byte, seq uint64, at time.Time) {
	binary.BigEndian.PutUint32(b, uint32(seq))
	binary.BigEndian.PutUint64(b[4:], uint64(at.UnixNano()))
}

func parseTime(b []byte) (Mark, bool) {
	if len(b) < 12 {
		return Mark{}, false
	}
	return Mark{Seq: binary.BigEndian.Uint32(b), Sent: time.Unix(0, int64(binary.BigEndian.Uint64(b[4:])))}, true
}

// TestFaults: loss, reordering and duplication are counted as the network did
// them, to the packet, and the intervals add up to the totals.
func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		name string
		link testnet.Link
	}{
		{"nothing", testnet.Link{Delay: 20 * time.Millisecond}},
		{"loss", testnet.Link{Loss: testnet.Share(0.03)}},
		{"each tenth", testnet.Link{Loss: testnet.Every(10)}},
		{"a burst", testnet.Link{Loss: func(n uint64, _ *rand.Rand) bool { return n >= 100 && n < 1100 }}},
		{"duplicates", testnet.Link{Duplicate: testnet.Share(0.05)}},
		{"reordering", testnet.Link{Reorder: testnet.Share(0.05), ReorderBy: 5 * time.Millisecond}},
		{"jitter", testnet.Link{Delay: 5 * time.Millisecond, Jitter: 3 * time.Millisecond}},
		{"all", testnet.Link{
			Loss: testnet.Share(0.02), Duplicate: testnet.Share(0.02), Reorder: testnet.Share(0.02), Jitter: time.Millisecond,
		}},
		{"bottleneck", testnet.Link{Rate: 8e6, Queue: 30_000}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testFaults(t, tt.link) })
		})
	}
}

func testFaults(t *testing.T, link testnet.Link) {
	var n testnet.Network
	from, to := n.Host(testnet.Link{}, testnet.Link{}, "192.0.2.1"), n.Host(testnet.Link{}, testnet.Link{}, "192.0.2.2")
	a, b := open(t, from, ":1000"), open(t, to, ":2000")
	at := netip.MustParseAddrPort("192.0.2.2:2000")
	s := &Sender{
		Conn: a, To: func() netip.AddrPort { return at }, Size: 972, Stamp: stampTime, Overhead: 28,
		Rate: pace.NewRate(10e6), // 1250 packets a second
	}
	r := &Receiver{Conn: b, Parse: parseTime, Header: 12, Overhead: 28}
	sctx, sstop := context.WithCancel(t.Context())
	rctx, rstop := context.WithCancel(t.Context())
	prev := r.View() // before the first datagram can have come
	sent, received := start(s.Run, sctx), start(r.Run, rctx)
	from.Up.Set(link)
	var bytes, packets uint64
	var lost int64
	for range 10 {
		time.Sleep(time.Second)
		v := r.View()
		d := v.Sub(prev)
		prev = v
		bytes, packets, lost = bytes+d.Bytes, packets+*d.Packets, lost+*d.Lost
	}
	from.Up.Set(testnet.Link{Delay: link.Delay}) // so that no loss stays unseen at the end
	time.Sleep(time.Second)
	sstop()
	time.Sleep(time.Second)
	rstop()
	for _, done := range []<-chan error{sent, received} {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	in, out, did := s.View(), r.View(), from.Up.Counts()
	d := out.Sub(prev)
	bytes, packets, lost = bytes+d.Bytes, packets+*d.Packets, lost+*d.Lost
	if bytes != out.Bytes || packets != *out.Packets || lost != *out.Lost {
		t.Errorf("intervals add up to %d bytes, %d packets, %d lost; totals %d, %d, %d",
			bytes, packets, lost, out.Bytes, *out.Packets, *out.Lost)
	}
	if *in.Packets != did.Offered || in.Bytes != 972*did.Offered || *in.WireBytes != 1000*did.Offered {
		t.Errorf("sent %d packets, %d bytes; the network had %d", *in.Packets, in.Bytes, did.Offered)
	}
	if want := did.Passed + did.Duplicated; *out.Packets != want || out.Bytes != 972*want || *out.WireBytes != 1000*want {
		t.Errorf("received %d packets, %d bytes; the network passed %d", *out.Packets, out.Bytes, want)
	}
	if want := int64(did.Lost + did.TailDropped); *out.Lost != want || *out.Duplicate != did.Duplicated || *out.Reordered != did.Reordered {
		t.Errorf("lost %d, duplicate %d, reordered %d; the network did %d, %d, %d",
			*out.Lost, *out.Duplicate, *out.Reordered, want, did.Duplicated, did.Reordered)
	}
	if *out.Late != 0 || *in.Skipped != 0 {
		t.Errorf("late %d, skipped %d", *out.Late, *in.Skipped)
	}
	if j := prev.Jitter; j == nil || (*j > 0) != (link.Jitter > 0 || link.Rate > 0 || link.Reorder != nil) {
		t.Errorf("jitter %v on a link with %v", j, link.Jitter)
	}
}

// TestUDPRate: over ten seconds the rate is right to one packet, and even.
func TestUDPRate(t *testing.T) {
	for _, bps := range []uint64{8_000, 1e6, 99_999_999} {
		synctest.Test(t, func(t *testing.T) {
			var n testnet.Network
			from, to := n.Host(testnet.Link{}, testnet.Link{}, "192.0.2.1"), n.Host(testnet.Link{}, testnet.Link{}, "192.0.2.2")
			a, _ := open(t, from, ":1000"), open(t, to, ":2000")
			at := netip.MustParseAddrPort("192.0.2.2:2000")
			s := &Sender{Conn: a, To: func() netip.AddrPort { return at }, Size: 1450, Overhead: 28, Rate: pace.NewRate(bps)}
			ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
			defer stop()
			if err := s.Run(ctx); err != nil {
				t.Error(err)
			}
			v := s.View()
			want := bps * 10 / 8 / 1478
			if got := *v.Packets; got < want || got > want+2 || *v.WireBytes != got*1478 {
				t.Errorf("%d bit/s: %d packets in 10s, want %d", bps, got, want)
			}
			if v.ScheduleErr == nil || *v.ScheduleErr != 0 {
				t.Errorf("%d bit/s: late by %v", bps, v.ScheduleErr)
			}
		})
	}
}

// TestRateChange: a sender that waits long for its next packet follows a new
// rate at once, up and down, without a burst.
func TestRateChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testnet.Network
		from := n.Host(testnet.Link{}, testnet.Link{}, "192.0.2.1")
		a := open(t, from, ":1000")
		rate := pace.NewRate(800) // a packet in ten seconds
		s := &Sender{
			Conn: a, To: func() netip.AddrPort { return netip.MustParseAddrPort("192.0.2.9:9") },
			Size: 1000, Rate: rate,
		}
		ctx, stop := context.WithCancel(t.Context())
		done := start(s.Run, ctx)
		time.Sleep(5 * time.Second)
		packets := func(bps uint64) uint64 {
			before := *s.View().Packets
			rate.Set(bps)
			time.Sleep(time.Second)
			return *s.View().Packets - before
		}
		if n := packets(8e6); n < 990 || n > 1001 {
			t.Errorf("%d packets in the second at 8 Mbit/s, want 1000", n)
		}
		if n := packets(800); n > 2 {
			t.Errorf("%d packets in the second at 800 bit/s", n)
		}
		if n := packets(80e6); n < 9_900 || n > 10_001 {
			t.Errorf("%d packets in the second at 80 Mbit/s, want 10000", n)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if v := s.View(); *v.Skipped != 0 {
			t.Errorf("%d packets skipped", *v.Skipped)
		}
	})
}

// TestAddressLater: nothing is owed for the time before there was an address,
// and a new address is used from the next packet on.
func TestAddressLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testnet.Network
		from, to := n.Host(testnet.Link{}, testnet.Link{}, "192.0.2.1"), n.Host(testnet.Link{}, testnet.Link{}, "192.0.2.2")
		a := open(t, from, ":1000")
		first, second := open(t, to, ":1"), open(t, to, ":2")
		began := time.Now()
		s := &Sender{Conn: a, Size: 1000, Stamp: stamp, Rate: pace.NewRate(8e6), To: func() netip.AddrPort {
			switch d := time.Since(began); {
			case d < 3*time.Second:
				return netip.AddrPort{}
			case d < 4*time.Second:
				return netip.MustParseAddrPort("192.0.2.2:1")
			}
			return netip.MustParseAddrPort("192.0.2.2:2")
		}}
		ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
		defer stop()
		one, two := &Receiver{Conn: first, Parse: parse, Header: 4}, &Receiver{Conn: second, Parse: parse, Header: 4}
		running := []<-chan error{start(s.Run, ctx), start(one.Run, ctx), start(two.Run, ctx)}
		for _, done := range running {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		for i, r := range []*Receiver{one, two} {
			if v := r.View(); *v.Packets < 990 || *v.Packets > 1001 || *v.Lost != 0 {
				t.Errorf("address %d got %d packets, %d lost; want 1000", i+1, *v.Packets, *v.Lost)
			}
		}
		if v := s.View(); *v.Skipped != 0 {
			t.Errorf("%d packets skipped", *v.Skipped)
		}
	})
}

// refusing is a socket that takes nothing.
type refusing struct{ sock.PacketConn }

func (refusing) WriteTrain([]byte, int, netip.AddrPort) (int, error) { return 0, syscall.ENOBUFS }

// TestPatience: a queue that stays full ends the test, with the reason.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testnet.Network
		a := open(t, n.Host(testnet.Link{}, testnet.Link{}, "192.0.2.1"), ":1")
		began := time.Now()
		s := &Sender{Conn: refusing{a}, Size: 100, To: func() netip.AddrPort { return netip.MustParseAddrPort("192.0.2.2:2") }}
		err := s.Run(t.Context())
		if !errors.Is(err, syscall.ENOBUFS) || !strings.Contains(err.Error(), "192.0.2.2:2") {
			t.Errorf("Run = %v, want ENOBUFS and to whom", err)
		}
		if took := time.Since(began); took < patience || took > patience+time.Second {
			t.Errorf("gave up after %v, want %v", took, patience)
		}
		if d := s.View().Stalled; d == nil || *d < patience {
			t.Errorf("stalled %v, want at least %v", d, patience)
		}
	})
}
