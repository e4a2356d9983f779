// Package wire reads and writes the messages of TWAMP (RFC 5357 on top of
// RFC 4656, with RFC 5618, 5938, 6038, 7750 and 8186) and of STAMP (RFC 8762,
// 8972).
//
// It is pure: no I/O, no clock, no goroutine, and no cryptography either. What
// it reads is plaintext, what it writes is plaintext with the HMAC that the
// message carries; package auth seals and opens the octets. All integers are
// big-endian. Octets that must be zero are written as zero and not looked at
// when read.
//
// docs/protocols/twamp.md has every layout with its source and with what real
// peers do instead.
package wire

import (
	"fmt"
	"io"
	"strconv"
)

// Port is where a server listens (TCP) and where a reflector of STAMP or TWAMP
// Light does (UDP): RFC 8545.
const Port = 862

// Sizes of the control messages, octets.
const (
	ServerGreetingLen = 64
	SetUpResponseLen  = 164
	ServerStartLen    = 48
	RequestSessionLen = 112
	AcceptSessionLen  = 48
	StartSessionsLen  = 32
	StartAckLen       = 32
	StopSessionsLen   = 32

	// BlockLen is the unit of encryption. Every control message after the
	// set-up is a whole number of blocks, and the first block of a message is
	// enough for MessageLen.
	BlockLen = 16

	// HMACLen is the length of every HMAC on the wire: the first 16 octets of
	// the digest.
	HMACLen = 16

	// ServerStartClear is how much of a Server-Start is never encrypted.
	ServerStartClear = 32
)

// An HMAC is the last field of a protected message.
type HMAC [HMACLen]byte

// A FieldError reports a field whose value the protocol does not allow. A
// server answers it with Unsupported where the message has an answer.
type FieldError struct {
	Message string // such as "request-tw-session"
	Field   string // such as "ip version"
	Value   uint64
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("twamp: %s: bad %s %#x", e.Message, e.Field, e.Value)
}

// short is the error for a control message that ends too early.
func short(message string) error {
	return fmt.Errorf("twamp: %s: %w", message, io.ErrUnexpectedEOF)
}

// zeros is what must be zero, to append from.
var zeros [128]byte

// A Command is the first octet of what a client says after the set-up.
type Command uint8

// The commands: RFC 5357, section 3.2 and RFC 5938, section 7.1.1.
const (
	CommandStartSessions  Command = 2
	CommandStopSessions   Command = 3
	CommandRequestSession Command = 5
	CommandStartN         Command = 7
	CommandStartNAck      Command = 8
	CommandStopN          Command = 9
	CommandStopNAck       Command = 10
)

// MessageLen returns how long the message is that begins with first, which
// holds its first BlockLen octets. A command with no known length is a
// *FieldError: the stream cannot be followed any further.
func MessageLen(first []byte) (int, error) {
	if len(first) < BlockLen {
		return 0, short("command")
	}
	switch c := Command(first[0]); c {
	case CommandRequestSession:
		return RequestSessionLen, nil
	case CommandStartSessions:
		return StartSessionsLen, nil
	case CommandStopSessions:
		return StopSessionsLen, nil
	case CommandStartN, CommandStartNAck, CommandStopN, CommandStopNAck:
		return individualLen(first)
	default:
		return 0, &FieldError{"command", "number", uint64(c)}
	}
}

// Accept is a server's answer: RFC 4656, section 3.3.
type Accept uint8

// The answers. Any other value means Failure.
const (
	OK                Accept = 0
	Failure           Accept = 1 // no reason given; also for bad credentials
	InternalError     Accept = 2
	Unsupported       Accept = 3 // some aspect of the request
	PermanentResource Accept = 4
	TemporaryResource Accept = 5
	NoSecurityAssoc   Accept = 6 // RFC 7717: the IKEv2 SA was not found
)

func (a Accept) String() string {
	switch a {
	case OK:
		return "ok"
	case Failure:
		return "failure"
	case InternalError:
		return "internal error"
	case Unsupported:
		return "not supported"
	case PermanentResource:
		return "permanent resource limitation"
	case TemporaryResource:
		return "temporary resource limitation"
	case NoSecurityAssoc:
		return "no such security association"
	}
	return "failure (" + strconv.Itoa(int(a)) + ")"
}
