package wire

import (
	"fmt"
	"math/bits"
	"strings"
)

// Mode is a set of modes: what a server offers, or what a client has chosen,
// which is one kind of security and any number of features.
type Mode uint32

// The modes.
const (
	Unauthenticated Mode = 1 << iota // RFC 4656
	Authenticated                    // RFC 4656
	Encrypted                        // RFC 4656
	Mixed                            // RFC 5618: encrypted control, unauthenticated test
	Individual                       // RFC 5938: sessions are started and stopped one by one
	ReflectOctets                    // RFC 6038
	Symmetrical                      // RFC 6038: sender and reflector packets of one size
	IKEv2                            // RFC 7717; named only, never offered
	TrafficClass                     // RFC 7750: DSCP and ECN monitoring
	PTP                              // RFC 8186: PTPv2 timestamps
)

// AnySecurity is the set of modes of which a client chooses exactly one.
const AnySecurity = Unauthenticated | Authenticated | Encrypted | Mixed

// AllFeatures is the set of features that this program knows how to use.
const AllFeatures = Individual | ReflectOctets | Symmetrical | TrafficClass | PTP

// modeNames are in the order of the bits.
var modeNames = []string{
	"unauthenticated", "authenticated", "encrypted", "mixed", "individual",
	"reflect-octets", "symmetrical", "ikev2", "traffic-class", "ptp",
}

// Has reports whether m includes all of what.
func (m Mode) Has(what Mode) bool { return m&what == what }

// Security returns the part of m that says how packets are protected.
func (m Mode) Security() Mode { return m & AnySecurity }

// Features returns the part of m that is not security.
func (m Mode) Features() Mode { return m &^ AnySecurity }

// ControlKeyed reports whether the control connection is encrypted.
func (m Mode) ControlKeyed() bool { return m&(Authenticated|Encrypted|Mixed) != 0 }

// TestKeyed reports whether test packets carry an HMAC.
func (m Mode) TestKeyed() bool { return m&(Authenticated|Encrypted) != 0 }

// Chosen reports whether m is what a client may choose from offered: one kind
// of security, and no bit that was not offered.
func (m Mode) Chosen(offered Mode) bool {
	return bits.OnesCount32(uint32(m.Security())) == 1 && m&^offered == 0
}

// Strongest returns the strongest security in m: encrypted, authenticated,
// mixed, unauthenticated, in this order; keyed says whether there is a key to
// use the first three. It returns 0 when m has nothing usable.
func (m Mode) Strongest(keyed bool) Mode {
	order := []Mode{Encrypted, Authenticated, Mixed, Unauthenticated}
	if !keyed {
		order = order[3:]
	}
	for _, one := range order {
		if m.Has(one) {
			return one
		}
	}
	return 0
}

// String lists the names of m's modes, such as "encrypted,symmetrical".
func (m Mode) String() string {
	if m == 0 {
		return "none"
	}
	var names []string
	for i, name := range modeNames {
		if m&(1<<i) != 0 {
			names = append(names, name)
			m &^= 1 << i
		}
	}
	if m != 0 {
		names = append(names, fmt.Sprintf("%#x", uint32(m)))
	}
	return strings.Join(names, ",")
}

// ParseMode reads a list of names with commas between, as String writes it.
func ParseMode(s string) (Mode, error) {
	var m Mode
	for name := range strings.SplitSeq(s, ",") {
		name = strings.TrimSpace(name)
		bit, ok := modeOf(name)
		if !ok {
			return 0, fmt.Errorf("twamp: unknown mode %q, not one of %s", name, strings.Join(modeNames, ", "))
		}
		m |= bit
	}
	return m, nil
}

func modeOf(name string) (Mode, bool) {
	for i, known := range modeNames {
		if name == known {
			return 1 << i, true
		}
	}
	return 0, false
}
