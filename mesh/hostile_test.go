package mesh

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/pion/stun/v3"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/mesh/wire"
)

// A server that starts again is known again to its nodes, and they to it.
func TestServerRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Server{})
		defer w.end()
		second := w.net.Host(testnet.Link{}, testnet.Link{}, "192.0.2.2")
		stop := w.serve(second, &Server{})
		a := w.node("a", place(0), testnet.Link{}, testnet.Link{}, "192.0.2.2")
		w.node("b", place(1), testnet.Link{}, testnet.Link{}, "192.0.2.2")
		time.Sleep(60 * time.Second)
		stop()
		time.Sleep(5 * time.Second)
		w.serve(second, &Server{})
		c := w.node("c", place(2), testnet.Link{}, testnet.Link{}, "192.0.2.2")
		time.Sleep(20 * time.Second)
		if got := a.names(); len(got) != 2 || a.peer(t, "c").State != "direct" || c.peer(t, "a").State != "direct" {
			t.Errorf("a knows %v", got)
		}
	})
}

// Whoever is not listed gets no answer of any kind from a node.
func TestStrangersAreNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Server{})
		defer w.end()
		a := w.node("a", place(0), testnet.Link{}, testnet.Link{})
		w.node("b", place(1), testnet.Link{}, testnet.Link{})
		time.Sleep(5 * time.Second)
		stranger := w.net.Host(testnet.Link{}, testnet.Link{}, "203.0.113.66")
		c, err := stranger.ListenPacket(t.Context(), "udp", ":7")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		stamp := uint64(1)
		known := wire.ID{}
		for _, p := range a.Status().Peers {
			known = idOf(t, p.ID)
		}
		for _, p := range []*wire.Packet{
			{ID: wire.ID{7}, Stamp: &stamp},
			{ID: known, Stamp: &stamp}, // the ID of a listed node, from elsewhere
			{ID: known, Stamp: &stamp, Ext: stream(wire.Path{Nonce: 12345, Flags: wire.PathCheck})},
		} {
			p.Role, p.Release = wire.FromClient, wire.ReleaseSonde
			b, err := p.Append(nil, netip.MustParseAddr(place(0)))
			if err != nil {
				t.Fatal(err)
			}
			if err := sendTo(sock.Answering(c), netip.Addr{}, netip.MustParseAddrPort(place(0)+":5000"), b); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Second)
		c.SetReadDeadline(time.Now())
		if n, _, err := c.ReadFrom(make([]byte, 2000)); err == nil {
			t.Errorf("a stranger is sent %d bytes", n)
		}
		if d := a.Status().Dropped[dropSource]; d < 3 {
			t.Errorf("dropped: %v", a.Status().Dropped)
		}
	})
}

func idOf(t *testing.T, s string) wire.ID {
	t.Helper()
	id, err := uuid.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return wire.ID(id)
}

// A server with the address of nobody, a list of thousands, an echo of nothing:
// none of it makes a node keep more than it should.
func TestHugeLists(t *testing.T) {
	server := netip.MustParseAddrPort("192.0.2.1:23456")
	a := testAgent("198.51.100.1:5000", server)
	token := a.servers[0].stamps.fresh(start)
	const pages = 250
	for page := range pages {
		var entries []wire.Entry
		for i := range 25 {
			entries = append(entries, wire.Entry{ID: wire.ID{1, byte(page), byte(i)}, Candidates: []wire.Candidate{
				{Kind: wire.CandidateReflexive, At: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(page), byte(i), 1}), 9)},
			}})
		}
		p := &wire.Packet{Role: wire.FromServer, Release: 3, ID: a.id, Echo: &token,
			Ext: stream(wire.List{Generation: 1, Page: uint8(page), Pages: pages, Total: 25 * pages, Entries: entries})}
		b, err := p.Append(nil, server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		a.receive(start, server, b)
	}
	if len(a.peers) != maxPeers {
		t.Errorf("%d peers of %d listed", len(a.peers), 25*pages)
	}
}

// Whoever sends in a server's name, but does not know what we registered with,
// has us send to nobody.
func TestForgedLists(t *testing.T) {
	server := netip.MustParseAddrPort("192.0.2.1:23456")
	a := testAgent("198.51.100.1:5000", server)
	token := a.servers[0].stamps.fresh(start)
	guess := token + 1
	victim := []wire.Candidate{{Kind: wire.CandidateReflexive, At: netip.MustParseAddrPort("203.0.113.7:53")}}
	forge := func(echo *uint64, bodies ...wire.Body) {
		p := &wire.Packet{Role: wire.FromServer, Release: 3, ID: a.id, Echo: echo, Ext: stream(bodies...)}
		b, err := p.Append(nil, server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		a.receive(start, server, b)
	}
	list := wire.List{Generation: 1, Pages: 1, Total: 1, Entries: []wire.Entry{{ID: wire.ID{7}, Candidates: victim}}}
	for _, echo := range []*uint64{nil, &guess} {
		forge(echo, wire.Hello{Part: wire.PartServer, Can: wire.OffersRelay}, list)
		forge(echo, wire.Punch{Nonce: 1, Peer: wire.ID{7}, Candidates: victim})
	}
	if s := a.servers[0]; len(a.peers) != 0 || s.sonde || a.drops[dropStray] != 4 {
		t.Errorf("%d peers, dropped %v", len(a.peers), a.drops)
	}
	// From a server that is known to be ours, no list as of old either.
	forge(&token, wire.Hello{Part: wire.PartServer}, list)
	if len(a.peers) != 1 {
		t.Errorf("%d peers of the true list", len(a.peers))
	}
	old := &wire.Packet{Role: wire.FromServer, Release: 2, ID: a.id, Whole: true, Peers: []wire.Listed{{Outside: victim[0].At}, {Outside: netip.MustParseAddrPort("203.0.113.8:53")}}}
	b, err := old.Append(nil, server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	a.receive(start, server, b)
	if len(a.peers) != 1 {
		t.Errorf("%d peers after a list as of old", len(a.peers))
	}
}

// A node cannot have all others send to a victim: it is listed at addresses that
// can be its own.
func TestVictimIsNotListed(t *testing.T) {
	b := newBench(Limits{})
	var all wire.Candidates
	for i := range 6 {
		all = append(all, wire.Candidate{Kind: wire.CandidateMapped, At: netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 53)},
			wire.Candidate{Kind: wire.CandidateHost, At: netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i), 15: 1}), 53)})
	}
	all = append(all, wire.Candidate{Kind: wire.CandidateMapped, At: netip.MustParseAddrPort("192.0.2.9:7777")})
	clientAt(b, "192.0.2.9:1", wire.ID{9}, 48, someHello, all)
	clientAt(b, "192.0.2.8:1", wire.ID{8}, 48, someHello)
	x, y := b.clients[wire.ID{9}], b.clients[wire.ID{8}]
	var four, six []string
	for _, c := range x.candidatesFor(y) {
		if c.At.Addr().Is4() {
			four = append(four, c.At.String())
		} else {
			six = append(six, c.At.String())
		}
	}
	if !slices.Equal(four, []string{"192.0.2.9:1", "192.0.2.9:7777"}) || len(six) != unseenCandidates {
		t.Errorf("listed at %v and %v", four, six)
	}
}

// FuzzReceive gives a server and a node what the fuzzer likes, with a good
// checksum, from known and unknown addresses.
func FuzzReceive(f *testing.F) {
	for _, name := range []string{"one-client.json", "two-clients-same-address.json", "three-clients-nat.json"} {
		var file struct{ Packets []recorded }
		load(f, name, &file)
		for _, r := range file.Packets[:10] {
			f.Add(r.bytes(f))
		}
	}
	id := wire.ID{1}
	for _, bodies := range [][]wire.Body{
		{someHello, wire.Candidates{{Kind: wire.CandidateHost, At: netip.MustParseAddrPort("10.0.0.1:5")}}},
		{wire.Report{{Peer: wire.ID{2}, State: wire.StateTrying}}, wire.Relay{Peer: wire.ID{2}, Hops: 2, Inner: registrationOf(id, 48)}},
		{wire.List{Generation: 9, Pages: 1, Total: 1, Entries: []wire.Entry{{ID: wire.ID{2}, Name: "b"}}}, wire.Punch{Nonce: 1, Peer: wire.ID{2}}},
		{wire.Times{T1: 1}, wire.Path{Nonce: 1, Flags: wire.PathCheck}},
	} {
		f.Add(registrationOf(id, 48, bodies...))
	}
	f.Fuzz(func(t *testing.T, d []byte) {
		if len(d) > 2 && len(d) <= wire.MaxPacket {
			sum := wire.Checksum(d[:len(d)-2])
			d = append(d[:len(d)-2:len(d)-2], byte(sum>>8), byte(sum))
		}
		b := newBench(Limits{})
		b.relay = newRelaying(Relaying{})
		known := clientAt(b, "192.0.2.1:1", id, 48, someHello)
		clientAt(b, "192.0.2.2:1", wire.ID{2}, 48, someHello)
		before := len(b.sent)
		b.receiveNow(netip.MustParseAddrPort("203.0.113.1:9"), d)
		sent := 0
		for _, s := range b.sent[before:] {
			sent += len(s.b)
		}
		if sent > max(len(d), 48) && d[0] != 0 {
			t.Fatalf("a stranger is sent %d bytes for %d", sent, len(d))
		}
		b.receiveNow(known, d)
		b.until(b.now.Add(1100 * time.Millisecond))
		server := netip.MustParseAddrPort("192.0.2.1:23456")
		a := testAgent("198.51.100.1:5000", server)
		a.receive(start, server, d)
		a.receive(start, netip.MustParseAddrPort("192.0.2.2:1"), d)
		for now := start; now.Before(at(0.2)); now = now.Add(tick) {
			a.due(now)
		}
		if len(b.clients) > 3 || len(a.peers) > 1400 {
			t.Fatalf("%d clients, %d peers", len(b.clients), len(a.peers))
		}
	})
}

// Requests to STUN in a victim's name bring the victim hardly more than they
// cost; nobody can have the server write to well-known ports.
func TestSTUNReflection(t *testing.T) {
	b := newBench(Limits{})
	b.reflect = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:23456"), netip.MustParseAddrPort("192.0.2.1:23457")}
	victim := netip.MustParseAddrPort("203.0.113.7:7000")
	request := func(attributes ...stun.RawAttribute) []byte {
		m := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
		for _, a := range attributes {
			m.Add(a.Type, a.Value)
		}
		m.Encode()
		return m.Raw
	}
	change := stun.RawAttribute{Type: stun.AttrChangeRequest, Value: []byte{0, 0, 0, 2}}
	port := func(p uint16) stun.RawAttribute {
		return stun.RawAttribute{Type: stun.AttrResponsePort, Value: []byte{byte(p >> 8), byte(p), 0, 0}}
	}
	for _, tt := range []struct {
		name    string
		request []byte
		grown   int // answers that may be longer than the request
	}{
		{"plain", request(), growingBurst},
		{"another socket", request(change), 0},
		{"another port", request(port(8000)), 0},
		{"both", request(change, port(8000)), 0},
	} {
		b.until(b.now.Add(10 * time.Second))
		b.sent = nil
		for range 1000 {
			b.receiveNow(victim, tt.request)
		}
		grown := 0
		for _, s := range b.sent {
			if len(s.b) > len(tt.request) {
				grown++
			}
			if s.to.Addr() != victim.Addr() {
				t.Errorf("%s: an answer to %v", tt.name, s.to)
			}
		}
		if grown > tt.grown || len(b.sent) > b.limits.perStranger() {
			t.Errorf("%s: %d answers, %d of them longer than %d bytes", tt.name, len(b.sent), grown, len(tt.request))
		}
	}
	b.until(b.now.Add(10 * time.Second))
	b.sent = nil
	for _, p := range []uint16{0, 53, 123, 1023} {
		b.receiveNow(victim, request(change, port(p)))
	}
	if len(b.sent) != 0 {
		t.Errorf("%d answers to well-known ports", len(b.sent))
	}
}
