package twamp

import (
	"bytes"
	"testing"
	"time"

	"github.com/sonde-net/sonde/twamp/auth"
	"github.com/sonde-net/sonde/twamp/wire"
)

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
