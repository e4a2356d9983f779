package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// streamMark opens the stream of records: "SND", format 1. The values of all CC
// fields of a packet, one after the other, are a stream if they begin with it;
// otherwise they are somebody else's.
const streamMark = "SND\x01"

// MaxStream is how many bytes of records fit into a packet that has nothing
// else but version, SEQUENCE and UUID.
const MaxStream = 1354

// A RecordType is the number of a record. A receiver that does not know a type
// skips the record, or, if the top bit is set, drops the whole stream.
type RecordType uint16

// The records.
const (
	RecordHello      RecordType = 0x0001
	RecordCandidates RecordType = 0x0002
	RecordList       RecordType = 0x0003
	RecordPunch      RecordType = 0x0004
	RecordReport     RecordType = 0x0005
	RecordTimes      RecordType = 0x0006
	RecordPath       RecordType = 0x0007
	RecordRelay      RecordType = 0x8008
	RecordDialback   RecordType = 0x000a
	RecordReflect    RecordType = 0x000b
	RecordPad        RecordType = 0x000c
	RecordOffer      RecordType = 0x0010
	RecordWant       RecordType = 0x0011
	RecordGet        RecordType = 0x0012
	RecordBlock      RecordType = 0x0013
	RecordDone       RecordType = 0x0014
	RecordCancel     RecordType = 0x0015
	RecordHave       RecordType = 0x0016
	RecordAsk        RecordType = 0x0018
	RecordTold       RecordType = 0x0019
	RecordText       RecordType = 0x001a
	RecordAuth       RecordType = 0x8020
	RecordSign       RecordType = 0x0021
)

const mustKnow = 0x8000

func (t RecordType) isKnown() bool {
	return t >= RecordHello && t <= RecordPath || t == RecordRelay || t >= RecordDialback && t <= RecordPad ||
		t >= RecordOffer && t <= RecordHave || t >= RecordAsk && t <= RecordText || t == RecordAuth || t == RecordSign
}

// A Record is one record of a stream.
//
//	off len
//	  0   2  Type
//	  2   2  length of Value
//	  4   n  Value
type Record struct {
	Type  RecordType
	Value []byte
}

// streamOf returns the records in what the CC fields hold, or nil.
func streamOf(cc []byte) []byte {
	if rest, ok := strings.CutPrefix(string(cc), streamMark); ok {
		return []byte(rest)
	}
	return nil
}

// ParseRecords reads a stream. Records that are not known are left out. It
// fails if one runs past the end or is not known and must be: then the stream
// counts for nothing, but the rest of its packet does.
func ParseRecords(stream []byte) ([]Record, error) {
	var all []Record
	for len(stream) > 0 {
		if len(stream) < 4 {
			return nil, fmt.Errorf("mesh: record: %w", io.ErrUnexpectedEOF)
		}
		t, n := RecordType(binary.BigEndian.Uint16(stream)), int(binary.BigEndian.Uint16(stream[2:]))
		stream = stream[4:]
		if n > len(stream) {
			return nil, fmt.Errorf("mesh: record %#04x of %d bytes, %d are there: %w", uint16(t), n, len(stream), io.ErrUnexpectedEOF)
		}
		switch {
		case t.isKnown():
			all = append(all, Record{t, stream[:n:n]})
		case t&mustKnow != 0:
			return nil, &FieldError{Message: "record", Field: "type", Value: uint64(t)}
		}
		stream = stream[n:]
	}
	return all, nil
}

// A Body is the value of a record.
type Body interface {
	Type() RecordType
	AppendBinary(b []byte) ([]byte, error)
}

// AppendRecord appends a record with the body to a stream.
func AppendRecord(b []byte, body Body) ([]byte, error) {
	out := binary.BigEndian.AppendUint16(b, uint16(body.Type()))
	out, err := body.AppendBinary(append(out, 0, 0))
	if err != nil {
		return b, err
	}
	n := len(out) - len(b) - 4
	if n > MaxStream-4 {
		return b, &FieldError{"record", fmt.Sprintf("%T", body), uint64(n), "length"}
	}
	binary.BigEndian.PutUint16(out[len(b)+2:], uint16(n))
	return out, nil
}

// A reader takes values from the front of a record. After the first that is
// not there it gives zeros and keeps the error.
type reader struct {
	what string
	b    []byte
	err  error
}

func (r *reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n > len(r.b) {
		r.err = fmt.Errorf("mesh: %s: %w", r.what, io.ErrUnexpectedEOF)
		return nil
	}
	front := r.b[:n:n]
	r.b = r.b[n:]
	return front
}

// uint reads an integer of n bytes, 0 if it is not there.
func (r *reader) uint(n int) uint64 {
	var v uint64
	for _, c := range r.take(n) {
		v = v<<8 | uint64(c)
	}
	return v
}

func (r *reader) u8() uint8   { return uint8(r.uint(1)) }
func (r *reader) u16() uint16 { return uint16(r.uint(2)) }
func (r *reader) u32() uint32 { return uint32(r.uint(4)) }
func (r *reader) u64() uint64 { return r.uint(8) }

func (r *reader) id() (id ID) {
	copy(id[:], r.take(len(id)))
	return id
}

func (r *reader) hash() (h [32]byte) {
	copy(h[:], r.take(len(h)))
	return h
}

// text reads a length byte and as many bytes.
func (r *reader) text() string { return string(r.take(int(r.u8()))) }

// address reads a family (4, 6, or 0 for none), the address and the port.
func (r *reader) address() netip.AddrPort {
	var n int
	switch family := r.u8(); family {
	case 0:
		return netip.AddrPort{}
	case 4:
		n = 4
	case 6:
		n = 16
	default:
		r.bad("address family", uint64(family))
		return netip.AddrPort{}
	}
	addr, _ := netip.AddrFromSlice(r.take(n))
	port := r.u16()
	if r.err != nil {
		return netip.AddrPort{}
	}
	if n == 16 && addr.Is4In6() {
		r.bad("address family of an IPv4 address", 6)
	}
	return netip.AddrPortFrom(addr, port)
}

// bad notes a value that is not allowed.
func (r *reader) bad(field string, v uint64) {
	if r.err == nil {
		r.err = &FieldError{Message: r.what, Field: field, Value: v}
	}
}

func appendAddress(b []byte, a netip.AddrPort) []byte {
	addr := a.Addr().Unmap()
	switch {
	case addr.Is4():
		b = append(b, 4)
	case addr.Is6():
		b = append(b, 6)
	default:
		return append(b, 0)
	}
	b = append(b, addr.AsSlice()...)
	return binary.BigEndian.AppendUint16(b, a.Port())
}

// appendText appends a length byte and s, of which at most most bytes may be.
func appendText(b []byte, message, s string, most int) ([]byte, error) {
	if len(s) > most {
		return b, &FieldError{message, "text", uint64(len(s)), "length"}
	}
	return append(append(b, byte(len(s))), s...), nil
}
