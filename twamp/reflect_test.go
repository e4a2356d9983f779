package twamp

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/sonde-net/sonde/twamp/auth"
	"github.com/sonde-net/sonde/twamp/wire"
)

// The times, addresses and error estimate of vectors.json.
var (
	vectorT2       = wire.Timestamp(0xe800000181000000).Time(false, time.Unix(1_800_000_000, 0))
	vectorT3       = wire.Timestamp(0xe800000181004000).Time(false, time.Unix(1_800_000_000, 0))
	vectorEstimate = wire.ErrorEstimate(0x9580)
	vectorArrival  = arrival{
		From: netip.MustParseAddrPort("192.0.2.1:20000"), To: netip.MustParseAddrPort("192.0.2.2:862"),
		At: vectorT2, Stamp: Kernel, TTL: 250, Class: 46<<2 | 1, Classed: true,
	}
)

type stampVectors struct {
	Stamp map[string]json.RawMessage
	Twamp map[string]string `json:"twamp_unauthenticated_test"`
}

func readStampVectors(tb testing.TB) stampVectors {
	tb.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		tb.Fatal(err)
	}
	var v stampVectors
	if err := json.Unmarshal(b, &v); err != nil {
		tb.Fatal(err)
	}
	return v
}

func (v stampVectors) packet(tb testing.TB, name string) []byte {
	tb.Helper()
	var s string
	if json.Unmarshal(v.Stamp[name], &s) == nil {
		return unhex(tb, s)
	}
	var o struct{ Packet string }
	if err := json.Unmarshal(v.Stamp[name], &o); err != nil {
		tb.Fatal(err)
	}
	return unhex(tb, o.Packet)
}

func (v stampVectors) key(tb testing.TB) auth.Secret {
	tb.Helper()
	var s string
	if err := json.Unmarshal(v.Stamp["hmac_key"], &s); err != nil {
		tb.Fatal(err)
	}
	return auth.NewSecret(string(unhex(tb, s)))
}

// TestReflectVectors turns each request of vectors.json into its reply. The
// timestamps there are not whole nanoseconds, so those we write are compared to
// the nanosecond and then put in their place.
func TestReflectVectors(t *testing.T) {
	v := readStampVectors(t)
	stamp := wire.Layout{STAMP: true}
	for _, tt := range []struct {
		name          string
		r             reflection
		request, want []byte
	}{
		{"stateless", reflection{layout: stamp, echo: true}, v.packet(t, "unauth_sender_base"), v.packet(t, "unauth_reflector_base_stateless")},
		{"ssid and padding", reflection{layout: stamp, echo: true}, v.packet(t, "unauth_sender_ssid_padding_tlv"), v.packet(t, "unauth_reflector_ssid_padding_tlv")},
		{"authenticated", reflection{layout: wire.Layout{STAMP: true, Keyed: true}, echo: true, stamp: auth.NewStamp(v.key(t))}, v.packet(t, "auth_sender"), v.packet(t, "auth_reflector")},
		{"TWAMP", reflection{seq: 3}, unhex(t, v.Twamp["sender_pad27"]), unhex(t, v.Twamp["reflector_41"])},
		{"TWAMP with traffic class", reflection{seq: 3, grows: true, layout: wire.Layout{TrafficClass: true}}, unhex(t, v.Twamp["sender_pad27"]), unhex(t, v.Twamp["reflector_dscp_ecn_44"])},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.r.est = &vectorEstimate
			out, o := tt.r.reflect([]byte("kept"), bytes.Clone(tt.request), vectorArrival, vectorT3)
			got, ok := bytes.CutPrefix(out, []byte("kept"))
			if o != reflected || !ok {
				t.Fatalf("%v: % x", o, out)
			}
			same(t, got, tt.want, tt.r)
		})
	}
}

// same compares a reply with the one wanted, times to the nanosecond.
func same(t *testing.T, got, want []byte, r reflection) {
	t.Helper()
	g := must[wire.Reply](t)(wire.ParseReply(got, r.layout))
	w := must[wire.Reply](t)(wire.ParseReply(want, r.layout))
	for _, ts := range [][2]wire.Timestamp{{g.Sent, w.Sent}, {g.Received, w.Received}} {
		if d := int64(ts[0] - ts[1]); d < -4 || d > 4 {
			t.Errorf("time %#x, want %#x", uint64(ts[0]), uint64(ts[1]))
		}
	}
	g.Sent, g.Received = w.Sent, w.Received
	fixed := g.Append(nil, r.layout)
	if r.stamp != nil {
		r.stamp.Sign(fixed)
	}
	if got = append(fixed, got[len(fixed):]...); !bytes.Equal(got, want) {
		t.Errorf("reply % x\nwant  % x", got, want)
	}
}

// Replayed, shortened and changed packets of keyed sessions.
func TestReflectKeyed(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		keys := auth.SessionKeys{AES: auth.Key{1}, HMAC: [32]byte{2}}.TestKeys([16]byte{3})
		l := wire.Layout{Keyed: true}
		request := wire.Request{Seq: 1, Sent: 2, Error: 3}.Append(nil, l)
		request = append(request, make([]byte, 64)...)
		auth.NewPackets(keys, encrypted).SealRequest(request)
		r := reflection{layout: l, keys: auth.NewPackets(keys, encrypted), grows: true}
		out, o := r.reflect(nil, bytes.Clone(request), vectorArrival, vectorT3)
		if o != reflected || len(out) != 112 {
			t.Fatalf("%v, %d octets", o, len(out))
		}
		if err := auth.NewPackets(keys, encrypted).OpenReply(out); err != nil {
			t.Error(err)
		}
		for n := range 48 {
			if _, o := r.reflect(nil, bytes.Clone(request[:n]), vectorArrival, vectorT3); o != tooShort {
				t.Errorf("first %d octets: %v", n, o)
			}
		}
		if _, o := r.reflect(nil, bytes.Clone(out), vectorArrival, vectorT3); o != badHMAC {
			t.Errorf("our own reply: %v", o)
		}
		bad := bytes.Clone(request)
		bad[5] ^= 1
		if _, o := r.reflect(nil, bad, vectorArrival, vectorT3); o != badHMAC {
			t.Errorf("a changed packet: %v", o)
		}
		if r.seq != 1 {
			t.Errorf("next number %d", r.seq)
		}
	}
}

func TestReflectDoesNotAllocate(t *testing.T) {
	keys := auth.TestKeys{}
	for name, r := range map[string]*reflection{
		"TWAMP":     {grows: true},
		"STAMP":     {layout: wire.Layout{STAMP: true}},
		"encrypted": {layout: wire.Layout{Keyed: true}, keys: auth.NewPackets(keys, true), grows: true},
	} {
		request := make([]byte, r.layout.RequestLen()+100)
		sealed := bytes.Clone(request)
		if r.keys != nil {
			auth.NewPackets(keys, true).SealRequest(sealed)
		}
		out := make([]byte, 0, 2048)
		n := testing.AllocsPerRun(100, func() {
			copy(request, sealed)
			var o outcome
			if out, o = r.reflect(out[:0], request, vectorArrival, vectorT3); o != reflected {
				t.Fatal(o)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkReflect(b *testing.B) {
	for name, l := range map[string]wire.Layout{"twamp": {}, "stamp": {STAMP: true}} {
		b.Run(name, func(b *testing.B) {
			r := reflection{layout: l, grows: true}
			request, out := make([]byte, wire.StampLen), make([]byte, 0, 2048)
			b.ReportAllocs()
			for b.Loop() {
				out, _ = r.reflect(out[:0], request, vectorArrival, vectorT3)
			}
		})
	}
}
