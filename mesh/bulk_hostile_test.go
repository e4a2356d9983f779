package mesh

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/mesh/wire"
	"github.com/sonde-net/sonde/result"
)

// A raw record is written as it is, whatever a careful peer would write.
type raw struct {
	kind  wire.RecordType
	value []byte
}

func (r raw) Type() wire.RecordType                 { return r.kind }
func (r raw) AppendBinary(b []byte) ([]byte, error) { return append(b, r.value...), nil }

// A duel is a node that gives and takes files, and a listed peer that does what
// it likes.
type duel struct {
	*world
	victim, rogue *resident
	here          string // the victim takes files here
}

func newDuel(t *testing.T) *duel {
	d := &duel{world: newWorld(t, &Server{}), here: t.TempDir()}
	there := t.TempDir()
	writeFile(t, there, "object.bin", content(500_000, 1))
	d.victim = d.mover(&Node{Name: "victim", Serve: there, Accept: d.here, AcceptMax: 1_000_000}, place(0), testnet.Link{Delay: time.Millisecond})
	d.rogue = d.mover(&Node{Name: "rogue"}, place(1), testnet.Link{Delay: time.Millisecond})
	time.Sleep(3 * time.Second)
	d.rogue.with(func(a *agent) { a.bulk = nil }) // it answers nothing that it was not told to
	return d
}

func (d *duel) send(echo, stamp *uint64, bodies ...wire.Body) {
	d.rogue.bulk.send(d.id(d.victim), echo, stamp, bodies...)
}

func (d *duel) id(r *resident) wire.ID { return idOf(d.t, r.Status().ID) }

// state is how many transfers the victim has.
func (d *duel) state() (fetches, gives int) {
	b := d.victim.bulk
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.fetches), len(b.gives)
}

// Offers of anything, in any number, get their sender no file, and no more
// bytes than it sends.
func TestHostileOffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuel(t)
		defer d.end()
		token := random()
		sum := wire.Hash(sha256.Sum256([]byte("x")))
		huge, _ := wire.Offer{Request: 1, Object: sum, Size: 1, BlockSize: 1024, Push: true, Name: "x"}.AppendBinary(nil)
		binary.BigEndian.PutUint64(huge[40:], 1<<63)
		tiny, _ := wire.Offer{Request: 1, Object: sum, Size: 1, BlockSize: 1024, Push: true, Name: "x"}.AppendBinary(nil)
		binary.BigEndian.PutUint16(tiny[48:], 0)
		bodies := []wire.Body{raw{wire.RecordOffer, huge}, raw{wire.RecordOffer, tiny}, raw{wire.RecordOffer, tiny[:60]}}
		for _, name := range []string{"../../etc/x", "/etc/x", `..\x`, `C:x`, "", ".", "..", ".profile", "NUL", "com1.txt", "a\x00b", "a\nb", "x ", "x.", "\u202ex", "a\xff", strings.Repeat("n", 250)} {
			bodies = append(bodies, wire.Offer{Request: random(), Object: sum, Size: 1, BlockSize: 1024, Push: true, Name: name})
		}
		bodies = append(bodies, wire.Offer{Request: random(), Object: sum, Size: 1_000_001, BlockSize: 1024, Push: true, Name: "large"})
		before := [2]uint64{d.rogue.host.Up.Counts().Bytes, d.victim.host.Up.Counts().Bytes}
		for range 50 { // endlessly, if we let it
			for _, body := range bodies {
				d.send(nil, &token, body)
			}
		}
		time.Sleep(time.Second)
		sent, got := d.rogue.host.Up.Counts().Bytes-before[0], d.victim.host.Up.Counts().Bytes-before[1]
		if got > sent/4 {
			t.Errorf("%d bytes are answered with %d", sent, got)
		}
		if f, g := d.state(); f+g != 0 {
			t.Errorf("%d fetches, %d gives", f, g)
		}
		// Now what would be taken, far too often, and nothing of it ever comes.
		for i := range 200 {
			d.send(nil, &token, wire.Offer{Request: random(), Object: wire.Hash{byte(i), 1}, Size: 900_000, BlockSize: 64, Push: true, Name: "x" + string(rune('a'+i%26))})
		}
		time.Sleep(time.Second)
		if f, _ := d.state(); f != maxFetches {
			t.Errorf("%d fetches", f)
		}
		time.Sleep(60 * time.Second)
		idle(t, d.victim)
		if names := entries(t, d.here); len(names) != 0 {
			t.Errorf("in the folder: %v", names)
		}
		if _, err := os.Stat(filepath.Join(d.here, "..", "..", "etc", "x")); err == nil {
			t.Error("a file outside the folder")
		}
	})
}

// A pusher that sends what it was not asked for, of wrong lengths, changes its
// offer meanwhile, or sends other bytes than it promised leaves nothing behind.
func TestHostileBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuel(t)
		defer d.end()
		token, request := random(), random()
		data := content(3000, 9)
		offer := wire.Offer{Request: request, Object: sha256.Sum256(data), Size: 3000, BlockSize: 1000, Push: true, Name: "pushed.bin"}
		d.send(nil, &token, wire.Block{Request: random(), Data: []byte("of nothing")})
		d.send(nil, &token, offer)
		time.Sleep(100 * time.Millisecond)
		changed := offer
		changed.Object, changed.Size, changed.Name = wire.Hash{1}, 5, "other"
		for i := range uint32(3) {
			d.send(nil, &token, changed)
			d.send(nil, nil, wire.Block{Request: request, Number: i, Data: data[:999]})
			d.send(nil, nil, wire.Block{Request: request, Number: i, Data: nil})
			d.send(nil, nil, wire.Block{Request: request, Number: 3 + i, Data: data[:1000]})
			d.send(nil, nil, wire.Block{Request: request, Number: 1<<32 - 1, Data: data[:1000]})
		}
		if f, _ := d.state(); f != 1 {
			t.Fatalf("%d fetches", f)
		}
		for i := range uint32(3) {
			stamp := random() // of no request
			d.send(&stamp, nil, wire.Block{Request: request, Number: i, Data: data[1000*i:][:1000]})
		}
		time.Sleep(5 * time.Second)
		holds(t, filepath.Join(d.here, "pushed.bin"), data)
		idle(t, d.victim)

		// Who cancels right after the last block has given the whole all the same.
		offer.Request, offer.Name = random(), "cancelled.bin"
		d.send(nil, &token, offer)
		time.Sleep(100 * time.Millisecond)
		for i := range uint32(3) {
			d.send(nil, nil, wire.Block{Request: offer.Request, Number: i, Data: data[1000*i:][:1000]})
		}
		d.send(nil, nil, wire.Cancel{Request: offer.Request})
		time.Sleep(5 * time.Second)
		holds(t, filepath.Join(d.here, "cancelled.bin"), data)
		idle(t, d.victim)

		for _, part := range []string{"a liar", "a mute"} {
			offer.Request, offer.Name = random(), "lie.bin"
			offer.Object = sha256.Sum256([]byte(part))
			d.send(nil, &token, offer)
			time.Sleep(100 * time.Millisecond)
			if part == "a liar" {
				for i := range uint32(3) {
					d.send(nil, nil, wire.Block{Request: offer.Request, Number: i, Data: data[:1000]})
				}
			}
			time.Sleep(60 * time.Second)
			idle(t, d.victim)
			if names := entries(t, d.here); !slices.Equal(names, []string{"cancelled.bin", "pushed.bin"}) {
				t.Errorf("%s: in the folder: %v", part, names)
			}
		}
	})
}

// A push that brings just enough not to be given up is ended all the same.
func TestHostileTrickle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuel(t)
		defer d.end()
		token := random()
		offer := wire.Offer{Request: random(), Object: wire.Hash{1}, Size: 900_000, BlockSize: 64, Push: true, Name: "slow.bin"}
		d.send(nil, &token, offer)
		ticker := time.NewTicker(5 * time.Second)
		defer ticker.Stop()
		for i := range uint32(40) {
			<-ticker.C
			d.send(nil, nil, wire.Block{Request: offer.Request, Number: i, Data: make([]byte, 64)})
		}
		if f, _ := d.state(); f != 0 {
			t.Error("still under way after 200 s")
		}
	})
}

// Somebody who knows the ID and the address of a listed peer, and a number of
// its own, gets that peer not one block, and no more bytes than it sends itself.
func TestHostileSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuel(t)
		defer d.end()
		from, who := netip.MustParseAddrPort(place(1)+":5000"), d.id(d.rogue)
		var sent uint64
		forge := func(bodies ...wire.Body) {
			stamp := random()
			p := &wire.Packet{Role: wire.FromClient, Release: wire.ReleaseSonde, ID: who, Stamp: &stamp, Ext: stream(bodies...)}
			b, err := p.Append(nil, from.Addr())
			if err != nil {
				t.Fatal(err)
			}
			sent += uint64(len(b))
			d.victim.with(func(a *agent) { a.receive(time.Now(), from, b) })
		}
		d.rogue.host.Up.Unplug() // it does not even say that it asked for nothing
		blocks := func() (n uint64) {
			d.victim.bulk.mu.Lock()
			defer d.victim.bulk.mu.Unlock()
			for _, g := range d.victim.bulk.gives {
				n += g.blocks
			}
			return n
		}
		before := d.victim.host.Up.Counts().Bytes
		for range 20 {
			request := random()
			forge(wire.Want{Request: request, Kind: wire.WantName, What: "object.bin"})
			forge(wire.Want{Request: request, Kind: wire.WantName, What: "object.bin"}, make(wire.Pad, 400))
			time.Sleep(10 * time.Millisecond)
			for range 10 {
				forge(wire.Get{Request: request, Runs: []wire.Run{{First: 0, Count: 64}}})
				forge(wire.Get{Request: random(), Runs: []wire.Run{{First: 0, Count: 64}}})
				forge(wire.Done{Request: random()})
				forge(wire.Offer{Request: random(), Object: wire.Hash{1}, Size: 5, BlockSize: 1024, Name: "x"})
			}
		}
		time.Sleep(time.Second)
		if n := blocks(); n != 0 {
			t.Errorf("%d blocks were sent", n)
		}
		if got := d.victim.host.Up.Counts().Bytes - before; got > sent {
			t.Errorf("%d bytes for %d", got, sent)
		}
		if _, g := d.state(); g > maxGives {
			t.Errorf("%d gives", g)
		}
		time.Sleep(unprovenFor + time.Second)
		if _, g := d.state(); g != 0 {
			t.Errorf("%d gives are left", g)
		}
	})
}

// From an address at which a peer has not answered nothing counts.
func TestHostileAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuel(t)
		defer d.end()
		who := d.id(d.rogue)
		claimed := netip.MustParseAddrPort("203.0.113.9:5000")
		d.victim.with(func(a *agent) {
			p := a.peers[peerKey{id: who}]
			p.tries = append(p.tries, &try{Candidate: wire.Candidate{Kind: wire.CandidateHost, At: claimed}})
		})
		w := &wire.Packet{Role: wire.FromClient, Release: wire.ReleaseSonde, ID: who,
			Ext: stream(wire.Want{Request: 7, Kind: wire.WantName, What: "object.bin"}, make(wire.Pad, 400))}
		b, err := w.Append(nil, claimed.Addr())
		if err != nil {
			t.Fatal(err)
		}
		d.victim.with(func(a *agent) { a.receive(time.Now(), claimed, b) })
		time.Sleep(100 * time.Millisecond)
		if _, g := d.state(); g != 0 || d.victim.Status().Dropped[dropBulk] != 1 {
			t.Errorf("%d gives, dropped %v", g, d.victim.Status().Dropped)
		}
	})
}

// Of two sources one gives other bytes than it offers: the file is had from the
// other. With the liar alone nothing is kept.
func TestBulkLiar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &Server{})
		defer w.end()
		honest, liar, out := t.TempDir(), t.TempDir(), t.TempDir()
		want := content(600_000, 1)
		writeFile(t, honest, "object.bin", want)
		lie := writeFile(t, liar, "object.bin", want)
		a := w.mover(&Node{Name: "a"}, place(0), lossy(0))
		w.mover(&Node{Name: "b", Serve: liar}, place(1), lossy(0))
		w.mover(&Node{Name: "c", Serve: honest}, place(2), lossy(0))
		time.Sleep(3 * time.Second)
		get := func(as string, peers ...string) (Transfer, error) {
			return a.Get(t.Context(), Fetch{Name: "object.bin", Peers: peers, Into: out, As: as}, nil)
		}
		if _, err := get("first", "b"); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(lie)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, liar, "object.bin", bytes.Repeat([]byte("lie "), 150_000))
		if err := os.Chtimes(lie, info.ModTime(), info.ModTime()); err != nil {
			t.Fatal(err)
		}
		got, err := get("second", "b", "c")
		if err != nil {
			t.Fatalf("%v: %+v", err, got)
		}
		holds(t, filepath.Join(out, "second"), want)
		if _, err := get("third", "b"); result.CodeOf(err) != result.CodeProtocol {
			t.Errorf("of the liar alone: %v", err)
		}
		if names := entries(t, out); !slices.Equal(names, []string{"first", "second"}) {
			t.Errorf("in the folder: %v", names)
		}
	})
}

// By way of the server files go only where both ends allow it, and no faster
// than it carries.
func TestBulkRelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Relay: &Relaying{}}
		w := newWorld(t, s)
		defer w.end()
		there, out := t.TempDir(), t.TempDir()
		want := content(100_000, 1)
		writeFile(t, there, "object.bin", want)
		link := testnet.Link{Delay: 10 * time.Millisecond}
		a := w.mover(&Node{Name: "a", BulkRelayed: true}, place(0), link)
		b := w.mover(&Node{Name: "b", Serve: there, BulkRelayed: true}, place(1), link)
		no := w.mover(&Node{Name: "no"}, place(2), link)
		for _, r := range []*resident{a, b, no} {
			r.walled.Store(true)
		}
		time.Sleep(10 * time.Second)
		if p := a.peer(t, "b"); p.State != "relay" {
			t.Fatalf("%+v", p)
		}
		got, err := a.Get(t.Context(), Fetch{Name: "object.bin", Peers: []string{"b"}, Into: out}, nil)
		if err != nil {
			t.Fatal(err)
		}
		holds(t, filepath.Join(out, "object.bin"), want)
		t.Logf("%+v; relayed %+v", got, s.Status().Relayed)
		if got.Sources[0].Path != "relay" || got.Elapsed < 12*time.Second {
			t.Errorf("%+v", got)
		}
		if r := s.Status().Relayed; r.Refused > r.Packets/20 {
			t.Errorf("relayed: %+v", r)
		}
		if _, err := no.Get(t.Context(), Fetch{Name: "object.bin", Peers: []string{"b"}, Into: t.TempDir()}, nil); result.CodeOf(err) != result.CodeUnreachable {
			t.Errorf("without leave: %v", err)
		}
	})
}

// FuzzBulk gives a node that gives and takes files the records that the fuzzer
// likes, from a peer that may send them.
func FuzzBulk(f *testing.F) {
	sum := wire.Hash(sha256.Sum256([]byte("x")))
	for _, bodies := range [][]wire.Body{
		{wire.Want{Request: 1, Kind: wire.WantName, What: "object.bin"}, make(wire.Pad, 300)},
		{wire.Want{Request: 1, Kind: wire.WantObject, What: string(sum[:])}, make(wire.Pad, 300), wire.Get{Request: 1, Runs: []wire.Run{{First: 0, Count: 1}}}},
		{wire.Offer{Request: 2, Object: sum, Size: 1, BlockSize: 64, Push: true, Name: "x"}, wire.Block{Request: 2, Data: []byte("x")}, wire.Cancel{Request: 2}},
		{wire.Offer{Request: 3, Object: sum, Size: 1 << 19, BlockSize: 64, Push: true, Name: "y"}, wire.Block{Request: 3, Number: 7, Data: make([]byte, 64)}},
		{wire.Done{Request: 1, Status: wire.DoneWrong}, wire.Have{Object: sum, BlockSize: 64, Blocks: 1, Query: true}},
	} {
		f.Add(stream(bodies...))
	}
	there := f.TempDir()
	if err := os.WriteFile(filepath.Join(there, "object.bin"), []byte("x"), 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, ext []byte) {
		here := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			at := netip.MustParseAddrPort("198.51.100.2:5000")
			a := testAgent("198.51.100.1:5000", netip.MustParseAddrPort("192.0.2.1:23456"))
			way := &try{Candidate: wire.Candidate{Kind: wire.CandidateHost, At: at}, works: time.Now()}
			p := &peer{key: peerKey{id: wire.ID{2}}, id: wire.ID{2}, hasID: true, sonde: true, tries: []*try{way}, use: way}
			a.peers[p.key] = p
			n := &Node{Serve: there, Accept: here, AcceptMax: 1 << 20, agent: a}
			b, err := n.startBulk(ctx, a.log, func(netip.AddrPort, []byte) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			a.bulk = b
			n.bulk = b
			for range 3 {
				pkt := &wire.Packet{Role: wire.FromClient, Release: wire.ReleaseSonde, ID: p.id, Ext: ext}
				datagram, err := pkt.Append(nil, at.Addr())
				if err != nil {
					break
				}
				n.with(func(a *agent) { a.receive(time.Now(), at, datagram) })
				time.Sleep(50 * time.Millisecond)
			}
			b.mu.Lock()
			if len(b.fetches) > maxFetches || len(b.gives) > maxGives {
				t.Errorf("%d fetches, %d gives", len(b.fetches), len(b.gives))
			}
			b.mu.Unlock()
			stop()
			b.end()
			for _, name := range entries(t, here) {
				if checkLabel(name) != nil && !strings.HasPrefix(name, hiddenPrefix) {
					t.Errorf("a file %q", name)
				}
			}
		})
	})
}

// BulkRate holds, at the giver as at the receiver.
func TestBulkRate(t *testing.T) {
	for _, at := range []string{"giver", "receiver"} {
		t.Run(at, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, &Server{})
				defer w.end()
				there, out := t.TempDir(), t.TempDir()
				want := content(500_000, 1)
				writeFile(t, there, "object.bin", want)
				nodes := map[string]*Node{"giver": {Name: "b", Serve: there}, "receiver": {Name: "a"}}
				nodes[at].BulkRate = 1_000_000
				a := w.mover(nodes["receiver"], place(0), lossy(0))
				w.mover(nodes["giver"], place(1), lossy(0))
				time.Sleep(3 * time.Second)
				got, err := a.Get(t.Context(), Fetch{Name: "object.bin", Peers: []string{"b"}, Into: out}, nil)
				if err != nil {
					t.Fatal(err)
				}
				if got.Elapsed < 3900*time.Millisecond || got.Elapsed > 8*time.Second || got.Again > got.Blocks/4 {
					t.Errorf("4 Mbit at 1 Mbit/s: %+v", got)
				}
			})
		})
	}
}
