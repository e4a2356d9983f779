package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Transport is what carries the test data.
type Transport uint8

// The transports.
const (
	UDP Transport = 0
	TCP Transport = 1
)

// Direction is the set of ways test traffic flows, seen from the server:
// a client that downloads asks for Transmit.
type Direction uint8

// The directions.
const (
	Receive  Direction = 0x01
	Transmit Direction = 0x02
	Both     Direction = Receive | Transmit
)

// A Command is the client's order for one test, sent once, after the hello.
//
//	off len
//	  0   1  Transport
//	  1   1  Direction
//	  2   1  0 random payload, 1 zeros (inverted: RouterOS random-data=no sends 1)
//	  3   1  Streams; 0 means one, otherwise the total
//	  4   2  Size, little-endian
//	  6   2  Buffer, little-endian
//	  8   4  ServerRate, little-endian
//	 12   4  ClientRate, little-endian
//
// Source: captures of RouterOS 6 and 7 clients, testdata/c-*.json and rs-*.json.
type Command struct {
	Transport  Transport
	Direction  Direction
	Zeros      bool
	Streams    uint8  // connections (TCP) or client ports (UDP); 0 means one
	Size       uint16 // bytes per write (TCP), or per packet with its headers (UDP), that the server is to send
	Buffer     uint16 // of the client; meaning not confirmed, 0 in nearly all captures
	ServerRate uint32 // bit/s the server may send; 0 means no limit
	ClientRate uint32 // bit/s the client will send; 0 means no limit
}

// ParseCommand reads a Command from the front of b and ignores what follows.
func ParseCommand(b []byte) (Command, error) {
	if len(b) < CommandLen {
		return Command{}, fmt.Errorf("btest: command: %w", io.ErrUnexpectedEOF)
	}
	c := Command{
		Transport:  Transport(b[0]),
		Direction:  Direction(b[1]),
		Zeros:      b[2] != 0,
		Streams:    b[3],
		Size:       binary.LittleEndian.Uint16(b[4:]),
		Buffer:     binary.LittleEndian.Uint16(b[6:]),
		ServerRate: binary.LittleEndian.Uint32(b[8:]),
		ClientRate: binary.LittleEndian.Uint32(b[12:]),
	}
	if c.Transport > TCP {
		return Command{}, &FieldError{"command", "transport", uint64(b[0])}
	}
	if c.Direction == 0 || c.Direction > Both {
		return Command{}, &FieldError{"command", "direction", uint64(b[1])}
	}
	return c, nil
}

// AppendBinary appends c's CommandLen bytes to b. It never fails.
func (c Command) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, byte(c.Transport), byte(c.Direction), bit(c.Zeros), c.Streams)
	b = binary.LittleEndian.AppendUint16(b, c.Size)
	b = binary.LittleEndian.AppendUint16(b, c.Buffer)
	b = binary.LittleEndian.AppendUint32(b, c.ServerRate)
	b = binary.LittleEndian.AppendUint32(b, c.ClientRate)
	return b, nil
}

// WriteSize is the Size a server is to use: the default for 0, and within what
// is safe for anything else.
func (c Command) WriteSize() int {
	switch {
	case c.Size == 0 && c.Transport == TCP:
		return DefaultTCPSize
	case c.Size == 0:
		return DefaultUDPSize
	case c.Transport == TCP:
		return max(int(c.Size), MinTCPSize)
	}
	return min(max(int(c.Size), MinUDPSize), MaxUDPSize)
}

// Count is the number of connections or ports, at least one.
func (c Command) Count() int { return max(1, int(c.Streams)) }

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// A Token joins further connections to a TCP test. The first byte of a join
// record can never be a transport, because Hi is at least 2.
type Token struct{ Hi, Lo byte }

// IsJoin reports whether a record in the place of a command joins a test.
func IsJoin(b []byte) bool { return len(b) >= 1 && b[0] > byte(TCP) }

// ParseJoin reads the token from a join record:
//
//	off len
//	  0   2  Token
//	  2   1  2 in all captures
//	  3  13  zero in all captures
//
// Bytes 2 to 15 are ignored. Source: testdata/rs-tcp-multi-*.json.
func ParseJoin(b []byte) (Token, error) {
	if len(b) < CommandLen {
		return Token{}, fmt.Errorf("btest: join: %w", io.ErrUnexpectedEOF)
	}
	if !IsJoin(b) {
		return Token{}, &FieldError{"join", "token", uint64(b[0])}
	}
	return Token{b[0], b[1]}, nil
}

// AppendJoin appends the CommandLen bytes of the record that joins the test of t.
func (t Token) AppendJoin(b []byte) []byte {
	b = append(b, t.Hi, t.Lo, 2)
	return append(b, make([]byte, CommandLen-3)...)
}

// IsZero reports whether t is no token.
func (t Token) IsZero() bool { return t == Token{} }
