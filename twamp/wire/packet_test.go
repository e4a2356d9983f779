package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// layoutOf is the layout of a recording's test packets, told by its name.
func layoutOf(file string) Layout {
	return Layout{Keyed: strings.Contains(file, "authenticated.json") && !strings.Contains(file, "un") || strings.Contains(file, "encrypted")}
}

func packetFields(v any) map[string]string {
	ts := func(v Timestamp) string { return fmt.Sprintf("%016x", uint64(v)) }
	ee := func(v ErrorEstimate) string { return fmt.Sprintf("%04x", uint16(v)) }
	switch p := v.(type) {
	case Request:
		return map[string]string{"seq": fmt.Sprint(p.Seq), "timestamp": ts(p.Sent), "error_estimate": ee(p.Error)}
	case Reply:
		return map[string]string{
			"seq": fmt.Sprint(p.Seq), "timestamp": ts(p.Sent), "error_estimate": ee(p.Error), "receive_timestamp": ts(p.Received),
			"sender_seq": fmt.Sprint(p.SenderSeq), "sender_timestamp": ts(p.SenderSent), "sender_error_estimate": ee(p.SenderError),
			"sender_ttl": fmt.Sprint(p.SenderTTL),
		}
	}
	return nil
}

// TestRecordedPackets decodes every test packet of the recordings and gets the
// octets of its fixed part back, as far as the peer sent them.
func TestRecordedPackets(t *testing.T) {
	_, test := recorded(t)
	if len(test) == 0 {
		t.Fatal("no test packets")
	}
	for i, p := range test {
		t.Run(fmt.Sprintf("%s/%d", p.File, i), func(t *testing.T) {
			in, l := p.plain(t), layoutOf(p.File)
			var got any
			var out []byte
			var err error
			if p.Dir == "sender>reflector" {
				var r Request
				r, err = ParseRequest(in, l)
				got, out = r, r.Append(nil, l)
			} else {
				var r Reply
				r, err = ParseReply(in, l)
				got, out = r, r.Append(nil, l)
			}
			if err != nil {
				t.Fatal(err)
			}
			n := min(len(in), len(out))
			if !bytes.Equal(out[:n], in[:n]) {
				t.Errorf("written as % x\nrecorded as % x", out, in)
			}
			for name, got := range packetFields(got) {
				if want, ok := p.Fields[name]; ok && fmt.Sprint(want) != got {
					t.Errorf("%s = %s, recorded as %v", name, got, want)
				}
			}
		})
	}
}

func TestVectorPackets(t *testing.T) {
	v := readVectors(t)
	base := Request{Seq: 7, Sent: 0xe800000180000000, Error: 0x9580}
	ssid := base
	ssid.SSID = 0x1234
	auth := base
	auth.HMAC = HMAC(unhex(t, "4ee83ac284b662a5fe439b0fad3c7701"))
	for _, tt := range []struct {
		name string
		in   []byte
		l    Layout
		want Request
	}{
		{"sender_pad27", unhex(t, v.TwampUnauthed["sender_pad27"]), Layout{}, base},
		{"sender_pad27, symmetrical", unhex(t, v.TwampUnauthed["sender_pad27"]), Layout{Symmetrical: true}, base},
		{"unauth_sender_base", v.stampVector(t, "unauth_sender_base"), Layout{STAMP: true}, base},
		{"unauth_sender_ssid_padding_tlv", v.stampVector(t, "unauth_sender_ssid_padding_tlv"), Layout{STAMP: true}, ssid},
		{"unauth_sender_cos_followup_hmac_tlv", v.stampVector(t, "unauth_sender_cos_followup_hmac_tlv"), Layout{STAMP: true}, ssid},
		{"auth_sender", v.stampVector(t, "auth_sender"), Layout{STAMP: true, Keyed: true}, auth},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseRequest(tt.in, tt.l)
			if err != nil || got != tt.want {
				t.Fatalf("ParseRequest = %+v, %v\nwant %+v", got, err, tt.want)
			}
			out := got.Append([]byte("kept"), tt.l)
			if n := tt.l.RequestLen(); !bytes.Equal(out, append([]byte("kept"), tt.in[:n]...)) {
				t.Errorf("Append = % x\nwant \"kept\" and % x", out, tt.in[:n])
			}
		})
	}
	for i, p := range v.HandshakeAuthenticated.Test {
		in := unhex(t, p.Plain)
		if p.Dir != "sender>reflector" {
			continue
		}
		got, err := ParseRequest(in, Layout{Keyed: true})
		if out := got.Append(nil, Layout{Keyed: true}); err != nil || !bytes.Equal(out, in[:KeyedRequestLen]) {
			t.Errorf("authenticated %d: % x, %v", i, out, err)
		}
	}
}

func TestVectorReplies(t *testing.T) {
	v := readVectors(t)
	base := Reply{Seq: 7, Sent: 0xe800000181004000, Error: 0x9580, Received: 0xe800000181000000,
		SenderSeq: 7, SenderSent: 0xe800000180000000, SenderError: 0x9580, SenderTTL: 250}
	with := func(change func(*Reply)) Reply { r := base; change(&r); return r }
	for _, tt := range []struct {
		name string
		in   []byte
		l    Layout
		want Reply
	}{
		{"reflector_41", unhex(t, v.TwampUnauthed["reflector_41"]), Layout{}, with(func(r *Reply) { r.Seq = 3 })},
		{"reflector_dscp_ecn_44", unhex(t, v.TwampUnauthed["reflector_dscp_ecn_44"]), Layout{TrafficClass: true},
			with(func(r *Reply) { r.Seq, r.TrafficClass = 3, 46<<2|1 })},
		{"unauth_reflector_base_stateless", v.stampVector(t, "unauth_reflector_base_stateless"), Layout{STAMP: true}, base},
		{"unauth_reflector_ssid_padding_tlv", v.stampVector(t, "unauth_reflector_ssid_padding_tlv"), Layout{STAMP: true},
			with(func(r *Reply) { r.SSID = 0x1234 })},
		{"auth_reflector", v.stampVector(t, "auth_reflector"), Layout{STAMP: true, Keyed: true},
			with(func(r *Reply) { r.HMAC = HMAC(unhex(t, "e05c363fad5797aee5e43bf8c316f14f")) })},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseReply(tt.in, tt.l)
			if err != nil || got != tt.want {
				t.Fatalf("ParseReply = %+v, %v\nwant %+v", got, err, tt.want)
			}
			out := got.Append([]byte("kept"), tt.l)
			if n := tt.l.ReplyLen(); !bytes.Equal(out, append([]byte("kept"), tt.in[:n]...)) {
				t.Errorf("Append = % x\nwant \"kept\" and % x", out, tt.in[:n])
			}
		})
	}
}

// layouts are all that can be negotiated or configured.
func layouts() []Layout {
	var all []Layout
	for _, keyed := range []bool{false, true} {
		all = append(all, Layout{Keyed: keyed, STAMP: true})
		for _, symmetrical := range []bool{false, true} {
			for _, class := range []bool{false, true} {
				all = append(all, Layout{Keyed: keyed, Symmetrical: symmetrical, TrafficClass: class})
			}
		}
	}
	return all
}

// TestLayouts writes and reads packets in every layout, and tries to read every
// shorter one.
func TestLayouts(t *testing.T) {
	for _, l := range layouts() {
		t.Run(fmt.Sprintf("%+v", l), func(t *testing.T) {
			req := Request{Seq: 1<<32 - 2, Sent: 0x0102030405060708, Error: 0x8587}
			rep := Reply{Seq: 1, Sent: 2, Error: 3, Received: 4, SenderSeq: 5, SenderSent: 6, SenderError: 7, SenderTTL: 8}
			if l.Keyed {
				req.HMAC, rep.HMAC = HMAC{1, 15: 2}, HMAC{3, 15: 4}
			}
			if l.STAMP {
				req.SSID, rep.SSID = 0xabcd, 0xabcd
			}
			if l.TrafficClass {
				rep.TrafficClass = 0xb9
			}
			b := req.Append(nil, l)
			if got, err := ParseRequest(b, l); err != nil || got != req || len(b) != l.RequestLen() {
				t.Errorf("request of %d octets came back as %+v, %v", len(b), got, err)
			}
			bare := l
			bare.Symmetrical = false
			for n := range bare.RequestLen() {
				if _, err := ParseRequest(b[:n:n], l); !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("first %d octets of a request: %v", n, err)
				}
			}
			b = rep.Append(nil, l)
			if got, err := ParseReply(b, l); err != nil || got != rep || len(b) != l.ReplyLen() {
				t.Errorf("reply of %d octets came back as %+v, %v", len(b), got, err)
			}
			least := LeastReplyLen
			if l.Keyed {
				least = KeyedReplyLen
			}
			for n := range b {
				_, err := ParseReply(b[:n:n], l)
				if short := n < least; short != errors.Is(err, io.ErrUnexpectedEOF) || !short && err != nil {
					t.Errorf("first %d octets of a reply: %v", n, err)
				}
			}
		})
	}
}

func TestSymmetricPadding(t *testing.T) {
	for l, want := range map[Layout]int{
		{}:                                      27,
		{Keyed: true}:                           64,
		{TrafficClass: true}:                    30,
		{Symmetrical: true}:                     0,
		{Symmetrical: true, TrafficClass: true}: 2,
		{Symmetrical: true, Keyed: true}:        0,
		{STAMP: true}:                           0,
	} {
		if got := l.SymmetricPadding(); got != want {
			t.Errorf("%+v: %d, want %d", l, got, want)
		}
	}
}

// Packets are counted: reading and writing them must not allocate.
func TestPacketsDoNotAllocate(t *testing.T) {
	for _, l := range layouts() {
		req, rep := make([]byte, l.RequestLen()), make([]byte, l.ReplyLen())
		n := testing.AllocsPerRun(100, func() {
			q, err := ParseRequest(req, l)
			if err != nil {
				t.Fatal(err)
			}
			p, err := ParseReply(rep, l)
			if err != nil {
				t.Fatal(err)
			}
			req, rep = q.Append(req[:0], l), p.Append(rep[:0], l)
			if _, err := ParseRequest(nil, l); err == nil {
				t.Fatal("nothing was read as a request")
			}
		})
		if n != 0 {
			t.Errorf("%+v: %v allocations", l, n)
		}
	}
}

func FuzzRequest(f *testing.F) {
	_, test := recorded(f)
	for _, p := range test {
		f.Add(p.plain(f), uint8(0))
	}
	f.Add(readVectors(f).stampVector(f, "auth_sender"), uint8(5))
	f.Fuzz(func(t *testing.T, b []byte, which uint8) {
		all := layouts()
		l := all[int(which)%len(all)]
		r, err := ParseRequest(b, l)
		if err != nil {
			return
		}
		if again, err := ParseRequest(r.Append(nil, l), l); err != nil || again != r {
			t.Fatalf("%+v became %+v, %v", r, again, err)
		}
	})
}

func FuzzReply(f *testing.F) {
	_, test := recorded(f)
	for _, p := range test {
		f.Add(p.plain(f), uint8(1))
	}
	f.Add(readVectors(f).stampVector(f, "auth_reflector"), uint8(5))
	f.Fuzz(func(t *testing.T, b []byte, which uint8) {
		all := layouts()
		l := all[int(which)%len(all)]
		r, err := ParseReply(b, l)
		if err != nil {
			return
		}
		if again, err := ParseReply(r.Append(nil, l), l); err != nil || again != r {
			t.Fatalf("%+v became %+v, %v", r, again, err)
		}
	})
}

func BenchmarkParseRequest(b *testing.B) {
	in := unhex(b, "00000007e8000001800000009580")
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseRequest(in, Layout{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendReply(b *testing.B) {
	var out []byte
	r := Reply{Seq: 1}
	b.SetBytes(ShortReplyLen)
	b.ReportAllocs()
	for b.Loop() {
		out = r.Append(out[:0], Layout{})
	}
}
