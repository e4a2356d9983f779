package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// Lengths of a datagram's header.
const (
	Header32Len = 12
	Header64Len = 16
)

// HeaderLen is the length of the header with counters of 32 or 64 bits.
func HeaderLen(counters64 bool) int {
	if counters64 {
		return Header64Len
	}
	return Header32Len
}

// A Header begins every datagram of a UDP stream.
//
//	off len
//	  0   4    Sent: seconds
//	  4   4    Sent: microseconds
//	  8   4, 8 Seq, from 1
//	     …     payload
//
// Sent is the sender's monotonic clock since 3.7, not the time of day: only
// differences between two of one stream mean something.
type Header struct {
	Sent time.Duration // a whole number of microseconds, below 2^32 seconds
	Seq  uint64        // 32 bits of it travel unless counters have 64
}

// ParseHeader reads a Header from the front of b and ignores what follows.
func ParseHeader(b []byte, counters64 bool) (Header, error) {
	if len(b) < HeaderLen(counters64) {
		return Header{}, fmt.Errorf("iperf3: datagram: %w", io.ErrUnexpectedEOF)
	}
	h := Header{
		Sent: time.Duration(binary.BigEndian.Uint32(b))*time.Second +
			time.Duration(binary.BigEndian.Uint32(b[4:]))*time.Microsecond,
		Seq: uint64(binary.BigEndian.Uint32(b[8:])),
	}
	if counters64 {
		h.Seq = binary.BigEndian.Uint64(b[8:])
	}
	return h, nil
}

// AppendBinary appends h to b. It never fails.
func (h Header) AppendBinary(b []byte, counters64 bool) ([]byte, error) {
	n := HeaderLen(counters64)
	b = append(b, make([]byte, n)...)
	h.Put(b[len(b)-n:], counters64)
	return b, nil
}

// Put writes h over the front of b, which has room for it.
func (h Header) Put(b []byte, counters64 bool) {
	_ = b[HeaderLen(counters64)-1]
	binary.BigEndian.PutUint32(b, uint32(h.Sent/time.Second))
	binary.BigEndian.PutUint32(b[4:], uint32(h.Sent%time.Second/time.Microsecond))
	if counters64 {
		binary.BigEndian.PutUint64(b[8:], h.Seq)
		return
	}
	binary.BigEndian.PutUint32(b[8:], uint32(h.Seq))
}

// HelloLen is the length of the datagrams that open a UDP stream: the client
// sends a Hello, the server answers with a HelloReply from the same port.
const HelloLen = 4

// What opens a UDP stream. Versions before 3.12 had other values, and all of
// them stand in the byte order of the machine that wrote them.
var (
	Hello         = [HelloLen]byte{0x39, 0x38, 0x37, 0x36}
	HelloReply    = [HelloLen]byte{0x36, 0x37, 0x38, 0x39}
	OldHello      = [HelloLen]byte{0x15, 0xcd, 0x5b, 0x07}
	OldHelloReply = [HelloLen]byte{0xb1, 0x68, 0xde, 0x3a}
)

// IsHelloReply says whether a datagram is a server's answer to a Hello, of any
// version and byte order.
func IsHelloReply(b []byte) bool { return isEither(b, HelloReply, OldHelloReply) }

// IsHello says whether a datagram asks for a stream. Real servers do not look
// at its bytes; we do, so that stray datagrams open none.
func IsHello(b []byte) bool { return isEither(b, Hello, OldHello) }

func isEither(b []byte, values ...[HelloLen]byte) bool {
	if len(b) != HelloLen {
		return false
	}
	got := [HelloLen]byte(b)
	turned := [HelloLen]byte{got[3], got[2], got[1], got[0]}
	for _, v := range values {
		if got == v || turned == v {
			return true
		}
	}
	return false
}

// AnswerTo is the reply to a hello: of the version that the client speaks and
// in its byte order, so that the oldest client knows it.
func AnswerTo(hello []byte) [HelloLen]byte {
	if len(hello) != HelloLen {
		return HelloReply
	}
	switch [HelloLen]byte(hello) {
	case OldHello:
		return OldHelloReply
	case [HelloLen]byte{0x07, 0x5b, 0xcd, 0x15}:
		return [HelloLen]byte{0x3a, 0xde, 0x68, 0xb1}
	case [HelloLen]byte{0x36, 0x37, 0x38, 0x39}:
		return [HelloLen]byte{0x39, 0x38, 0x37, 0x36}
	}
	return HelloReply
}
