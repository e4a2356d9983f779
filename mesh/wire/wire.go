// Package wire reads and writes the packets of the ptptest mesh and of what
// sonde adds to it.
//
// One UDP datagram is one packet: a version byte, fields of type, length and
// value, and an Internet checksum. All integers are big-endian. A packet has no
// message type: it is what its fields are. Split and AppendFields know the
// fields, ParsePacket and Packet.Append what they mean together; records inside
// the field CC carry everything that the original program does not know.
//
// The original program dies of packets that it does not expect. This package
// refuses to parse them and refuses to make them; docs/protocols/mesh.md lists
// them with how each is known.
//
// It is pure: no I/O, no clock, no goroutine.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The sizes of packets, bytes.
const (
	MaxPacket = 1400 // the original reads into a buffer of this size
	MaxValue  = 253  // the length of a field is one byte and counts its own two bytes
	MinPacket = 5    // version, one empty field, checksum

	fieldHeader = 2
	checksumLen = 2
)

// Version is the first byte of every packet we send. Receivers never compare
// it; the original takes any other value too.
const Version = 1

// Why a datagram is no packet. Errors of this package wrap one of these or
// io.ErrUnexpectedEOF, or are a *FieldError.
var (
	ErrTooLong  = errors.New("longer than 1400 bytes")
	ErrTooShort = errors.New("shorter than 5 bytes")
	ErrChecksum = errors.New("bad checksum")
	ErrOrder    = errors.New("fields missing or out of order")
)

// A FieldError reports a value that the protocol does not allow.
type FieldError struct {
	Message string // such as "packet" or "list"
	Field   string // such as "UUID" or "page"
	Value   uint64 // the value, or the length where that is what is wrong
	Why     string // such as "length"; empty when the value itself is wrong
}

func (e *FieldError) Error() string {
	if e.Why != "" {
		return fmt.Sprintf("mesh: %s: %s: bad %s %d", e.Message, e.Field, e.Why, e.Value)
	}
	return fmt.Sprintf("mesh: %s: bad %s %d", e.Message, e.Field, e.Value)
}

// Checksum is the Internet checksum (RFC 1071) of b: the complement of the
// ones' complement sum of its 16-bit words, an odd last byte being the high
// half of a word. There is no pseudo-header.
func Checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// An ID names a client or node: the 16 bytes of a UUID.
type ID [16]byte

// String is the ID as a UUID is written.
func (id ID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
