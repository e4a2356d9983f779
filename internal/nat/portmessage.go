package nat

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// routerPort is where routers take requests for port mappings: RFC 6886,
// section 1.1, and RFC 6887, section 7.
const routerPort = 5351

const udpNumber = 17 // of UDP in PCP

// A grant is what a router says to a request for a mapping.
type grant struct {
	version  byte // 2 PCP, 0 NAT-PMP
	result   uint16
	internal uint16
	external netip.AddrPort // NAT-PMP gives the port only
	lifetime time.Duration
	nonce    [12]byte // of PCP
}

// appendPCP appends a MAP request for UDP: RFC 6887, sections 7.1 and 11.1. A
// lifetime of 0 removes the mapping that has the same nonce.
//
//	off len
//	  0   1  version, 2
//	  1   1  opcode, 1 (MAP)
//	  4   4  lifetime, s
//	  8  16  client address
//	 24  12  nonce
//	 36   1  protocol, 17
//	 40   2  internal port
//	 42   2  wanted external port
//	 44  16  wanted external address
func appendPCP(b []byte, client netip.Addr, nonce [12]byte, internal, external uint16, lifetime time.Duration) []byte {
	b = append(b, 2, 1, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(lifetime/time.Second))
	own := client.As16()
	b = append(append(b, own[:]...), nonce[:]...)
	b = append(b, udpNumber, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, internal), external)
	wanted := netip.IPv6Unspecified().As16()
	if client.Is4() {
		wanted = netip.AddrFrom4([4]byte{}).As16()
	}
	return append(b, wanted[:]...)
}

// appendPMP appends a request to map a UDP port: RFC 6886, section 3.3. A
// lifetime of 0 removes the mapping.
//
//	off len
//	  0   1  version, 0
//	  1   1  opcode, 1
//	  4   2  internal port
//	  6   2  wanted external port
//	  8   4  lifetime, s
func appendPMP(b []byte, internal, external uint16, lifetime time.Duration) []byte {
	b = append(b, 0, 1, 0, 0)
	b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, internal), external)
	return binary.BigEndian.AppendUint32(b, uint32(lifetime/time.Second))
}

// appendPMPAddress appends the question for the outside address: RFC 6886,
// section 3.2.
func appendPMPAddress(b []byte) []byte { return append(b, 0, 0) }

// parseGrant reads the answer to a request for a mapping, in either protocol: a
// router without PCP answers it in NAT-PMP, with a result of 1.
func parseGrant(b []byte) (grant, error) {
	if len(b) < 4 {
		return grant{}, fmt.Errorf("nat: answer of %d bytes about a mapping: %w", len(b), io.ErrUnexpectedEOF)
	}
	switch {
	case b[0] == 2 && b[1] == 0x81:
		return parsePCP(b)
	case b[0] == 0 && b[1] >= 0x80:
		return parsePMP(b)
	}
	return grant{}, fmt.Errorf("nat: version %d, opcode %#x is no answer about a mapping", b[0], b[1])
}

func parsePCP(b []byte) (grant, error) {
	g := grant{version: 2, result: uint16(b[3])}
	if len(b) < 60 {
		if g.result != 0 && len(b) >= 24 {
			return g, nil // an error may come without the rest
		}
		return grant{}, fmt.Errorf("nat: PCP answer of %d bytes: %w", len(b), io.ErrUnexpectedEOF)
	}
	g.lifetime = time.Duration(binary.BigEndian.Uint32(b[4:])) * time.Second
	copy(g.nonce[:], b[24:])
	g.internal = binary.BigEndian.Uint16(b[40:])
	addr := netip.AddrFrom16([16]byte(b[44:60])).Unmap()
	g.external = netip.AddrPortFrom(addr, binary.BigEndian.Uint16(b[42:]))
	if b[36] != udpNumber {
		return grant{}, fmt.Errorf("nat: PCP answer about protocol %d, asked for UDP", b[36])
	}
	return g, nil
}

func parsePMP(b []byte) (grant, error) {
	g := grant{result: binary.BigEndian.Uint16(b[2:])}
	if g.result != 0 {
		return g, nil
	}
	if b[1] != 0x81 || len(b) < 16 {
		return grant{}, fmt.Errorf("nat: NAT-PMP answer of %d bytes, opcode %#x: %w", len(b), b[1], io.ErrUnexpectedEOF)
	}
	g.internal = binary.BigEndian.Uint16(b[8:])
	g.external = netip.AddrPortFrom(netip.Addr{}, binary.BigEndian.Uint16(b[10:]))
	g.lifetime = time.Duration(binary.BigEndian.Uint32(b[12:])) * time.Second
	return g, nil
}

// parsePMPAddress reads the outside address of a router.
func parsePMPAddress(b []byte) (netip.Addr, error) {
	switch {
	case len(b) < 4:
		return netip.Addr{}, fmt.Errorf("nat: answer of %d bytes about the outside address: %w", len(b), io.ErrUnexpectedEOF)
	case b[0] != 0 || b[1] != 0x80:
		return netip.Addr{}, fmt.Errorf("nat: version %d, opcode %#x is no answer about the outside address", b[0], b[1])
	case binary.BigEndian.Uint16(b[2:]) != 0:
		return netip.Addr{}, refusal(0, binary.BigEndian.Uint16(b[2:]))
	case len(b) < 12:
		return netip.Addr{}, fmt.Errorf("nat: answer of %d bytes about the outside address: %w", len(b), io.ErrUnexpectedEOF)
	}
	return netip.AddrFrom4([4]byte(b[8:12])), nil
}

// refusal is the error for a result of a router: RFC 6886, section 3.5, and RFC
// 6887, section 7.4.
func refusal(version byte, result uint16) error {
	pmp := map[uint16]string{1: "unsupported version", 2: "not authorised: mappings are switched off at the router", 3: "the router has no outside address", 4: "out of resources", 5: "unsupported opcode"}
	pcp := map[uint16]string{1: "unsupported version", 2: "not authorised: mappings are switched off at the router", 3: "malformed request", 4: "unsupported opcode", 8: "out of resources", 9: "unsupported protocol", 10: "quota exceeded", 11: "cannot provide that port", 12: "address mismatch: another NAT is in between", 13: "too many peers"}
	words, name := pmp, "NAT-PMP"
	if version == 2 {
		words, name = pcp, "PCP"
	}
	if w, ok := words[result]; ok {
		return fmt.Errorf("nat: the router refuses (%s): %s", name, w)
	}
	return fmt.Errorf("nat: the router refuses (%s): result %d", name, result)
}
