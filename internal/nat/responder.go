package nat

import (
	"net/netip"

	"github.com/pion/stun/v3"
)

// A Responder answers Binding requests (RFC 8489) with the attributes of RFC
// 5780. It does no I/O and holds no state.
type Responder struct {
	// Sockets are the addresses of the server's sockets. Two ports let clients
	// test port dependence, two addresses with two ports each everything.
	Sockets []netip.AddrPort
}

// LongestAnswer is the length of an answer with all that it may have.
const LongestAnswer = requestSize

// An Answer is a datagram to send from one of the sockets.
type Answer struct {
	Via     int            // index of Sockets
	To      netip.AddrPort // whom the request came from, or another port of that address
	Message []byte
	Changed bool // the request asked for another socket or port than it came by
}

// Answer makes the answer to a datagram that came from an address to the socket
// via. It is false if there is none: for what is no Binding request, and for
// one that asks for a socket that is not there, or for a port below 1024, where
// no NAT maps to and services of others are.
//
// The sender may be forged, so an answer is not longer than the request, and has
// as many attributes as fit; a plain one without an address would be of no use,
// and is none. Only where mayGrow is true, a plain answer to a request that is
// shorter than LongestAnswer is whole all the same.
func (r *Responder) Answer(datagram []byte, via int, from netip.AddrPort, mayGrow bool) (Answer, bool) {
	m, err := parse(datagram)
	if err != nil || m.Type != stun.BindingRequest || via >= len(r.Sockets) {
		return Answer{}, false
	}
	change := changeOf(m)
	a := Answer{Via: r.socket(via, change), To: from, Changed: change != 0}
	if port, ok := responsePortOf(m); ok {
		a.To, a.Changed = netip.AddrPortFrom(from.Addr(), port), true
	}
	if a.Via < 0 || a.To.Port() < 1024 && a.To != from {
		return Answer{}, false
	}
	setters := []stun.Setter{
		stun.NewTransactionIDSetter(m.TransactionID), stun.BindingSuccess,
		&stun.XORMappedAddress{IP: from.Addr().AsSlice(), Port: int(from.Port())},
	}
	if own := r.Sockets[a.Via]; !own.Addr().IsUnspecified() {
		setters = append(setters, &stun.ResponseOrigin{IP: own.Addr().AsSlice(), Port: int(own.Port())})
	}
	if other := r.other(via); other >= 0 && !r.Sockets[other].Addr().IsUnspecified() {
		o := r.Sockets[other]
		setters = append(setters, &stun.OtherAddress{IP: o.Addr().AsSlice(), Port: int(o.Port())})
	}
	least := 3 // with the address
	if a.Changed {
		least, mayGrow = 2, false
	}
	for n := len(setters); n >= least; n-- {
		answer, err := stun.Build(setters[:n]...)
		if err != nil {
			return Answer{}, false
		}
		if mayGrow || len(answer.Raw) <= len(datagram) {
			a.Message = answer.Raw
			return a, true
		}
	}
	return Answer{}, false
}

// socket finds the socket to answer from, -1 if there is none.
func (r *Responder) socket(via int, change byte) int {
	own := r.Sockets[via]
	for i, s := range r.Sockets {
		if s.Addr().Is4() == own.Addr().Is4() &&
			(s.Addr() != own.Addr()) == (change&changeAddress != 0) && (s.Port() != own.Port()) == (change&changePort != 0) {
			return i
		}
	}
	return -1
}

// other finds the socket that OTHER-ADDRESS names: both different if there is
// such a one, or else another port; -1 if there is none.
func (r *Responder) other(via int) int {
	if i := r.socket(via, changeAddress|changePort); i >= 0 {
		return i
	}
	return r.socket(via, changePort)
}
