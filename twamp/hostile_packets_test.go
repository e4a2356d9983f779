package twamp

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/twamp/auth"
	"github.com/sonde-net/sonde/twamp/wire"
)

// A spoiling socket does something to what is written before it goes out.
type spoiling struct {
	net.PacketConn
	flip  int // the bit to flip, -1 for none
	twice bool
}

func (s spoiling) WriteTo(b []byte, to net.Addr) (int, error) {
	if s.flip >= 0 {
		b[s.flip/8] ^= 1 << (s.flip % 8)
	}
	if s.twice {
		if n, err := s.PacketConn.WriteTo(b, to); err != nil {
			return n, err
		}
	}
	return s.PacketConn.WriteTo(b, to)
}

// Packets that were changed on the way are dropped and counted, never reflected;
// so are those that come again where the packets have keys.
func TestSpoiltPackets(t *testing.T) {
	const n = 20
	for _, tt := range []struct {
		name    string
		mode    wire.Mode
		doubles bool // the server's Duplicates
		spoil   spoiling
		replies uint64
		twice   uint64 // reflected
		dropped map[string]uint64
	}{
		{"replayed, authenticated", wire.Authenticated, false, spoiling{flip: -1, twice: true}, n, 0, map[string]uint64{"replayed": n}},
		{"replayed, encrypted", wire.Encrypted, false, spoiling{flip: -1, twice: true}, n, 0, map[string]uint64{"replayed": n}},
		{"doubled by the network, encrypted", wire.Encrypted, true, spoiling{flip: -1, twice: true}, n, n, nil},
		{"doubled, unauthenticated", wire.Unauthenticated, false, spoiling{flip: -1, twice: true}, n, n, nil},
		{"doubled, mixed", wire.Mixed, false, spoiling{flip: -1, twice: true}, n, n, nil},
		{"HMAC, authenticated", wire.Authenticated, false, spoiling{flip: 32 * 8}, 0, 0, map[string]uint64{"bad_hmac": n}},
		{"sequence, authenticated", wire.Authenticated, false, spoiling{flip: 31}, 0, 0, map[string]uint64{"bad_hmac": n}},
		{"HMAC, encrypted", wire.Encrypted, false, spoiling{flip: 47*8 + 7}, 0, 0, map[string]uint64{"bad_hmac": n}},
		{"sequence, encrypted", wire.Encrypted, false, spoiling{flip: 31}, 0, 0, map[string]uint64{"bad_hmac": n}},
		{"timestamp, encrypted", wire.Encrypted, false, spoiling{flip: 17 * 8}, 0, 0, map[string]uint64{"bad_hmac": n}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var network testnet.Network
				here := network.Host(testnet.Link{Delay: time.Millisecond}, testnet.Link{}, "192.0.2.1")
				there := network.Host(testnet.Link{}, testnet.Link{}, "192.0.2.2")
				var seen book
				stop := startServer(t, there, &Server{Keys: testKeys(t), Duplicates: tt.doubles, Sink: &seen})
				c := &Client{Addr: "192.0.2.2", Mode: tt.mode, KeyID: "sondekey", Secret: auth.NewSecret("correct horse battery staple"), Dial: here.DialContext,
					ListenPacket: func(ctx context.Context, network, at string) (net.PacketConn, error) {
						c, err := here.ListenPacket(ctx, network, at)
						return spoiling{c, tt.spoil.flip, tt.spoil.twice}, err
					}, Probe: Probe{Count: n}}
				r, err := reportsOf(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				stop()
				if r[0].Replies != tt.replies || r[0].Duplicate != tt.twice || r[0].DuplicateOut != nil && *r[0].DuplicateOut != tt.twice {
					t.Errorf("%d replies, %d doubled: %+v", r[0].Replies, r[0].Duplicate, r[0])
				}
				ends := 0
				for _, e := range seen.events {
					end, ok := e.(result.End)
					if !ok {
						continue
					}
					ends++
					trips := end.RoundTrips[0]
					if trips.Replies != tt.replies+tt.twice || trips.Sent != n*map[bool]uint64{false: 1, true: 2}[tt.spoil.twice] {
						t.Errorf("the server saw %+v", trips)
					}
					for why, want := range tt.dropped {
						if trips.Dropped[why] != want {
							t.Errorf("dropped %v, want %d of %s", trips.Dropped, want, why)
						}
					}
				}
				if ends != 1 {
					t.Errorf("%d sessions ended", ends)
				}
			})
		})
	}
}

// The events of a server: one Begin and one End for each session, one Note for
// each login.
func TestServerEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network testnet.Network
		here := network.Host(testnet.Link{Delay: time.Millisecond}, testnet.Link{}, "192.0.2.1")
		there := network.Host(testnet.Link{}, testnet.Link{}, "192.0.2.2")
		var seen book
		stop := startServer(t, there, &Server{Keys: testKeys(t), Sink: &seen})
		c := &Client{Addr: "192.0.2.2", KeyID: "sondekey", Secret: auth.NewSecret("correct horse battery staple"), Dial: here.DialContext,
			ListenPacket: here.ListenPacket, Sessions: 3, Probe: Probe{Count: 10}}
		if err := c.Run(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		c.Secret = auth.NewSecret("wrong")
		if err := c.Run(t.Context(), nil); err == nil {
			t.Error("logged in with a wrong key")
		}
		time.Sleep(time.Minute) // the grace is over
		stop()
		begun, logins := map[result.ID]bool{}, ""
		ended := 0
		for _, e := range seen.events {
			if h := e.Of(); h.Role != result.Reflector || h.Protocol != Protocol || h.Time.IsZero() {
				t.Errorf("%+v", h)
			}
			switch e := e.(type) {
			case result.Begin:
				begun[e.Run] = true
				if e.Account != "sondekey" || e.Login != "encrypted" || e.Peer.Addr().String() != "192.0.2.1" || e.Local.Port() != 862 || e.Size != 112 {
					t.Errorf("%+v", e)
				}
			case result.Note:
				logins += e.Code + " "
			case result.End:
				ended++
				if !begun[e.Run] || e.Reason != result.ReasonDone || e.RoundTrips[0].Replies != 10 || e.Elapsed < 900*time.Millisecond {
					t.Errorf("%+v", e)
				}
			}
		}
		if len(begun) != 3 || ended != 3 || logins != "auth_success auth_failure " {
			t.Errorf("%d begun, %d ended, logins %s", len(begun), ended, logins)
		}
	})
}
