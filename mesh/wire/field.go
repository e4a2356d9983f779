package wire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// A Type is the number of a field.
type Type uint8

// All fields there are. An unknown type kills the original program, so there
// will never be another: what is new goes into CC.
const (
	ProtoVer  Type = 0  // uint; never sent
	ServerVer Type = 1  // uint; first in every packet of a server
	ClientVer Type = 2  // uint; first in every packet of a client
	Sequence  Type = 3  // uint of 4 bytes; second
	UUID      Type = 4  // text of 16 bytes; third
	MyTS      Type = 8  // uint of 8 bytes, to be echoed
	YourTS    Type = 9  // uint of 8 bytes, the echo
	PTPAddr   Type = 32 // address: the client's own
	IntAddr   Type = 33 // address; never sent
	UPnP      Type = 34 // uint; never sent
	Meta      Type = 35 // JSON
	Shutdown  Type = 45 // uint; any value means leaving
	ListExt   Type = 64 // address of a listed client, as the server sees it
	ListLen   Type = 65 // uint of 1 byte: how many ListExt
	YourAddr  Type = 66 // address: the receiver's, as the server sees it
	ListInt   Type = 67 // address: the inside one of the ListExt before it
	CC        Type = 96 // text; anything
)

// A Kind is how the value of a field is written.
type Kind uint8

// The kinds. The original's own documentation has two more, int and BSON, that
// no field uses; see ParseInt and ParseBSON.
const (
	KindUint Kind = iota + 1
	KindText
	KindAddress
	KindJSON
)

var fields = map[Type]struct {
	name string
	kind Kind
}{
	ProtoVer:  {"PROTOVER", KindUint},
	ServerVer: {"SERVERVER", KindUint},
	ClientVer: {"CLIENTVER", KindUint},
	Sequence:  {"SEQUENCE", KindUint},
	UUID:      {"UUID", KindText},
	MyTS:      {"MYTS", KindUint},
	YourTS:    {"YOURTS", KindUint},
	PTPAddr:   {"PTPADDR", KindAddress},
	IntAddr:   {"INTADDR", KindAddress},
	UPnP:      {"UPNP", KindUint},
	Meta:      {"META", KindJSON},
	Shutdown:  {"SHUTDOWN", KindUint},
	ListExt:   {"CLIENTLIST_EXT", KindAddress},
	ListLen:   {"CLIENTLEN", KindUint},
	YourAddr:  {"YOURADDR", KindAddress},
	ListInt:   {"CLIENTLIST_INT", KindAddress},
	CC:        {"CC", KindText},
}

// String is the name that the original gives the field.
func (t Type) String() string {
	if f, ok := fields[t]; ok {
		return f.name
	}
	return fmt.Sprintf("field(%d)", uint8(t))
}

// Kind is how the field's value is written; false for an unknown field.
func (t Type) Kind() (Kind, bool) {
	f, ok := fields[t]
	return f.kind, ok
}

// A Field is one field of a packet.
//
//	off len
//	  0   1  Type
//	  1   1  length, 2 to 255: of these two bytes and the value
//	  2   n  Value, 0 to 253 bytes
type Field struct {
	Type  Type
	Value []byte
}

// Split reads a datagram: its version byte and its fields, whose values alias
// it. It checks the length, the checksum, and that each field is known and has
// a value of its kind, but not what the fields mean together.
func Split(datagram []byte) (version uint8, all []Field, err error) {
	body, err := verify(datagram)
	if err != nil {
		return 0, nil, fmt.Errorf("mesh: packet of %d bytes: %w", len(datagram), err)
	}
	for rest := body[1:]; len(rest) > 0; {
		f, n, err := parseField(rest)
		if err != nil {
			return 0, nil, err
		}
		all, rest = append(all, f), rest[n:]
	}
	return body[0], all, nil
}

// verify returns what the checksum covers.
func verify(datagram []byte) ([]byte, error) {
	switch {
	case len(datagram) > MaxPacket:
		return nil, ErrTooLong
	case len(datagram) < MinPacket:
		return nil, ErrTooShort
	}
	body := datagram[:len(datagram)-checksumLen]
	if binary.BigEndian.Uint16(datagram[len(body):]) != Checksum(body) {
		return nil, ErrChecksum
	}
	return body, nil
}

// parseField reads the field at the front of b and how long it is.
func parseField(b []byte) (f Field, n int, err error) {
	if len(b) < fieldHeader {
		return f, 0, fmt.Errorf("mesh: packet: stray byte %#02x after the fields: %w", b[0], io.ErrUnexpectedEOF)
	}
	f.Type, n = Type(b[0]), int(b[1])
	if n < fieldHeader {
		return f, 0, &FieldError{"packet", f.Type.String(), uint64(n), "length"}
	}
	if n > len(b) {
		return f, 0, fmt.Errorf("mesh: packet: %v of %d bytes, %d are there: %w", f.Type, n, len(b), io.ErrUnexpectedEOF)
	}
	f.Value = b[fieldHeader:n:n]
	return f, n, f.check()
}

// check reports a type or a value that the original does not survive.
func (f Field) check() error {
	kind, ok := f.Type.Kind()
	if !ok {
		return &FieldError{Message: "packet", Field: "field type", Value: uint64(f.Type)}
	}
	if len(f.Value) > MaxValue {
		return &FieldError{"packet", f.Type.String(), uint64(len(f.Value)), "length"}
	}
	switch {
	case kind == KindUint && !isWidth(len(f.Value)),
		kind == KindAddress && len(f.Value) != addressLen4 && len(f.Value) != addressLen6,
		f.Type == UUID && len(f.Value) != len(ID{}):
		return &FieldError{"packet", f.Type.String(), uint64(len(f.Value)), "length"}
	case kind == KindJSON && !json.Valid(f.Value):
		return &FieldError{"packet", f.Type.String(), uint64(len(f.Value)), "JSON, length"}
	}
	return nil
}

// AppendFields appends a packet of the fields to b. It fails rather than make
// one that is longer than MaxPacket, has no field, or has a field that Split
// would refuse.
func AppendFields(b []byte, all ...Field) ([]byte, error) {
	start := len(b)
	out := append(b, Version)
	for _, f := range all {
		if err := f.check(); err != nil {
			return b, err
		}
		out = append(out, byte(f.Type), byte(fieldHeader+len(f.Value)))
		out = append(out, f.Value...)
	}
	switch n := len(out) - start + checksumLen; {
	case n > MaxPacket:
		return b, fmt.Errorf("mesh: packet of %d bytes: %w", n, ErrTooLong)
	case len(all) == 0:
		return b, fmt.Errorf("mesh: packet without fields: %w", ErrTooShort)
	}
	return binary.BigEndian.AppendUint16(out, Checksum(out[start:])), nil
}
