package twamp

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/twamp/auth"
	"github.com/sonde-net/sonde/twamp/wire"
)

func codes(found []Finding, departs bool) map[string]bool {
	m := map[string]bool{}
	for _, f := range found {
		if f.Departs == departs {
			m[f.Code] = true
		}
	}
	return m
}

// Our own server departs from nothing.
func TestDoctorOnOurselves(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the TTL and the class of replies are asked for on Linux only")
	}
	addr := serve(t, &Server{Keys: testKeys(t), Open: &Reflector{}}, "127.0.0.1")
	for _, mode := range []wire.Mode{wire.Unauthenticated, wire.Encrypted} {
		d := Doctor{Client{Addr: addr, Mode: mode, Probe: Probe{DSCP: 10}}}
		if mode.ControlKeyed() {
			d.KeyID, d.Secret = "sondekey", auth.NewSecret("correct horse battery staple")
		}
		found, err := d.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if f.Departs {
				t.Errorf("%v: %+v", mode, f)
			}
			t.Logf("%v: %s", f.Code, f.Text)
		}
		if got := codes(found, false); !got["modes"] || !got["stamp_extensions"] {
			t.Errorf("%v", got)
		}
	}
}

// A reflector like those of the recordings, and worse.
func TestDoctorFindsFaults(t *testing.T) {
	for _, tt := range []struct {
		name  string
		reply func(q wire.Request, n uint32, request []byte) []byte
		want  []string
	}{
		{"twampy's: short, one stamp", func(q wire.Request, n uint32, _ []byte) []byte {
			return wire.Reply{Seq: n, Sent: wire.NTP(time.Now()), Received: wire.NTP(time.Now()), Error: 1, SenderSeq: q.Seq, SenderSent: q.Sent, SenderError: q.Error}.Append(nil, wire.Layout{})[:38]
		}, []string{"reply_short", "one_stamp"}},
		{"always the same size, counts from 1", func(q wire.Request, n uint32, _ []byte) []byte {
			now := time.Now()
			return append(wire.Reply{Seq: n + 1, Sent: wire.NTP(now), Received: wire.NTP(now.Add(-time.Microsecond)), SenderSeq: q.Seq, SenderSent: q.Sent, SenderError: 1}.Append(nil, wire.Layout{}), make([]byte, 20)...)
		}, []string{"reply_size", "padding_changed", "first_number", "sender_error", "error_estimate", "sender_ttl", "times"}},
		{"changes the timestamp, skips numbers", func(q wire.Request, n uint32, b []byte) []byte {
			now := wire.NTP(time.Now())
			return append(wire.Reply{Seq: 2 * n, Sent: now, Received: now, Error: 0x9580, SenderSeq: q.Seq, SenderSent: 1, SenderError: q.Error, SenderTTL: 255}.Append(nil, wire.Layout{}), b[14:14+len(b)-41]...)
		}, []string{"sender_timestamp", "numbers", "one_stamp"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var network testnet.Network
				here := network.Host(testnet.Link{}, testnet.Link{}, "192.0.2.1")
				there := network.Host(testnet.Link{}, testnet.Link{}, "192.0.2.2")
				c, err := there.ListenPacket(t.Context(), "udp", ":862")
				if err != nil {
					t.Fatal(err)
				}
				go quirky(c, tt.reply)
				d := Doctor{Client{Addr: "192.0.2.2", Dial: here.DialContext, ListenPacket: here.ListenPacket}}
				found, err := d.Run(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				got := codes(found, true)
				for _, code := range tt.want {
					if !got[code] {
						t.Errorf("%s was not found: %v", code, got)
					}
				}
				if !codes(found, false)["no_control"] {
					t.Errorf("the missing control connection was not found")
				}
				c.Close()
			})
		})
	}
}

// quirky answers each request with reply, which counts for each sender.
func quirky(c net.PacketConn, reply func(wire.Request, uint32, []byte) []byte) {
	counts := map[netip.AddrPort]uint32{}
	b := make([]byte, 2000)
	for {
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		q, err := wire.ParseRequest(b[:n], wire.Layout{})
		if err != nil {
			continue
		}
		at := sock.AddrPort(from)
		if _, err := c.WriteTo(reply(q, counts[at], b[:n]), from); err != nil {
			return
		}
		counts[at]++
	}
}

func TestDoctorWithoutPatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network testnet.Network
		here := network.Host(testnet.Link{}, testnet.Link{}, "192.0.2.1")
		d := Doctor{Client{Addr: "192.0.2.2", Dial: here.DialContext, ListenPacket: here.ListenPacket}}
		if found, err := d.Run(context.Background()); err == nil {
			t.Errorf("examined %v", found)
		}
	})
}
