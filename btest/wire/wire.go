// Package wire reads and writes the messages of the MikroTik bandwidth test.
//
// It is pure: no I/O, no clock, no goroutine. The protocol has no published
// specification, so every layout names its source; docs/protocols/btest.md
// says how sure we are of each field and where the sources disagree. Numbers
// in the command and the status are little-endian, the UDP port and the UDP
// sequence number big-endian.
package wire

import "fmt"

// Sizes and numbers of the protocol.
const (
	HelloLen    = 4
	CommandLen  = 16
	ReplyLen    = 4
	ResponseLen = 48 // MD5 login: hash and name
	PortLen     = 2
	StatusLen   = 12
	SequenceLen = 4 // of a UDP datagram

	DefaultPort = 2000 // TCP, the server's
	FirstUDP    = 2001 // first UDP port of a server's pool
	LastUDP     = 2100 // last of the range that RouterOS's firewall documentation names
	ClientPort  = 256  // a client's UDP port is the server's plus this
	MaxUDPPort  = 65535 - ClientPort

	DefaultTCPSize = 32768 // RouterOS sends 0x8000 in every TCP command
	DefaultUDPSize = 1500  // with IP and UDP headers
	MinUDPSize     = 28
	MaxUDPSize     = 64000
	MinTCPSize     = 512

	// MaxRate is the highest rate that the command can carry, bit/s.
	MaxRate = 1<<32 - 1

	// NameLen is the room for a name in an MD5 response.
	NameLen = 32
)

// Hello is what a server says first.
var Hello = [HelloLen]byte{1, 0, 0, 0}

// A FieldError reports a field whose value the protocol does not allow.
type FieldError struct {
	Message string // such as "command"
	Field   string // such as "direction"
	Value   uint64
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("btest: %s: bad %s %#x", e.Message, e.Field, e.Value)
}

// A BytesError reports a message that is nothing the protocol knows.
type BytesError struct {
	Message string // such as "hello"
	Bytes   []byte
}

func (e *BytesError) Error() string {
	return fmt.Sprintf("btest: %s: unexpected bytes % x", e.Message, e.Bytes)
}
