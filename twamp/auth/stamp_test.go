package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
)

func TestStampVectors(t *testing.T) {
	v := readVectors(t)
	var key string
	if err := json.Unmarshal(v.Stamp["hmac_key"], &key); err != nil {
		t.Fatal(err)
	}
	s := NewStamp(NewSecret(string(unhex(t, key))))
	for _, name := range []string{"auth_sender", "auth_reflector"} {
		var p struct{ Packet string }
		if err := json.Unmarshal(v.Stamp[name], &p); err != nil {
			t.Fatal(err)
		}
		want := unhex(t, p.Packet)
		got := bytes.Clone(want)
		clear(got[96:112])
		s.Sign(got)
		if !bytes.Equal(got, want) {
			t.Errorf("%s: signed as % x\nwant % x", name, got[96:112], want[96:112])
		}
		if err := s.Check(want); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for bit := range 112 * 8 {
			b := bytes.Clone(want)
			b[bit/8] ^= 1 << (bit % 8)
			if err := s.Check(b); !errors.Is(err, ErrHMAC) {
				t.Errorf("%s with bit %d flipped: %v", name, bit, err)
			}
		}
	}
	var p struct{ Packet, HMAC string }
	if err := json.Unmarshal(v.Stamp["unauth_sender_cos_followup_hmac_tlv"], &p); err != nil {
		t.Fatal(err)
	}
	packet := unhex(t, p.Packet)
	before, value := packet[44:len(packet)-20], [16]byte(packet[len(packet)-16:])
	if got := s.SumTLVs(7, before); got != value {
		t.Errorf("HMAC TLV % x, want % x", got, value)
	}
	if err := s.CheckTLVs(7, before, value); err != nil {
		t.Error(err)
	}
	if err := s.CheckTLVs(8, before, value); !errors.Is(err, ErrHMAC) {
		t.Errorf("HMAC TLV of another packet: %v", err)
	}
}
