package wire

import (
	"encoding/binary"
	"fmt"
)

// MaxSIDs is the most sessions one message may name. The field has room for
// 2³²-1; a receiver must have a bound before it reads them.
const MaxSIDs = 4096

// A SessionList is any of the four messages that start and stop sessions one by
// one: Start-N-Sessions, Start-N-Ack, Stop-N-Sessions and Stop-N-Ack. The Acks
// group sessions by their Accept, so one request may have several.
//
//	off len
//	  0   1  Command, 7 to 10
//	  1   1  Accept in the Acks, zero otherwise
//	  2  10  zero
//	 12   4  number of SIDs, at least 1
//	 16  16N SIDs
//	  …  16  HMAC
//
// Source: RFC 5938, sections 3.2 and 3.3.
type SessionList struct {
	Command Command
	Accept  Accept
	SIDs    []SID
	HMAC    HMAC
}

// individualLen is the length of the SessionList that begins with first.
func individualLen(first []byte) (int, error) {
	n := binary.BigEndian.Uint32(first[12:])
	if n == 0 || n > MaxSIDs {
		return 0, &FieldError{listName(Command(first[0])), "number of sessions", uint64(n)}
	}
	return BlockLen + len(SID{})*int(n) + HMACLen, nil
}

// ParseSessionList reads a SessionList from the front of b and ignores what
// follows.
func ParseSessionList(b []byte) (SessionList, error) {
	if len(b) < BlockLen {
		return SessionList{}, short("session list")
	}
	c := Command(b[0])
	if c < CommandStartN || c > CommandStopNAck {
		return SessionList{}, &FieldError{"session list", "command", uint64(c)}
	}
	size, err := individualLen(b)
	if err != nil {
		return SessionList{}, err
	}
	if len(b) < size {
		return SessionList{}, short(listName(c))
	}
	l := SessionList{
		Command: c,
		Accept:  Accept(b[1]),
		SIDs:    make([]SID, 0, (size-BlockLen-HMACLen)/len(SID{})),
		HMAC:    HMAC(b[size-HMACLen:]),
	}
	for at := BlockLen; at < size-HMACLen; at += len(SID{}) {
		l.SIDs = append(l.SIDs, SID(b[at:]))
	}
	return l, nil
}

// AppendBinary appends l's octets to b. It fails unless l names 1 to MaxSIDs
// sessions.
func (l SessionList) AppendBinary(b []byte) ([]byte, error) {
	if len(l.SIDs) == 0 || len(l.SIDs) > MaxSIDs {
		return b, fmt.Errorf("twamp: %s: %d sessions, not 1 to %d", listName(l.Command), len(l.SIDs), MaxSIDs)
	}
	b = append(b, byte(l.Command), byte(l.Accept))
	b = append(b, zeros[:10]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(l.SIDs)))
	for _, s := range l.SIDs {
		b = append(b, s[:]...)
	}
	return append(b, l.HMAC[:]...), nil
}

func listName(c Command) string {
	switch c {
	case CommandStartN:
		return "start-n-sessions"
	case CommandStartNAck:
		return "start-n-ack"
	case CommandStopN:
		return "stop-n-sessions"
	case CommandStopNAck:
		return "stop-n-ack"
	}
	return fmt.Sprintf("session list (command %d)", c)
}
