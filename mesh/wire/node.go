package wire

import (
	"encoding/binary"
	"net/netip"
)

// MaxName is the longest name of a node, bytes of UTF-8.
const MaxName = 63

// A Part is the part that a sender plays in the mesh.
type Part uint8

// The parts.
const (
	PartNode    Part = 1
	PartServer  Part = 2
	PartControl Part = 3 // a node's socket that talks to the server only, and is not listed
)

// Capabilities is a set of what a node can do.
type Capabilities uint32

// The capabilities.
const (
	CanBulk     Capabilities = 1
	WantsRelay  Capabilities = 2
	OffersRelay Capabilities = 4
	CanDialback Capabilities = 8
	CanReport   Capabilities = 16
	HasIPv6     Capabilities = 32
	IsSplit     Capabilities = 64
)

// A Behaviour says on what the mapping or the filtering of a NAT depends (RFC
// 4787, sections 4.1 and 5).
type Behaviour uint8

// The behaviours.
const (
	BehaviourUnknown     Behaviour = 0
	NoNAT                Behaviour = 1
	EndpointIndependent  Behaviour = 2
	AddressDependent     Behaviour = 3
	AddressPortDependent Behaviour = 4
	UDPBlocked           Behaviour = 5
	SteadyStep           Behaviour = 6 // of a mapping: address and port dependent, but with ports in a steady step
)

func (r *reader) behaviour(field string) Behaviour {
	v := Behaviour(r.u8())
	if v > SteadyStep {
		r.bad(field, uint64(v))
	}
	return v
}

// A Hello tells who sends and what it can do. It is in every registration and
// list, in the first ping to a peer and in one each 30 s.
//
//	off len
//	  0   1  version, 1
//	  1   1  Part
//	  2   4  Can
//	  6   1  Mapping
//	  7   1  Filtering
//	  8   1  length of Name, 0 to 63
//	  9   n  Name
type Hello struct {
	Part      Part
	Can       Capabilities
	Mapping   Behaviour
	Filtering Behaviour
	Name      string
}

// Type returns RecordHello.
func (Hello) Type() RecordType { return RecordHello }

// ParseHello reads a Hello and ignores what follows.
func ParseHello(b []byte) (Hello, error) {
	r := &reader{what: "hello", b: b}
	if v := r.u8(); v != 1 {
		r.bad("version", uint64(v))
	}
	h := Hello{Part: Part(r.u8())}
	if h.Part < PartNode || h.Part > PartControl {
		r.bad("part", uint64(h.Part))
	}
	h.Can = Capabilities(r.u32())
	h.Mapping, h.Filtering = r.behaviour("mapping"), r.behaviour("filtering")
	h.Name = r.name()
	return h, r.err
}

// AppendBinary appends h to b. It fails if the name is too long.
func (h Hello) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, 1, byte(h.Part))
	b = binary.BigEndian.AppendUint32(b, uint32(h.Can))
	return appendText(append(b, byte(h.Mapping), byte(h.Filtering)), "hello", h.Name, MaxName)
}

func (r *reader) name() string {
	s := r.text()
	if len(s) > MaxName {
		r.bad("name length", uint64(len(s)))
	}
	return s
}

// A CandidateKind is where a candidate comes from (RFC 8445, section 5.1.1).
type CandidateKind uint8

// The kinds of candidates.
const (
	CandidateHost      CandidateKind = 1
	CandidateReflexive CandidateKind = 2 // as the server sees it
	CandidateMapped    CandidateKind = 3 // a port that a router maps
	CandidatePeer      CandidateKind = 4 // as a peer sees it
	CandidatePredicted CandidateKind = 5
	CandidateRelay     CandidateKind = 6
)

// String is a word for people, such as "host".
func (k CandidateKind) String() string {
	words := [...]string{"none", "host", "reflexive", "mapped", "peer-reflexive", "predicted", "relay"}
	if int(k) < len(words) {
		return words[k]
	}
	return "unknown"
}

// A Candidate is an address to try.
//
//	off len
//	  0   1  Kind
//	  1   1  Priority
//	  2   7  At: family 4, address, port; of family 6 19 bytes
type Candidate struct {
	Kind     CandidateKind
	Priority uint8 // higher goes first
	At       netip.AddrPort
}

// MaxCandidates is how many candidates one node may have. More do not help, and
// all of those of its peers are sent to.
const MaxCandidates = 16

// candidates reads a count and as many candidates.
func (r *reader) candidates() []Candidate {
	n := int(r.u8())
	if n > MaxCandidates {
		r.bad("candidate count", uint64(n))
	}
	var all []Candidate
	for range n {
		if r.err != nil {
			return nil
		}
		c := Candidate{Kind: CandidateKind(r.u8()), Priority: r.u8(), At: r.address()}
		if c.Kind < CandidateHost || c.Kind > CandidateRelay {
			r.bad("candidate kind", uint64(c.Kind))
		}
		if r.err == nil && !c.At.IsValid() {
			r.bad("candidate address family", 0)
		}
		all = append(all, c)
	}
	return all
}

func appendCandidates(b []byte, message string, all []Candidate) ([]byte, error) {
	if len(all) > MaxCandidates {
		return b, &FieldError{Message: message, Field: "candidate count", Value: uint64(len(all))}
	}
	b = append(b, byte(len(all)))
	for _, c := range all {
		if !c.At.IsValid() || c.Kind < CandidateHost || c.Kind > CandidateRelay {
			return b, &FieldError{Message: message, Field: "candidate kind, or no address: kind", Value: uint64(c.Kind)}
		}
		b = appendAddress(append(b, byte(c.Kind), c.Priority), c.At)
	}
	return b, nil
}

// Candidates are those that a node knows of itself, in its registration: a
// count of one byte, and the candidates.
type Candidates []Candidate

// Type returns RecordCandidates.
func (Candidates) Type() RecordType { return RecordCandidates }

// ParseCandidates reads Candidates and ignores what follows.
func ParseCandidates(b []byte) (Candidates, error) {
	r := &reader{what: "candidates", b: b}
	c := Candidates(r.candidates())
	if r.err != nil {
		return nil, r.err
	}
	return c, nil
}

// AppendBinary appends c to b. It fails if there are more than MaxCandidates.
func (c Candidates) AppendBinary(b []byte) ([]byte, error) {
	return appendCandidates(b, "candidates", c)
}

// A Punch tells a node to send to a peer, and when, so that the packets of both
// open the way for each other.
//
//	off len
//	  0   8  Nonce
//	  8   2  Start, ms
//	 10  16  Peer
//	 26   n  Candidates
type Punch struct {
	Nonce      uint64 // of the pair; proves a ping from an address that nobody listed
	Start      uint16 // ms from receipt
	Peer       ID
	Candidates []Candidate
}

// Type returns RecordPunch.
func (Punch) Type() RecordType { return RecordPunch }

// ParsePunch reads a Punch and ignores what follows.
func ParsePunch(b []byte) (Punch, error) {
	r := &reader{what: "punch", b: b}
	p := Punch{Nonce: r.u64(), Start: r.u16(), Peer: r.id(), Candidates: r.candidates()}
	return p, r.err
}

// AppendBinary appends p to b. It fails if there are more than MaxCandidates.
func (p Punch) AppendBinary(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint64(b, p.Nonce)
	b = append(binary.BigEndian.AppendUint16(b, p.Start), p.Peer[:]...)
	return appendCandidates(b, "punch", p.Candidates)
}

// A Pad fills a packet up to a size; its bytes mean nothing.
type Pad []byte

// Type returns RecordPad.
func (Pad) Type() RecordType { return RecordPad }

// AppendBinary appends p to b.
func (p Pad) AppendBinary(b []byte) ([]byte, error) { return append(b, p...), nil }
