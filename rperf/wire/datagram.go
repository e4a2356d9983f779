package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// A Header begins every datagram of a UDP stream.
//
//	off len
//	  0  16  TestID
//	 16   8  Seq, from 0, one more for each datagram of the stream
//	 24   8  Sent: whole seconds since the Unix epoch
//	 32   4  Sent: nanoseconds, below 10^9
//	 36   …  filler: the byte at offset i is i mod 256
type Header struct {
	TestID TestID
	Seq    uint64
	Sent   time.Time // by the sender's clock; zero when the bytes are no time
}

// ParseHeader reads a Header from the front of b and ignores what follows.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderLen {
		return Header{}, fmt.Errorf("rperf: datagram: %w", io.ErrUnexpectedEOF)
	}
	h := Header{TestID: TestID(b), Seq: binary.BigEndian.Uint64(b[16:])}
	sec, nsec := binary.BigEndian.Uint64(b[24:]), binary.BigEndian.Uint32(b[32:])
	if sec <= maxTimestamp && nsec < 1e9 {
		h.Sent = time.Unix(int64(sec), int64(nsec))
	}
	return h, nil
}

// AppendBinary appends h's HeaderLen bytes to b. It never fails.
func (h Header) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, make([]byte, HeaderLen)...)
	h.Put(b[len(b)-HeaderLen:])
	return b, nil
}

// Put writes h over the front of b, which holds HeaderLen bytes or more.
func (h Header) Put(b []byte) {
	_ = b[HeaderLen-1]
	copy(b, h.TestID[:])
	binary.BigEndian.PutUint64(b[16:], h.Seq)
	if h.Sent.IsZero() {
		// No moment: a count of nanoseconds that cannot be.
		binary.BigEndian.PutUint64(b[24:], 0)
		binary.BigEndian.PutUint32(b[32:], 1<<32-1)
		return
	}
	binary.BigEndian.PutUint64(b[24:], uint64(h.Sent.Unix()))
	binary.BigEndian.PutUint32(b[32:], uint32(h.Sent.Nanosecond()))
}

// Fill writes the filler: the byte at offset i of a write or datagram is i mod
// 256. The headers are written over its front.
func Fill(b []byte) {
	for i := range b {
		b[i] = byte(i)
	}
}

// Block makes what a TCP sender writes over and over: the test id, then
// filler. The receiver looks only at the first 16 bytes of the stream, and it
// wants them in one segment.
func Block(id TestID, length int) []byte {
	b := make([]byte, max(length, TestIDLen))
	Fill(b)
	copy(b, id[:])
	return b
}

// A Datagram is what a receiver makes of a payload that came.
type Datagram uint8

// What a payload can be. The order of the rules is the peer's.
const (
	Data    Datagram = iota
	Marker           // the stream is over
	Runt             // too short: ignored
	Foreign          // of another test: ignored
)

// Classify says what payload is to the receiver of test id.
func Classify(id TestID, payload []byte) Datagram {
	switch {
	case len(payload) == MarkerLen && TestID(payload) == id:
		return Marker
	case len(payload) < HeaderLen:
		return Runt
	case TestID(payload) != id:
		return Foreign
	}
	return Data
}
