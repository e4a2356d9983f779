package mesh

import (
	"fmt"

	"github.com/sonde-net/sonde/mesh/wire"
)

// A natKind is how the NAT and firewall of one side behave (RFC 4787).
type natKind struct{ mapping, filtering wire.Behaviour }

// mapsWell reports whether an address that one other saw is good for all.
func (n natKind) mapsWell() bool {
	return n.mapping == wire.NoNAT || n.mapping == wire.EndpointIndependent
}

// isKnown reports whether both behaviours have been found out.
func (n natKind) isKnown() bool {
	return n.mapping != wire.BehaviourUnknown && n.filtering != wire.BehaviourUnknown
}

// outlook says whether two sides can be expected to meet at the addresses that
// a server saw of them, and why not. Some side must let the other in: because it
// lets anybody in; or it sends to the other's address first, and lets in whoever
// has that address; or both are at the addresses that were seen.
func outlook(x, y natKind) (direct bool, why wire.Reason) {
	if x.mapping == wire.UDPBlocked || y.mapping == wire.UDPBlocked || x.filtering == wire.UDPBlocked || y.filtering == wire.UDPBlocked {
		return false, wire.ReasonUDPBlocked
	}
	if !x.isKnown() || !y.isKnown() {
		return true, wire.ReasonNone // nothing speaks against it
	}
	if x.letsIn(y) || y.letsIn(x) {
		return true, wire.ReasonNone
	}
	return false, wire.ReasonBothHard
}

// letsIn reports whether n can be reached by the other at the address seen.
func (n natKind) letsIn(other natKind) bool {
	switch {
	case n.filtering == wire.NoNAT || n.filtering == wire.EndpointIndependent:
		return true
	case !n.mapsWell():
		return false
	case n.filtering == wire.AddressDependent:
		return true
	}
	return other.mapsWell()
}

// canHit reports whether the other's NAT lets us in at the port that it gave for
// us, if we foretell it. It gave it for the address that was seen of us; if we come
// from another, it must look at the host alone.
func (n natKind) canHit(other natKind) bool {
	return n.mapping == wire.BehaviourUnknown || n.mapsWell() || other.filtering == wire.AddressDependent
}

// ReasonText says for a person why two nodes are not directly connected; it is
// empty for ReasonNone.
func ReasonText(r wire.Reason) string {
	switch r {
	case wire.ReasonNone:
		return ""
	case wire.ReasonNoCandidate:
		return "one side has no address that the other could try"
	case wire.ReasonNoAnswer:
		return "no answer from any address of the other side: a firewall or NAT drops what comes, though it need not"
	case wire.ReasonBothHard:
		return "one NAT gives a new port for each destination and the other side lets in only whom it has sent to: neither can know where to send"
	case wire.ReasonUDPBlocked:
		return "UDP is blocked on one side"
	case wire.ReasonFamilies:
		return "one side has only IPv4 and the other only IPv6"
	case wire.ReasonOldPeer:
		return "an original ptptest client ignores ports that its server did not list, and cannot be relayed to"
	case wire.ReasonRelayRefused:
		return "the server does not relay between these two"
	}
	return fmt.Sprintf("unknown reason %d", r)
}

// ReasonCode is a word for programs, such as "both_hard"; it is empty for
// ReasonNone.
func ReasonCode(r wire.Reason) string {
	words := [...]string{"", "no_candidate", "no_answer", "both_hard", "udp_blocked", "families_differ", "original_peer", "relay_refused"}
	if int(r) < len(words) {
		return words[r]
	}
	return "unknown"
}

// behaviourWord is a behaviour in the words of RFC 4787.
func behaviourWord(b wire.Behaviour) string {
	switch b {
	case wire.NoNAT:
		return "no NAT"
	case wire.EndpointIndependent:
		return "endpoint-independent"
	case wire.AddressDependent:
		return "address-dependent"
	case wire.AddressPortDependent:
		return "address and port-dependent"
	case wire.UDPBlocked:
		return "UDP blocked"
	case wire.SteadyStep:
		return "address and port-dependent, in steady steps"
	}
	return "unknown"
}
