package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// A State is what one end tells the other in one byte. Its source: recordings
// of 3.12 for all that travel.
type State int8

// The states. 3, 5, 6, 7 and 8 are not used, 15 is never sent.
const (
	TestStart       State = 1  // server: counters and clocks start
	TestRunning     State = 2  // server: data flows
	TestEnd         State = 4  // client: the test is over
	ParamExchange   State = 9  // server: send your parameters
	CreateStreams   State = 10 // server: open your data streams
	ServerTerminate State = 11 // server: interrupted
	ClientTerminate State = 12 // client: interrupted; no results are exchanged
	ExchangeResults State = 13 // server: send your results
	DisplayResults  State = 14 // server: I have said all
	IperfStart      State = 15
	IperfDone       State = 16 // client: its last byte, also when it gives up
	AccessDenied    State = -1 // server: busy, or the cookie is wrong
	ServerError     State = -2 // server: one or two error numbers follow
)

var stateNames = map[State]string{
	TestStart:       "TEST_START",
	TestRunning:     "TEST_RUNNING",
	TestEnd:         "TEST_END",
	ParamExchange:   "PARAM_EXCHANGE",
	CreateStreams:   "CREATE_STREAMS",
	ServerTerminate: "SERVER_TERMINATE",
	ClientTerminate: "CLIENT_TERMINATE",
	ExchangeResults: "EXCHANGE_RESULTS",
	DisplayResults:  "DISPLAY_RESULTS",
	IperfStart:      "IPERF_START",
	IperfDone:       "IPERF_DONE",
	AccessDenied:    "ACCESS_DENIED",
	ServerError:     "SERVER_ERROR",
}

// String returns the name that iperf3's documents use.
func (s State) String() string {
	if name, ok := stateNames[s]; ok {
		return name
	}
	return fmt.Sprintf("state %d", int8(s))
}

// Byte is s on the wire.
func (s State) Byte() byte { return byte(s) }

// ParseState reads a State. One that is never sent is a *StateError.
func ParseState(b byte) (State, error) {
	s := State(int8(b))
	if _, ok := stateNames[s]; !ok || s == IperfStart {
		return 0, &StateError{Got: s}
	}
	return s, nil
}

// A StateError reports a state that does not belong where it came.
type StateError struct {
	Got  State
	Want State // what was waited for; 0 when anything known would do
}

func (e *StateError) Error() string {
	if e.Want == 0 {
		return fmt.Sprintf("iperf3: unknown %v", e.Got)
	}
	return fmt.Sprintf("iperf3: got %v, want %v", e.Got, e.Want)
}

// An ErrorNumber is iperf3's own number of a fault.
type ErrorNumber int32

// The numbers that matter to a peer.
const (
	BadDuration      ErrorNumber = 5
	TooManyStreams   ErrorNumber = 6
	BadBlockSize     ErrorNumber = 7
	BadUDPBlockSize  ErrorNumber = 20
	RateAboveLimit   ErrorNumber = 27
	DurationTooLong  ErrorNumber = 37
	UnknownMessage   ErrorNumber = 110
	BadParameters    ErrorNumber = 114
	BadResults       ErrorNumber = 117
	Busy             ErrorNumber = 121
	NotAuthorized    ErrorNumber = 142
	IdleTimeout      ErrorNumber = 144
	DurationExpired  ErrorNumber = 160
	StreamWriteError ErrorNumber = 205
	StreamReadError  ErrorNumber = 206
)

var errorTexts = map[ErrorNumber]string{
	BadDuration:      "bad test duration",
	TooManyStreams:   "bad number of parallel streams",
	BadBlockSize:     "bad block size",
	BadUDPBlockSize:  "bad block size for UDP",
	RateAboveLimit:   "the requested rate is above the server's limit",
	DurationTooLong:  "the requested duration is above the server's limit",
	UnknownMessage:   "unknown control message",
	BadParameters:    "bad parameters",
	BadResults:       "bad results",
	Busy:             "the server is busy",
	NotAuthorized:    "not authorized",
	IdleTimeout:      "no data for too long",
	DurationExpired:  "the test took longer than it should",
	StreamWriteError: "a stream could not be written",
	StreamReadError:  "a stream could not be read",
}

// String returns what the number means.
func (n ErrorNumber) String() string {
	if text, ok := errorTexts[n]; ok {
		return text
	}
	return fmt.Sprintf("error %d", int32(n))
}

// A PeerError is what a server said after ServerError.
type PeerError struct {
	Number ErrorNumber
	Errno  *int32 // the server's system error; nil when it sent none, as 3.12 sometimes does
}

func (e *PeerError) Error() string {
	if e.Errno == nil || *e.Errno == 0 {
		return fmt.Sprintf("iperf3: server error: %v", e.Number)
	}
	return fmt.Sprintf("iperf3: server error: %v (system error %d there)", e.Number, *e.Errno)
}

// ParsePeerError reads the numbers after ServerError: one, or two. Other bytes
// that follow are ignored.
func ParsePeerError(b []byte) (*PeerError, error) {
	if len(b) < ErrorCodeLen {
		return nil, fmt.Errorf("iperf3: error number: %w", io.ErrUnexpectedEOF)
	}
	e := &PeerError{Number: ErrorNumber(binary.BigEndian.Uint32(b))}
	if len(b) >= 2*ErrorCodeLen {
		errno := int32(binary.BigEndian.Uint32(b[ErrorCodeLen:]))
		e.Errno = &errno
	}
	return e, nil
}

// AppendBinary appends the numbers to b. It never fails.
func (e *PeerError) AppendBinary(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint32(b, uint32(e.Number))
	if e.Errno != nil {
		b = binary.BigEndian.AppendUint32(b, uint32(*e.Errno))
	}
	return b, nil
}
