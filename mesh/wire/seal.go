package wire

import "encoding/binary"

// An Auth proves that a packet comes from somebody who has the mesh key. It is
// the last record of its stream, and covers all before it.
//
//	off len
//	  0   1  Key
//	  1   8  Time, ms since 1970
//	  9   4  Counter
//	 13  16  MAC
type Auth struct {
	Key     uint8
	Time    uint64
	Counter uint32
	MAC     [16]byte // the front of an HMAC-SHA-256
}

// Type returns RecordAuth.
func (Auth) Type() RecordType { return RecordAuth }

// ParseAuth reads an Auth and ignores what follows.
func ParseAuth(b []byte) (Auth, error) {
	r := &reader{what: "auth", b: b}
	a := Auth{Key: r.u8(), Time: r.u64(), Counter: r.u32()}
	copy(a.MAC[:], r.take(len(a.MAC)))
	return a, r.err
}

// AppendBinary appends a to b. It never fails.
func (a Auth) AppendBinary(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint64(append(b, a.Key), a.Time)
	return append(binary.BigEndian.AppendUint32(b, a.Counter), a.MAC[:]...), nil
}

// A Sign is the server's signature (Ed25519) of a list or punch; only an Auth
// follows it.
//
//	off len
//	  0   8  Key
//	  8   8  Time, ms since 1970
//	 16  64  Signature
type Sign struct {
	Key       [8]byte
	Time      uint64
	Signature [64]byte
}

// Type returns RecordSign.
func (Sign) Type() RecordType { return RecordSign }

// ParseSign reads a Sign and ignores what follows.
func ParseSign(b []byte) (Sign, error) {
	r := &reader{what: "sign", b: b}
	var s Sign
	copy(s.Key[:], r.take(len(s.Key)))
	s.Time = r.u64()
	copy(s.Signature[:], r.take(len(s.Signature)))
	return s, r.err
}

// AppendBinary appends s to b. It never fails.
func (s Sign) AppendBinary(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint64(append(b, s.Key[:]...), s.Time)
	return append(b, s.Signature[:]...), nil
}
