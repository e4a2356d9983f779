package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// TLVFlags are the flags of a TLV: RFC 8972, section 4.
type TLVFlags uint8

// The flags. A sender sets Unrecognized in every TLV; a reflector that knows
// the type clears it.
const (
	Unrecognized TLVFlags = 0x80 // U
	Malformed    TLVFlags = 0x40 // M
	Unintegral   TLVFlags = 0x20 // I: the HMAC over the TLVs was wrong
)

// TLVType is the kind of a STAMP extension.
type TLVType uint8

// The types: RFC 8972, section 5.1; RFC 9503.
const (
	ExtraPaddingType      TLVType = 1
	LocationType          TLVType = 2
	TimestampInfoType     TLVType = 3
	ClassOfServiceType    TLVType = 4
	DirectMeasurementType TLVType = 5
	AccessReportType      TLVType = 6
	FollowUpType          TLVType = 7
	HMACType              TLVType = 8
	DestinationNodeType   TLVType = 9
	ReturnPathType        TLVType = 10
)

var tlvNames = map[TLVType]string{
	ExtraPaddingType: "extra padding", LocationType: "location", TimestampInfoType: "timestamp information",
	ClassOfServiceType: "class of service", DirectMeasurementType: "direct measurement",
	AccessReportType: "access report", FollowUpType: "follow-up telemetry", HMACType: "hmac",
	DestinationNodeType: "destination node address", ReturnPathType: "return path",
}

func (t TLVType) String() string {
	if name, ok := tlvNames[t]; ok {
		return name
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// TLVHeaderLen is what precedes a TLV's value.
const TLVHeaderLen = 4

// A TLV is one extension of a STAMP packet, or of another TLV. TLVs follow the
// base packet without gaps.
//
//	off len
//	  0   1  Flags
//	  1   1  Type
//	  2   2  length of Value
//	  4   …  Value
//
// Source: RFC 8972, section 4.
type TLV struct {
	Flags TLVFlags
	Type  TLVType
	Value []byte // at most 65535 octets
}

// ErrMalformed says that a TLV does not fit its packet or that its value does
// not have the length of its type: a reflector sets the M flag and looks at
// nothing behind it.
var ErrMalformed = errors.New("twamp: malformed tlv")

// ParseTLV reads the TLV at the front of b and returns what follows. The value
// shares b's memory. A b that ends inside the TLV is ErrMalformed.
func ParseTLV(b []byte) (t TLV, rest []byte, err error) {
	if len(b) < TLVHeaderLen {
		return TLV{}, b, ErrMalformed
	}
	end := TLVHeaderLen + int(binary.BigEndian.Uint16(b[2:]))
	if len(b) < end {
		return TLV{}, b, ErrMalformed
	}
	return TLV{TLVFlags(b[0]), TLVType(b[1]), b[TLVHeaderLen:end:end]}, b[end:], nil
}

// AppendBinary appends t to b. It fails if the value is longer than 65535
// octets.
func (t TLV) AppendBinary(b []byte) ([]byte, error) {
	if len(t.Value) > 0xffff {
		return b, fmt.Errorf("twamp: tlv %v: value of %d octets, at most 65535 fit", t.Type, len(t.Value))
	}
	b = append(b, byte(t.Flags), byte(t.Type))
	b = binary.BigEndian.AppendUint16(b, uint16(len(t.Value)))
	return append(b, t.Value...), nil
}

// TLVsAt returns where the TLVs of an unauthenticated packet of unknown kind
// begin, StampLen, or false when it has none: it may be from TWAMP Light, whose
// padding lies in the same place. It has TLVs only if all is zero between the
// SSID and them, and the first fits, has the U flag that senders set and a type
// that is not reserved.
func TLVsAt(b []byte) (int, bool) {
	if len(b) < StampLen+TLVHeaderLen || !zero(b[16:StampLen]) {
		return 0, false
	}
	t, _, err := ParseTLV(b[StampLen:])
	if err != nil || t.Flags != Unrecognized || t.Type == 0 || t.Type == 255 {
		return 0, false
	}
	return StampLen, true
}

// HasSSID reports whether octets 14 and 15 of an unauthenticated packet of
// unknown kind can be an SSID: the rest of the STAMP base packet is there and
// zero.
func HasSSID(b []byte) bool {
	return len(b) >= StampLen && zero(b[16:StampLen])
}

func zero(b []byte) bool {
	var all byte
	for _, c := range b {
		all |= c
	}
	return all == 0
}
