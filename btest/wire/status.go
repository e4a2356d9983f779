package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// statusMark is the first byte of a status.
const statusMark = 0x07

// cpuKnown is set in byte 1 of a status that tells the CPU load.
const cpuKnown = 0x80

// NoCPU as a Status's CPU means that the peer does not tell it.
const NoCPU = 0xff

// A Status is what each end tells the other once a second: on the control
// connection of a UDP test, between the data of a TCP test.
//
//	off len
//	  0   1  07
//	  1   1  80 + CPU percent; 00 when not told
//	  2   2  0
//	  4   4  Seq, little-endian, from 1
//	  8   4  Received, little-endian
//
// Source: log of RouterOS 6.46.4 and testdata/rs-udp-*.json. btest-opensource
// packs the number big-endian at offset 1, which reads the same below 256:
// bytes 1 to 7 are therefore never refused.
type Status struct {
	CPU      uint8  // percent, 0 to 100, or NoCPU
	Seq      uint32 // 1, 2, 3, …
	Received uint32 // bytes in the last interval, UDP with headers; saturates
}

// ParseStatus reads a Status from the front of b.
func ParseStatus(b []byte) (Status, error) {
	if len(b) < StatusLen {
		return Status{}, fmt.Errorf("btest: status: %w", io.ErrUnexpectedEOF)
	}
	if b[0] != statusMark {
		return Status{}, &FieldError{"status", "mark", uint64(b[0])}
	}
	s := Status{
		CPU:      NoCPU,
		Seq:      binary.LittleEndian.Uint32(b[4:]),
		Received: binary.LittleEndian.Uint32(b[8:]),
	}
	if b[1]&cpuKnown != 0 {
		s.CPU = min(b[1]&^cpuKnown, 100)
	}
	return s, nil
}

// AppendBinary appends s's StatusLen bytes to b. It never fails.
func (s Status) AppendBinary(b []byte) ([]byte, error) {
	cpu := byte(0)
	if s.CPU != NoCPU {
		cpu = cpuKnown | min(s.CPU, 100)
	}
	b = append(b, statusMark, cpu, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, s.Seq)
	return binary.LittleEndian.AppendUint32(b, s.Received), nil
}

// Saturate is n as a Status can carry it: 2³²−1 means at least that many.
func Saturate(n uint64) uint32 { return uint32(min(n, math.MaxUint32)) }

// FillRandom fills b with what random yields, without any byte that begins a
// status: nothing else marks one inside random data.
func FillRandom(b []byte, random func() uint64) {
	for i := range b {
		for b[i] = byte(random()); b[i] == statusMark; b[i] = byte(random()) {
		}
	}
}
