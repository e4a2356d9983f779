// Package result is the model of what was measured: every engine fills it and
// every output reads it, whatever the protocol.
//
// A run is one invocation of one test. It puts at most one Begin, then
// Intervals and Notes, and always exactly one End, into a Sink. Directions are
// the client's: a download flows from server to client, at either end.
//
// A figure that could not be measured is a nil pointer, never zero. Times are
// time.Duration, sizes are bytes, rates are bit/s with decimal prefixes.
//
// The package is pure: no I/O, no clock, no goroutine. It does not know how an
// event is printed; app/report does.
package result

import (
	"net/netip"
	"time"

	"github.com/google/uuid"
)

// An Event is a Begin, an Interval, a Note or an End.
type Event interface {
	// Of says which run the event belongs to.
	Of() Head
	event()
}

// A Sink takes events. Put must be safe for concurrent use, because a server
// puts the events of many runs, and must not block for long, because it is
// called between two measurements.
type Sink interface{ Put(Event) }

// Func makes a Sink of a function.
type Func func(Event)

// Put calls f.
func (f Func) Put(e Event) { f(e) }

// Discard is the Sink that keeps nothing.
var Discard Sink = Func(func(Event) {})

// Tee returns a Sink that hands each event to all sinks in turn. Nil sinks are
// left out.
func Tee(sinks ...Sink) Sink {
	var kept []Sink
	for _, s := range sinks {
		if s != nil {
			kept = append(kept, s)
		}
	}
	if len(kept) == 1 {
		return kept[0]
	}
	return Func(func(e Event) {
		for _, s := range kept {
			s.Put(e)
		}
	})
}

// An ID names a run: a UUID of version 7 (RFC 9562, section 5.7), so that IDs
// sort by the time they were made.
type ID string

// NewID makes a fresh ID.
func NewID() ID { return ID(uuid.Must(uuid.NewV7()).String()) }

// A Role is the part that the reporting end plays.
type Role string

// The roles: of throughput tests, and of tests by packets that come back.
const (
	Client    Role = "client"
	Server    Role = "server"
	Sender    Role = "sender"
	Reflector Role = "reflector"
)

// A Transport carries the test traffic.
type Transport string

// The transports.
const (
	TCP Transport = "tcp"
	UDP Transport = "udp"
)

// A Head says which run an event belongs to and when it happened.
type Head struct {
	Run      ID
	Time     time.Time
	Protocol string // such as "btest"
	Role     Role
}

// Of returns h itself; it is how the events implement Event.
func (h Head) Of() Head { return h }

// Begin opens a run: what was agreed, once it was agreed. A run that fails
// before that puts no Begin.
type Begin struct {
	Head
	Transport Transport
	Direction Direction
	Target    string         // host and port as the user gave them; empty at a server
	Peer      netip.AddrPort // the far end's control address
	Local     netip.AddrPort // our end's control address
	Streams   int            // flows per direction, at least 1
	Size      int            // bytes per write (TCP) or of one datagram's payload (UDP)
	DownRate  uint64         // target rate of the download, bit/s as the protocol counts; 0 is no limit
	UpRate    uint64         // target rate of the upload
	Duration  time.Duration  // asked for; 0 means until stopped
	Account   string         // who logged in; empty if nobody
	Login     string         // how: "none", "md5", "ecsrp5", …
	Idle      *Delay         // round trips before the load; nil if they were not measured
}

// AllStreams as an Interval's Stream means the sum over all streams.
const AllStreams = -1

// An Interval is what one direction did between two moments.
type Interval struct {
	Head
	Seq       int           // 1, 2, 3, … the same for both directions of one moment
	Direction Direction     // Down or Up
	Stream    int           // AllStreams, or the stream's number from 0
	Start     time.Duration // since the first data of the run
	End       time.Duration
	Sent      *View // what the sender counted; nil if it cannot be known here
	Received  *View // what the receiver counted; nil if it cannot be known here
	CPU       CPU
	RTT       *Delay // under load, from the side probe or TCP itself
	// RoundTrips is of tests by packets that come back; they have no Sent and
	// no Received.
	RoundTrips *RoundTrips
}

// Local is the view of the end that reports: exact, and there in every interval.
func (i Interval) Local() *View { return local(i.Role, i.Direction, i.Sent, i.Received) }

// Remote is the view that the far end told us of, or nil.
func (i Interval) Remote() *View { return local(i.Role, i.Direction, i.Received, i.Sent) }

func local(r Role, d Direction, sent, received *View) *View {
	if (r == Client) == (d == Down) {
		return received
	}
	return sent
}

// A Level is how much a Note matters.
type Level string

// The levels of a Note.
const (
	Info    Level = "info"
	Warning Level = "warning"
)

// A Note is a remark about a run or, with an empty Run, about the server.
type Note struct {
	Head
	Level Level
	Code  string // stable, such as "cpu_bound"; for programs
	Text  string // one line for a person
	Hint  string // what to do about it; may be empty
	Login *Login // set when the note tells of a login
}

// A Login is the outcome of one attempt to log in.
type Login struct {
	Peer    netip.AddrPort
	Account string // as the peer gave it, unchecked; empty if it gave none
	Method  string // "none", "md5", "ecsrp5"
	Reason  string // why it failed; empty when it succeeded
}

// The codes of Notes that tell of a login.
const (
	NoteAuthSuccess = "auth_success"
	NoteAuthFailure = "auth_failure"
)

// NotePoliced is the code of a Note: a client sends faster than it may.
const NotePoliced = "upload_policed"

// An End closes a run.
type End struct {
	Head
	Elapsed time.Duration // from the first data to the last
	Down    *Total        // nil when nothing was to flow that way
	Up      *Total
	CPU     CPU // means over the run
	Latency *Latency
	// RoundTrips is of tests by packets that come back, one for each session;
	// they have no Down and no Up.
	RoundTrips []RoundTrips
	Why        *Why
	Verdict    *Verdict // nil without thresholds
	// Moved is what a server moved for the run in all, as quotas count it: besides
	// the totals also what came before or after they were taken. Nil where nobody
	// counts so.
	Moved  *Moved
	Reason string // why it stopped, a fixed word such as ReasonDone
	Err    error  // nil when it ended as planned
}

// Moved is payload that one end moved, bytes.
type Moved struct{ Sent, Received uint64 }

// Total returns the total of direction d, Down or Up, or nil.
func (e End) Total(d Direction) *Total {
	switch d {
	case Down:
		return e.Down
	case Up:
		return e.Up
	}
	return nil
}

// Local is the view of direction d from the end that reports, or nil.
func (e End) Local(d Direction) *View {
	if t := e.Total(d); t != nil {
		return local(e.Role, d, t.Sent, t.Received)
	}
	return nil
}

// Remote is the view of direction d that the far end told us of, or nil.
func (e End) Remote(d Direction) *View {
	if t := e.Total(d); t != nil {
		return local(e.Role, d, t.Received, t.Sent)
	}
	return nil
}

// The words for why a run stopped.
const (
	ReasonDone               = "done"                 // the asked time, bytes or packets are over
	ReasonInterrupted        = "interrupted"          // the user stopped it
	ReasonClientGone         = "client_disconnected"  // the client closed, which is how a client ends a test
	ReasonServerGone         = "server_disconnected"  // the server closed before the time was over
	ReasonPeerSilent         = "peer_silent"          // nothing came any more
	ReasonMaxDuration        = "max_duration_reached" // the server's limit
	ReasonShutdown           = "server_shutdown"
	ReasonFailed             = "failed" // see Err
	ReasonTooManyConnections = "too_many_connections"
	ReasonBytesExceeded      = "byte_budget_exhausted"
)

func (Begin) event()    {}
func (Interval) event() {}
func (Note) event()     {}
func (End) event()      {}
