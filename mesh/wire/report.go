package wire

import "encoding/binary"

// A State is how a node stands with a peer.
type State uint8

// The states.
const (
	StateUnknown State = 0
	StateTrying  State = 1
	StateDirect  State = 2
	StateRelay   State = 3
	StateFailed  State = 4
)

// String is a word for people, such as "direct".
func (s State) String() string {
	words := [...]string{"unknown", "trying", "direct", "relay", "failed"}
	if int(s) < len(words) {
		return words[s]
	}
	return "unknown"
}

// A Reason is why a pair is not direct.
type Reason uint8

// The reasons.
const (
	ReasonNone         Reason = 0
	ReasonNoCandidate  Reason = 1
	ReasonNoAnswer     Reason = 2
	ReasonBothHard     Reason = 3
	ReasonUDPBlocked   Reason = 4
	ReasonFamilies     Reason = 5
	ReasonOldPeer      Reason = 6
	ReasonRelayRefused Reason = 7
)

// A Finding is what a node found with one peer.
//
//	off len
//	  0  16  Peer
//	 16   1  State
//	 17   1  Mine
//	 18   1  Theirs
//	 19   1  Reason
//	 20   4  RTT, µs
//	 24   4  Jitter, µs
//	 28   4  Sent
//	 32   4  Lost
//	 36   8  Bytes
//	 44   4  Since, s
type Finding struct {
	Peer   ID
	State  State
	Mine   CandidateKind // 0 if none
	Theirs CandidateKind
	Reason Reason
	RTT    uint32 // µs; 0 if not measured
	Jitter uint32 // µs
	Sent   uint32 // pings
	Lost   uint32
	Bytes  uint64 // of bulk transfer
	Since  uint32 // seconds since the state was entered
}

// MaxFindings is how many findings a report may have: as many as a packet holds.
const MaxFindings = 25

// A Report is what a node tells the server of its peers: a count of one byte,
// and the findings.
type Report []Finding

// Type returns RecordReport.
func (Report) Type() RecordType { return RecordReport }

// ParseReport reads a Report and ignores what follows.
func ParseReport(b []byte) (Report, error) {
	r := &reader{what: "report", b: b}
	n := int(r.u8())
	if n > MaxFindings {
		r.bad("count", uint64(n))
	}
	var all Report
	for range n {
		f := r.finding()
		if r.err != nil {
			return nil, r.err
		}
		all = append(all, f)
	}
	return all, r.err
}

func (r *reader) finding() Finding {
	f := Finding{Peer: r.id(), State: State(r.u8()), Mine: CandidateKind(r.u8()), Theirs: CandidateKind(r.u8()), Reason: Reason(r.u8())}
	f.RTT, f.Jitter, f.Sent, f.Lost = r.u32(), r.u32(), r.u32(), r.u32()
	f.Bytes, f.Since = r.u64(), r.u32()
	if f.State > StateFailed || f.Reason > ReasonRelayRefused {
		r.bad("state or reason", uint64(f.State)<<8|uint64(f.Reason))
	}
	return f
}

func (f Finding) append(b []byte) []byte {
	b = append(append(b, f.Peer[:]...), byte(f.State), byte(f.Mine), byte(f.Theirs), byte(f.Reason))
	for _, v := range []uint32{f.RTT, f.Jitter, f.Sent, f.Lost} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	b = binary.BigEndian.AppendUint64(b, f.Bytes)
	return binary.BigEndian.AppendUint32(b, f.Since)
}

// AppendBinary appends r to b. It fails if there are more than MaxFindings.
func (r Report) AppendBinary(b []byte) ([]byte, error) {
	if len(r) > MaxFindings {
		return b, &FieldError{Message: "report", Field: "count", Value: uint64(len(r))}
	}
	b = append(b, byte(len(r)))
	for _, f := range r {
		b = f.append(b)
	}
	return b, nil
}
