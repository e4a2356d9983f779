package wire

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"testing"
)

// tlvs reads all TLVs of b.
func tlvs(b []byte) ([]TLV, error) {
	var all []TLV
	for len(b) > 0 {
		t, rest, err := ParseTLV(b)
		if err != nil {
			return all, err
		}
		all, b = append(all, t), rest
	}
	return all, nil
}

func TestVectorTLVs(t *testing.T) {
	v := readVectors(t)
	padding := make([]byte, 12)
	for _, tt := range []struct {
		name string
		want []TLV
	}{
		{"unauth_sender_ssid_padding_tlv", []TLV{{Unrecognized, ExtraPaddingType, padding}}},
		{"unauth_reflector_ssid_padding_tlv", []TLV{{0, ExtraPaddingType, padding}}},
		{"unauth_sender_cos_followup_hmac_tlv", []TLV{
			{Unrecognized, ClassOfServiceType, unhex(t, "b8000000")},
			{Unrecognized, FollowUpType, make([]byte, 16)},
			{Unrecognized, HMACType, unhex(t, "54bd3070c68c3d31411f37fbb72f921a")},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := v.stampVector(t, tt.name)
			got, err := tlvs(in[StampLen:])
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Fatalf("TLVs = %+v, %v\nwant %+v", got, err, tt.want)
			}
			out := append([]byte(nil), in[:StampLen]...)
			for _, one := range got {
				if out, err = one.AppendBinary(out); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(out, in) {
				t.Errorf("written as % x\nwant % x", out, in)
			}
			for n := StampLen + 1; n < len(in); n++ {
				got, err := tlvs(in[StampLen:n])
				whole := err == nil && len(got) < len(tt.want)
				if !whole && !errors.Is(err, ErrMalformed) {
					t.Errorf("first %d octets: %+v, %v", n, got, err)
				}
			}
		})
	}
}

func TestTLVTooLong(t *testing.T) {
	long := TLV{Value: make([]byte, 65536)}
	if out, err := long.AppendBinary([]byte("kept")); err == nil || string(out) != "kept" {
		t.Errorf("%d octets, %v", len(out), err)
	}
	long.Value = long.Value[1:]
	if out, err := long.AppendBinary(nil); err != nil || len(out) != 65539 {
		t.Errorf("%d octets, %v", len(out), err)
	}
}

func TestTLVsAt(t *testing.T) {
	v := readVectors(t)
	stamp := v.stampVector(t, "unauth_sender_ssid_padding_tlv")
	changed := func(at int, to byte) []byte {
		b := append([]byte(nil), stamp...)
		b[at] = to
		return b
	}
	for _, tt := range []struct {
		name string
		in   []byte
		tlvs bool
		ssid bool
	}{
		{"STAMP with padding TLV", stamp, true, true},
		{"STAMP base", v.stampVector(t, "unauth_sender_base"), false, true},
		{"TWAMP with 27 of padding", unhex(t, v.TwampUnauthed["sender_pad27"]), false, false},
		{"padding that is not zero", changed(20, 1), false, false},
		{"no U flag", changed(44, 0), false, true},
		{"M flag", changed(44, 0xc0), false, true},
		{"type 0", changed(45, 0), false, true},
		{"type 255", changed(45, 255), false, true},
		{"does not fit", changed(47, 13), false, true},
		{"all zero padding", make([]byte, 100), false, true},
	} {
		if at, ok := TLVsAt(tt.in); ok != tt.tlvs || ok && at != StampLen {
			t.Errorf("%s: TLVsAt = %d, %t", tt.name, at, ok)
		}
		if got := HasSSID(tt.in); got != tt.ssid {
			t.Errorf("%s: HasSSID = %t", tt.name, got)
		}
	}
}

// value tests one kind of TLV value: there and back, and every other length
// that is too short.
func value[T any](t *testing.T, in string, want T, parse func([]byte) (T, error), appendTo func(T, []byte) ([]byte, error)) {
	t.Helper()
	b := unhex(t, in)
	got, err := parse(b)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("parse of % x = %+v, %v\nwant %+v", b, got, err, want)
	}
	out, err := appendTo(got, []byte("kept"))
	if rest, ok := bytes.CutPrefix(out, []byte("kept")); err != nil || !ok || !bytes.Equal(rest, b) {
		t.Errorf("append = % x, %v\nwant \"kept\" and % x", out, err, b)
	}
	for n := range b {
		if _, err := parse(b[:n:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("parse of first %d octets: %v, want malformed", n, err)
		}
	}
}

// Octets of the values: made by hand after RFC 8972, section 4.
func TestTLVValues(t *testing.T) {
	t.Run("class of service", func(t *testing.T) {
		value(t, "bafd0000", ClassOfService{Reply: 46, Arrived: 47, ECN: 3, Refused: 1}, ParseClassOfService, ClassOfService.AppendBinary)
	})
	t.Run("timestamp information", func(t *testing.T) {
		value(t, "01020501", TimestampInfo{SyncNTP, SoftwareLocal, SyncFreeRunning, HardwareAssist}, ParseTimestampInfo, TimestampInfo.AppendBinary)
	})
	t.Run("direct measurement", func(t *testing.T) {
		value(t, "00000001 00000002 fffffffd", DirectMeasurement{1, 2, 0xfffffffd}, ParseDirectMeasurement, DirectMeasurement.AppendBinary)
	})
	t.Run("access report", func(t *testing.T) {
		value(t, "20010000", AccessReport{ID: 2, Code: 1}, ParseAccessReport, AccessReport.AppendBinary)
	})
	t.Run("follow-up", func(t *testing.T) {
		value(t, "00000009 e800000180000000 02 000000", FollowUp{9, 0xe800000180000000, SoftwareLocal}, ParseFollowUp, FollowUp.AppendBinary)
	})
	t.Run("hmac", func(t *testing.T) {
		value(t, "000102030405060708090a0b0c0d0e0f", HMAC{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
			ParseHMACValue, func(h HMAC, b []byte) ([]byte, error) { return append(b, h[:]...), nil })
	})
}

func TestTLVValuesTooLong(t *testing.T) {
	for name, parse := range map[string]func([]byte) error{
		"class of service":   func(b []byte) error { _, err := ParseClassOfService(b); return err },
		"direct measurement": func(b []byte) error { _, err := ParseDirectMeasurement(b); return err },
		"access report":      func(b []byte) error { _, err := ParseAccessReport(b); return err },
		"follow-up":          func(b []byte) error { _, err := ParseFollowUp(b); return err },
		"hmac":               func(b []byte) error { _, err := ParseHMACValue(b); return err },
		"destination node":   func(b []byte) error { _, err := ParseDestinationNode(b); return err },
	} {
		if err := parse(make([]byte, 17)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s of 17 octets: %v", name, err)
		}
	}
}

func TestLocation(t *testing.T) {
	ask := AskLocation()
	v, err := ask.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ParseLocation(v)
	if err != nil || !reflect.DeepEqual(l, ask) {
		t.Fatalf("%+v became %+v, %v", ask, l, err)
	}
	for n := range v {
		got, err := ParseLocation(v[:n:n])
		if whole := n == 4 || n == 24; whole != (err == nil) {
			t.Errorf("first %d octets: %+v, %v", n, got, err)
		}
	}
	src, dst := netip.MustParseAddrPort("[::ffff:192.0.2.1]:1000"), netip.MustParseAddrPort("[2001:db8::2]:862")
	l.Answer(src, dst)
	answered, err := l.AppendBinary(nil)
	if err != nil || len(answered) != len(v) {
		t.Fatalf("an answer of %d octets to %d, %v", len(answered), len(v), err)
	}
	want := "035e03e8 00060010 20010db8000000000000000000000002 00080010 c0000201000000000000000000000000"
	if !bytes.Equal(answered, unhex(t, want)) {
		t.Errorf("answered % x\nwant % x", answered, unhex(t, want))
	}
	if gotSrc, gotDst := l.Addrs(); gotSrc != src.Addr().Unmap() || gotDst != dst.Addr() {
		t.Errorf("Addrs = %v, %v", gotSrc, gotDst)
	}
}

func TestLocationKeepsWhatItCannotTell(t *testing.T) {
	// A MAC address, an IPv6 source although it is IPv4, an unknown type.
	in := unhex(t, "0000 0000  80 01 0008 0000000000000000  80 09 0010 00000000000000000000000000000000  80 63 0001 07")
	l, err := ParseLocation(bytes.Clone(in))
	if err != nil {
		t.Fatal(err)
	}
	l.Answer(netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:2"))
	if !bytes.Equal(l.Subs, in[4:]) {
		t.Errorf("sub-TLVs became % x", l.Subs)
	}
	if _, err := ParseLocation(unhex(t, "0000 0000 80 01 0007 00000000000000")); !errors.Is(err, ErrMalformed) {
		t.Errorf("a MAC of 7 octets: %v", err)
	}
}

func TestDestinationNode(t *testing.T) {
	for in, want := range map[string]string{"c0000201": "192.0.2.1", "20010db8000000000000000000000001": "2001:db8::1"} {
		if got, err := ParseDestinationNode(unhex(t, in)); err != nil || got.String() != want {
			t.Errorf("ParseDestinationNode(%s) = %v, %v", in, got, err)
		}
	}
}

func TestReturnPath(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want bool
		err  error
	}{
		{"", true, nil},
		{"80010004 00000000", false, nil},
		{"80010004 00000001", true, nil},
		{"80020004 c0000201", true, nil},
		{"80020004 c0000201 80010004 00000000", false, nil},
		{"80010003 000000", true, ErrMalformed},
		{"8001", true, ErrMalformed},
	} {
		if got, err := ReturnPathWantsReply(unhex(t, tt.in)); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("ReturnPathWantsReply(%s) = %t, %v", tt.in, got, err)
		}
	}
}

func FuzzTLV(f *testing.F) {
	v := readVectors(f)
	for _, name := range []string{"unauth_sender_ssid_padding_tlv", "unauth_sender_cos_followup_hmac_tlv"} {
		f.Add(v.stampVector(f, name)[StampLen:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		one, rest, err := ParseTLV(b)
		if err != nil {
			return
		}
		out, err := one.AppendBinary(nil)
		if err != nil || !bytes.Equal(append(out, rest...), b) {
			t.Fatalf("% x became % x, %v", b, out, err)
		}
	})
}

func FuzzClassOfService(f *testing.F) {
	f.Add([]byte{0xba, 0xfd, 0, 0})
	fuzzValue(f, ParseClassOfService, ClassOfService.AppendBinary)
}

func FuzzTimestampInfo(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4})
	fuzzValue(f, ParseTimestampInfo, TimestampInfo.AppendBinary)
}

func FuzzDirectMeasurement(f *testing.F) {
	f.Add(make([]byte, 12))
	fuzzValue(f, ParseDirectMeasurement, DirectMeasurement.AppendBinary)
}

func FuzzAccessReport(f *testing.F) {
	f.Add([]byte{0x20, 1, 0, 0})
	fuzzValue(f, ParseAccessReport, AccessReport.AppendBinary)
}

func FuzzFollowUp(f *testing.F) {
	f.Add(make([]byte, 16))
	fuzzValue(f, ParseFollowUp, FollowUp.AppendBinary)
}

func FuzzLocation(f *testing.F) {
	b, err := AskLocation().AppendBinary(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ParseLocation(bytes.Clone(b))
		if err != nil {
			return
		}
		if out, err := l.AppendBinary(nil); err != nil || !bytes.Equal(out, b) {
			t.Fatalf("% x became % x, %v", b, out, err)
		}
		l.Answer(netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("[::1]:2"))
		if len(l.Subs) != len(b)-4 {
			t.Fatalf("the answer to %d octets has %d", len(b), len(l.Subs)+4)
		}
		if _, err := ParseLocation(append(b[:4:4], l.Subs...)); err != nil {
			t.Fatalf("the answer cannot be read: %v", err)
		}
		l.Addrs()
	})
}

func FuzzHMACValue(f *testing.F) {
	f.Add(make([]byte, 16))
	fuzzValue(f, ParseHMACValue, func(h HMAC, b []byte) ([]byte, error) { return append(b, h[:]...), nil })
}

func FuzzRFC9503(f *testing.F) {
	f.Add([]byte{0x80, 1, 0, 4, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := ParseDestinationNode(b); err == nil && !bytes.Equal(a.AsSlice(), b) {
			t.Errorf("% x became %v", b, a)
		}
		if _, err := ReturnPathWantsReply(b); err != nil && !errors.Is(err, ErrMalformed) {
			t.Error(err)
		}
	})
}
