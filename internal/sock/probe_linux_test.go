package sock

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func openProbes(t *testing.T, host string, join bool, buffer int) *ProbeSocket {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(host), 0)))
	if err != nil {
		t.Skipf("no socket at %s: %v", host, err)
	}
	p, err := Probes(c, join)
	if err != nil || p == nil {
		t.Fatalf("Probes: %v, %v", p, err)
	}
	if buffer > 0 {
		if err := p.socket.with(func(fd int) error { return setOption(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer) }); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { p.Close() })
	if err := p.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return p
}

func rooms(n int) []Arrival {
	as := make([]Arrival, n)
	for i := range as {
		as[i].Data = make([]byte, 1<<16)
	}
	return as
}

// What was sent comes with its class and address, and with stamps of both ways
// in the right order.
func TestProbes(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		a, b := openProbes(t, host, false, 0), openProbes(t, host, false, 0)
		if a.Stamps() != AllStamps {
			t.Skipf("the kernel gives stamps %d", a.Stamps())
		}
		if err := a.SetTTL(7); err != nil {
			t.Fatal(err)
		}
		before := time.Now().Round(0)
		late := []byte("not") // changed at the last moment
		ds := []Departure{
			{Data: []byte("one"), To: b.LocalAddrPort(), Class: 0xb8, Stamp: true},
			{Data: late, To: b.LocalAddrPort(), Ready: func() { copy(late, "two") }},
			{Data: []byte{}, To: b.LocalAddrPort(), From: netip.MustParseAddr(host), Stamp: true},
		}
		if n, err := a.Write(ds); n != 3 || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
		as := rooms(8)
		for have := 0; have < 3; {
			n, left, err := b.Read(as[have:], nil)
			if err != nil || left != 0 {
				t.Fatalf("Read = %d, %d, %v", n, left, err)
			}
			have += n
		}
		var gone [8]Departed
		n, left, err := a.Read(rooms(1), gone[:])
		if n != 0 || left != 2 || err != nil || gone[0].N != 0 || gone[1].N != 1 {
			t.Fatalf("stamps of departures: %d, %d, %v, %+v", n, left, err, gone)
		}
		for i, stamped := range map[int]int{0: 0, 2: 1} {
			if left, came := gone[stamped].At, as[i].Stamp; before.After(left) || left.After(came) || came.After(time.Now()) {
				t.Errorf("%s: written after %v, left at %v, came at %v", host, before, left, came)
			}
		}
		if string(late) != "two" {
			t.Errorf("%s: %q left", host, late)
		}
		for i, want := range ds {
			got := as[i]
			if got.Len != len(want.Data) || !bytes.Equal(got.Data[:got.Len], want.Data) || got.From != a.LocalAddrPort() || got.To.String() != host ||
				!got.Classed || got.Class != want.Class || got.TTL != 7 || got.Segment != 0 {
				t.Errorf("%s: datagram %d: %+v", host, i, got)
			}
		}
	}
}

// Trains pass whole where the kernel joins them, and in pieces where it may not
// or cannot cut them.
func TestProbeTrains(t *testing.T) {
	octets := bytes.Repeat([]byte("0123456789"), 25)
	for _, tt := range []struct{ join, cuts bool }{{true, true}, {false, true}, {true, false}} {
		a, b := openProbes(t, "127.0.0.1", false, 0), openProbes(t, "127.0.0.1", tt.join, 0)
		a.cuts = tt.cuts
		if tt.join && !b.Joins() {
			t.Skip("the kernel does not join")
		}
		ds := []Departure{{Data: []byte("front"), To: b.LocalAddrPort()}, {Data: octets, Segment: 40, To: b.LocalAddrPort()}, {Data: []byte("end"), To: b.LocalAddrPort()}}
		if n, err := a.Write(ds); n != 3 || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
		var all []byte
		messages := 0
		for want := len(octets) + 8; len(all) < want; {
			as := rooms(16)
			n, _, err := b.Read(as, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range as[:n] {
				messages++
				all = append(all, m.Data[:m.Len]...)
			}
		}
		if string(all) != "front"+string(octets)+"end" {
			t.Errorf("%+v: %q", tt, all)
		}
		if whole := tt.join && tt.cuts; whole && messages != 3 || !whole && messages != 9 {
			t.Errorf("%+v: %d messages", tt, messages)
		}
	}
}

// A train whose segments are beyond the MTU arrives all the same.
func TestProbeTrainOfFragments(t *testing.T) {
	a, b := openProbes(t, "127.0.0.1", false, 0), openProbes(t, "127.0.0.1", true, 0)
	if n, err := a.Write([]Departure{{Data: make([]byte, 65000), Segment: 30000, To: b.LocalAddrPort()}}); n != 1 || err != nil {
		t.Fatalf("Write = %d, %v", n, err)
	}
	for have := 0; have < 65000; {
		as := rooms(4)
		n, _, err := b.Read(as, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range as[:n] {
			have += m.Len
		}
	}
}

// What our own buffer had no room for is counted.
func TestProbesDropped(t *testing.T) {
	a, b := openProbes(t, "127.0.0.1", false, 0), openProbes(t, "127.0.0.1", false, 1)
	for range 50 {
		if _, err := a.Write([]Departure{{Data: make([]byte, 1000), To: b.LocalAddrPort()}}); err != nil {
			t.Fatal(err)
		}
	}
	came := 0
	as := rooms(16)
	if err := b.SetReadDeadline(time.Now().Add(time.Second)); err != nil { // all is there, but this machine may be busy elsewhere
		t.Fatal(err)
	}
	for {
		n, _, err := b.Read(as, nil)
		if err != nil {
			break
		}
		came += n
	}
	dropped, ok := b.Dropped()
	if !ok {
		t.Skip("the kernel does not tell")
	}
	if came == 0 || came+int(dropped) != 50 {
		t.Errorf("%d came, %d dropped of 50", came, dropped)
	}
}

// A write that fails says how many went, and stamps are numbered afresh.
func TestProbesRecount(t *testing.T) {
	a, b := openProbes(t, "127.0.0.1", false, 0), openProbes(t, "127.0.0.1", false, 0)
	good := Departure{Data: []byte("x"), To: b.LocalAddrPort(), Stamp: true}
	elsewhere := good
	elsewhere.To = netip.MustParseAddrPort("[2001:db8::1]:9")
	if n, err := a.Write([]Departure{good, good, elsewhere, good}); n != 2 || err == nil {
		t.Errorf("Write = %d, %v", n, err)
	}
	if a.Stamps() != AllStamps {
		t.Skip("no stamps")
	}
	var gone [4]Departed
	if _, n, err := a.Read(nil, gone[:]); n != 2 || err != nil {
		t.Fatalf("%d stamps, %v", n, err)
	}
	if err := a.Recount(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Write([]Departure{good}); err != nil {
		t.Fatal(err)
	}
	if _, n, err := a.Read(nil, gone[:]); n != 1 || err != nil || gone[0].N != 0 {
		t.Errorf("%d stamps, %v, the first is number %d", n, err, gone[0].N)
	}
}

func TestProbesEnd(t *testing.T) {
	p := openProbes(t, "127.0.0.1", false, 0)
	done := make(chan error, 1)
	read := func() {
		_, _, err := p.Read(rooms(1), nil)
		done <- err
	}
	go read()
	time.Sleep(10 * time.Millisecond)
	if err := p.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline: %v", err)
	}
	if err := p.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	go read()
	time.Sleep(10 * time.Millisecond)
	p.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := p.Write([]Departure{{To: netip.MustParseAddrPort("127.0.0.1:9")}}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after Close: %v", err)
	}
}

func TestProbesDoNotAllocate(t *testing.T) {
	a, b := openProbes(t, "127.0.0.1", false, 0), openProbes(t, "127.0.0.1", false, 0)
	ds := []Departure{{Data: make([]byte, 44), To: b.LocalAddrPort(), Class: 8, Stamp: true}}
	as, gone := rooms(4), make([]Departed, 4)
	n := testing.AllocsPerRun(100, func() {
		if _, err := a.Write(ds); err != nil {
			t.Error(err)
		}
		if _, _, err := b.Read(as, gone); err != nil {
			t.Error(err)
		}
		if _, _, err := a.Read(as, gone); err != nil {
			t.Error(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations for a packet", n)
	}
}
