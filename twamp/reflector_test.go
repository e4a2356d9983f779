package twamp

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/sonde-net/sonde/twamp/auth"
	"github.com/sonde-net/sonde/twamp/wire"
)

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
			out, _, o := tt.r.rules(5000).respond(nil, bytes.Clone(tt.b), tt.a, clock{at: tt.a.At}, &est)
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
		out, _, o := rules.respond(nil, wire.Request{Seq: seq, SSID: ssid}.Append(nil, wire.Layout{STAMP: true}), a, clock{at: a.At}, &est)
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
		{"192.0.2.1:1000", 1, 0, 3}, // overtaken
		{"192.0.2.1:1000", 1, 0, 4}, // a duplicate
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
	for i, tt := range []struct {
		seq   uint32
		after time.Duration
		want  uint32
	}{
		{2000, 2 * time.Second, 8}, // three of the ten were answered
		{0, 2 * time.Second, 0},    // the sender starts again
		{1, 3 * time.Second, 1},
		{0, 5 * time.Second, 0}, // and again, after a pause
		{1, 5*time.Second + 2*forgetAfter, 0},
	} {
		if p, o := send("192.0.2.1:1000", 1, tt.seq, tt.after); o != reflected || p.Seq != tt.want {
			t.Errorf("packet %d: %v, %+v, want number %d", i, o, p, tt.want)
		}
	}
	for i := range 1000 {
		a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1000)
		send(a.String(), 0, 1, time.Second)
	}
	if n := max(rules.sources.len(), rules.rates.len()); n > 4 {
		t.Errorf("%d sources remembered, the limit is 4", n)
	}
}

// TestForgedKeyed: packets with somebody else's address and without the key
// change neither the count of that sender nor his share, and fill no table.
func TestForgedKeyed(t *testing.T) {
	key, l := auth.NewSecret("k"), wire.Layout{STAMP: true, Keyed: true}
	rules := (&Reflector{Rate: 5, Sources: 4, Key: key}).rules(5000)
	est := wire.UnknownError
	send := func(a arrival, seq uint32, key auth.Secret) (wire.Reply, outcome) {
		b := wire.Request{Seq: seq}.Append(nil, l)
		auth.NewStamp(key).Sign(b)
		out, _, o := rules.respond(nil, b, a, clock{at: a.At}, &est)
		if o != reflected {
			return wire.Reply{}, o
		}
		return must[wire.Reply](t)(wire.ParseReply(out, l)), o
	}
	for seq := range uint32(5) {
		for range 20 {
			if _, o := send(vectorArrival, 0, auth.NewSecret("another")); o != badHMAC {
				t.Fatalf("forged: %v", o)
			}
		}
		if p, o := send(vectorArrival, seq+2000, key); o != reflected || p.Seq != seq {
			t.Errorf("packet %d: %v, %+v", seq, o, p)
		}
	}
	for i := range 100 {
		a := vectorArrival
		a.From = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 1000)
		send(a, 0, auth.NewSecret("another"))
	}
	if n := max(rules.sources.len(), rules.rates.len()); n != 1 {
		t.Errorf("%d sources remembered, 1 has the key", n)
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
				out, _, o := rules[to].respond(nil, b, arrival{From: from, To: to, At: now}, clock{at: now}, &est)
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

// Nor do several spoofed packets: each dies after it came back once.
func TestReflectorsDoNotLoopManyPackets(t *testing.T) {
	one, two := netip.MustParseAddrPort("192.0.2.1:5000"), netip.MustParseAddrPort("192.0.2.2:6000")
	for _, key := range []auth.Secret{{}, auth.NewSecret("k")} {
		rules := map[netip.AddrPort]*openRules{one: (&Reflector{Key: key}).rules(one.Port()), two: (&Reflector{Key: key}).rules(two.Port())}
		type flight struct {
			from, to netip.AddrPort
			b        []byte
		}
		var flying []flight
		for seq := range byte(20) {
			b := make([]byte, 112)
			b[3] = seq
			if !key.IsZero() {
				auth.NewStamp(key).Sign(b)
			}
			flying = append(flying, flight{one, two, b})
		}
		est := wire.UnknownError
		said := 0
		for now := time.Unix(1_800_000_000, 0); len(flying) > 0 && said < 100; now = now.Add(time.Microsecond) {
			f := flying[0]
			flying = flying[1:]
			out, _, o := rules[f.to].respond(nil, f.b, arrival{From: f.from, To: f.to, At: now}, clock{at: now}, &est)
			if o == reflected {
				said++
				flying = append(flying, flight{f.to, f.from, out})
			}
		}
		if said > 40 {
			t.Errorf("key %t: %d packets said to 20", !key.IsZero(), said)
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
		out, _, o := r.rules(5000).respond(nil, b, vectorArrival, clock{}, &est)
		if len(out) > n || (o == reflected) != (len(out) > 0) {
			t.Errorf("%v: %d octets to %d", o, len(out), n)
		}
	})
}
