package wire

import "encoding/binary"

// EntryFlags say more of an Entry.
type EntryFlags uint8

// The flags.
const (
	EntryOld       EntryFlags = 1 // an original client: knows no records
	EntryGone      EntryFlags = 2 // is no longer listed
	EntryNeighbour EntryFlags = 4 // has the same outside address as the receiver
	EntryRelayed   EntryFlags = 8 // needed the relay the last time
)

// An Entry is one client in a List.
//
//	off len
//	  0  16  ID
//	 16   1  Flags
//	 17   1  Mapping
//	 18   1  Filtering
//	 19   n  Candidates: count, candidates
//	   +  1  length of Name, 0 to 63
//	   +  n  Name
type Entry struct {
	ID         ID
	Flags      EntryFlags
	Mapping    Behaviour
	Filtering  Behaviour
	Candidates []Candidate
	Name       string
}

// A List is one page of who is there.
//
//	off len
//	  0   4  Generation
//	  4   1  Page, from 0
//	  5   1  Pages
//	  6   2  Total, and in its top bit Delta
//	  8   n  entries, to the end
type List struct {
	Generation uint32
	Page       uint8
	Pages      uint8
	Total      uint16 // entries of all pages, at most MaxEntries
	Delta      bool   // only what has changed follows
	Entries    []Entry
}

// MaxEntries is how many clients a list may have.
const MaxEntries = 0x7fff

const deltaBit = 0x8000

// Type returns RecordList.
func (List) Type() RecordType { return RecordList }

// ParseList reads a List.
func ParseList(b []byte) (List, error) {
	r := &reader{what: "list", b: b}
	l := List{Generation: r.u32(), Page: r.u8(), Pages: r.u8(), Total: r.u16()}
	l.Delta = l.Total&deltaBit != 0
	l.Total &^= deltaBit
	if r.err == nil && l.Page >= l.Pages {
		r.bad("page", uint64(l.Page))
	}
	for r.err == nil && len(r.b) > 0 {
		l.Entries = append(l.Entries, r.entry())
	}
	if r.err == nil && !l.Delta && len(l.Entries) > int(l.Total) {
		r.bad("total", uint64(l.Total))
	}
	if r.err != nil {
		return List{}, r.err
	}
	return l, nil
}

func (r *reader) entry() Entry {
	return Entry{
		ID: r.id(), Flags: EntryFlags(r.u8()),
		Mapping: r.behaviour("mapping"), Filtering: r.behaviour("filtering"),
		Candidates: r.candidates(), Name: r.name(),
	}
}

// AppendBinary appends l to b. It fails if a count or a name is too long.
func (l List) AppendBinary(b []byte) ([]byte, error) {
	if l.Total > MaxEntries || l.Page >= l.Pages || !l.Delta && len(l.Entries) > int(l.Total) {
		return b, &FieldError{Message: "list", Field: "page or total", Value: uint64(l.Total)}
	}
	total := l.Total
	if l.Delta {
		total |= deltaBit
	}
	b = append(binary.BigEndian.AppendUint32(b, l.Generation), l.Page, l.Pages)
	b = binary.BigEndian.AppendUint16(b, total)
	var err error
	for _, e := range l.Entries {
		if b, err = e.AppendBinary(b); err != nil {
			return b, err
		}
	}
	return b, nil
}

// AppendBinary appends e to b. It fails if a count or the name is too long.
func (e Entry) AppendBinary(b []byte) ([]byte, error) {
	b = append(append(b, e.ID[:]...), byte(e.Flags), byte(e.Mapping), byte(e.Filtering))
	b, err := appendCandidates(b, "list entry", e.Candidates)
	if err != nil {
		return b, err
	}
	return appendText(b, "list entry", e.Name, MaxName)
}
