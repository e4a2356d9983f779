package wire

import (
	"encoding/binary"
	"net/netip"
)

// The sub-TLVs of a Location TLV: RFC 8972, section 4.2.1. The sender asks with
// a general type, the reflector answers with the specific one in its place,
// which is as long.
const (
	SourceMACType       TLVType = 1 // asks for 2 or 3
	SourceEUI48Type     TLVType = 2
	SourceEUI64Type     TLVType = 3
	DestinationIPType   TLVType = 4 // asks for 5 or 6
	DestinationIPv4Type TLVType = 5
	DestinationIPv6Type TLVType = 6
	SourceIPType        TLVType = 7 // asks for 8 or 9
	SourceIPv4Type      TLVType = 8
	SourceIPv6Type      TLVType = 9
)

// Lengths of the values of the Location sub-TLVs.
const (
	locationMACLen = 8
	locationIPLen  = 16
)

// A Location tells the addresses that a request had when it came to the
// reflector, and so whether something on the way translates them.
//
//	off len
//	  0   2  DestinationPort
//	  2   2  SourcePort
//	  4   …  Subs
//
// Source: RFC 8972, section 4.2.
type Location struct {
	DestinationPort uint16 // zero in requests
	SourcePort      uint16 // zero in requests
	Subs            []byte // sub-TLVs, each of the length of its type
}

// ParseLocation reads the value of the TLV. Subs shares v's memory.
func ParseLocation(v []byte) (Location, error) {
	if len(v) < 4 {
		return Location{}, ErrMalformed
	}
	l := Location{binary.BigEndian.Uint16(v), binary.BigEndian.Uint16(v[2:]), v[4:]}
	for subs := l.Subs; len(subs) > 0; {
		t, rest, err := ParseTLV(subs)
		if err != nil || !locationLen(t) {
			return Location{}, ErrMalformed
		}
		subs = rest
	}
	return l, nil
}

// AppendBinary appends the value to b. It never fails.
func (l Location) AppendBinary(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint16(b, l.DestinationPort)
	b = binary.BigEndian.AppendUint16(b, l.SourcePort)
	return append(b, l.Subs...), nil
}

// locationLen reports whether a sub-TLV has the length of its type; any will do
// for a type that is not known.
func locationLen(t TLV) bool {
	switch t.Type {
	case SourceMACType, SourceEUI48Type, SourceEUI64Type:
		return len(t.Value) == locationMACLen
	case DestinationIPType, DestinationIPv4Type, DestinationIPv6Type, SourceIPType, SourceIPv4Type, SourceIPv6Type:
		return len(t.Value) == locationIPLen
	}
	return true
}

// AskLocation returns the value a sender sends to be told both IP addresses.
func AskLocation() Location {
	var subs []byte
	for _, t := range []TLVType{DestinationIPType, SourceIPType} {
		subs = append(subs, byte(Unrecognized), byte(t), 0, locationIPLen)
		subs = append(subs, zeros[:locationIPLen]...)
	}
	return Location{Subs: subs}
}

// Answer writes the addresses of a request into Subs, in place: src is where it
// came from, dst where it arrived. What it cannot tell, such as a MAC address or
// one of the other IP version, it leaves as it is, with the U flag.
func (l *Location) Answer(src, dst netip.AddrPort) {
	l.SourcePort, l.DestinationPort = src.Port(), dst.Port()
	for subs := l.Subs; len(subs) >= TLVHeaderLen; {
		t, rest, err := ParseTLV(subs)
		if err != nil {
			return
		}
		switch t.Type {
		case DestinationIPType, DestinationIPv4Type, DestinationIPv6Type:
			answerIP(subs, t, dst.Addr(), DestinationIPv4Type, DestinationIPv6Type)
		case SourceIPType, SourceIPv4Type, SourceIPv6Type:
			answerIP(subs, t, src.Addr(), SourceIPv4Type, SourceIPv6Type)
		}
		subs = rest
	}
}

// answerIP writes a into sub, which begins with the sub-TLV t.
func answerIP(sub []byte, t TLV, a netip.Addr, v4, v6 TLVType) {
	a = a.Unmap()
	if !a.IsValid() || len(t.Value) != locationIPLen || a.Is4() && t.Type == v6 || a.Is6() && t.Type == v4 {
		return
	}
	clear(t.Value)
	sub[0] &^= byte(Unrecognized)
	if a.Is4() {
		sub[1] = byte(v4)
		a4 := a.As4()
		copy(t.Value, a4[:])
		return
	}
	sub[1] = byte(v6)
	a16 := a.As16()
	copy(t.Value, a16[:])
}

// Addrs returns the addresses that a reflector told; invalid where it did not.
func (l Location) Addrs() (src, dst netip.Addr) {
	for subs := l.Subs; len(subs) > 0; {
		t, rest, err := ParseTLV(subs)
		if err != nil || !locationLen(t) {
			break
		}
		switch t.Type {
		case DestinationIPv4Type:
			dst = parseAddr(t.Value, false)
		case DestinationIPv6Type:
			dst = parseAddr(t.Value, true)
		case SourceIPv4Type:
			src = parseAddr(t.Value, false)
		case SourceIPv6Type:
			src = parseAddr(t.Value, true)
		}
		subs = rest
	}
	return src, dst
}
