// Package nat finds out how a host is seen from outside: how its NAT maps ports
// and what its NAT or firewall lets in (RFC 4787, RFC 5780), asked by STUN (RFC
// 8489) on the very socket that peers will see.
//
// It also answers STUN requests, so that a server of ours is all that is needed.
// Everything is bounded in time.
package nat

import (
	"net/netip"
	"time"

	"github.com/pion/stun/v3"
)

// A Behaviour says on what a mapping or a filter depends (RFC 4787, sections 4.1
// and 5).
type Behaviour uint8

// The behaviours.
const (
	Unknown Behaviour = iota
	NoNAT             // of a mapping only: others see the address that we have
	EndpointIndependent
	AddressDependent
	AddressPortDependent
	Blocked // no answer over UDP at all
)

// String is the behaviour in the words of RFC 4787.
func (b Behaviour) String() string {
	words := [...]string{"unknown", "no NAT", "endpoint-independent", "address-dependent", "address and port-dependent", "UDP blocked"}
	if int(b) < len(words) {
		return words[b]
	}
	return "unknown"
}

// A Reflection is how one server sees us.
type Reflection struct {
	Server netip.AddrPort
	Seen   netip.AddrPort
}

// A Report is what was found out. What could not be is nil or Unknown, and
// Remarks say why.
type Report struct {
	Local       netip.AddrPort
	Reflexive   netip.AddrPort // as the server sees us; zero without an answer
	Reflections []Reflection   // from one socket, in the order asked
	Mapping     Behaviour
	Filtering   Behaviour
	PortKept    *bool          // outside we have the port that we have inside
	Step        *int           // from one mapped port to the next, if that is steady
	Hairpin     *bool          // we reach our own outside address from inside
	RTT         *time.Duration // to the server
	Remarks     []string
}

// Old is the name that RFC 3489 had for a mapping and filtering together, which
// people still use; empty where it had none.
func (r Report) Old() string {
	switch m, f := r.Mapping, r.Filtering; {
	case m == Blocked:
		return "Blocked"
	case m == NoNAT && f == EndpointIndependent:
		return "Open Internet"
	case m == NoNAT && f != Unknown:
		return "Symmetric UDP Firewall"
	case m == EndpointIndependent && f == EndpointIndependent:
		return "Full Cone"
	case m == EndpointIndependent && f == AddressDependent:
		return "Restricted Cone"
	case m == EndpointIndependent && f == AddressPortDependent:
		return "Port Restricted Cone"
	case m == AddressDependent, m == AddressPortDependent:
		return "Symmetric NAT"
	}
	return ""
}

// IsSTUN reports whether a datagram is a STUN message: the cookie tells it from
// everything that shares a port with it (RFC 8489, section 5).
func IsSTUN(datagram []byte) bool {
	return stun.IsMessage(datagram) && datagram[0]&0xc0 == 0
}

// stepOf finds the step between ports that were mapped one after the other. It
// needs three, and a step that leaves something to predict.
func stepOf(ports []uint16) (int, bool) {
	const furthest = 1024
	if len(ports) < 3 {
		return 0, false
	}
	step := int16(ports[1] - ports[0])
	for i := 1; i < len(ports); i++ {
		if int16(ports[i]-ports[i-1]) != step {
			return 0, false
		}
	}
	if step == 0 || step > furthest || step < -furthest {
		return 0, false
	}
	return int(step), true
}

// Predict returns the next n ports that a NAT with a steady step will map.
func Predict(last uint16, step, n int) []uint16 {
	var all []uint16
	for i := range n {
		if p := last + uint16(step*(i+1)); p >= 1024 {
			all = append(all, p)
		}
	}
	return all
}
