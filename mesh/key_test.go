package mesh

import (
	"context"
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/nat"
	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/mesh/wire"
)

func TestParseKey(t *testing.T) {
	k := NewKey()
	for _, tt := range []struct {
		text, fault string
	}{
		{k.String(), ""},
		{"# the mesh of the office\n  " + k.String() + " \n", ""},
		{strings.ToUpper(k.String()[:32]) + "\n" + k.String()[32:], ""},
		{"", "0 bytes"},
		{k.String()[2:], "31 bytes"},
		{k.String() + "00", "33 bytes"},
		{"correct horse", "not 64 hexadecimal digits"},
	} {
		got, err := ParseKey(tt.text)
		if tt.fault == "" && (err != nil || *got != *k) || tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault)) {
			t.Errorf("%q: %v, %v", tt.text, got, err)
		}
	}
	s := NewSigningKey()
	again, err := ParseSigningKey(s.String())
	public, err2 := ParseVerifyKey(s.VerifyKey().String())
	if err != nil || err2 != nil || *again.VerifyKey() != *public || hex.EncodeToString(public.public[:]) == s.String() {
		t.Errorf("%v, %v", err, err2)
	}
}

// Each packet counts once, in any order within a window; a sender that begins
// anew is heard, what was recorded before is not.
func TestFreshness(t *testing.T) {
	now := time.UnixMilli(1_000_000_000)
	at := func(counter uint32, ms int64) wire.Auth {
		return wire.Auth{Counter: counter, Time: uint64(now.UnixMilli() + ms)}
	}
	var f freshness
	for i, tt := range []struct {
		auth wire.Auth
		want bool
	}{
		{at(7, 121_000), false},           // a clock that is far off
		{at(7, -121_000), false},          //
		{at(1000, 0), true},               // the first
		{at(1000, 0), false},              // again
		{at(999, 1), false},               // nobody waits for those in front of it
		{at(1070, 2), true},               //
		{at(1009, 1), true},               // late, but not seen
		{at(1009, 1), false},              //
		{at(1007, 1), true},               // the last of the window
		{at(1006, 1), false},              // behind it
		{at(1071, -1), false},             // from before the first
		{at(1100, 100_000_000), true},     // later times are not compared
		{at(1000, 0), false},              // from before, behind the window
		{at(5, 50), false},                // counts anew, but not later
		{at(1<<31, 100_000_000), true},    // far in front
		{at(1<<31-70, 100_000_00), false}, //
	} {
		if got := f.accept(tt.auth, now); got != tt.want {
			t.Errorf("%d: %+v: %v", i, tt.auth, got)
		}
	}
	f = freshness{}
	f.accept(at(5000, 0), now)
	if !f.accept(at(3, 10), now) || f.accept(at(5000, 0), now) || !f.accept(at(4, 11), now) || f.accept(at(3, 10), now) {
		t.Error("a sender that begins anew")
	}
	f = freshness{}
	if !f.accept(at(1<<32-1, 0), now) || !f.accept(at(0, 1), now) || f.accept(at(1<<32-1, 0), now) {
		t.Error("a counter that runs over")
	}
}

// Nodes with the key of a mesh find each other, relayed ones too, and nobody else
// is answered or listed; original nodes and those with another key least of all.
func TestKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key, sign := NewKey(), NewSigningKey()
		s := &Server{Key: key, Sign: sign, Relay: &Relaying{}}
		w := newWorld(t, s)
		member := func(i int, name string, k *Key, v *VerifyKey) *resident {
			r := &resident{host: w.net.Host(testnet.Link{}, testnet.Link{}, place(i))}
			r.Node = &Node{Servers: []string{serverAddress}, Name: name, Key: k, Verify: v, Listen: netip.AddrPortFrom(netip.MustParseAddr(place(i)), 5000), ListenPacket: r.listen}
			w.run(r)
			return r
		}
		a, b := member(0, "a", key, sign.VerifyKey()), member(1, "b", key, nil)
		none, other := member(2, "none", nil, nil), member(3, "other", NewKey(), nil)
		wrong := member(4, "wrong", key, NewSigningKey().VerifyKey())
		time.Sleep(time.Minute)
		if got := a.names(); !slices.Equal(got, []string{"b", "wrong"}) {
			t.Errorf("a knows %v", got)
		}
		if p := a.peer(t, "b"); p.State != "direct" || p.Pings.Lost != 0 || p.Pings.Replies < 100 {
			t.Errorf("a to b: %+v", p)
		}
		for _, r := range []*resident{none, other} {
			if st := r.Status(); len(st.Peers) != 0 || st.Servers[0].Up {
				t.Errorf("%s: %+v", r.Name, st)
			}
		}
		if st := wrong.Status(); len(st.Peers) != 0 || st.Dropped[dropKey] == 0 {
			t.Errorf("believes lists of another server: %+v", st)
		}
		st := s.Status()
		if st.Dropped[dropKey] == 0 || st.Dropped[dropReplay] != 0 || len(st.Clients) != 3 {
			t.Errorf("server: %d clients, dropped %v", len(st.Clients), st.Dropped)
		}
		// Without a way of their own the two are relayed, with seals on both levels.
		a.walled.Store(true)
		b.walled.Store(true)
		time.Sleep(time.Minute)
		if p := a.peer(t, "b"); p.Path != PathRelayed || p.Pings.Replies < 150 {
			t.Errorf("a to b, walled: %+v", p)
		}
		w.end()
	})
}

// A tap records what a node sends.
type tap struct {
	net.PacketConn
	mu   sync.Mutex // guards sent
	sent [][]byte
}

func (t *tap) WriteTo(b []byte, to net.Addr) (int, error) {
	t.mu.Lock()
	t.sent = append(t.sent, slices.Clone(b))
	t.mu.Unlock()
	return t.PacketConn.WriteTo(b, to)
}

// Whoever records packets of a mesh with a key and sends them from elsewhere is
// not answered, and changes nothing; once the node has left he may be asked to
// prove that he hears, which he cannot.
func TestKeyReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := NewKey()
		s := &Server{Key: key}
		w := newWorld(t, s)
		a := &resident{host: w.net.Host(testnet.Link{}, testnet.Link{}, place(0))}
		var taps []*tap
		a.Node = &Node{Servers: []string{serverAddress}, Name: "a", Key: key, Listen: netip.MustParseAddrPort(place(0) + ":5000"),
			ListenPacket: func(ctx context.Context, network, address string) (net.PacketConn, error) {
				c, err := a.listen(ctx, network, address)
				taps = append(taps, &tap{PacketConn: c})
				return taps[len(taps)-1], err
			}}
		w.run(a)
		time.Sleep(30 * time.Second)
		thief, err := w.net.Host(testnet.Link{}, testnet.Link{}, place(1)).ListenPacket(t.Context(), "udp", ":5000")
		if err != nil {
			t.Fatal(err)
		}
		replay := func() (sent, came int) {
			taps[0].mu.Lock()
			recorded := slices.Clone(taps[0].sent)
			taps[0].mu.Unlock() // a mutex that is waited for would stop the clock
			for _, b := range recorded {
				if nat.IsSTUN(b) {
					continue // answered to everybody
				}
				sent += len(b)
				if _, err := thief.WriteTo(b, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(serverAddress+":23456"))); err != nil {
					t.Fatal(err)
				}
			}
			b := make([]byte, 2000)
			for {
				thief.SetReadDeadline(time.Now().Add(time.Second))
				n, _, err := thief.ReadFrom(b)
				if err != nil {
					return sent, came
				}
				came += n
			}
		}
		if sent, came := replay(); sent == 0 || came != 0 {
			t.Errorf("%d bytes replayed, %d came back", sent, came)
		}
		if st := s.Status(); len(st.Clients) != 1 || st.Clients[0].Addresses[0].String() != place(0)+":5000" || st.Dropped[dropReplay] == 0 {
			t.Errorf("%+v", st)
		}
		a.stop()
		if sent, came := replay(); came > sent {
			t.Errorf("%d bytes replayed, %d came back", sent, came)
		}
		if st := s.Status(); len(st.Clients) != 0 {
			t.Errorf("the thief is listed: %+v", st.Clients)
		}
		w.end()
	})
}
