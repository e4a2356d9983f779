package mesh

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sonde-net/sonde/mesh/wire"
	"github.com/sonde-net/sonde/result"
)

// A recorded is one packet of a recording of original programs.
type recorded struct {
	T        float64
	From, To string
	Src, Dst netip.AddrPort
	Hex      string
}

func (r recorded) bytes(t testing.TB) []byte {
	t.Helper()
	b, err := hex.DecodeString(r.Hex)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func load(t testing.TB, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// shape is the fields of a packet in their order, without META, which means
// nothing, and CC, which is ours.
func shape(t testing.TB, b []byte) string {
	t.Helper()
	_, fields, err := wire.Split(b)
	if err != nil {
		t.Fatalf("% x: %v", b, err)
	}
	var names []string
	for _, f := range fields {
		if f.Type != wire.Meta && f.Type != wire.CC {
			names = append(names, f.Type.String())
		}
	}
	return strings.Join(names, " ")
}

func packet(t testing.TB, b []byte) *wire.Packet {
	t.Helper()
	p, err := wire.ParsePacket(b)
	if err != nil {
		t.Fatalf("% x: %v", b, err)
	}
	return p
}

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

// A bench drives a hub without a network and keeps what it sends.
type bench struct {
	*hub
	now  time.Time
	sent []struct {
		to netip.AddrPort
		b  []byte
	}
}

func newBench(l Limits) *bench {
	b := &bench{now: start}
	b.hub = newHub(start, l, slog.New(slog.DiscardHandler), func(_ door, to netip.AddrPort, d []byte) {
		b.sent = append(b.sent, struct {
			to netip.AddrPort
			b  []byte
		}{to, d})
	})
	return b
}

// until lets time pass in the steps of a server.
func (b *bench) until(end time.Time) {
	for ; b.now.Before(end); b.now = b.now.Add(tick) {
		b.due(b.now)
	}
}

func (b *bench) receiveNow(from netip.AddrPort, d []byte) { b.receive(b.now, door{}, from, d) }

// Original clients and our server: apart from the challenge all packets are as
// those of the original server, and the lists say the same.
func TestServerAgainstRecordings(t *testing.T) {
	const challenge = "SERVERVER SEQUENCE UUID YOURTS MYTS YOURADDR"
	for _, name := range []string{"one-client", "two-clients-same-address", "two-clients-expiry", "three-clients-nat"} {
		var file struct{ Packets []recorded }
		load(t, name+".json", &file)
		shapes, wanted := map[string]bool{challenge: true}, map[string][]string{}
		for _, r := range file.Packets {
			if r.From == "server" {
				shapes[shape(t, r.bytes(t))] = true
				noteList(t, wanted, r.Dst, r.bytes(t))
			}
		}
		got := replayToServer(t, file.Packets, func(to netip.AddrPort, b []byte) {
			if s := shape(t, b); !shapes[s] {
				t.Errorf("%s: the server sent %s, which the original does not", name, s)
			}
		})
		for to, lists := range wanted {
			if !slices.Equal(got[to], lists) {
				t.Errorf("%s: lists to %s:\n%q, the original sent\n%q", name, to, got[to], lists)
			}
		}
	}
}

// replayToServer plays what clients sent, but for their echoes of MYTS, which
// are made for ours. It returns the different lists that each was sent.
func replayToServer(t *testing.T, packets []recorded, check func(netip.AddrPort, []byte)) map[string][]string {
	b := newBench(Limits{})
	ids := map[netip.AddrPort]wire.ID{}
	lists := map[string][]string{}
	last := map[netip.AddrPort]float64{} // when a client was heard for the last time
	for _, r := range packets {
		last[r.Src] = r.T
	}
	answered := 0
	answer := func() {
		for ; answered < len(b.sent); answered++ {
			s := b.sent[answered]
			check(s.to, s.b)
			noteList(t, lists, s.to, s.b)
			if p := packet(t, s.b); p.Stamp != nil && !b.now.After(at(last[s.to])) {
				echo := &wire.Packet{Role: wire.FromClient, Release: wire.ReleaseOld, ID: ids[s.to], Echo: p.Stamp}
				d, err := echo.Append(nil, s.to.Addr())
				if err != nil {
					t.Fatal(err)
				}
				b.receiveNow(s.to, d)
			}
		}
	}
	for _, r := range packets {
		if r.To != "server" {
			continue
		}
		for b.now.Before(at(r.T)) {
			b.until(b.now.Add(tick))
			answer()
		}
		p := packet(t, r.bytes(t))
		ids[r.Src] = p.ID
		if p.Echo == nil {
			b.receiveNow(r.Src, r.bytes(t))
			answer()
		}
	}
	b.until(b.now.Add(2 * time.Second))
	answer()
	if len(b.drops) > 0 {
		t.Errorf("dropped: %v", b.drops)
	}
	return lists
}

// noteList keeps the peers of a list if they are others than those before.
func noteList(t *testing.T, lists map[string][]string, to netip.AddrPort, b []byte) {
	p := packet(t, b)
	if !p.Whole {
		return
	}
	var peers []string
	for _, l := range p.Peers {
		s := l.Outside.String()
		if l.Inside.IsValid() {
			s += " inside " + l.Inside.String()
		}
		peers = append(peers, s)
	}
	slices.Sort(peers)
	text := strings.Join(peers, ", ")
	if all := lists[to.String()]; len(all) == 0 || all[len(all)-1] != text {
		lists[to.String()] = append(all, text)
	}
}

// An original server and clients, and our node in the seat of the first client:
// its packets are as the original's, and it pings who is listed.
func TestNodeAgainstRecordings(t *testing.T) {
	for _, name := range []string{"one-client", "two-clients-same-address", "two-clients-expiry", "three-clients-nat"} {
		var file struct{ Packets []recorded }
		load(t, name+".json", &file)
		var own, server netip.AddrPort
		shapes := map[string]bool{}
		for _, r := range file.Packets {
			switch {
			case r.From == "server":
				server = r.Src
			case r.From == "c1":
				own = r.Src
				shapes[shape(t, r.bytes(t))] = true
			case r.To != "server":
				shapes[shape(t, r.bytes(t))] = true
			}
		}
		shapes["CLIENTVER SEQUENCE UUID MYTS"] = true // pings of a client that is alone
		listed := replayToNode(t, file.Packets, own, server, func(to netip.AddrPort, b []byte) {
			if s := shape(t, b); !shapes[s] && s != "CLIENTVER SEQUENCE UUID PTPADDR SHUTDOWN" {
				t.Errorf("%s: the node sent %s to %v, which the original does not", name, s, to)
			}
		})
		if listed != nil {
			t.Errorf("%s: %v", name, listed)
		}
	}
}

// replayToNode plays what came to the client own. It is an error if a ping of a
// listed peer gets no answer, or a list other peers than it names.
func replayToNode(t *testing.T, packets []recorded, own, server netip.AddrPort, check func(netip.AddrPort, []byte)) error {
	var sent []*wire.Packet
	a := &agent{
		id: wire.ID{1}, interval: pingEvery, sink: result.Discard, log: slog.New(slog.DiscardHandler),
		local: own, hosts: []netip.Addr{own.Addr()}, servers: []*home{{name: "server", at: server, lists: map[uint32]*pages{}}},
		peers: map[peerKey]*peer{}, byAddress: map[netip.AddrPort]*peer{}, drops: map[string]uint64{},
		out: func(to netip.AddrPort, b []byte) {
			check(to, b)
			sent = append(sent, packet(t, b))
		},
	}
	now := start
	for _, r := range packets {
		if r.To != "c1" {
			continue
		}
		for ; now.Before(at(r.T)); now = now.Add(tick) {
			a.due(now)
		}
		p := packet(t, r.bytes(t))
		before := len(sent)
		a.receive(now, r.Src, r.bytes(t))
		if p.Stamp != nil && (len(sent) == before || sent[before].Echo == nil || *sent[before].Echo != *p.Stamp) {
			return fmt.Errorf("at %v s: no answer to the MYTS of %s", r.T, r.From)
		}
		if p.Whole && len(a.peers) != len(p.Peers) {
			return fmt.Errorf("at %v s: %d peers, the list has %d", r.T, len(a.peers), len(p.Peers))
		}
	}
	if a.servers[0].sonde || !a.servers[0].up {
		return fmt.Errorf("the server is taken for %+v", a.servers[0])
	}
	a.leave()
	return nil
}

// Every datagram that killed an original peer leaves ours alive and unchanged.
func TestDecoderCases(t *testing.T) {
	type file struct {
		Cases []struct {
			Case    string
			Request *recorded
			Packets []recorded
		}
	}
	var forServer, forClient file
	load(t, "old-server-decoder.json", &forServer)
	load(t, "old-client-decoder.json", &forClient)
	if len(forServer.Cases) != 40 || len(forClient.Cases) != 19 {
		t.Fatalf("%d and %d cases", len(forServer.Cases), len(forClient.Cases))
	}
	for _, c := range forServer.Cases {
		b := newBench(Limits{})
		good := clientAt(b, "192.0.2.9:1000", wire.ID{9}, 200)
		if len(b.clients) != 1 {
			t.Fatal("a good client is not admitted")
		}
		b.receiveNow(good, c.Request.bytes(t)) // from the good client's own address
		b.receiveNow(netip.MustParseAddrPort("192.0.2.10:1"), c.Request.bytes(t))
		if len(b.clients) != 1 || b.at[good] == nil {
			t.Errorf("%s: the table has changed: %v", c.Case, b.clients)
		}
		if clientAt(b, "192.0.2.11:2", wire.ID{11}, 200); len(b.clients) != 2 {
			t.Errorf("%s: nobody is admitted any more", c.Case)
		}
	}
	for _, c := range forClient.Cases {
		server := netip.MustParseAddrPort("127.0.0.1:23456")
		packets := []recorded{}
		for _, p := range c.Packets {
			p.To, p.From, p.Src = "c1", "server", server
			packets = append(packets, p)
		}
		a := testAgent("127.0.0.1:5000", server)
		for _, p := range packets {
			a.receive(start, server, p.bytes(t))
		}
		for now := start; now.Before(at(1)); now = now.Add(tick) {
			a.due(now)
		}
		list := &wire.Packet{Role: wire.FromServer, Release: 2, Whole: true, Peers: []wire.Listed{{Outside: netip.MustParseAddrPort("127.0.0.1:7")}}}
		d, err := list.Append(nil, server.Addr())
		if err != nil {
			t.Fatal(err)
		}
		a.receive(at(1), server, d)
		if len(a.peers) != 1 || a.byAddress[list.Peers[0].Outside] == nil {
			t.Errorf("%s: a good list is not taken any more: %v", c.Case, a.peers)
		}
	}
}

func testAgent(own string, server netip.AddrPort) *agent {
	local := netip.MustParseAddrPort(own)
	return &agent{
		id: wire.ID{1}, interval: pingEvery, sink: result.Discard, log: slog.New(slog.DiscardHandler),
		local: local, hosts: []netip.Addr{local.Addr()}, servers: []*home{{name: "server", at: server, lists: map[uint32]*pages{}}},
		peers: map[peerKey]*peer{}, byAddress: map[netip.AddrPort]*peer{}, drops: map[string]uint64{},
		out: func(netip.AddrPort, []byte) {},
	}
}
