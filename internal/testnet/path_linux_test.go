package testnet

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

func apart(t *testing.T, up, down Link) (p *Path, a, b *Namespace) {
	t.Helper()
	a, b = NewNamespace(t), NewNamespace(t)
	p = NewPath(t, Cable{}, up, down,
		End{a, "eth0", []string{"192.0.2.1/24", "2001:db8::1/64"}},
		End{b, "eth0", []string{"192.0.2.2/24", "2001:db8::2/64"}})
	return p, a, b
}

func TestPathConformance(t *testing.T) {
	NeedNamespaces(t)
	_, a, b := apart(t, Link{Delay: 2 * ms}, Link{Delay: 2 * ms})
	// A process carries the packets, and may be held up.
	conform(t, place{client: a, server: b, from: "192.0.2.1", to: "192.0.2.2", slow: 300 * ms})
}

func TestPathDatagrams(t *testing.T) {
	p, a, b := apart(t, Link{Loss: Every(4), Duplicate: At(0)}, Link{Reorder: At(0), ReorderBy: 50 * ms})
	for _, tt := range []struct {
		to     string
		header int
	}{{"192.0.2.2:5000", 28}, {"[2001:db8::2]:5000", 48}} {
		in, out := listenPacket(t, b, tt.to), listenPacket(t, a, ":0")
		to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(tt.to))
		before := p.Up.Counts()
		for i := range 8 {
			if _, err := out.WriteTo(make([]byte, i), to); err != nil {
				t.Fatal(err)
			}
		}
		awaitCount(t, p.Up, func(c Counts) bool { return c.Offered == before.Offered+8 })
		var sizes []int
		for end := time.Now().Add(5 * time.Second); ; {
			in.SetReadDeadline(time.Now().Add(200 * ms))
			n, _, err := in.ReadFrom(make([]byte, 100))
			if err != nil && (len(sizes) >= 6 || time.Now().After(end)) { // of 8 each fourth is lost
				break
			}
			if err == nil {
				sizes = append(sizes, n)
			}
		}
		did := p.Up.Counts()
		if did.Offered-before.Offered != 8 || did.Lost-before.Lost != 2 || len(sizes) != int(did.Passed+did.Duplicated-before.Passed-before.Duplicated) {
			t.Errorf("%s: came %v, before %+v, after %+v", tt.to, sizes, before, did)
		}
		bytes := 0
		for _, n := range sizes {
			bytes += n + tt.header
		}
		if did.Bytes-before.Bytes != uint64(bytes) {
			t.Errorf("%s: %d bytes were carried, %d came", tt.to, did.Bytes-before.Bytes, bytes)
		}
		in.Close()
	}
	if did := p.Up.Counts(); did.Duplicated != 1 {
		t.Errorf("%d were duplicated, want 1", did.Duplicated)
	}
}

// The kernel's TCP meets a slow bottleneck with a short queue and recovers.
func TestPathStream(t *testing.T) {
	p, a, b := apart(t, Link{Delay: ms}, Link{Delay: ms, Rate: 50_000_000, Queue: 15_000, Loss: Every(200)})
	client, server := pair(t, place{client: a, server: b, from: "192.0.2.1", to: "192.0.2.2"})
	for _, c := range []net.Conn{client, server} {
		c.SetDeadline(time.Now().Add(time.Minute)) // so many losses take long on a busy machine
	}
	sent := noise(1_000_000)
	start := time.Now()
	go func() {
		server.Write(sent)
		server.Close()
	}()
	got, err := io.ReadAll(client)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes came, %v", len(got), len(sent), err)
	}
	if took := time.Since(start); took < 160*ms {
		t.Errorf("took %v, want at least 160ms at this rate", took)
	}
	if did := p.Down.Counts(); did.Lost == 0 || did.Bytes < uint64(len(sent)) {
		t.Errorf("counts %+v", did)
	}
}

func TestPathUnplugged(t *testing.T) {
	p, a, b := apart(t, Link{}, Link{})
	client, server := pair(t, place{client: a, server: b, from: "192.0.2.1", to: "192.0.2.2"})
	p.Unplug()
	client.Write([]byte("held"))
	server.SetReadDeadline(time.Now().Add(100 * ms))
	_, err := server.Read(make([]byte, 1))
	wantTimeout(t, err)
	awaitCount(t, p.Up, func(c Counts) bool { return c.Unplugged > 0 })
	p.Plug()
	server.SetReadDeadline(time.Now().Add(10 * time.Second))
	wantRead(t, server, "held", nil)
}

func TestHousekeeping(t *testing.T) {
	frame := func(etherType uint16, packet ...byte) []byte {
		return append(append(make([]byte, 12), byte(etherType>>8), byte(etherType)), packet...)
	}
	ip6 := func(next byte, to string, payload ...byte) []byte {
		b := make([]byte, 24)
		b[6] = next
		a := netip.MustParseAddr(to).As16()
		return append(append(b, a[:]...), payload...)
	}
	for _, tt := range []struct {
		name  string
		frame []byte
		want  bool
	}{
		{"ARP", frame(0x0806, make([]byte, 28)...), true},
		{"IPv4", frame(0x0800, make([]byte, 20)...), false},
		{"IPv4 cut short", frame(0x0800, make([]byte, 19)...), true},
		{"UDP over IPv6", frame(0x86dd, ip6(17, "2001:db8::1")...), false},
		{"IPv6 cut short", frame(0x86dd, ip6(17, "2001:db8::1")[:39]...), true},
		{"multicast", frame(0x86dd, ip6(17, "ff02::1")...), true},
		{"neighbour solicitation", frame(0x86dd, ip6(58, "2001:db8::1", 135)...), true},
		{"echo request", frame(0x86dd, ip6(58, "2001:db8::1", 128)...), false},
		{"ICMPv6 cut short", frame(0x86dd, ip6(58, "2001:db8::1")...), false},
	} {
		if got := isHousekeeping(tt.frame); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
