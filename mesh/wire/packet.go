package wire

import (
	"fmt"
	"net/netip"
)

// A Role is who sends a packet: it has SERVERVER or CLIENTVER as its first
// field.
type Role uint8

// The roles.
const (
	FromClient Role = iota + 1
	FromServer
)

// The releases: the values of CLIENTVER and SERVERVER. Nothing depends on them.
const (
	ReleaseOld   = 2
	ReleaseSonde = 3
)

// A Listed is one client in a list as the original has it.
type Listed struct {
	Outside netip.AddrPort // as the server sees it
	Inside  netip.AddrPort // as it sees itself; zero unless it shares the receiver's outside address
}

// A Packet is what the fields of a datagram mean together. Which it is follows
// from what it has:
//
//	registration  client: Local, Stamp
//	shutdown      client: Local, Shutdown
//	ack           server: Echo
//	list          server: Stamp, Seen, Peers, Whole
//	list ack      client: Echo
//	ping, pong    client: Stamp; Echo
//	challenge     server: Echo, Stamp, Seen (sonde; see docs/protocols/mesh.md)
//
// Order on the wire: version, SEQUENCE, UUID, PTPADDR, YOURTS, MYTS, SHUTDOWN,
// META, YOURADDR, each CLIENTLIST_EXT with its CLIENTLIST_INT, CLIENTLEN, CC.
// That puts the UUID before MYTS, which the original needs.
type Packet struct {
	Role     Role
	Release  uint64 // CLIENTVER or SERVERVER
	Sequence uint32
	ID       ID             // the client's, in both directions
	Local    netip.AddrPort // PTPADDR; zero if there is none
	Echo     *uint64        // YOURTS
	Stamp    *uint64        // MYTS: any 64 bits
	Shutdown bool
	Meta     []byte         // JSON; nil if there is none
	Seen     netip.AddrPort // YOURADDR; zero if there is none
	Peers    []Listed
	Whole    bool   // CLIENTLEN is there and equals len(Peers): the list counts
	Ext      []byte // the records inside CC, without the mark; nil if there is no stream
	CC       []byte // what CC holds if that is no stream; read only
}

// ParsePacket reads a datagram. Meta, Ext and CC may alias it. A CLIENTLEN that is
// wrong or missing is no error, the list just is not Whole; neither is a CC
// that is not ours. ID must be there, before MYTS, and CLIENTLIST_INT after a
// CLIENTLIST_EXT: the original dies otherwise, and nobody sends that by mistake.
func ParsePacket(datagram []byte) (*Packet, error) {
	_, all, err := Split(datagram)
	if err != nil {
		return nil, err
	}
	p := &packetParser{}
	for _, f := range all {
		if err := p.take(f); err != nil {
			return nil, err
		}
	}
	if !p.hasID || p.Role == 0 {
		return nil, fmt.Errorf("mesh: packet: no UUID or no version: %w", ErrOrder)
	}
	p.Whole = p.hasTotal && p.total == uint64(len(p.Peers))
	if p.Ext = streamOf(p.cc); p.Ext == nil {
		p.CC = p.cc
	}
	return &p.Packet, nil
}

type packetParser struct {
	Packet
	hasID, hasTotal bool
	total           uint64
	cc              []byte
}

// take adds a field, which Split has checked.
func (p *packetParser) take(f Field) error {
	switch kind, _ := f.Type.Kind(); kind {
	case KindUint:
		v, err := ParseUint(f.Value)
		if err != nil {
			return err
		}
		return p.takeUint(f.Type, v)
	case KindAddress:
		a, err := ParseAddress(f.Value)
		if err != nil {
			return err
		}
		return p.takeAddress(f.Type, a)
	}
	switch f.Type {
	case UUID:
		p.ID, p.hasID = ID(f.Value), true
	case Meta:
		p.Meta = f.Value
	case CC:
		p.cc = append(p.cc, f.Value...)
	}
	return nil
}

func (p *packetParser) takeUint(t Type, v uint64) error {
	switch t {
	case ServerVer:
		p.Role, p.Release = FromServer, v
	case ClientVer:
		p.Role, p.Release = FromClient, v
	case Sequence:
		p.Sequence = uint32(v)
	case MyTS:
		if !p.hasID {
			return fmt.Errorf("mesh: packet: MYTS before UUID: %w", ErrOrder)
		}
		p.Stamp = &v
	case YourTS:
		p.Echo = &v
	case Shutdown:
		p.Shutdown = true
	case ListLen:
		p.total, p.hasTotal = v, true
	}
	return nil
}

func (p *packetParser) takeAddress(t Type, a netip.AddrPort) error {
	switch t {
	case PTPAddr:
		p.Local = a
	case YourAddr:
		p.Seen = a
	case ListExt:
		p.Peers = append(p.Peers, Listed{Outside: a})
	case ListInt:
		if len(p.Peers) == 0 {
			return fmt.Errorf("mesh: packet: CLIENTLIST_INT before CLIENTLIST_EXT: %w", ErrOrder)
		}
		p.Peers[len(p.Peers)-1].Inside = a
	}
	return nil
}

// Append appends p as a datagram for the address to. It fails, and appends
// nothing, where the packet would kill an original peer: longer than MaxPacket,
// META that is no JSON or longer than MaxValue, an inside address without an
// outside one, an IPv6 address for a receiver that is asked by IPv4.
func (p *Packet) Append(b []byte, to netip.Addr) ([]byte, error) {
	w := &packetWriter{six: to.Unmap().Is6()}
	switch p.Role {
	case FromServer:
		w.uint(ServerVer, p.Release, 1)
	case FromClient:
		w.uint(ClientVer, p.Release, 1)
	default:
		return b, &FieldError{Message: "packet", Field: "role", Value: uint64(p.Role)}
	}
	w.uint(Sequence, uint64(p.Sequence), 4)
	w.field(UUID, p.ID[:])
	w.address(PTPAddr, p.Local)
	w.stamp(YourTS, p.Echo)
	w.stamp(MyTS, p.Stamp)
	if p.Shutdown {
		w.uint(Shutdown, 1, 1)
	}
	if p.Meta != nil {
		w.field(Meta, p.Meta)
	}
	w.address(YourAddr, p.Seen)
	for _, l := range p.Peers {
		if !l.Outside.IsValid() {
			return b, fmt.Errorf("mesh: packet: listed client without an outside address: %w", ErrOrder)
		}
		w.address(ListExt, l.Outside)
		w.address(ListInt, l.Inside)
	}
	if p.Whole {
		w.uint(ListLen, uint64(len(p.Peers)), 1)
	}
	w.stream(p.Ext)
	if w.err != nil {
		return b, w.err
	}
	return AppendFields(b, w.all...)
}

// A packetWriter collects fields and the first error.
type packetWriter struct {
	six bool
	all []Field
	err error
}

func (w *packetWriter) field(t Type, v []byte) { w.all = append(w.all, Field{t, v}) }

func (w *packetWriter) uint(t Type, v uint64, width int) {
	b, err := AppendUint(nil, v, width)
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("mesh: packet: %v: %w", t, err)
	}
	w.field(t, b)
}

func (w *packetWriter) stamp(t Type, v *uint64) {
	if v != nil {
		w.uint(t, *v, 8)
	}
}

func (w *packetWriter) address(t Type, a netip.AddrPort) {
	if !a.IsValid() {
		return
	}
	if a.Addr().Unmap().Is6() && !w.six && w.err == nil {
		w.err = &FieldError{"packet", t.String() + " to an IPv4 receiver", addressLen6, "length"}
	}
	b, err := AppendAddress(nil, a)
	if err != nil && w.err == nil {
		w.err = err
	}
	w.field(t, b)
}

// stream writes records as CC fields, each filled up before the next.
func (w *packetWriter) stream(ext []byte) {
	if len(ext) == 0 {
		return
	}
	for rest := append([]byte(streamMark), ext...); len(rest) > 0; {
		n := min(len(rest), MaxValue)
		w.field(CC, rest[:n])
		rest = rest[n:]
	}
}
