package wire

import "encoding/binary"

// A StartSessions starts every session accepted on its connection: the command,
// 2, then zeros up to the HMAC at octet 16. Source: RFC 5357, section 3.7.
type StartSessions struct{ HMAC HMAC }

// ParseStartSessions reads a StartSessions from the front of b and ignores what
// follows.
func ParseStartSessions(b []byte) (StartSessions, error) {
	if len(b) < StartSessionsLen {
		return StartSessions{}, short("start-sessions")
	}
	if b[0] != byte(CommandStartSessions) {
		return StartSessions{}, &FieldError{"start-sessions", "command", uint64(b[0])}
	}
	return StartSessions{HMAC(b[16:])}, nil
}

// AppendBinary appends s's StartSessionsLen octets to b. It never fails.
func (s StartSessions) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, byte(CommandStartSessions))
	b = append(b, zeros[:15]...)
	return append(b, s.HMAC[:]...), nil
}

// A StartAck answers a StartSessions: Accept, then zeros up to the HMAC at octet
// 16. Unless Accept is OK nothing was started. Source: RFC 5357, section 3.7.
type StartAck struct {
	Accept Accept
	HMAC   HMAC
}

// ParseStartAck reads a StartAck from the front of b and ignores what follows.
func ParseStartAck(b []byte) (StartAck, error) {
	if len(b) < StartAckLen {
		return StartAck{}, short("start-ack")
	}
	return StartAck{Accept(b[0]), HMAC(b[16:])}, nil
}

// AppendBinary appends s's StartAckLen octets to b. It never fails.
func (s StartAck) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, byte(s.Accept))
	b = append(b, zeros[:15]...)
	return append(b, s.HMAC[:]...), nil
}

// A StopSessions stops every session of its connection and has no answer.
//
//	off len
//	  0   1  command, 3
//	  1   1  Accept
//	  2   2  zero
//	  4   4  Sessions
//	  8   8  zero
//	 16  16  HMAC
//
// Source: RFC 5357, section 3.8.
type StopSessions struct {
	Accept   Accept // OK is a normal end; otherwise the results are not valid
	Sessions uint32 // how many were started and not yet stopped
	HMAC     HMAC
}

// ParseStopSessions reads a StopSessions from the front of b and ignores what
// follows.
func ParseStopSessions(b []byte) (StopSessions, error) {
	if len(b) < StopSessionsLen {
		return StopSessions{}, short("stop-sessions")
	}
	if b[0] != byte(CommandStopSessions) {
		return StopSessions{}, &FieldError{"stop-sessions", "command", uint64(b[0])}
	}
	return StopSessions{
		Accept:   Accept(b[1]),
		Sessions: binary.BigEndian.Uint32(b[4:]),
		HMAC:     HMAC(b[16:]),
	}, nil
}

// AppendBinary appends s's StopSessionsLen octets to b. It never fails.
func (s StopSessions) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, byte(CommandStopSessions), byte(s.Accept), 0, 0)
	b = binary.BigEndian.AppendUint32(b, s.Sessions)
	b = append(b, zeros[:8]...)
	return append(b, s.HMAC[:]...), nil
}
