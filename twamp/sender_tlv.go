package twamp

import (
	"encoding/binary"
	"net/netip"

	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/twamp/wire"
)

// Extensions are the TLVs that a STAMP sender asks the reflector to fill in:
// RFC 8972, section 4. A reflector that does not know them sends them back as
// they are.
type Extensions struct {
	Class    bool // how the packets were marked when they came; wants the DSCP of the probe for the replies
	Clock    bool // how the reflector takes its timestamps
	Location bool // which addresses the packets came with
	FollowUp bool // when the reply before really left
	Direct   bool // how many packets the reflector received and sent
	// Access tells the reflector whether an access network of ours can be used; nil
	// says nothing.
	Access *wire.AccessReport
}

// appendTLVs appends the TLVs that e asks for, as a sender sends them.
func (e Extensions) appendTLVs(b []byte, dscp uint8) []byte {
	add := func(t wire.TLVType, m appender) {
		v, err := m.AppendBinary(nil)
		if err == nil {
			b, err = wire.TLV{Flags: wire.Unrecognized, Type: t, Value: v}.AppendBinary(b)
		}
		if err != nil {
			panic("twamp: a TLV of our own: " + err.Error())
		}
	}
	if e.Class {
		add(wire.ClassOfServiceType, wire.ClassOfService{Reply: dscp})
	}
	if e.Clock {
		add(wire.TimestampInfoType, wire.TimestampInfo{})
	}
	if e.Location {
		add(wire.LocationType, wire.AskLocation())
	}
	if e.FollowUp {
		add(wire.FollowUpType, wire.FollowUp{})
	}
	if e.Direct {
		add(wire.DirectMeasurementType, wire.DirectMeasurement{})
	}
	if e.Access != nil {
		add(wire.AccessReportType, *e.Access)
	}
	return b
}

// layTLVs appends the TLVs of a STAMP request to its base packet, up to the
// header of the padding, if there is to be any. It returns how many octets of
// padding are to follow.
func (s *sender) layTLVs(b []byte, padding int) ([]byte, int) {
	b = s.extensions.appendTLVs(b, s.probe.DSCP)
	if len(b) > s.layout.RequestLen() && s.sealStamp != nil {
		s.hmacAt = len(b) + wire.TLVHeaderLen
		b = append(b, byte(wire.Unrecognized), byte(wire.HMACType), 0, wire.HMACLen)
		b = append(b, make([]byte, wire.HMACLen)...)
	}
	if padding == 0 {
		return b, 0
	}
	size := max(0, padding-wire.TLVHeaderLen)
	return append(b, byte(wire.Unrecognized), byte(wire.ExtraPaddingType), byte(size>>8), byte(size)), size
}

// sealTLVs brings the TLVs of the packet with this number up to date.
func (s *sender) sealTLVs(buf []byte, seq uint32) {
	base := s.layout.RequestLen()
	if s.extensions.Direct {
		for at := base; at < len(buf); {
			t, rest, err := wire.ParseTLV(buf[at:])
			if err != nil {
				break
			}
			if t.Type == wire.DirectMeasurementType {
				binary.BigEndian.PutUint32(t.Value, seq+1)
			}
			at = len(buf) - len(rest)
		}
	}
	if s.hmacAt > 0 {
		sum := s.sealStamp.SumTLVs(seq, buf[base:s.hmacAt-wire.TLVHeaderLen])
		copy(buf[s.hmacAt:], sum[:])
	}
}

// told is what a reflector wrote into the TLVs, the latest of each.
type told struct {
	class      *wire.ClassOfService
	clock      *wire.TimestampInfo
	direct     *wire.DirectMeasurement
	src, dst   netip.AddrPort
	unknown    map[wire.TLVType]bool // came back unrecognized
	malformed  uint64                // replies with the M flag
	unintegral uint64                // replies whose TLVs failed their HMAC, there or here
}

// readTLVs takes the TLVs behind the base packet of a reply: RFC 8972, section
// 4. It returns the follow-up, if there is one.
func (s *sender) readTLVs(b []byte, p wire.Reply) (f wire.FollowUp) {
	tlvs := b[min(len(b), s.layout.ReplyLen()):]
	if s.hmacAt > 0 {
		at, misplaced := hmacTLV(tlvs)
		if at == 0 || misplaced || s.openStamp.CheckTLVs(p.Seq, tlvs[:at-wire.TLVHeaderLen], wire.HMAC(tlvs[at:])) != nil {
			s.told.unintegral++
			return f
		}
	}
	for len(tlvs) > 0 {
		t, rest, err := wire.ParseTLV(tlvs)
		switch {
		case err != nil, t.Flags&wire.Malformed != 0:
			s.told.malformed++
			return f
		case t.Flags&wire.Unintegral != 0:
			s.told.unintegral++
			return wire.FollowUp{}
		case t.Flags&wire.Unrecognized != 0:
			if s.told.unknown == nil {
				s.told.unknown = map[wire.TLVType]bool{}
			}
			s.told.unknown[t.Type] = true
		default:
			if s.told.take(t, &f) != nil {
				s.told.malformed++
			}
		}
		tlvs = rest
	}
	return f
}

// take reads one TLV that the reflector filled in.
func (o *told) take(t wire.TLV, f *wire.FollowUp) (err error) {
	switch t.Type {
	case wire.ClassOfServiceType:
		o.class, err = parsed(wire.ParseClassOfService(t.Value))
	case wire.TimestampInfoType:
		o.clock, err = parsed(wire.ParseTimestampInfo(t.Value))
	case wire.DirectMeasurementType:
		o.direct, err = parsed(wire.ParseDirectMeasurement(t.Value))
	case wire.FollowUpType:
		*f, err = wire.ParseFollowUp(t.Value)
	case wire.LocationType:
		var l wire.Location
		if l, err = wire.ParseLocation(t.Value); err == nil {
			src, dst := l.Addrs()
			o.src, o.dst = netip.AddrPortFrom(src, l.SourcePort), netip.AddrPortFrom(dst, l.DestinationPort)
		}
	}
	return err
}

func parsed[T any](v T, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	return &v, nil
}

// report adds what the reflector told to r.
func (o *told) report(r *report) {
	if o.class != nil {
		r.MarkingOut = &result.Marking{DSCP: o.class.Arrived, ECN: o.class.ECN}
		if o.class.Refused != 0 {
			r.note("class_refused", "the reflector does not send its replies with the DSCP that was asked for")
		}
	}
	r.clock, r.direct = o.clock, o.direct
	if o.src.Addr().IsValid() {
		r.seenFrom = o.src
	}
	if o.dst.Addr().IsValid() {
		r.seenAt = o.dst
	}
	if len(o.unknown) > 0 {
		r.note("extensions_unknown", "the reflector does not know all STAMP extensions that were asked for")
	}
	if o.malformed > 0 {
		r.note("extensions_malformed", "replies had malformed extensions, such as those of a TWAMP Light reflector, which sends them back in another place")
	}
	if o.unintegral > 0 {
		r.note("extensions_changed", "the HMAC over the extensions was wrong, here or at the reflector")
	}
}
