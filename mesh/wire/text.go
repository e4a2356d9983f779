package wire

import "encoding/binary"

// MaxText is the longest message, bytes of UTF-8.
const MaxText = 1000

// A Text is a message from the person at one node to the one at another. Its
// packet has a timestamp, whose echo says that it came.
//
//	off len
//	  0   8  Number
//	  8   2  length of Text, 0 to 1000
//	 10   n  Text
type Text struct {
	Number uint64 // the same each time it is sent
	Text   string // UTF-8
}

// Type returns RecordText.
func (Text) Type() RecordType { return RecordText }

// ParseText reads a Text and ignores what follows.
func ParseText(b []byte) (Text, error) {
	r := &reader{what: "text", b: b}
	t := Text{Number: r.u64()}
	n := int(r.u16())
	if n > MaxText {
		r.bad("length", uint64(n))
	}
	t.Text = string(r.take(n))
	return t, r.err
}

// AppendBinary appends t to b. It fails if the text is too long.
func (t Text) AppendBinary(b []byte) ([]byte, error) {
	if len(t.Text) > MaxText {
		return b, &FieldError{Message: "text", Field: "length", Value: uint64(len(t.Text))}
	}
	b = binary.BigEndian.AppendUint64(b, t.Number)
	b = binary.BigEndian.AppendUint16(b, uint16(len(t.Text)))
	return append(b, t.Text...), nil
}
