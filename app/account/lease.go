package account

import "time"

// A Cap bounds what a subject moves one way, or both ways together, from a
// moment on.
type Cap struct {
	Flow  Flow
	Since time.Time
	Limit uint64 // bytes
}

// An Ask is one step of a lease, the slice of a subject's quotas that one server
// has in hand: it opens it, says what was moved under it, makes it larger or
// smaller, or gives it back by wanting nothing. What was moved is cumulative, so
// that an Ask whose answer got lost can be repeated and counts once.
type Ask struct {
	Lease   string // made by the server, for one subject and never used again
	Subject string // a key, see Subject.Key
	Server  string // for the operator
	In, Out uint64 // moved under the lease since it was opened
	// Want is how much to have in hand from now on, beyond what was moved, by
	// Flow. Every byte takes from Both and from its own way.
	Want    Slice
	Caps    []Cap
	Expires time.Time // when others may take back what is in hand
}

// An Answer says what a lease has come to.
type Answer struct {
	Have  Slice      // in hand, at most what was wanted
	Used  []uint64   // of each Cap: moved since its moment, by all
	Held  []uint64   // of each Cap: in the hands of other leases
	Tight [Flows]int // for each Flow the Cap that kept Have below Want; -1 if none did
}

// A Slice is a number of bytes for each Flow.
type Slice [Flows]uint64

// Unlimited in a Slice is a Flow without a Cap.
const Unlimited = 1 << 62

// A Use is what a subject moved from a moment on.
type Use struct{ In, Out uint64 }

// Of is the use of a flow.
func (u Use) Of(f Flow) uint64 {
	switch f {
	case In:
		return u.In
	case Out:
		return u.Out
	}
	return u.In + u.Out
}
