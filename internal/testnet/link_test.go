package testnet

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const ms = time.Millisecond

// An arrival is a numbered datagram that came.
type arrival struct {
	n  uint32
	at time.Duration // since the first was sent
}

// sendNumbered sends count datagrams of size bytes of payload, one each gap,
// through a link, and returns what came and what the link did.
func sendNumbered(t *testing.T, link Link, count, size int, gap time.Duration) (came []arrival, did Counts) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var n Network
		from, to := n.Host(link, Link{}, "192.0.2.1"), n.Host(Link{}, Link{}, "192.0.2.2")
		in, out := listenPacket(t, to, ":5000"), listenPacket(t, from, ":0")
		in.SetDeadline(time.Time{})
		out.SetDeadline(time.Time{})
		start := time.Now()
		go func() {
			for i := range count {
				b := binary.BigEndian.AppendUint32(make([]byte, 0, size), uint32(i))
				if _, err := out.WriteTo(b[:size], net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.2:5000"))); err != nil {
					t.Error(err)
				}
				time.Sleep(gap)
			}
			time.Sleep(time.Minute)
			in.Close()
		}()
		b := make([]byte, 65536)
		for {
			got, _, err := in.ReadFrom(b)
			if err != nil {
				break
			}
			if got != size {
				t.Errorf("a datagram of %d bytes, want %d", got, size)
			}
			came = append(came, arrival{binary.BigEndian.Uint32(b), time.Since(start)})
		}
		did = from.Up.Counts()
	})
	return came, did
}

func numbers(came []arrival) []uint32 {
	var ns []uint32
	for _, a := range came {
		ns = append(ns, a.n)
	}
	return ns
}

// Every packet is 128 bytes: 100 and the headers of UDP and IPv4.
func TestLink(t *testing.T) {
	for _, tt := range []struct {
		name  string
		link  Link
		count int
		gap   time.Duration
		want  []arrival
		did   Counts
	}{
		{"nothing", Link{}, 2, ms,
			[]arrival{{0, 0}, {1, ms}},
			Counts{Offered: 2, Passed: 2, Bytes: 256}},
		{"delay", Link{Delay: 5 * ms}, 2, ms,
			[]arrival{{0, 5 * ms}, {1, 6 * ms}},
			Counts{Offered: 2, Passed: 2, Bytes: 256}},
		{"each third is lost", Link{Loss: Every(3)}, 7, ms,
			[]arrival{{0, 0}, {1, ms}, {3, 3 * ms}, {4, 4 * ms}, {6, 6 * ms}},
			Counts{Offered: 7, Passed: 5, Lost: 2, Bytes: 640}},
		{"a burst is lost", Link{Loss: At(1, 2)}, 4, ms,
			[]arrival{{0, 0}, {3, 3 * ms}},
			Counts{Offered: 4, Passed: 2, Lost: 2, Bytes: 256}},
		{"a duplicate", Link{Duplicate: At(1)}, 3, ms,
			[]arrival{{0, 0}, {1, ms}, {1, ms}, {2, 2 * ms}},
			Counts{Offered: 3, Passed: 3, Duplicated: 1, Bytes: 512}},
		{"overtaken by two", Link{Reorder: At(1), ReorderBy: 2500 * time.Microsecond}, 5, ms,
			[]arrival{{0, 0}, {2, 2 * ms}, {3, 3 * ms}, {1, 3500 * time.Microsecond}, {4, 4 * ms}},
			Counts{Offered: 5, Passed: 5, Reordered: 1, Bytes: 640}},
		{"held but not overtaken", Link{Reorder: At(1)}, 2, ms,
			[]arrival{{0, 0}, {1, 11 * ms}},
			Counts{Offered: 2, Passed: 2, Bytes: 256}},
		{"a held duplicate", Link{Reorder: At(0), Duplicate: At(0), ReorderBy: 2 * ms}, 2, ms,
			[]arrival{{1, ms}, {0, 2 * ms}, {0, 2 * ms}},
			Counts{Offered: 2, Passed: 2, Reordered: 1, Duplicated: 1, Bytes: 384}},
		{"1.024 Mbit/s", Link{Rate: 1_024_000}, 3, 0,
			[]arrival{{0, ms}, {1, 2 * ms}, {2, 3 * ms}},
			Counts{Offered: 3, Passed: 3, Bytes: 384}},
		{"a queue of two", Link{Rate: 1_024_000, Queue: 256}, 4, 500 * time.Microsecond,
			[]arrival{{0, ms}, {1, 2 * ms}, {2, 3 * ms}},
			Counts{Offered: 4, Passed: 3, TailDropped: 1, Bytes: 384}},
		{"a queue that waits", Link{Rate: 1_024_000, Queue: 256, Wait: true}, 4, 0,
			[]arrival{{0, ms}, {1, 2 * ms}, {2, 3 * ms}, {3, 4 * ms}},
			Counts{Offered: 4, Passed: 4, Bytes: 512}},
		{"a queue below one packet", Link{Rate: 1_024_000, Queue: 1}, 2, 2 * ms,
			[]arrival{{0, ms}, {1, 3 * ms}},
			Counts{Offered: 2, Passed: 2, Bytes: 256}},
		{"lost packets take no room", Link{Rate: 1_024_000, Queue: 128, Loss: At(0)}, 2, 0,
			[]arrival{{1, ms}},
			Counts{Offered: 2, Passed: 1, Lost: 1, Bytes: 128}},
		{"a black hole", Link{MTU: 127, BlackHole: true}, 2, ms, nil,
			Counts{Offered: 2, TooBig: 2}},
		{"the MTU itself", Link{MTU: 128}, 1, ms,
			[]arrival{{0, 0}},
			Counts{Offered: 1, Passed: 1, Bytes: 128}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			came, did := sendNumbered(t, tt.link, tt.count, 100, tt.gap)
			if !slices.Equal(came, tt.want) {
				t.Errorf("came %v\nwant %v", came, tt.want)
			}
			if did != tt.did {
				t.Errorf("counts %+v\nwant   %+v", did, tt.did)
			}
		})
	}
}

// A rate that divides nothing stays exact over a long time.
func TestRateHasNoDrift(t *testing.T) {
	const count = 7000
	came, _ := sendNumbered(t, Link{Rate: 7_000_001}, count, 1472, 0)
	if len(came) != count {
		t.Fatalf("%d came, want %d", len(came), count)
	}
	const bits = 1500 * 8
	for i, a := range came {
		exact := uint64(i+1) * bits * 1e9 / 7_000_001 // rounded down, the link rounds up
		if got := uint64(a.at); got < exact || got > exact+1 {
			t.Fatalf("packet %d came at %d ns, want %d or one more", i, got, exact)
		}
	}
}

func TestChanceIsSeeded(t *testing.T) {
	link := Link{Loss: Share(0.1), Duplicate: Share(0.05), Reorder: Share(0.1), Delay: 20 * ms, Jitter: 5 * ms, Seed: 7}
	came, did := sendNumbered(t, link, 2000, 100, ms)
	again, didAgain := sendNumbered(t, link, 2000, 100, ms)
	if !slices.Equal(came, again) || did != didAgain {
		t.Errorf("the same seed gave %+v and %+v", did, didAgain)
	}
	link.Seed = 8
	if other, _ := sendNumbered(t, link, 2000, 100, ms); slices.Equal(came, other) {
		t.Error("two seeds gave the same")
	}
	checkCounts(t, came, did)
	for what, got := range map[string]uint64{"lost": did.Lost, "duplicated": did.Duplicated, "reordered": did.Reordered} {
		if got < 60 || got > 260 {
			t.Errorf("%d %s of 2000: chance is off", got, what)
		}
	}
}

// checkCounts compares what a link says with what came.
func checkCounts(t *testing.T, came []arrival, did Counts) {
	t.Helper()
	seen := map[uint32]bool{}
	var is Counts
	newest := uint32(0)
	for _, a := range came {
		switch {
		case seen[a.n]:
			is.Duplicated++
		case a.n < newest:
			is.Reordered++
			fallthrough
		default:
			is.Passed++
		}
		seen[a.n] = true
		newest = max(newest, a.n)
	}
	is.Offered, is.Lost = did.Offered, did.Offered-is.Passed-did.TailDropped-did.TooBig-did.Unplugged
	is.TailDropped, is.TooBig, is.Unplugged, is.Bytes = did.TailDropped, did.TooBig, did.Unplugged, did.Bytes
	if is != did {
		t.Errorf("the link says %+v\nthere came     %+v", did, is)
	}
}

func TestJitterKeepsOrder(t *testing.T) {
	came, did := sendNumbered(t, Link{Delay: 5 * ms, Jitter: 20 * ms}, 500, 100, ms)
	if !slices.IsSorted(numbers(came)) || did.Reordered != 0 {
		t.Errorf("jitter changed the order: %+v", did)
	}
	varied := map[time.Duration]bool{}
	for _, a := range came {
		d := a.at - time.Duration(a.n)*ms
		if d < 5*ms || d > 25*ms {
			t.Errorf("packet %d took %v, want 5 to 25 ms", a.n, d)
		}
		varied[d] = true
	}
	if len(varied) < 100 {
		t.Errorf("only %d different delays", len(varied))
	}
}

// Asking for jitter does not change which packets are lost.
func TestChancesAreApart(t *testing.T) {
	plain, _ := sendNumbered(t, Link{Loss: Share(0.2), Seed: 3}, 300, 100, ms)
	more, _ := sendNumbered(t, Link{Loss: Share(0.2), Seed: 3, Jitter: 3 * ms, Duplicate: Share(0), Reorder: Share(0)}, 300, 100, ms)
	if !slices.Equal(numbers(plain), numbers(more)) {
		t.Error("jitter changed the losses")
	}
}

func TestTwoLinksDiffer(t *testing.T) {
	loss := Share(0.5)
	a, b := newFates(Link{Loss: loss}, 0), newFates(Link{Loss: loss}, 1)
	var lostA, lostB []verdict
	for range 64 {
		lostA, lostB = append(lostA, a.next(time.Time{}, 1, routed).verdict), append(lostB, b.next(time.Time{}, 1, routed).verdict)
	}
	if slices.Equal(lostA, lostB) {
		t.Error("two lines lost the same packets")
	}
}

func TestShareRange(t *testing.T) {
	for _, p := range []float64{-0.1, 1.1} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Share(%v) did not panic", p)
				}
			}()
			Share(p)
		}()
	}
	if Share(0)(0, newFates(Link{}, 0).loss) || !Share(1)(0, newFates(Link{}, 0).loss) {
		t.Error("Share(0) picked or Share(1) did not")
	}
	if Every(0)(0, nil) {
		t.Error("Every(0) picked")
	}
}

func TestTooBigIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n Network
		a, b := n.Host(Link{MTU: 1500}, Link{}, "192.0.2.1", "2001:db8::1"), n.Host(Link{}, Link{}, "192.0.2.2", "2001:db8::2")
		out := listenPacket(t, a, ":0")
		for _, tt := range []struct {
			to   string
			most int
		}{{"192.0.2.2:9", 1472}, {"[2001:db8::2]:9", 1452}} {
			to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(tt.to))
			if _, err := out.WriteTo(make([]byte, tt.most), to); err != nil {
				t.Errorf("%d bytes to %s: %v", tt.most, tt.to, err)
			}
			_, err := out.WriteTo(make([]byte, tt.most+1), to)
			if !errors.Is(err, syscall.EMSGSIZE) {
				t.Errorf("%d bytes to %s: %v, want EMSGSIZE", tt.most+1, tt.to, err)
			}
		}
		if got := a.Up.Counts().TooBig; got != 2 {
			t.Errorf("%d packets were too big, want 2", got)
		}
		if got := b.Down.Counts().Passed; got != 2 {
			t.Errorf("%d packets came, want 2", got)
		}
	})
}

func TestWaitingWriteHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n Network
		a := n.Host(Link{Rate: 8000, Queue: 1000, Wait: true}, Link{}, "192.0.2.1")
		out := listenPacket(t, a, ":0")
		to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.2:9"))
		start := time.Now()
		out.WriteTo(make([]byte, 972), to) // one second of the link
		out.SetWriteDeadline(start.Add(300 * ms))
		_, err := out.WriteTo(make([]byte, 972), to)
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 300*ms {
			t.Errorf("after %v: %v, want a timeout after 300ms", time.Since(start), err)
		}
		out.SetWriteDeadline(time.Time{})
		if _, err = out.WriteTo(make([]byte, 972), to); err != nil || time.Since(start) != time.Second {
			t.Errorf("after %v: %v, want success after 1s", time.Since(start), err)
		}
		time.AfterFunc(300*ms, func() { out.Close() })
		if _, err = out.WriteTo(make([]byte, 972), to); !errors.Is(err, net.ErrClosed) || time.Since(start) != 1300*ms {
			t.Errorf("after %v: %v, want closed after 1.3s", time.Since(start), err)
		}
	})
}

func TestUnplugAndPlug(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n Network
		a, b := n.Host(Link{Delay: 10 * ms}, Link{}, "192.0.2.1"), n.Host(Link{}, Link{}, "192.0.2.2")
		out, in := listenPacket(t, a, ":0"), listenPacket(t, b, ":9")
		to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.2:9"))
		out.WriteTo([]byte{0}, to)
		time.Sleep(5 * ms)
		a.Unplug() // with one under way
		if _, err := out.WriteTo([]byte{1}, to); err != nil {
			t.Errorf("unplugged: %v", err)
		}
		time.Sleep(time.Second)
		a.Plug()
		out.WriteTo([]byte{2}, to)
		p := make([]byte, 1)
		if _, _, err := in.ReadFrom(p); err != nil || p[0] != 2 {
			t.Errorf("read %d, %v, want 2", p[0], err)
		}
		if got, want := a.Up.Counts(), (Counts{Offered: 3, Passed: 1, Bytes: 29, Unplugged: 2}); got != want {
			t.Errorf("counts %+v\nwant   %+v", got, want)
		}
	})
}

// What is under way when the link changes keeps its time and its place.
func TestSetLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n Network
		a, b := n.Host(Link{Rate: 1_024_000}, Link{}, "192.0.2.1"), n.Host(Link{}, Link{}, "192.0.2.2")
		out, in := listenPacket(t, a, ":0"), listenPacket(t, b, ":9")
		to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.2:9"))
		start := time.Now()
		send := func(count int) {
			for range count {
				out.WriteTo(make([]byte, 100), to)
			}
		}
		send(3)
		a.Up.Set(Link{Rate: 512_000})
		send(2)
		a.Up.Set(Link{})
		send(1)
		var came []time.Duration
		for range 6 {
			if _, _, err := in.ReadFrom(make([]byte, 200)); err != nil {
				t.Fatal(err)
			}
			came = append(came, time.Since(start))
		}
		if want := []time.Duration{ms, 2 * ms, 3 * ms, 5 * ms, 7 * ms, 7 * ms}; !reflect.DeepEqual(came, want) {
			t.Errorf("came at %v\nwant    %v", came, want)
		}
	})
}

// A rate of 1 bit/s is slow, not an overflow.
func TestExtremeRates(t *testing.T) {
	if got := sendTime(12000, 1); got != 12000*time.Second {
		t.Errorf("12000 bits at 1 bit/s take %v", got)
	}
	if got := sendTime(1, 1e18); got != 1 {
		t.Errorf("1 bit at 10^18 bit/s takes %v, want 1ns", got)
	}
	if got := sendTime(1<<63, 1); got <= 0 {
		t.Errorf("2^63 bits at 1 bit/s take %v", got)
	}
}

func BenchmarkLine(b *testing.B) {
	l := newLine(Link{Rate: 1e15, Loss: Share(0.01)}, 0)
	b.ReportAllocs()
	for b.Loop() {
		l.offer(1500, routed, func() {})
	}
}
