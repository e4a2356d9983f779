// Package wire reads and writes rperf's control messages and the headers of
// its data streams.
//
// It is pure: no I/O, no clock, no goroutine. The protocol has no published
// specification; docs/protocols/rperf.md says where each field comes from, how
// sure we are of it and what real peers do. The messages are those of rperf
// 0.1.8. Numbers outside JSON are big-endian; rates and lengths are bytes.
//
// Everything a peer can say is bounded here: size and depth of a message, how
// many keys it has, and every number in it.
package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// Sizes and numbers of the protocol.
const (
	DefaultPort = 5199 // TCP, the server's

	PrefixLen  = 2     // of the length before each control message
	MaxPayload = 65535 // bytes of one control message

	TestIDLen = 16
	HeaderLen = 36 // of a datagram: test id, packet id, send time
	MarkerLen = 16 // of the datagram that ends a stream: the test id alone
	Markers   = 5  // how many of them the peer sends

	// Overhead is what both ends add to each datagram's payload when they
	// count bytes: a UDP header.
	Overhead = 8

	MaxStreams       = 255
	MinTCPLength     = TestIDLen
	MinUDPLength     = HeaderLen
	MaxLength        = 1 << 30
	DefaultTCPLength = 32768
	DefaultUDPLength = 1024
)

// Times of the protocol.
const (
	// MaxDuration is the longest that a test may ask for: longer than any
	// test, and far below what a time.Duration holds.
	MaxDuration = 1e9 // seconds

	DefaultSendInterval = 50 * time.Millisecond
)

// A Kind says what a control message is.
type Kind string

// The kinds of rperf 0.1.8, and ours.
const (
	KindConfiguration Kind = "configuration"
	KindConnect       Kind = "connect"
	KindConnectReady  Kind = "connect-ready"
	KindBegin         Kind = "begin"
	KindReceive       Kind = "receive"
	KindSend          Kind = "send"
	KindDone          Kind = "done"
	KindFailed        Kind = "failed"
	KindEnd           Kind = "end"
	KindQueued        Kind = "sonde-queued"
)

// A TestID names a test: 16 random bytes, the credential of its data streams.
type TestID [TestIDLen]byte

// PayloadLen returns how many bytes of payload follow the prefix. A length of
// zero is refused: a real server waits for ever for such a payload.
func PayloadLen(prefix [PrefixLen]byte) (int, error) {
	n := int(binary.BigEndian.Uint16(prefix[:]))
	if n == 0 {
		return 0, errEmpty
	}
	return n, nil
}

var errEmpty = fmt.Errorf("rperf: message of length 0")

// ParseFrame cuts the first control message off b: its payload, and what
// follows it.
func ParseFrame(b []byte) (payload, rest []byte, err error) {
	if len(b) < PrefixLen {
		return nil, b, fmt.Errorf("rperf: message length: %w", io.ErrUnexpectedEOF)
	}
	n, err := PayloadLen([PrefixLen]byte(b))
	if err != nil {
		return nil, b, err
	}
	if len(b) < PrefixLen+n {
		return nil, b, fmt.Errorf("rperf: message of %d bytes: %w", n, io.ErrUnexpectedEOF)
	}
	return b[PrefixLen : PrefixLen+n], b[PrefixLen+n:], nil
}

// AppendFrame appends m with its prefix to b. It fails when m is longer than
// the prefix can say: the peer would take the rest for another message.
func AppendFrame(b []byte, m Message) ([]byte, error) {
	start := len(b)
	b, err := m.AppendBinary(append(b, 0, 0))
	if err != nil {
		return b[:start], err
	}
	n := len(b) - start - PrefixLen
	if n > MaxPayload {
		return b[:start], fmt.Errorf("rperf: %s of %d bytes: longer than the %d that a message can have", m.Kind(), n, MaxPayload)
	}
	binary.BigEndian.PutUint16(b[start:], uint16(n))
	return b, nil
}

// Seconds is a length of time as the peer keeps it: in single precision.
type Seconds float32

// SecondsOf converts d.
func SecondsOf(d time.Duration) Seconds { return Seconds(d.Seconds()) }

// Duration converts s, to the nearest nanosecond.
func (s Seconds) Duration() time.Duration {
	return time.Duration(float64(s)*float64(time.Second) + 0.5)
}

// A Timestamp is a moment as the peer writes it: Unix time in seconds, which
// in double precision is good to a quarter of a microsecond.
type Timestamp float64

// TimestampOf converts t.
func TimestampOf(t time.Time) Timestamp { return Timestamp(float64(t.UnixNano()) / 1e9) }

// Time converts t.
func (t Timestamp) Time() time.Time {
	whole := int64(t)
	return time.Unix(whole, int64((float64(t)-float64(whole))*1e9))
}

// A FieldError reports a key whose value the protocol does not allow, or a key
// that is missing.
type FieldError struct {
	Message string // such as "configuration"
	Field   string // such as "length"
	Value   string // as it came, cut to a few characters; empty when it is missing
	Want    string // what would be right, such as "a whole number from 16 to 65535"
}

func (e *FieldError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("rperf: %s: %s is missing, want %s", e.Message, e.Field, e.Want)
	}
	return fmt.Sprintf("rperf: %s: %s is %s, want %s", e.Message, e.Field, e.Value, e.Want)
}
