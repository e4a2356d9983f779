package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Short packets come from anybody, so telling of them must not cost anything.
var (
	errShortRequest = fmt.Errorf("twamp: request: %w", io.ErrUnexpectedEOF)
	errShortReply   = fmt.Errorf("twamp: reply: %w", io.ErrUnexpectedEOF)
)

// A Request is a test packet from a Session-Sender, without its padding.
//
//	        len  short  keyed
//	Seq       4      0      0
//	Sent      8      4     16
//	Error     2     12     24
//	SSID      2     14     26  STAMP only
//	HMAC     16      -     32  keyed; STAMP: at 96
//
// What lies between is zero. Short is modes 1 and 8, TWAMP Light and STAMP
// without authentication; keyed is modes 2 and 4 and authenticated STAMP.
//
// Source: RFC 5357, section 4.1.2; RFC 8762, section 4.2; RFC 8972, section 3.
type Request struct {
	Seq   uint32
	Sent  Timestamp // T1, in the format that Error says
	Error ErrorEstimate
	SSID  uint16 // 0 if unused
	HMAC  HMAC   // zero in short packets
}

// ParseRequest reads a Request from the front of b, which must hold the fixed
// part but for the zeros that a symmetrical layout adds, and ignores what
// follows. It allocates nothing.
func ParseRequest(b []byte, l Layout) (Request, error) {
	need := l
	need.Symmetrical = false // those zeros carry nothing, and some peers leave them out
	if len(b) < need.RequestLen() {
		return Request{}, errShortRequest
	}
	r := Request{Seq: binary.BigEndian.Uint32(b)}
	stamp := b[4:]
	if l.Keyed {
		stamp = b[16:]
		r.HMAC = HMAC(b[l.hmacAt():])
	}
	r.Sent = Timestamp(binary.BigEndian.Uint64(stamp))
	r.Error = ErrorEstimate(binary.BigEndian.Uint16(stamp[8:]))
	if l.STAMP {
		r.SSID = binary.BigEndian.Uint16(stamp[10:])
	}
	return r, nil
}

// Append appends the l.RequestLen() octets of r to b; the padding is to follow.
func (r Request) Append(b []byte, l Layout) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint32(b, r.Seq)
	if l.Keyed {
		b = append(b, zeros[:12]...)
	}
	b = appendStamp(b, r.Sent, r.Error, r.SSID, l)
	if l.Keyed {
		b = append(b, zeros[:start+l.hmacAt()-len(b)]...)
		b = append(b, r.HMAC[:]...)
	}
	return append(b, zeros[:start+l.RequestLen()-len(b)]...)
}

// appendStamp appends a timestamp with its error estimate and, in STAMP, the
// SSID.
func appendStamp(b []byte, t Timestamp, e ErrorEstimate, ssid uint16, l Layout) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(t))
	b = binary.BigEndian.AppendUint16(b, uint16(e))
	if l.STAMP {
		b = binary.BigEndian.AppendUint16(b, ssid)
	}
	return b
}
