package mesh

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
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
			if err := sendTo(c, netip.MustParseAddrPort(place(0)+":5000"), b); err != nil {
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
	const pages = 250
	for page := range pages {
		var entries []wire.Entry
		for i := range 25 {
			entries = append(entries, wire.Entry{ID: wire.ID{1, byte(page), byte(i)}, Candidates: []wire.Candidate{
				{Kind: wire.CandidateReflexive, At: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(page), byte(i), 1}), 9)},
			}})
		}
		p := &wire.Packet{Role: wire.FromServer, Release: 3, ID: a.id,
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
