package mesh

import (
	"crypto/sha256"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/mesh/wire"
)

// A token that went to a peer's own address proves nothing of another one: a
// peer that sends in a third party's name does not turn files towards it.
func TestFilesGoToNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuel(t)
		defer d.end()
		host := d.net.Host(testnet.Link{}, testnet.Link{}, "203.0.113.77")
		c, err := host.ListenPacket(t.Context(), "udp", ":5000")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		v := netip.MustParseAddrPort("203.0.113.77:5000")
		who := d.id(d.rogue)
		var first, nonce uint64
		d.victim.with(func(a *agent) {
			p := a.peers[peerKey{id: who}]
			first, nonce = p.checks.ring[0].token, p.nonce
		})
		spoof := func(p *wire.Packet) {
			p.Role, p.Release, p.ID = wire.FromClient, wire.ReleaseSonde, who
			b, err := p.Append(nil, v.Addr())
			if err != nil {
				t.Fatal(err)
			}
			d.victim.with(func(a *agent) { a.receive(time.Now(), v, b) })
		}
		stamp := uint64(5)
		spoof(&wire.Packet{Stamp: &stamp, Ext: stream(wire.Path{Nonce: nonce, Flags: wire.PathCheck})})
		d.send(nil, nil, wire.Want{Request: 7, Kind: wire.WantName, What: "object.bin"}, make(wire.Pad, 500))
		time.Sleep(200 * time.Millisecond)
		var token uint64
		b := d.victim.bulk
		b.mu.Lock()
		for _, g := range b.gives {
			token = g.token
		}
		b.mu.Unlock()
		d.rogue.walled.Store(true)
		time.Sleep(3500 * time.Millisecond)
		spoof(&wire.Packet{Echo: &first, Ext: stream(wire.Path{Nonce: nonce, Flags: wire.PathAnswer})})
		sent := 0
		for range 20 {
			d.send(&token, &stamp, wire.Get{Request: 7, Window: 64, Runs: []wire.Run{{First: 0, Count: 64}}})
			sent += 120
			time.Sleep(100 * time.Millisecond)
		}
		got := 0
		c.SetReadDeadline(time.Now().Add(time.Second))
		buf := make([]byte, 2000)
		for {
			k, _, err := c.ReadFrom(buf)
			if err != nil {
				break
			}
			got += k
		}
		if got > 5000 {
			t.Errorf("an address that answered nothing was sent %d bytes for about %d of a peer's", got, sent)
		}
	})
}

// What one peer left of a file is not held against the next.
func TestPoisonedPartOfAFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDuel(t)
		defer d.end()
		want := content(20_000, 4)
		file := writeFile(t, t.TempDir(), "wanted.bin", want)
		h := d.mover(&Node{Name: "honest"}, place(2), testnet.Link{Delay: time.Millisecond})
		time.Sleep(3 * time.Second)
		d.send(nil, nil, wire.Offer{Request: 9, Object: wire.Hash(sha256.Sum256(want)), Size: 20_000, BlockSize: 1024, Push: true, Name: "evil"})
		time.Sleep(200 * time.Millisecond)
		d.send(nil, nil, wire.Block{Request: 9, Number: 0, Data: make([]byte, 1024)})
		time.Sleep(200 * time.Millisecond)
		d.send(nil, nil, wire.Cancel{Request: 9})
		time.Sleep(10 * time.Second)
		if _, err := h.Put(t.Context(), file, "victim", nil); err != nil {
			t.Errorf("an honest push fails by what another left: %v", err)
		}
	})
}

// A node on the server's own host is seen at a loopback address, which is of no
// use to others: they are told the address that it names.
func TestNodeOfTheServersHost(t *testing.T) {
	b := newBench(Limits{})
	clientAt(b, "127.0.0.1:5000", wire.ID{9}, 48, someHello, wire.Candidates{{Kind: wire.CandidateHost, Priority: 100, At: netip.MustParseAddrPort("203.0.113.5:5000")}})
	clientAt(b, "192.0.2.8:1", wire.ID{8}, 48, someHello)
	told := b.clients[wire.ID{9}].candidatesFor(b.clients[wire.ID{8}])
	if len(told) != 1 || told[0].At.String() != "203.0.113.5:5000" {
		t.Errorf("others are told %v", told)
	}
}
