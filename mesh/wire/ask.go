package wire

import "encoding/binary"

// An Ask asks the server what two nodes reported of each other.
//
//	off len
//	  0  16  A
//	 16  16  B
type Ask struct{ A, B ID }

// Type returns RecordAsk.
func (Ask) Type() RecordType { return RecordAsk }

// ParseAsk reads an Ask and ignores what follows.
func ParseAsk(b []byte) (Ask, error) {
	r := &reader{what: "ask", b: b}
	a := Ask{r.id(), r.id()}
	return a, r.err
}

// AppendBinary appends a to b. It never fails.
func (a Ask) AppendBinary(b []byte) ([]byte, error) {
	return append(append(b, a.A[:]...), a.B[:]...), nil
}

// A Told is what one node reported of another, as the server passes it on.
//
//	off len
//	  0  16  From
//	 16   4  Age, s
//	 20  48  Finding
type Told struct {
	From    ID
	Age     uint32 // seconds since it was reported
	Finding Finding
}

// Tolds answer an Ask: those of its two nodes that are there and have reported.
// On the wire they are the two nodes asked for, a count of one byte, and as many
// Told.
type Tolds struct {
	Ask
	All []Told
}

// maxTolds is how many there can be: one of each node.
const maxTolds = 2

// Type returns RecordTold.
func (Tolds) Type() RecordType { return RecordTold }

// ParseTolds reads Tolds and ignores what follows.
func ParseTolds(b []byte) (Tolds, error) {
	r := &reader{what: "told", b: b}
	t := Tolds{Ask: Ask{r.id(), r.id()}}
	n := int(r.u8())
	if n > maxTolds {
		r.bad("count", uint64(n))
	}
	for range n {
		one := Told{From: r.id(), Age: r.u32(), Finding: r.finding()}
		if r.err != nil {
			return Tolds{}, r.err
		}
		t.All = append(t.All, one)
	}
	return t, r.err
}

// AppendBinary appends t to b. It fails if there are more than two.
func (t Tolds) AppendBinary(b []byte) ([]byte, error) {
	if len(t.All) > maxTolds {
		return b, &FieldError{Message: "told", Field: "count", Value: uint64(len(t.All))}
	}
	b, _ = t.Ask.AppendBinary(b) // never fails
	b = append(b, byte(len(t.All)))
	for _, one := range t.All {
		b = binary.BigEndian.AppendUint32(append(b, one.From[:]...), one.Age)
		b = one.Finding.append(b)
	}
	return b, nil
}
