package wire

import (
	"encoding/binary"
	"encoding/hex"
)

// A SID identifies a session; in the modes with keys it is also what the keys
// of the test packets are made with, so a server never repeats one.
type SID [16]byte

// String returns the SID in hexadecimal.
func (s SID) String() string { return hex.EncodeToString(s[:]) }

// An AcceptSession answers a RequestSession and, as a refusal, any command that
// the server does not know.
//
//	off len
//	  0   1  Accept
//	  1   1  zero
//	  2   2  Port
//	  4  16  SID
//	 20   2  ReflectedOctets (RFC 6038)
//	 22   2  ServerOctets (RFC 6038)
//	 24   8  zero
//	 32  16  HMAC
//
// Source: RFC 5357, section 3.5; RFC 6038, section 4.2.
type AcceptSession struct {
	Accept          Accept
	Port            uint16 // where test packets are to be sent, whatever was proposed
	SID             SID
	ReflectedOctets uint16 // the request's OctetsToReflect
	ServerOctets    uint16 // to be the first two octets of the padding; 0 is none
	HMAC            HMAC
}

// ParseAcceptSession reads an AcceptSession from the front of b and ignores
// what follows.
func ParseAcceptSession(b []byte) (AcceptSession, error) {
	if len(b) < AcceptSessionLen {
		return AcceptSession{}, short("accept-session")
	}
	return AcceptSession{
		Accept:          Accept(b[0]),
		Port:            binary.BigEndian.Uint16(b[2:]),
		SID:             SID(b[4:]),
		ReflectedOctets: binary.BigEndian.Uint16(b[20:]),
		ServerOctets:    binary.BigEndian.Uint16(b[22:]),
		HMAC:            HMAC(b[32:]),
	}, nil
}

// AppendBinary appends a's AcceptSessionLen octets to b. It never fails.
func (a AcceptSession) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, byte(a.Accept), 0)
	b = binary.BigEndian.AppendUint16(b, a.Port)
	b = append(b, a.SID[:]...)
	b = binary.BigEndian.AppendUint16(b, a.ReflectedOctets)
	b = binary.BigEndian.AppendUint16(b, a.ServerOctets)
	b = append(b, zeros[:8]...)
	return append(b, a.HMAC[:]...), nil
}
