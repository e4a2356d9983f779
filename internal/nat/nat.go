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
	Other       netip.AddrPort // the server's second socket; zero if it has none
	Reflections []Reflection   // from one socket, in the order asked
	Mapping     Behaviour
	Filtering   Behaviour
	PortKept    *bool          // outside we have the port that we have inside
	Step        *int           // from one mapped port to the next, if that is steady
	Hairpin     *bool          // we reach our own outside address from inside
	RTT         *time.Duration // to the server
	Unanswered  bool           // a socket of the server did not answer, which may have been a moment of loss
	Remarks     []string
	// Unknown says of each figure that could not be found why, by the name that it
	// has in JSON, such as "port_step".
	Unknown map[string]string
}

// unknown notes why figures could not be found.
func (r *Report) unknown(why string, figures ...string) {
	if r.Unknown == nil {
		r.Unknown = map[string]string{}
	}
	for _, f := range figures {
		r.Unknown[f] = why
	}
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

// The limits of a step that leaves something to predict.
const (
	furthestStep = 1024 // between two ports
	mostSkipped  = 16   // steps between two ports that were mapped to us: others use the NAT, too
)

// stepOf finds the step between ports that were mapped one after the other. It
// needs three. Between them may be some that were mapped for somebody else.
func stepOf(ports []uint16) (int, bool) {
	if len(ports) < 3 {
		return 0, false
	}
	step := 0
	for i := 1; i < len(ports); i++ {
		d := int(int16(ports[i] - ports[i-1]))
		if d == 0 || (d < 0) != (int16(ports[1]-ports[0]) < 0) {
			return 0, false
		}
		step = gcd(step, d)
	}
	if step > furthestStep || step < -furthestStep {
		return 0, false
	}
	for i := 1; i < len(ports); i++ {
		if int(int16(ports[i]-ports[i-1]))/step > mostSkipped {
			return 0, false
		}
	}
	return step, true
}

// gcd is the greatest common divisor, with the sign of b.
func gcd(a, b int) int {
	if a == 0 {
		return b
	}
	x, y := max(a, -a), max(b, -b)
	for y != 0 {
		x, y = y, x%y
	}
	if b < 0 {
		return -x
	}
	return x
}

// Predict returns n ports that a NAT with a steady step has mapped or will map for
// others than the servers: first those before the ones that were mapped while we
// asked, the latest first, as many as before says; those that were skipped meanwhile;
// then the next ones. It is empty without a step.
func (r Report) Predict(before, n int) []uint16 {
	if r.Step == nil || len(r.Reflections) == 0 {
		return nil
	}
	seen := map[uint16]bool{}
	for _, f := range r.Reflections {
		seen[f.Seen.Port()] = true
	}
	var all []uint16
	take := func(port uint16, most int) {
		if port >= 1024 && !seen[port] && len(all) < most {
			all = append(all, port)
		}
	}
	first, step := r.Reflections[0].Seen.Port(), uint16(*r.Step)
	for i := range uint16(before) {
		take(first-(i+1)*step, before)
	}
	for i := range uint16(n + mostSkipped*len(r.Reflections)) {
		take(first+(i+1)*step, n)
	}
	return all
}
