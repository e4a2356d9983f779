// Package transcript keeps recorded conversations: what two ends of a test
// said to each other, in order, with the bulk data condensed to its amount.
//
// A Recording is read from the JSON of golden recordings, from a text file
// that a person can write, or from a capture (pcap, pcapng); a Condenser makes
// one of live traffic. A Player plays one side of it against a live peer.
//
// The package knows no protocol: which bytes are random and which are bulk is
// said by its callers. It is linked into the product (decode, record), so it
// does not import testing.
package transcript

import (
	"fmt"
	"net/netip"
	"time"
)

// A Side is one end of a conversation.
type Side uint8

// The sides. The zero Side is that of a note, which nobody sent.
const (
	Client Side = iota + 1 // opened the control connection
	Server
)

// Other returns the far end of s.
func (s Side) Other() Side {
	switch s {
	case Client:
		return Server
	case Server:
		return Client
	}
	return 0
}

// String returns "client", "server" or "nobody".
func (s Side) String() string {
	switch s {
	case Client:
		return "client"
	case Server:
		return "server"
	}
	return "nobody"
}

// A Kind says what an Event is.
type Kind uint8

// The kinds of events.
const (
	Open        Kind = iota + 1 // a TCP connection was opened by From
	Data                        // bytes on a TCP connection: one segment, or a part of one
	Zeros                       // Len zero bytes in a row on a TCP connection
	Fin                         // From closed its half of a TCP connection
	Reset                       // From reset a TCP connection
	Datagram                    // one UDP datagram
	Run                         // Count UDP datagrams of Len bytes each
	Fragments                   // Count IP fragments were seen
	Unreachable                 // Count ICMP port unreachable messages were seen
	Omitted                     // Count further events were left out
)

// String returns the kind in words.
func (k Kind) String() string {
	names := [...]string{"nothing", "open", "data", "zeros", "fin", "rst",
		"datagram", "run of datagrams", "fragments", "unreachable", "omitted events"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// TCP reports whether events of kind k belong to a TCP connection.
func (k Kind) TCP() bool { return k >= Open && k <= Reset }

// UDP reports whether events of kind k are datagrams.
func (k Kind) UDP() bool { return k == Datagram || k == Run }

// An Event is one thing that was seen. Which fields count depends on Kind.
type Event struct {
	Kind Kind
	From Side          // who sent it; 0 for notes
	At   time.Duration // since the first packet
	// Last is when the last part of several that were joined came; Joined says
	// that there were several.
	Last   time.Duration
	Joined bool

	Conn int    // TCP: number of the connection, from 1
	Len  int64  // payload bytes; of each datagram, for Run
	Data []byte // the first of them; fewer than Len when the rest is not known
	// Src and Dst are the ends of a datagram. Recordings meant to be passed on
	// keep the ports only: the address is then the zero Addr.
	Src, Dst netip.AddrPort
	TOS, TTL uint8 // of a datagram's IP header, where a recording keeps them; else 0

	Count int64 // Run, Fragments, Unreachable, Omitted
	// Numbered says that First and Final are known: the sequence numbers (first
	// four bytes, big-endian) of the first and the last datagram of a Run.
	Numbered     bool
	First, Final uint32
	Note         string // Fragments, Unreachable: remark in words
}

// Bytes is the payload that the event stands for, all datagrams together.
func (e *Event) Bytes() int64 {
	switch e.Kind {
	case Data, Zeros, Datagram:
		return e.Len
	case Run:
		return e.Len * e.Count
	}
	return 0
}

// Cut reports whether only the first bytes of TCP data are known.
func (e *Event) Cut() bool { return e.Kind == Data && int64(len(e.Data)) < e.Len }

// End is when the last part of the event came.
func (e *Event) End() time.Duration {
	if e.Joined {
		return max(e.At, e.Last)
	}
	return e.At
}

// A Recording is one conversation, or several that belong together.
type Recording struct {
	Name        string
	Description string
	Server      string // program at the server's end, such as "btest-rs 0.6.3"
	Client      string // program at the client's end
	Notes       []string
	Events      []Event // in the order seen
}

// Limits on what is read: a recording is a few kilobytes, and what exceeds
// these by far is something else.
const (
	MaxFile     = 64 << 20 // bytes of a recording in JSON or text
	MaxEvents   = 200_000
	MaxConn     = 1<<16 - 1
	maxBytes    = 1 << 50 // of one event
	maxCount    = 1 << 40
	maxDatagram = 1<<16 - 1
	maxTime     = 7 * 24 * time.Hour // also keeps nanoseconds exact in a float64
)

// check says what is wrong with an event, if anything.
func (e *Event) check() error {
	switch {
	case e.Kind < Open || e.Kind > Omitted:
		return fmt.Errorf("unknown kind of event")
	case e.At < 0 || e.At > maxTime:
		return fmt.Errorf("time %v is outside 0 to %v", e.At, maxTime)
	case e.Joined && (e.Last < 0 || e.Last > maxTime):
		return fmt.Errorf("last time %v is outside 0 to %v", e.Last, maxTime)
	case (e.Kind.TCP() || e.Kind.UDP()) && e.From != Client && e.From != Server:
		return fmt.Errorf("%v without a direction", e.Kind)
	case e.Kind.TCP() && (e.Conn < 1 || e.Conn > MaxConn):
		return fmt.Errorf("%v on connection %d, want 1 to %d", e.Kind, e.Conn, MaxConn)
	case e.Len < 0 || e.Len > maxBytes || e.Kind.UDP() && e.Len > maxDatagram:
		return fmt.Errorf("%v of %d bytes", e.Kind, e.Len)
	case int64(len(e.Data)) > e.Len:
		return fmt.Errorf("%v of %d bytes shows %d", e.Kind, e.Len, len(e.Data))
	case e.Kind >= Run && (e.Count < 1 || e.Count > maxCount):
		return fmt.Errorf("%v: count %d is outside 1 to %d", e.Kind, e.Count, int64(maxCount))
	case e.Kind == Zeros && e.Len < 1:
		return fmt.Errorf("run of %d zeros", e.Len)
	}
	return nil
}

// port is an address of which only the port is known.
func port(n uint16) netip.AddrPort { return netip.AddrPortFrom(netip.Addr{}, n) }
