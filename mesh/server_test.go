package mesh

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/sonde-net/sonde/mesh/wire"
)

// registrationOf makes a registration of about size bytes; META fills it.
func registrationOf(id wire.ID, size int, records ...wire.Body) []byte {
	local, stamp := netip.MustParseAddrPort("10.0.0.1:5000"), uint64(77)
	p := &wire.Packet{Role: wire.FromClient, Release: wire.ReleaseOld, ID: id, Local: local, Stamp: &stamp, Ext: stream(records...)}
	if size > 48 {
		meta := slices.Repeat([]byte(" "), size-50)
		p.Meta = append([]byte("{}"), meta[:size-52]...)
	}
	b, err := p.Append(nil, local.Addr())
	if err != nil {
		panic(err)
	}
	return b
}

// clientAt registers a client and echoes the challenge, as an original one does.
func clientAt(b *bench, at string, id wire.ID, size int, records ...wire.Body) netip.AddrPort {
	from := netip.MustParseAddrPort(at)
	before := len(b.sent)
	b.receiveNow(from, registrationOf(id, size, records...))
	for _, s := range b.sent[before:] {
		echoAll(b, s.to, id, s.b)
	}
	return from
}

func echoAll(b *bench, from netip.AddrPort, id wire.ID, datagram []byte) {
	p, err := wire.ParsePacket(datagram)
	if err != nil || p.Stamp == nil {
		return
	}
	echo := &wire.Packet{Role: wire.FromClient, Release: wire.ReleaseOld, ID: id, Echo: p.Stamp}
	d, err := echo.Append(nil, from.Addr())
	if err != nil {
		panic(err)
	}
	b.receiveNow(from, d)
}

// A stranger's address gets one packet, not longer than the one that claims to
// come from it, and nobody else hears of it.
func TestNoAmplification(t *testing.T) {
	for _, size := range []int{48, 56, 57, 58, 60, 200, 300} {
		b := newBench(Limits{})
		other := clientAt(b, "192.0.2.9:1", wire.ID{9}, 200)
		b.until(at(2))
		b.sent = nil
		spoofed := netip.MustParseAddrPort("203.0.113.1:9")
		b.receiveNow(spoofed, registrationOf(wire.ID{1}, size))
		b.until(at(9))
		bytes, packets := 0, 0
		for _, s := range b.sent {
			switch s.to {
			case spoofed:
				bytes += len(s.b)
				packets++
			case other:
				t.Errorf("%d bytes: a third party is sent %d bytes", size, len(s.b))
			}
		}
		if packets != 1 || bytes > max(size, 48) {
			t.Errorf("a registration of %d bytes yields %d packets of %d bytes", size, packets, bytes)
		}
		if len(b.clients) != 1 {
			t.Errorf("%d clients", len(b.clients))
		}
	}
}

// Even the shortest registration can be completed.
func TestAdmission(t *testing.T) {
	for _, size := range []int{48, 56, 60, 200} {
		b := newBench(Limits{})
		if clientAt(b, "192.0.2.9:1", wire.ID{9}, size); len(b.clients) != 1 {
			t.Errorf("a client with registrations of %d bytes is not admitted", size)
		}
	}
	b := newBench(Limits{})
	from := netip.MustParseAddrPort("192.0.2.9:1")
	b.receiveNow(from, registrationOf(wire.ID{9}, 200))
	guess := uint64(1)
	for _, p := range []*wire.Packet{
		{Echo: &guess}, {Shutdown: true}, {Echo: packet(t, b.sent[0].b).Stamp, ID: wire.ID{8}},
	} {
		p.Role, p.Release = wire.FromClient, 2
		d, _ := p.Append(nil, from.Addr())
		b.receiveNow(from, d)
	}
	if len(b.clients) != 0 {
		t.Error("admitted without proof")
	}
	// A token is good for two epochs.
	token := packet(t, b.sent[0].b).Stamp
	if !b.seal.proves(*token, from, wire.ID{9}, at(45)) || b.seal.proves(*token, from, wire.ID{9}, at(75)) {
		t.Error("the token's time")
	}
	if b.seal.proves(*token, netip.MustParseAddrPort("192.0.2.9:2"), wire.ID{9}, at(1)) {
		t.Error("the token is good for another port")
	}
}

// A client moves when its ID proves to hear at another address.
func TestRoaming(t *testing.T) {
	b := newBench(Limits{})
	old := clientAt(b, "192.0.2.9:1", wire.ID{9}, 200)
	now := clientAt(b, "203.0.113.7:4444", wire.ID{9}, 200)
	if len(b.clients) != 1 || b.at[old] != nil || b.at[now] == nil || b.sites[old.Addr()] != 0 {
		t.Errorf("%d clients, %v", len(b.clients), b.at)
	}
	clientAt(b, "[2001:db8::9]:1", wire.ID{9}, 200)
	if c := b.at[now]; c == nil || !c.at[0].outside.IsValid() || !c.at[1].outside.IsValid() || len(b.clients) != 1 {
		t.Errorf("the client has one address of each family: %+v", b.clients)
	}
}

// 100,000 registrations from spoofed addresses change nothing for those who
// have proven themselves, and the memory they take is bounded.
func TestFlood(t *testing.T) {
	b := newBench(Limits{Strangers: 1 << 30, PerStranger: 1 << 30})
	var good []netip.AddrPort
	for i := range 20 {
		good = append(good, clientAt(b, fmt.Sprintf("192.0.2.%d:1000", i+1), wire.ID{9, byte(i)}, 200))
	}
	b.until(at(3))
	b.sent = nil
	for i := range 100_000 {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 7)
		b.receiveNow(from, registrationOf(wire.ID{1, byte(i >> 16), byte(i >> 8), byte(i)}, 200))
		b.sent = b.sent[:0]
	}
	if n := len(b.lobby.pending.places); n != lobbyPlaces || len(b.lobby.pending.index) > lobbyPlaces {
		t.Errorf("the lobby holds %d places, %d in its index", n, len(b.lobby.pending.index))
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	t.Logf("%d kB of heap after the flood", m.HeapAlloc>>10)
	if len(b.clients) != len(good) {
		t.Errorf("%d clients", len(b.clients))
	}
	for _, g := range good {
		if b.at[g] == nil {
			t.Errorf("%v has lost its place", g)
		}
	}
}

// The same with the limits that a server has by itself.
func TestFloodIsLimited(t *testing.T) {
	b := newBench(Limits{})
	for i := range 1000 {
		b.receiveNow(netip.MustParseAddrPort("203.0.113.1:9"), registrationOf(wire.ID{1, byte(i >> 8), byte(i)}, 200))
	}
	if len(b.sent) != 20 || b.drops[dropLimit] != 980 {
		t.Errorf("%d answers to one address in no time, dropped %v", len(b.sent), b.drops)
	}
}

// A full table admits nobody more; who is in it stays.
func TestFull(t *testing.T) {
	b := newBench(Limits{Clients: 3, PerSite: 2})
	for i := range 3 {
		clientAt(b, fmt.Sprintf("192.0.2.1:%d", i+1), wire.ID{byte(i)}, 200)
	}
	if len(b.clients) != 2 {
		t.Errorf("%d clients of one address", len(b.clients))
	}
	for i := range 3 {
		clientAt(b, fmt.Sprintf("192.0.2.%d:1", i+2), wire.ID{1, byte(i)}, 200)
	}
	if len(b.clients) != 3 {
		t.Errorf("%d clients", len(b.clients))
	}
}

var someHello = wire.Hello{Part: wire.PartNode, Name: "node"}

// 300 nodes: everybody learns of everybody, in pages, and a killed one is gone
// from all lists in the expiry time.
func TestManyNodes(t *testing.T) {
	const n = 300
	b := newBench(Limits{PerSite: n, PerStranger: n})
	known := map[netip.AddrPort]map[wire.ID]bool{}
	taken, bytes := 0, 0
	dead := netip.AddrPort{}
	take := func() {
		for ; taken < len(b.sent); taken++ {
			s := b.sent[taken]
			bytes += len(s.b)
			p := packet(t, s.b)
			if p.Stamp != nil && s.to != dead {
				echoAll(b, s.to, p.ID, s.b)
			}
			records, err := wire.ParseRecords(p.Ext)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range records {
				if r.Type != wire.RecordList {
					continue
				}
				l, err := wire.ParseList(r.Value)
				if err != nil {
					t.Fatal(err)
				}
				if known[s.to] == nil || l.Page == 0 {
					known[s.to] = map[wire.ID]bool{}
				}
				for _, e := range l.Entries {
					known[s.to][e.ID] = true
				}
			}
		}
		b.sent, taken = b.sent[:0], 0
	}
	var all []netip.AddrPort
	var ids []wire.ID
	for i := range n {
		ids = append(ids, wire.ID{byte(i >> 8), byte(i), 1})
		all = append(all, netip.MustParseAddrPort(place(i)+":5000"))
	}
	second := func(live int) {
		for i := range live {
			if int(b.now.Sub(start)/time.Second)%7 == i%7 {
				b.receiveNow(all[i], registrationOf(ids[i], 48, someHello))
			}
		}
		for range 20 {
			b.due(b.now)
			take()
			b.now = b.now.Add(50 * time.Millisecond)
		}
	}
	for range 25 {
		second(n)
	}
	for i, at := range all {
		if len(known[at]) != n-1 {
			t.Fatalf("node %d knows %d others after 25 s", i, len(known[at]))
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d bytes sent for %d nodes in 25 s; %d kB of heap with the nodes' own side of the test", bytes, n, m.HeapAlloc>>10)
	if b.bytes != uint64(bytes) {
		t.Errorf("the server counts %d bytes sent, %d came", b.bytes, bytes)
	}
	dead = all[n-1]
	for range 45 {
		second(n - 1)
	}
	for i, at := range all[:n-1] {
		if known[at][ids[n-1]] || len(known[at]) != n-2 {
			t.Fatalf("node %d still knows the killed one, or knows %d others", i, len(known[at]))
		}
	}
}

// 200 original clients: each list fits a packet, and A lists B exactly when B
// lists A.
func TestManyOriginals(t *testing.T) {
	const n = 200
	b := newBench(Limits{PerSite: n, PerStranger: n})
	lists := map[netip.AddrPort][]netip.AddrPort{}
	for i := range n {
		clientAt(b, fmt.Sprintf("192.0.2.1:%d", 1000+i), wire.ID{byte(i)}, 200)
	}
	b.until(at(10))
	for _, s := range b.sent {
		p := packet(t, s.b)
		if !p.Whole {
			continue
		}
		lists[s.to] = nil
		for _, l := range p.Peers {
			if !l.Inside.IsValid() {
				t.Fatal("an entry of the same address without the inside one")
			}
			lists[s.to] = append(lists[s.to], l.Outside)
		}
	}
	if len(lists) != n {
		t.Fatalf("%d clients were sent a list", len(lists))
	}
	for a, peers := range lists {
		if len(peers) != 84 {
			t.Errorf("%v lists %d", a, len(peers))
		}
		for _, p := range peers {
			if !slices.Contains(lists[p], a) {
				t.Errorf("%v lists %v, but not the other way", a, p)
			}
		}
	}
}

// Private addresses are for neighbours only.
func TestPrivateCandidates(t *testing.T) {
	b := newBench(Limits{})
	inside := wire.Candidates{
		{Kind: wire.CandidateHost, At: netip.MustParseAddrPort("192.168.1.2:5")},
		{Kind: wire.CandidateHost, At: netip.MustParseAddrPort("127.0.0.1:5")},
		{Kind: wire.CandidateReflexive, At: netip.MustParseAddrPort("8.8.8.8:53")},
	}
	x := b.at[clientAt(b, "203.0.113.1:1", wire.ID{1}, 48, someHello, inside)]
	y := b.at[clientAt(b, "203.0.113.1:2", wire.ID{2}, 48, someHello)]
	z := b.at[clientAt(b, "203.0.113.9:2", wire.ID{3}, 48, someHello)]
	if got := x.candidatesFor(y); len(got) != 2 || got[1] != inside[0] {
		t.Errorf("to a neighbour: %v", got)
	}
	if got := x.candidatesFor(z); len(got) != 1 || got[0].At != x.at[0].outside {
		t.Errorf("to a stranger: %v; a claimed reflexive or loopback address must not be listed", got)
	}
}

// The relay carries only between nodes in the table of which the sender has
// reported that it needs it, and not more than its rate.
func TestRelayRefuses(t *testing.T) {
	b := newBench(Limits{})
	b.relay = newRelaying(Relaying{})
	x, y := clientAt(b, "192.0.2.1:1", wire.ID{1}, 48, someHello), clientAt(b, "192.0.2.2:1", wire.ID{2}, 48, someHello)
	old := clientAt(b, "192.0.2.3:1", wire.ID{3}, 200)
	b.until(at(2))
	send := func(from netip.AddrPort, id, to wire.ID, hops uint8, f *wire.Finding) int {
		bodies := []wire.Body{}
		if f != nil {
			bodies = append(bodies, wire.Report{*f})
		}
		bodies = append(bodies, wire.Relay{Peer: to, Hops: hops, Inner: make([]byte, 500)})
		p := &wire.Packet{Role: wire.FromClient, Release: 3, ID: id, Ext: stream(bodies...)}
		d, err := p.Append(nil, from.Addr())
		if err != nil {
			t.Fatal(err)
		}
		before := b.relay.packets
		b.receiveNow(from, d)
		return int(b.relay.packets - before)
	}
	trying := &wire.Finding{Peer: wire.ID{2}, State: wire.StateTrying}
	for _, tt := range []struct {
		name string
		got  int
		want int
	}{
		{"no report", send(x, wire.ID{1}, wire.ID{2}, 2, nil), 0},
		{"to nobody", send(x, wire.ID{1}, wire.ID{7}, 2, trying), 0},
		{"no hops", send(x, wire.ID{1}, wire.ID{2}, 0, trying), 0},
		{"to an original", send(x, wire.ID{1}, wire.ID{3}, 2, &wire.Finding{Peer: wire.ID{3}, State: wire.StateTrying}), 0},
		{"from an original", send(old, wire.ID{3}, wire.ID{2}, 2, nil), 0},
		{"from a stranger", send(netip.MustParseAddrPort("192.0.2.8:8"), wire.ID{1}, wire.ID{2}, 2, trying), 0},
		{"as it should be", send(x, wire.ID{1}, wire.ID{2}, 2, trying), 1},
		{"a direct pair", send(y, wire.ID{2}, wire.ID{1}, 2, &wire.Finding{Peer: wire.ID{1}, State: wire.StateDirect}), 0},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %d packets carried, want %d", tt.name, tt.got, tt.want)
		}
	}
	carried := 0
	for range 100 {
		carried += send(x, wire.ID{1}, wire.ID{2}, 2, trying)
	}
	if carried != 15 || b.relay.refused == 0 { // 64 kbit of 500 bytes are 16, one is gone
		t.Errorf("%d packets at once at 64 kbit/s", carried)
	}
	// A cap of bytes ends it, however slowly they come.
	b.relay = newRelaying(Relaying{Bytes: 1700})
	carried = 0
	for i := range 10 {
		b.until(at(float64(4 + 2*i)))
		b.receiveNow(x, registrationOf(wire.ID{1}, 48, someHello))
		b.receiveNow(y, registrationOf(wire.ID{2}, 48, someHello))
		carried += send(x, wire.ID{1}, wire.ID{2}, 2, trying)
	}
	if carried != 3 {
		t.Errorf("%d packets of 500 bytes with a cap of 1700", carried)
	}
}
