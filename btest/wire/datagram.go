package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
)

// Header bytes that the protocol counts into every datagram's size and rate.
// RouterOS's manual: "IP header + UDP header + data"; over IPv6 not confirmed.
const (
	overhead4 = 20 + 8
	overhead6 = 40 + 8
)

// Overhead is the number of header bytes that count for a datagram to or from a.
func Overhead(a netip.Addr) int {
	if a.Unmap().Is4() {
		return overhead4
	}
	return overhead6
}

// PayloadLen is the payload of a packet of size bytes to or from a: at least
// the room that the sequence number needs.
func PayloadLen(size int, a netip.Addr) int { return max(SequenceLen, size-Overhead(a)) }

// ParseSequence reads the number of a datagram:
//
//	off len
//	  0   4  sequence, big-endian
//	  4   -  zeros or random
//
// Shorter datagrams are probes and carry none.
func ParseSequence(b []byte) (uint32, error) {
	if len(b) < SequenceLen {
		return 0, fmt.Errorf("btest: datagram: %w", io.ErrUnexpectedEOF)
	}
	return binary.BigEndian.Uint32(b), nil
}

// PutSequence writes the number of a datagram into its first SequenceLen bytes.
func PutSequence(b []byte, seq uint32) { binary.BigEndian.PutUint32(b, seq) }
