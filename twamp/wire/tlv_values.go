package wire

import (
	"encoding/binary"
	"net/netip"
)

// A ClassOfService asks for the DSCP of the reply and tells how the request
// came.
//
//	bit  0-5   Reply (DSCP1)
//	bit  6-11  Arrived (DSCP2)
//	bit 12-13  ECN
//	bit 14-15  Refused (RP)
//	bit 16-31  zero
//
// Source: RFC 8972, section 4.4.
type ClassOfService struct {
	Reply   uint8 // DSCP wanted for the reply, 0 to 63
	Arrived uint8 // DSCP the request came with; zero in requests
	ECN     uint8 // ECN the request came with, 0 to 3; zero in requests
	Refused uint8 // RP, 0 to 3: 1 if the reply could not have that DSCP
}

// ParseClassOfService reads the value of the TLV.
func ParseClassOfService(v []byte) (ClassOfService, error) {
	if len(v) != 4 {
		return ClassOfService{}, ErrMalformed
	}
	n := binary.BigEndian.Uint16(v)
	return ClassOfService{uint8(n >> 10), uint8(n >> 4 & 0x3f), uint8(n >> 2 & 3), uint8(n & 3)}, nil
}

// AppendBinary appends the value to b. Fields are cut to their bits; it never
// fails.
func (c ClassOfService) AppendBinary(b []byte) ([]byte, error) {
	n := uint16(c.Reply&0x3f)<<10 | uint16(c.Arrived&0x3f)<<4 | uint16(c.ECN&3)<<2 | uint16(c.Refused&3)
	return append(binary.BigEndian.AppendUint16(b, n), 0, 0), nil
}

// A SyncSource is what a clock is set by: RFC 8972, section 5.3.
type SyncSource uint8

// The sources.
const (
	SyncNTP         SyncSource = 1
	SyncPTP         SyncSource = 2
	SyncSSU         SyncSource = 3 // SSU or BITS
	SyncSatellite   SyncSource = 4
	SyncFreeRunning SyncSource = 5
)

// A TimestampMethod is how a timestamp is taken: RFC 8972, section 5.4.
type TimestampMethod uint8

// The methods.
const (
	HardwareAssist TimestampMethod = 1
	SoftwareLocal  TimestampMethod = 2
	ControlPlane   TimestampMethod = 3
)

// A TimestampInfo tells how a reflector takes its timestamps, one octet each in
// the order of the fields; all zero in requests. Source: RFC 8972, section 4.3.
type TimestampInfo struct {
	SyncIn    SyncSource
	MethodIn  TimestampMethod
	SyncOut   SyncSource
	MethodOut TimestampMethod
}

// ParseTimestampInfo reads the value of the TLV. Sub-TLVs may follow the four
// octets; none are defined and they are not looked at.
func ParseTimestampInfo(v []byte) (TimestampInfo, error) {
	if len(v) < 4 {
		return TimestampInfo{}, ErrMalformed
	}
	return TimestampInfo{SyncSource(v[0]), TimestampMethod(v[1]), SyncSource(v[2]), TimestampMethod(v[3])}, nil
}

// AppendBinary appends the value to b. It never fails.
func (t TimestampInfo) AppendBinary(b []byte) ([]byte, error) {
	return append(b, byte(t.SyncIn), byte(t.MethodIn), byte(t.SyncOut), byte(t.MethodOut)), nil
}

// A DirectMeasurement compares counters of the traffic beside the test: four
// octets each in the order of the fields. Source: RFC 8972, section 4.5.
type DirectMeasurement struct {
	SenderTransmitted    uint32
	ReflectorReceived    uint32 // zero in requests
	ReflectorTransmitted uint32 // zero in requests
}

// ParseDirectMeasurement reads the value of the TLV.
func ParseDirectMeasurement(v []byte) (DirectMeasurement, error) {
	if len(v) != 12 {
		return DirectMeasurement{}, ErrMalformed
	}
	return DirectMeasurement{binary.BigEndian.Uint32(v), binary.BigEndian.Uint32(v[4:]), binary.BigEndian.Uint32(v[8:])}, nil
}

// AppendBinary appends the value to b. It never fails.
func (d DirectMeasurement) AppendBinary(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint32(b, d.SenderTransmitted)
	b = binary.BigEndian.AppendUint32(b, d.ReflectorReceived)
	return binary.BigEndian.AppendUint32(b, d.ReflectorTransmitted), nil
}

// An AccessReport tells whether an access network of the sender can be used.
//
//	bit  0-3   ID
//	bit  4-7   zero
//	bit  8-15  Code
//	bit 16-31  zero
//
// Source: RFC 8972, section 4.6.
type AccessReport struct {
	ID   uint8 // 1 is 3GPP, 2 any other; 0 to 15
	Code uint8 // 1 available, 2 unavailable
}

// ParseAccessReport reads the value of the TLV.
func ParseAccessReport(v []byte) (AccessReport, error) {
	if len(v) != 4 {
		return AccessReport{}, ErrMalformed
	}
	return AccessReport{v[0] >> 4, v[1]}, nil
}

// AppendBinary appends the value to b. It never fails.
func (a AccessReport) AppendBinary(b []byte) ([]byte, error) {
	return append(b, a.ID<<4, a.Code, 0, 0), nil
}

// A FollowUp tells when the previous reply of the session really left, which
// nobody knows while it is being written. All zero in requests and from
// reflectors that keep no state.
//
//	off len
//	  0   4  Seq
//	  4   8  Sent
//	 12   1  Method
//	 13   3  zero
//
// Source: RFC 8972, section 4.7.
type FollowUp struct {
	Seq    uint32    // the reflector's number of that reply
	Sent   Timestamp // in the format of the packet's Error
	Method TimestampMethod
}

// ParseFollowUp reads the value of the TLV.
func ParseFollowUp(v []byte) (FollowUp, error) {
	if len(v) != 16 {
		return FollowUp{}, ErrMalformed
	}
	return FollowUp{binary.BigEndian.Uint32(v), Timestamp(binary.BigEndian.Uint64(v[4:])), TimestampMethod(v[12])}, nil
}

// AppendBinary appends the value to b. It never fails.
func (f FollowUp) AppendBinary(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint32(b, f.Seq)
	b = binary.BigEndian.AppendUint64(b, uint64(f.Sent))
	return append(b, byte(f.Method), 0, 0, 0), nil
}

// ParseHMACValue reads the value of the HMAC TLV: it covers the base packet's
// sequence number and the TLVs before it. Source: RFC 8972, section 4.8.
func ParseHMACValue(v []byte) (HMAC, error) {
	if len(v) != HMACLen {
		return HMAC{}, ErrMalformed
	}
	return HMAC(v), nil
}

// ParseDestinationNode reads the value of the Destination Node Address TLV: the
// reflector that the sender believes it is talking to. Source: RFC 9503,
// section 3.
func ParseDestinationNode(v []byte) (netip.Addr, error) {
	a, ok := netip.AddrFromSlice(v)
	if !ok {
		return netip.Addr{}, ErrMalformed
	}
	return a, nil
}

// ReturnControlType is the sub-TLV of a Return Path TLV that carries the
// Control Code. Source: RFC 9503, section 4.1.1.
const ReturnControlType TLVType = 1

// ReturnPathWantsReply reads the value of the Return Path TLV. It is false when
// a Control Code says that no reply is to be sent.
func ReturnPathWantsReply(v []byte) (bool, error) {
	for len(v) > 0 {
		t, rest, err := ParseTLV(v)
		if err != nil {
			return true, err
		}
		if t.Type == ReturnControlType {
			if len(t.Value) != 4 {
				return true, ErrMalformed
			}
			return t.Value[3]&1 != 0, nil
		}
		v = rest
	}
	return true, nil
}
