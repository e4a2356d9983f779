package wire

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// A RequestSession is a Request-TW-Session: the client asks for one session.
//
//	off len
//	  0   1  command, 5
//	  1   1  IP version in the low four bits, 4 or 6
//	  2   1  Conf-Sender, 0
//	  3   1  Conf-Receiver, 0
//	  4   4  Number of Schedule Slots, 0
//	  8   4  Number of Packets, 0
//	 12   2  SenderPort
//	 14   2  ReceiverPort
//	 16  16  SenderAddr, an IPv4 address in the first four octets
//	 32  16  ReceiverAddr, the same
//	 48  16  SID; sent as zero, not looked at
//	 64   4  Padding
//	 68   8  StartTime
//	 76   8  Timeout
//	 84   4  TypeP
//	 88   2  OctetsToReflect (RFC 6038)
//	 90   2  ReflectLen (RFC 6038)
//	 92   4  zero
//	 96  16  HMAC
//
// Source: RFC 5357, section 3.5; RFC 6038, section 4.1.
type RequestSession struct {
	IPv6            bool // the family of both addresses and of the test packets
	SenderPort      uint16
	ReceiverPort    uint16     // proposed; the server may choose another
	SenderAddr      netip.Addr // invalid means that of the control connection
	ReceiverAddr    netip.Addr // invalid means that of the control connection
	Padding         uint32     // octets after the fixed part of the sender's packets
	StartTime       Timestamp  // NTP; 0 means at once
	Timeout         Interval   // how long to go on reflecting after Stop-Sessions
	TypeP           TypeP
	OctetsToReflect uint16 // comes back in the Accept-Session
	ReflectLen      uint16 // octets of padding to be returned unchanged
	HMAC            HMAC
}

// ParseRequestSession reads a RequestSession from the front of b and ignores
// what follows. What TWAMP forbids (a session whose sender or receiver the
// server would have to configure, a schedule, a number of packets, an unknown
// IP version) is a *FieldError: the server answers Unsupported.
func ParseRequestSession(b []byte) (RequestSession, error) {
	if len(b) < RequestSessionLen {
		return RequestSession{}, short("request-tw-session")
	}
	if err := checkRequest(b); err != nil {
		return RequestSession{}, err
	}
	v6 := b[1]&0x0f == 6
	return RequestSession{
		IPv6:            v6,
		SenderPort:      binary.BigEndian.Uint16(b[12:]),
		ReceiverPort:    binary.BigEndian.Uint16(b[14:]),
		SenderAddr:      parseAddr(b[16:], v6),
		ReceiverAddr:    parseAddr(b[32:], v6),
		Padding:         binary.BigEndian.Uint32(b[64:]),
		StartTime:       Timestamp(binary.BigEndian.Uint64(b[68:])),
		Timeout:         Interval(binary.BigEndian.Uint64(b[76:])),
		TypeP:           TypeP(binary.BigEndian.Uint32(b[84:])),
		OctetsToReflect: binary.BigEndian.Uint16(b[88:]),
		ReflectLen:      binary.BigEndian.Uint16(b[90:]),
		HMAC:            HMAC(b[96:]),
	}, nil
}

// checkRequest looks at the fields that have only one allowed value, or two.
func checkRequest(b []byte) error {
	bad := func(field string, v uint64) error {
		return &FieldError{"request-tw-session", field, v}
	}
	if b[0] != byte(CommandRequestSession) {
		return bad("command", uint64(b[0]))
	}
	if v := b[1] & 0x0f; v != 4 && v != 6 {
		return bad("ip version", uint64(v))
	}
	if b[2] != 0 {
		return bad("conf-sender", uint64(b[2]))
	}
	if b[3] != 0 {
		return bad("conf-receiver", uint64(b[3]))
	}
	if n := binary.BigEndian.Uint32(b[4:]); n != 0 {
		return bad("number of schedule slots", uint64(n))
	}
	if n := binary.BigEndian.Uint32(b[8:]); n != 0 {
		return bad("number of packets", uint64(n))
	}
	return nil
}

// AppendBinary appends r's RequestSessionLen octets to b. It fails if a valid
// address is not of the family that IPv6 says.
func (r RequestSession) AppendBinary(b []byte) ([]byte, error) {
	version := byte(4)
	if r.IPv6 {
		version = 6
	}
	start := b
	b = append(b, byte(CommandRequestSession), version)
	b = append(b, zeros[:10]...)
	b = binary.BigEndian.AppendUint16(b, r.SenderPort)
	b = binary.BigEndian.AppendUint16(b, r.ReceiverPort)
	for _, a := range []netip.Addr{r.SenderAddr, r.ReceiverAddr} {
		var err error
		if b, err = appendAddr(b, a, r.IPv6); err != nil {
			return start, err
		}
	}
	b = append(b, zeros[:16]...)
	b = binary.BigEndian.AppendUint32(b, r.Padding)
	b = binary.BigEndian.AppendUint64(b, uint64(r.StartTime))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Timeout))
	b = binary.BigEndian.AppendUint32(b, uint32(r.TypeP))
	b = binary.BigEndian.AppendUint16(b, r.OctetsToReflect)
	b = binary.BigEndian.AppendUint16(b, r.ReflectLen)
	b = append(b, zeros[:4]...)
	return append(b, r.HMAC[:]...), nil
}

// parseAddr reads a 16-octet address field. All zeros, which stand for the
// address of the control connection, are the invalid Addr.
func parseAddr(b []byte, v6 bool) netip.Addr {
	if v6 {
		if a := netip.AddrFrom16([16]byte(b)); !a.IsUnspecified() {
			return a
		}
		return netip.Addr{}
	}
	if a := netip.AddrFrom4([4]byte(b)); !a.IsUnspecified() {
		return a
	}
	return netip.Addr{}
}

func appendAddr(b []byte, a netip.Addr, v6 bool) ([]byte, error) {
	switch {
	case !a.IsValid():
		return append(b, zeros[:16]...), nil
	case a.Is6() != v6:
		return b, fmt.Errorf("twamp: request-tw-session: address %v in a session of the other IP version", a)
	case v6:
		a16 := a.As16()
		return append(b, a16[:]...), nil
	}
	a4 := a.As4()
	b = append(b, a4[:]...)
	return append(b, zeros[:12]...), nil
}

// TypeP is a Type-P Descriptor: what kind of packet the test uses. RFC 4656,
// section 3.5.
type TypeP uint32

// TypePOf returns the descriptor of packets with this DSCP, 0 to 63.
func TypePOf(dscp uint8) TypeP { return TypeP(dscp&0x3f) << 24 }

// DSCP returns the code point; false when the descriptor is of another kind,
// such as a PHB identification code.
func (t TypeP) DSCP() (uint8, bool) {
	if t&^(0x3f<<24) != 0 {
		return 0, false
	}
	return uint8(t >> 24), true
}
