package transcript

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// A MismatchError says that the far end of a replay did not say what the
// recording has.
type MismatchError struct {
	Message        // the event, and in Data what came
	Want    []byte // what the recording has; nil when it has a close
	Mask    []byte // which bits of Want count; nil means all
	Err     error  // why no more came; nil when the bytes differ
}

func (e *MismatchError) Unwrap() error { return e.Err }

// Error says where the recording and the live peer part, with both sides in
// hexadecimal. Bytes that are not compared are shown as "..".
func (e *MismatchError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "transcript: connection %d, event %d at %v s, byte %d: ", e.Event.Conn, e.Index, seconds(e.Event.At), e.Offset)
	ending := e.Event.Kind == Fin || e.Event.Kind == Reset
	switch {
	case ending && len(e.Data) > 0:
		fmt.Fprintf(&b, "want %v from the %v, got data\ngot  % x", e.Event.Kind, e.Event.From, e.Data)
		return b.String()
	case ending:
		fmt.Fprintf(&b, "want %v from the %v: %v", e.Event.Kind, e.Event.From, e.Err)
		return b.String()
	case e.Err != nil:
		fmt.Fprintf(&b, "after %d of %d bytes from the %v: %v", len(e.Data), e.Event.Len, e.Event.From, e.Err)
	default:
		fmt.Fprintf(&b, "%v said something else, first at byte %d", e.Event.From, e.Offset+int64(e.differs()))
	}
	fmt.Fprintf(&b, "\nwant %s\ngot  %s", masked(e.Want, e.Mask), masked(e.Data, nil))
	if e.Err == nil {
		fmt.Fprintf(&b, "\n     %s", marks(e.Want, e.Data, e.Mask))
	}
	return b.String()
}

// bits is which bits of byte i are compared.
func bits(mask []byte, i int) byte {
	if mask == nil {
		return 0xff
	}
	if i < len(mask) {
		return mask[i]
	}
	return 0
}

// same compares got with want where mask says so.
func same(want, got, mask []byte) bool {
	if mask == nil {
		return bytes.Equal(want, got)
	}
	if len(want) != len(got) {
		return false
	}
	for i := range want {
		if (want[i]^got[i])&bits(mask, i) != 0 {
			return false
		}
	}
	return true
}

// differs is the first byte that is not as it should be.
func (e *MismatchError) differs() int {
	for i := range min(len(e.Want), len(e.Data)) {
		if (e.Want[i]^e.Data[i])&bits(e.Mask, i) != 0 {
			return i
		}
	}
	return min(len(e.Want), len(e.Data))
}

// mostShown is how many bytes of a message an error shows.
const mostShown = 64

func masked(b, mask []byte) string {
	var out strings.Builder
	for i, v := range b[:min(len(b), mostShown)] {
		if i > 0 {
			out.WriteByte(' ')
		}
		if bits(mask, i) == 0 {
			out.WriteString("..")
			continue
		}
		fmt.Fprintf(&out, "%02x", v)
	}
	if len(b) > mostShown {
		fmt.Fprintf(&out, " and %d more", len(b)-mostShown)
	}
	return out.String()
}

// marks points at the bytes that differ.
func marks(want, got, mask []byte) string {
	var out strings.Builder
	for i := range min(len(want), len(got), mostShown) {
		mark := "   "
		if (want[i]^got[i])&bits(mask, i) != 0 {
			mark = "^^ "
		}
		out.WriteString(mark)
	}
	return strings.TrimRight(out.String(), " ")
}

// lostOnly reports whether err of a UDP socket means only a lost datagram.
func lostOnly(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.EAGAIN) ||
		errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH)
}
