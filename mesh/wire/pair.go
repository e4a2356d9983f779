package wire

import (
	"encoding/binary"
	"net/netip"
)

// Times are the timestamps and counts in pings and pongs between nodes, so that
// losses can be told by direction. In a ping Received and Sent of the responder
// are zero. Times are nanoseconds of the clock of whoever took them.
//
//	off len
//	  0   8  T1, the ping left
//	  8   8  T2, the ping came
//	 16   8  T3, the pong left
//	 24   4  Received
//	 28   4  Highest
type Times struct {
	T1, T2, T3 uint64
	Received   uint32 // different packets of the other that came so far
	Highest    uint32 // the highest SEQUENCE of the other so far
}

// Type returns RecordTimes.
func (Times) Type() RecordType { return RecordTimes }

// ParseTimes reads Times and ignores what follows.
func ParseTimes(b []byte) (Times, error) {
	r := &reader{what: "times", b: b}
	t := Times{r.u64(), r.u64(), r.u64(), r.u32(), r.u32()}
	return t, r.err
}

// AppendBinary appends t to b. It never fails.
func (t Times) AppendBinary(b []byte) ([]byte, error) {
	for _, v := range []uint64{t.T1, t.T2, t.T3} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	b = binary.BigEndian.AppendUint32(b, t.Received)
	return binary.BigEndian.AppendUint32(b, t.Highest), nil
}

// PathFlags say what a Path is for.
type PathFlags uint8

// The flags.
const (
	PathCheck     PathFlags = 1 // please answer to where this came from
	PathAnswer    PathFlags = 2
	PathNominated PathFlags = 4 // of the ways that work, this one is to be used
)

// A Path makes a ping a connectivity check (RFC 8445, section 7).
//
//	off len
//	  0   8  Nonce
//	  8   1  Round
//	  9   1  Flags
//	 10   n  Seen
type Path struct {
	Nonce uint64 // of the pair, from Punch
	Round uint8
	Flags PathFlags
	Seen  netip.AddrPort // the receiver's address as the sender sees it; zero in a check
}

// Type returns RecordPath.
func (Path) Type() RecordType { return RecordPath }

// ParsePath reads a Path and ignores what follows.
func ParsePath(b []byte) (Path, error) {
	r := &reader{what: "path", b: b}
	p := Path{Nonce: r.u64(), Round: r.u8(), Flags: PathFlags(r.u8()), Seen: r.address()}
	return p, r.err
}

// AppendBinary appends p to b. It never fails.
func (p Path) AppendBinary(b []byte) ([]byte, error) {
	b = append(binary.BigEndian.AppendUint64(b, p.Nonce), p.Round, byte(p.Flags))
	return appendAddress(b, p.Seen), nil
}

// MaxInner is the largest packet that a relay carries.
const MaxInner = 1200

// A Relay carries a packet between two nodes by way of the server.
//
//	off len
//	  0  16  Peer
//	 16   1  Hops
//	 17   n  Inner, a whole packet
type Relay struct {
	Peer  ID    // to the server: whom it is for; from it: whom it is from
	Hops  uint8 // starts at 2; a packet with 0 is dropped
	Inner []byte
}

// RelayHops is what Hops starts at.
const RelayHops = 2

// Type returns RecordRelay.
func (Relay) Type() RecordType { return RecordRelay }

// ParseRelay reads a Relay, whose Inner aliases b. What it carries is not looked at.
func ParseRelay(b []byte) (Relay, error) {
	r := &reader{what: "relay", b: b}
	l := Relay{Peer: r.id(), Hops: r.u8()}
	if l.Inner = r.b; len(l.Inner) > MaxInner {
		r.bad("inner length", uint64(len(l.Inner)))
	}
	return l, r.err
}

// AppendBinary appends l to b. It fails if the inner packet is too long.
func (l Relay) AppendBinary(b []byte) ([]byte, error) {
	if len(l.Inner) > MaxInner {
		return b, &FieldError{"relay", "inner", uint64(len(l.Inner)), "length"}
	}
	return append(append(append(b, l.Peer[:]...), l.Hops), l.Inner...), nil
}

// A DialbackKind is from where a dial-back is wanted, or to where.
type DialbackKind uint8

// The kinds of dial-backs.
const (
	FromOtherPort    DialbackKind = 1
	FromOtherAddress DialbackKind = 2
	FromOtherBoth    DialbackKind = 3
	ToMappedPort     DialbackKind = 4
)

// A Dialback asks the server to send, or is what it sent.
//
//	off len
//	  0   8  Nonce
//	  8   1  Kind
//	  9   n  Target
type Dialback struct {
	Nonce  uint64
	Kind   DialbackKind
	Target netip.AddrPort // of ToMappedPort; zero otherwise
}

// Type returns RecordDialback.
func (Dialback) Type() RecordType { return RecordDialback }

// ParseDialback reads a Dialback and ignores what follows.
func ParseDialback(b []byte) (Dialback, error) {
	r := &reader{what: "dialback", b: b}
	d := Dialback{Nonce: r.u64(), Kind: DialbackKind(r.u8()), Target: r.address()}
	if d.Kind < FromOtherPort || d.Kind > ToMappedPort {
		r.bad("kind", uint64(d.Kind))
	}
	return d, r.err
}

// AppendBinary appends d to b. It never fails.
func (d Dialback) AppendBinary(b []byte) ([]byte, error) {
	b = append(binary.BigEndian.AppendUint64(b, d.Nonce), byte(d.Kind))
	return appendAddress(b, d.Target), nil
}

// A Reflect tells a node how the server sees it, and where else to ask.
//
//	off len
//	  0   n  Seen
//	   +  2  Port
//	   +  n  OtherAddress
//	   +  2  OtherPort
type Reflect struct {
	Seen         netip.AddrPort
	Port         uint16         // of the server, that the registration came to
	OtherAddress netip.AddrPort // zero if the server has one address only
	OtherPort    uint16         // 0 if it has one port only
}

// Type returns RecordReflect.
func (Reflect) Type() RecordType { return RecordReflect }

// ParseReflect reads a Reflect and ignores what follows.
func ParseReflect(b []byte) (Reflect, error) {
	r := &reader{what: "reflect", b: b}
	f := Reflect{Seen: r.address(), Port: r.u16(), OtherAddress: r.address(), OtherPort: r.u16()}
	return f, r.err
}

// AppendBinary appends f to b. It never fails.
func (f Reflect) AppendBinary(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint16(appendAddress(b, f.Seen), f.Port)
	return binary.BigEndian.AppendUint16(appendAddress(b, f.OtherAddress), f.OtherPort), nil
}
