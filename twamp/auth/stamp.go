package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// stampCovered is how much of a STAMP base packet its HMAC covers; the HMAC
// follows. RFC 8762, section 4.4.
const stampCovered = 96

// Stamp is the protection of STAMP: HMAC-SHA-256 cut to 16 octets. Nothing is
// encrypted and the key comes from configuration. It allocates nothing per
// packet and is not for concurrent use.
type Stamp struct {
	mac hash.Hash
	sum [sha256.Size]byte
	seq [4]byte
}

// NewStamp makes the protection with the octets of a shared secret as the key.
func NewStamp(s Secret) *Stamp {
	return &Stamp{mac: hmac.New(sha256.New, s.octets)}
}

// Sign writes the HMAC into the base packet at the front of b, at least 112
// octets. It covers the timestamps, so it comes last.
func (s *Stamp) Sign(b []byte) {
	copy(b[stampCovered:stampCovered+BlockLen], s.hmacOf(b[:stampCovered]))
}

// Check returns ErrHMAC if the HMAC of the base packet at the front of b, at
// least 112 octets, is not right.
func (s *Stamp) Check(b []byte) error {
	if !hmac.Equal(b[stampCovered:stampCovered+BlockLen], s.hmacOf(b[:stampCovered])) {
		return ErrHMAC
	}
	return nil
}

// SumTLVs returns the value of an HMAC TLV: over the sequence number of the
// base packet and all TLVs before it as they are sent, headers included. RFC
// 8972, section 4.8.
func (s *Stamp) SumTLVs(seq uint32, tlvs []byte) [BlockLen]byte {
	return [BlockLen]byte(s.tlvs(seq, tlvs))
}

// CheckTLVs returns ErrHMAC if value is not what SumTLVs returns.
func (s *Stamp) CheckTLVs(seq uint32, tlvs []byte, value [BlockLen]byte) error {
	if !hmac.Equal(value[:], s.tlvs(seq, tlvs)) {
		return ErrHMAC
	}
	return nil
}

func (s *Stamp) tlvs(seq uint32, tlvs []byte) []byte {
	binary.BigEndian.PutUint32(s.seq[:], seq)
	s.mac.Reset()
	s.mac.Write(s.seq[:])
	s.mac.Write(tlvs)
	return s.mac.Sum(s.sum[:0])[:BlockLen]
}

func (s *Stamp) hmacOf(b []byte) []byte {
	s.mac.Reset()
	s.mac.Write(b)
	return s.mac.Sum(s.sum[:0])[:BlockLen]
}
