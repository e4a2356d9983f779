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

// stampRequest is a STAMP request with these TLVs.
func stampRequest(tb testing.TB, tlvs ...wire.TLV) []byte {
	b := wire.Request{Seq: 7, Sent: 1, Error: 0x8587, SSID: 9}.Append(nil, wire.Layout{STAMP: true})
	for _, t := range tlvs {
		var err error
		if b, err = t.AppendBinary(b); err != nil {
			tb.Fatal(err)
		}
	}
	return b
}

func value(tb testing.TB, m appender) []byte { return encode(tb, m) }

// u is a TLV as a sender sends it.
func u(kind wire.TLVType, v []byte) wire.TLV {
	return wire.TLV{Flags: wire.Unrecognized, Type: kind, Value: v}
}

func TestAnswerTLVs(t *testing.T) {
	const M = wire.Malformed
	followUp := wire.FollowUp{Seq: 41, Sent: 5, Method: wire.SoftwareLocal}
	for _, tt := range []struct {
		name  string
		ask   []wire.TLV
		want  []wire.TLV
		class uint8
	}{
		{"class of service", []wire.TLV{u(wire.ClassOfServiceType, value(t, wire.ClassOfService{Reply: 10}))},
			[]wire.TLV{{Type: wire.ClassOfServiceType, Value: value(t, wire.ClassOfService{Reply: 10, Arrived: 46, ECN: 1})}}, 40},
		{"timestamp information", []wire.TLV{u(wire.TimestampInfoType, make([]byte, 4))},
			[]wire.TLV{{Type: wire.TimestampInfoType, Value: []byte{1, 2, 1, 2}}}, 46 << 2},
		{"direct measurement", []wire.TLV{u(wire.DirectMeasurementType, value(t, wire.DirectMeasurement{SenderTransmitted: 5}))},
			[]wire.TLV{{Type: wire.DirectMeasurementType, Value: value(t, wire.DirectMeasurement{SenderTransmitted: 5, ReflectorReceived: 43, ReflectorTransmitted: 42})}}, 46 << 2},
		{"access report", []wire.TLV{u(wire.AccessReportType, value(t, wire.AccessReport{ID: 1, Code: 2}))},
			[]wire.TLV{{Type: wire.AccessReportType, Value: value(t, wire.AccessReport{ID: 1, Code: 2})}}, 46 << 2},
		{"follow-up", []wire.TLV{u(wire.FollowUpType, make([]byte, 16))},
			[]wire.TLV{{Type: wire.FollowUpType, Value: value(t, followUp)}}, 46 << 2},
		{"follow-up of a wrong length", []wire.TLV{u(wire.FollowUpType, []byte{1, 2, 3}), u(wire.TimestampInfoType, make([]byte, 4))},
			[]wire.TLV{{Flags: M, Type: wire.FollowUpType, Value: make([]byte, 3)}, u(wire.TimestampInfoType, make([]byte, 4))}, 46 << 2},
		{"unknown ones", []wire.TLV{u(200, []byte{1}), u(wire.ExtraPaddingType, []byte{1, 2}), u(11, make([]byte, 4))},
			[]wire.TLV{u(200, []byte{1}), {Type: wire.ExtraPaddingType, Value: []byte{1, 2}}, u(11, make([]byte, 4))}, 46 << 2},
		{"our address", []wire.TLV{u(wire.DestinationNodeType, []byte{192, 0, 2, 2})},
			[]wire.TLV{{Type: wire.DestinationNodeType, Value: []byte{192, 0, 2, 2}}}, 46 << 2},
		{"another's address", []wire.TLV{u(wire.DestinationNodeType, []byte{192, 0, 2, 3})},
			[]wire.TLV{u(wire.DestinationNodeType, []byte{192, 0, 2, 3})}, 46 << 2},
		{"an HMAC nobody has the key of", []wire.TLV{u(wire.HMACType, make([]byte, 16))}, []wire.TLV{u(wire.HMACType, make([]byte, 16))}, 46 << 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synced := wire.NewErrorEstimate(time.Microsecond, true, false)
			r := reflection{layout: wire.Layout{STAMP: true}, seq: 42, est: &synced, followUp: followUp}
			request := stampRequest(t, tt.ask...)
			out, o := r.reflect(nil, bytes.Clone(request), vectorArrival, vectorT3)
			if o != reflected || len(out) != len(request) {
				t.Fatalf("%v, %d octets to %d", o, len(out), len(request))
			}
			want := stampRequest(t, tt.want...)[wire.StampLen:]
			if !bytes.Equal(out[wire.StampLen:], want) {
				t.Errorf("TLVs % x\nwant % x", out[wire.StampLen:], want)
			}
			if r.class != tt.class || r.seq != 43 {
				t.Errorf("class %#x, next number %d", r.class, r.seq)
			}
		})
	}
}

func TestAnswerLocation(t *testing.T) {
	r := reflection{layout: wire.Layout{STAMP: true}}
	out, o := r.reflect(nil, stampRequest(t, u(wire.LocationType, value(t, wire.AskLocation()))), vectorArrival, vectorT3)
	if o != reflected {
		t.Fatal(o)
	}
	tlv, _, err := wire.ParseTLV(out[wire.StampLen:])
	if err != nil || tlv.Flags != 0 {
		t.Fatalf("%+v, %v", tlv, err)
	}
	l := must[wire.Location](t)(wire.ParseLocation(tlv.Value))
	if src, dst := l.Addrs(); src != vectorArrival.From.Addr() || dst != vectorArrival.To.Addr() || l.SourcePort != 20000 || l.DestinationPort != 862 {
		t.Errorf("%v:%d, %v:%d", src, l.SourcePort, dst, l.DestinationPort)
	}
}

func TestCutTLV(t *testing.T) {
	r := reflection{layout: wire.Layout{STAMP: true}}
	request := stampRequest(t, u(wire.TimestampInfoType, make([]byte, 4)), u(wire.ExtraPaddingType, make([]byte, 9)))
	request = request[:len(request)-1]
	out, o := r.reflect(nil, bytes.Clone(request), vectorArrival, vectorT3)
	if o != reflected || len(out) != len(request) {
		t.Fatalf("%v, %d octets to %d", o, len(out), len(request))
	}
	if out[44] != 0 || out[52] != byte(wire.Unrecognized|wire.Malformed) {
		t.Errorf("flags %#x, %#x", out[44], out[52])
	}
}

func TestNoReplyWanted(t *testing.T) {
	r := reflection{layout: wire.Layout{STAMP: true}}
	out, o := r.reflect([]byte("kept"), stampRequest(t, u(wire.ReturnPathType, []byte{0x80, 1, 0, 4, 0, 0, 0, 0})), vectorArrival, vectorT3)
	if o != unwanted || string(out) != "kept" || r.seq != 0 {
		t.Errorf("%v, % x, next number %d", o, out, r.seq)
	}
}

// The HMAC TLV protects what is before it: a wrong one flags every TLV, and a
// reply carries one of its own.
func TestHMACTLV(t *testing.T) {
	v := readStampVectors(t)
	stamp := auth.NewStamp(v.key(t))
	request := v.packet(t, "unauth_sender_cos_followup_hmac_tlv")
	r := reflection{layout: wire.Layout{STAMP: true}, stamp: stamp, seq: 3}
	out, o := r.reflect(nil, bytes.Clone(request), vectorArrival, vectorT3)
	if o != reflected {
		t.Fatal(o)
	}
	tlvs := out[wire.StampLen:]
	at, misplaced := hmacTLV(tlvs)
	if at == 0 || misplaced || stamp.CheckTLVs(3, tlvs[:at-4], wire.HMAC(tlvs[at:])) != nil {
		t.Errorf("the reply's HMAC is not right: % x", tlvs)
	}
	for _, flag := range []int{0, 8, 28} {
		if tlvs[flag] != 0 {
			t.Errorf("flags at %d are %#x", flag, tlvs[flag])
		}
	}
	for _, change := range []int{3, 50, len(request) - 1} { // sequence number, a TLV, the HMAC
		bad := bytes.Clone(request)
		bad[change] ^= 1
		out, o := r.reflect(nil, bad, vectorArrival, vectorT3)
		if o != reflected {
			t.Fatal(o)
		}
		for _, flag := range []int{0, 8, 28} {
			if out[wire.StampLen+flag] != byte(wire.Unrecognized|wire.Unintegral) {
				t.Errorf("octet %d changed: flags at %d are %#x", change, flag, out[wire.StampLen+flag])
			}
		}
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

func TestOpenRules(t *testing.T) {
	request := wire.Request{Seq: 1}.Append(nil, wire.Layout{})
	padded := append(bytes.Clone(request), bytes.Repeat([]byte{1}, 27)...)
	at := func(s string) arrival { a := vectorArrival; a.From = netip.MustParseAddrPort(s); return a }
	for _, tt := range []struct {
		name string
		r    *Reflector
		b    []byte
		a    arrival
		want outcome
	}{
		{"padded", &Reflector{}, padded, vectorArrival, reflected},
		{"short", &Reflector{}, request, vectorArrival, amplifies},
		{"short, trusted", &Reflector{Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, request, vectorArrival, reflected},
		{"one octet too short", &Reflector{}, padded[:40], vectorArrival, amplifies},
		{"too short to be one", &Reflector{}, request[:13], vectorArrival, tooShort},
		{"from a reflector's port", &Reflector{}, padded, at("192.0.2.1:862"), looping},
		{"from our own port number", &Reflector{}, padded, at("192.0.2.1:5000"), looping},
		{"not admitted", &Reflector{Only: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}, padded, vectorArrival, unknown},
		{"key wanted", &Reflector{Key: auth.NewSecret("k")}, padded, vectorArrival, tooShort},
		{"wrong key", &Reflector{Key: auth.NewSecret("k")}, make([]byte, 112), vectorArrival, badHMAC},
	} {
		t.Run(tt.name, func(t *testing.T) {
			est := wire.UnknownError
			out, _, o := tt.r.rules(5000).respond(nil, bytes.Clone(tt.b), tt.a, &est)
			if o != tt.want || (len(out) > 0) != (o == reflected) {
				t.Errorf("%v, %d octets, want %v", o, len(out), tt.want)
			}
			if o == reflected && len(out) > len(tt.b) && tt.r.Trusted == nil {
				t.Errorf("%d octets to %d", len(out), len(tt.b))
			}
		})
	}
}

func TestOpenRulesCount(t *testing.T) {
	rules := (&Reflector{Rate: 10, Sources: 4}).rules(5000)
	est := wire.UnknownError
	send := func(from string, ssid uint16, seq uint32, after time.Duration) (wire.Reply, outcome) {
		a := vectorArrival
		a.From, a.At = netip.MustParseAddrPort(from), vectorT2.Add(after)
		out, _, o := rules.respond(nil, wire.Request{Seq: seq, SSID: ssid}.Append(nil, wire.Layout{STAMP: true}), a, &est)
		if o != reflected {
			return wire.Reply{}, o
		}
		return must[wire.Reply](t)(wire.ParseReply(out, wire.Layout{STAMP: true})), o
	}
	for i, tt := range []struct {
		from string
		ssid uint16
		seq  uint32
		want uint32
	}{
		{"192.0.2.1:1000", 1, 5, 0},
		{"192.0.2.1:1000", 1, 7, 1},
		{"192.0.2.1:1000", 2, 5, 0}, // another session
		{"192.0.2.1:1001", 1, 5, 0},
		{"192.0.2.1:1000", 1, 8, 2},
		{"192.0.2.1:1000", 1, 0, 0}, // the sender starts again
		{"192.0.2.1:1000", 1, 0, 1}, // a duplicate
	} {
		if p, o := send(tt.from, tt.ssid, tt.seq, 0); o != reflected || p.Seq != tt.want || p.SSID != tt.ssid {
			t.Errorf("packet %d: %v, %+v, want number %d", i, o, p, tt.want)
		}
	}
	over := 0
	for range 10 {
		if _, o := send("192.0.2.1:1000", 1, 9, time.Millisecond); o == tooMany {
			over++
		}
	}
	if over != 7 {
		t.Errorf("%d of 17 packets in a second are over the limit of 10", over)
	}
	for i := range 1000 {
		a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1000)
		send(a.String(), 0, 1, time.Second)
	}
	if n := max(rules.sources.len(), rules.rates.len()); n > 4 {
		t.Errorf("%d sources remembered, the limit is 4", n)
	}
}

// One spoofed packet makes two reflectors say at most two things to each other.
func TestReflectorsDoNotLoop(t *testing.T) {
	for _, ports := range [][2]string{{"192.0.2.1:862", "192.0.2.2:862"}, {"192.0.2.1:5000", "192.0.2.2:6000"}} {
		one, two := netip.MustParseAddrPort(ports[0]), netip.MustParseAddrPort(ports[1])
		for _, key := range []auth.Secret{{}, auth.NewSecret("k")} {
			rules := map[netip.AddrPort]*openRules{one: (&Reflector{Key: key}).rules(one.Port()), two: (&Reflector{Key: key}).rules(two.Port())}
			b := make([]byte, 112)
			if !key.IsZero() {
				auth.NewStamp(key).Sign(b)
			}
			est := wire.UnknownError
			from, to, said := one, two, 0
			for now := time.Unix(1_800_000_000, 0); said < 10; now = now.Add(time.Microsecond) {
				out, _, o := rules[to].respond(nil, b, arrival{From: from, To: to, At: now}, &est)
				if o != reflected {
					break
				}
				said++
				b, from, to = out, to, from
			}
			if said > 2 {
				t.Errorf("%v, key %t: %d packets", ports, !key.IsZero(), said)
			}
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

// FuzzOpenRules holds that nobody gets more than he sent, whatever it is.
func FuzzOpenRules(f *testing.F) {
	v := readStampVectors(f)
	for _, name := range []string{"unauth_sender_base", "unauth_sender_ssid_padding_tlv", "unauth_sender_cos_followup_hmac_tlv", "auth_sender"} {
		f.Add(v.packet(f, name), false)
		f.Add(v.packet(f, name), true)
	}
	f.Add(unhex(f, v.Twamp["sender_pad27"]), false)
	key := v.key(f)
	f.Fuzz(func(t *testing.T, b []byte, keyed bool) {
		var r Reflector
		if keyed {
			r.Key = key
		}
		est := wire.UnknownError
		n := len(b)
		out, _, o := r.rules(5000).respond(nil, b, vectorArrival, &est)
		if len(out) > n || (o == reflected) != (len(out) > 0) {
			t.Errorf("%v: %d octets to %d", o, len(out), n)
		}
	})
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
