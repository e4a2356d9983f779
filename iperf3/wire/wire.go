// Package wire reads and writes what iperf3 says on its control connection,
// the headers of its data streams, and the JSON document it prints.
//
// It is pure: no I/O, no clock, no goroutine. The protocol has no published
// specification; docs/protocols/iperf3.md says where each field comes from and
// how sure we are of it. The formats are those of iperf 3.12, recorded from
// the real program, with what later versions added. Integers outside JSON are
// big-endian.
//
// Everything a peer can say is bounded here: size and depth of JSON, how many
// keys it has, and every number in it.
package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// Sizes and numbers of the protocol.
const (
	DefaultPort = 5201 // the server's, for control and data, TCP and UDP

	CookieLen    = 37
	LengthLen    = 4 // of the number before each JSON block
	ErrorCodeLen = 4

	// MaxParameters is the longest block of parameters, bytes. Real servers
	// from 3.18 on refuse longer ones.
	MaxParameters = 8192
	// MaxClientResults is the longest block of results that a server takes:
	// room for 256 streams with every number at its longest.
	MaxClientResults = 128 << 10
	// MaxServerResults is the longest block of results that a client takes.
	// It may carry the server's whole output.
	MaxServerResults = 16 << 20

	MaxParallel      = 128
	MaxStreams       = 2 * MaxParallel // of a bidirectional test
	MaxOmit          = 600             // seconds
	MaxTime          = 86400           // seconds
	MaxBurst         = 1000
	DefaultTCPLength = 128 << 10
	MaxTCPLength     = 1 << 20
	DefaultUDPLength = 1460 // where the control connection's MSS is not known
	MinUDPLength     = 16
	MaxUDPLength     = 65507
	DefaultUDPRate   = 1 << 20 // bit/s; a client fills it in
)

// A Cookie names a test. It is the first thing said on the control connection
// and on every TCP data connection: 36 characters and a zero byte.
type Cookie [CookieLen]byte

const cookieLetters = "abcdefghijklmnopqrstuvwxyz234567"

// MakeCookie makes a Cookie of random bytes.
func MakeCookie(random [CookieLen - 1]byte) Cookie {
	var c Cookie
	for i, r := range random {
		c[i] = cookieLetters[r%32]
	}
	return c
}

// String returns the cookie's characters, as reports print them.
func (c Cookie) String() string { return string(c[:CookieLen-1]) }

// ParseCookie reads a Cookie from the front of b. A real server takes any 37
// bytes; so do we, but for the zero at their end.
func ParseCookie(b []byte) (Cookie, error) {
	if len(b) < CookieLen {
		return Cookie{}, fmt.Errorf("iperf3: cookie: %w", io.ErrUnexpectedEOF)
	}
	c := Cookie(b)
	if c[CookieLen-1] != 0 {
		return Cookie{}, fmt.Errorf("iperf3: cookie: no zero byte after %d characters", CookieLen-1)
	}
	return c, nil
}

// BlockLen returns how many bytes of JSON follow prefix, at most most.
func BlockLen(prefix [LengthLen]byte, most int) (int, error) {
	n := binary.BigEndian.Uint32(prefix[:])
	if n == 0 || n > uint32(most) {
		return 0, fmt.Errorf("iperf3: JSON of %d bytes, want 1 to %d", n, most)
	}
	return int(n), nil
}

// AppendBlock appends a JSON block with its length to b.
func AppendBlock(b, json []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(json))), json...)
}

// ParseBlock cuts a JSON block of at most most bytes off the front of b.
func ParseBlock(b []byte, most int) (json, rest []byte, err error) {
	if len(b) < LengthLen {
		return nil, b, fmt.Errorf("iperf3: JSON length: %w", io.ErrUnexpectedEOF)
	}
	n, err := BlockLen([LengthLen]byte(b), most)
	if err != nil {
		return nil, b, err
	}
	if len(b)-LengthLen < n {
		return nil, b, fmt.Errorf("iperf3: JSON of %d bytes: %w", n, io.ErrUnexpectedEOF)
	}
	return b[LengthLen : LengthLen+n], b[LengthLen+n:], nil
}

// StreamID is the number that stream i, from 0, has in results: 1, 3, 4, 5 and
// so on. There is no 2: the first iperf3 counted so, and its peers expect it.
func StreamID(i int) int {
	if i == 0 {
		return 1
	}
	return i + 2
}

// Seconds is a length of time as the peer writes it.
type Seconds float64

// SecondsOf converts d.
func SecondsOf(d time.Duration) Seconds { return Seconds(d.Seconds()) }

// Duration converts s, to the nearest nanosecond.
func (s Seconds) Duration() time.Duration {
	return time.Duration(float64(s)*float64(time.Second) + 0.5)
}

// A FieldError reports a key whose value the protocol does not allow, or a key
// that is missing.
type FieldError struct {
	Message string // "parameters" or "results"
	Field   string // such as "parallel"
	Value   string // as it came, cut to a few characters; empty when it is missing
	Want    string // what would be right
}

func (e *FieldError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("iperf3: %s: %s is missing, want %s", e.Message, e.Field, e.Want)
	}
	return fmt.Sprintf("iperf3: %s: %s is %s, want %s", e.Message, e.Field, e.Value, e.Want)
}

// Number is what a server answers to a peer that sent the field.
func (e *FieldError) Number() ErrorNumber {
	switch {
	case e.Message == "results":
		return BadResults
	case e.Field == "time" || e.Field == "omit":
		return BadDuration
	case e.Field == "parallel":
		return TooManyStreams
	case e.Field == "len":
		return BadBlockSize
	}
	return BadParameters
}
