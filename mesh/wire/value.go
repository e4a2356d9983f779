package wire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// The lengths of addresses in fields: the address and two bytes of port. No
// byte tells the family; the length does.
const (
	addressLen4 = 4 + 2
	addressLen6 = 16 + 2
)

func isWidth(n int) bool { return n == 1 || n == 2 || n == 4 || n == 8 }

// ParseUint reads an unsigned integer of 1, 2, 4 or 8 bytes. Any field of the
// kind may have any of these widths.
func ParseUint(b []byte) (uint64, error) {
	if !isWidth(len(b)) {
		return 0, &FieldError{"value", "uint", uint64(len(b)), "length"}
	}
	var v uint64
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v, nil
}

// AppendUint appends v in width bytes: 1, 2, 4 or 8, and enough for v.
func AppendUint(b []byte, v uint64, width int) ([]byte, error) {
	if !isWidth(width) || width < 8 && v>>(8*width) != 0 {
		return b, &FieldError{"value", fmt.Sprintf("uint of %d bytes", width), v, "value"}
	}
	for shift := 8 * (width - 1); shift >= 0; shift -= 8 {
		b = append(b, byte(v>>shift))
	}
	return b, nil
}

// ParseInt reads a signed integer, two's complement, of 1, 2, 4 or 8 bytes. No
// field has this kind.
func ParseInt(b []byte) (int64, error) {
	v, err := ParseUint(b)
	if err != nil {
		return 0, &FieldError{"value", "int", uint64(len(b)), "length"}
	}
	unused := 64 - 8*len(b)
	return int64(v<<unused) >> unused, nil
}

// AppendInt appends v in width bytes: 1, 2, 4 or 8, and enough for v.
func AppendInt(b []byte, v int64, width int) ([]byte, error) {
	if !isWidth(width) {
		return b, &FieldError{"value", "int", uint64(width), "length"}
	}
	unused := 64 - 8*width
	if v<<unused>>unused != v {
		return b, &FieldError{"value", fmt.Sprintf("int of %d bytes", width), uint64(v), "value"}
	}
	return AppendUint(b, uint64(v)<<unused>>unused, width)
}

// ParseAddress reads an address and port: 6 bytes for IPv4, 18 for IPv6. An
// IPv6 address that stands for an IPv4 one comes unmapped.
func ParseAddress(b []byte) (netip.AddrPort, error) {
	if len(b) != addressLen4 && len(b) != addressLen6 {
		return netip.AddrPort{}, &FieldError{"value", "address", uint64(len(b)), "length"}
	}
	n := len(b) - 2
	addr, _ := netip.AddrFromSlice(b[:n])
	return netip.AddrPortFrom(addr.Unmap(), binary.BigEndian.Uint16(b[n:])), nil
}

// AppendAddress appends a, which must be valid, in 6 or 18 bytes. A zone is
// left out.
func AppendAddress(b []byte, a netip.AddrPort) ([]byte, error) {
	if !a.IsValid() {
		return b, &FieldError{Message: "value", Field: "address, none given: length"}
	}
	b = append(b, a.Addr().Unmap().AsSlice()...)
	return binary.BigEndian.AppendUint16(b, a.Port()), nil
}

// ParseJSON reads a JSON text, as long as a field can be.
func ParseJSON(b []byte) (any, error) {
	if len(b) > MaxValue {
		return nil, &FieldError{"value", "JSON", uint64(len(b)), "length"}
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("mesh: JSON value of %d bytes: %w", len(b), err)
	}
	return v, nil
}

// AppendJSON appends v as a JSON text of at most MaxValue bytes.
func AppendJSON(b []byte, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return b, fmt.Errorf("mesh: JSON value: %w", err)
	}
	if len(text) > MaxValue {
		return b, &FieldError{"value", "JSON", uint64(len(text)), "length"}
	}
	return append(b, text...), nil
}

// ParseBSON reads a BSON document (bsonspec.org, version 1.1), as long as a
// field can be. No field has this kind.
func ParseBSON(b []byte) (bson.D, error) {
	if len(b) > MaxValue {
		return nil, &FieldError{"value", "BSON", uint64(len(b)), "length"}
	}
	if err := bson.Raw(b).Validate(); err != nil {
		return nil, fmt.Errorf("mesh: BSON value of %d bytes: %w", len(b), err)
	}
	var d bson.D
	if err := bson.Unmarshal(b, &d); err != nil {
		return nil, fmt.Errorf("mesh: BSON value of %d bytes: %w", len(b), err)
	}
	return d, nil
}

// AppendBSON appends d as a BSON document of at most MaxValue bytes.
func AppendBSON(b []byte, d bson.D) ([]byte, error) {
	text, err := bson.Marshal(d)
	if err != nil {
		return b, fmt.Errorf("mesh: BSON value: %w", err)
	}
	if len(text) > MaxValue {
		return b, &FieldError{"value", "BSON", uint64(len(text)), "length"}
	}
	return append(b, text...), nil
}
