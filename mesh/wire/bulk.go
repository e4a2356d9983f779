package wire

import "encoding/binary"

// Limits of bulk transfer.
const (
	MinBlock     = 64
	MaxBlock     = 1200
	DefaultBlock = 1024
	MaxGet       = 64 // blocks that one request may ask for
	MaxObject    = MaxBlock << 32
)

// A Hash is a SHA-256 (FIPS 180-4), which names an object.
type Hash [32]byte

// An Offer is an object that may be had.
//
//	off len
//	  0   8  Request
//	  8  32  Object
//	 40   8  Size
//	 48   2  BlockSize, 64 to 1200
//	 50   1  flags: 1 Push
//	 51   2  Expires, s
//	 53   1  length of Name
//	 54   n  Name
//	   + 32  Hashes
type Offer struct {
	Request   uint64 // from Want, or random in a push
	Object    Hash   // of the whole
	Size      uint64 // bytes
	BlockSize uint16 // bytes; the last block may be shorter
	Push      bool
	Expires   uint16 // seconds without a request until the sender forgets
	Name      string // a label, never a path
	Hashes    Hash   // of the hashes of all blocks; zero if there are none
}

// Blocks is how many blocks the object has.
func (o Offer) Blocks() uint32 {
	return uint32(o.Size/uint64(o.BlockSize)) + uint32(min(o.Size%uint64(o.BlockSize), 1))
}

// Type returns RecordOffer.
func (Offer) Type() RecordType { return RecordOffer }

// ParseOffer reads an Offer and ignores what follows. An object of more blocks
// than 32 bits can number is refused.
func ParseOffer(b []byte) (Offer, error) {
	r := &reader{what: "offer", b: b}
	o := Offer{Request: r.u64(), Object: r.hash(), Size: r.u64(), BlockSize: r.u16()}
	o.Push = r.u8()&1 != 0
	o.Expires, o.Name, o.Hashes = r.u16(), r.text(), r.hash()
	switch {
	case o.BlockSize < MinBlock || o.BlockSize > MaxBlock:
		r.bad("block size", uint64(o.BlockSize))
	case o.Size > uint64(o.BlockSize)*(1<<32-1):
		r.bad("size", o.Size)
	}
	return o, r.err
}

// AppendBinary appends o to b. It fails if the name is longer than 255 bytes.
func (o Offer) AppendBinary(b []byte) ([]byte, error) {
	b = append(binary.BigEndian.AppendUint64(b, o.Request), o.Object[:]...)
	b = binary.BigEndian.AppendUint64(b, o.Size)
	b = binary.BigEndian.AppendUint16(b, o.BlockSize)
	var flags byte
	if o.Push {
		flags = 1
	}
	b = binary.BigEndian.AppendUint16(append(b, flags), o.Expires)
	b, err := appendText(b, "offer", o.Name, 255)
	return append(b, o.Hashes[:]...), err
}

// A WantKind is how a Want names an object.
type WantKind uint8

// The kinds of wants.
const (
	WantName   WantKind = 1
	WantObject WantKind = 2 // by the 32 bytes of its hash
)

// A Want asks for an object.
//
//	off len
//	  0   8  Request, random
//	  8   1  Kind
//	  9   1  length of What
//	 10   n  What
type Want struct {
	Request uint64
	Kind    WantKind
	What    string
}

// Type returns RecordWant.
func (Want) Type() RecordType { return RecordWant }

// ParseWant reads a Want and ignores what follows.
func ParseWant(b []byte) (Want, error) {
	r := &reader{what: "want", b: b}
	w := Want{r.u64(), WantKind(r.u8()), r.text()}
	switch {
	case w.Kind != WantName && w.Kind != WantObject:
		r.bad("kind", uint64(w.Kind))
	case w.Kind == WantObject && len(w.What) != len(Hash{}):
		r.bad("hash length", uint64(len(w.What)))
	}
	return w, r.err
}

// AppendBinary appends w to b. It fails if What is longer than 255 bytes.
func (w Want) AppendBinary(b []byte) ([]byte, error) {
	return appendText(append(binary.BigEndian.AppendUint64(b, w.Request), byte(w.Kind)), "want", w.What, 255)
}

// A Run is blocks in a row.
type Run struct{ First, Count uint32 }

// A Get asks for blocks.
//
//	off len
//	  0   8  Request
//	  8   2  Window
//	 10   1  count of Runs
//	 11   6  each: First 4, Count 2
type Get struct {
	Request uint64
	Window  uint16 // a hint: blocks that the receiver keeps in flight
	Runs    []Run  // at most MaxGet blocks in all
}

// Type returns RecordGet.
func (Get) Type() RecordType { return RecordGet }

// ParseGet reads a Get and ignores what follows.
func ParseGet(b []byte) (Get, error) {
	r := &reader{what: "get", b: b}
	g := Get{Request: r.u64(), Window: r.u16()}
	var blocks uint32
	for range r.u8() {
		run := Run{r.u32(), uint32(r.u16())}
		blocks += run.Count
		switch {
		case r.err != nil:
			return Get{}, r.err
		case run.Count == 0 || run.First+(run.Count-1) < run.First || blocks > MaxGet:
			r.bad("blocks", uint64(run.Count))
			return Get{}, r.err
		}
		g.Runs = append(g.Runs, run)
	}
	return g, r.err
}

// AppendBinary appends g to b. It fails if it asks for more than MaxGet blocks.
func (g Get) AppendBinary(b []byte) ([]byte, error) {
	var blocks uint64
	for _, run := range g.Runs {
		blocks += uint64(run.Count)
	}
	if blocks > MaxGet || len(g.Runs) > MaxGet {
		return b, &FieldError{Message: "get", Field: "blocks", Value: blocks}
	}
	b = binary.BigEndian.AppendUint64(b, g.Request)
	b = append(binary.BigEndian.AppendUint16(b, g.Window), byte(len(g.Runs)))
	for _, run := range g.Runs {
		b = binary.BigEndian.AppendUint32(b, run.First)
		b = binary.BigEndian.AppendUint16(b, uint16(run.Count))
	}
	return b, nil
}

// A Block is one block of an object; a packet has at most one.
//
//	off len
//	  0   8  Request
//	  8   4  Number, from 0
//	 12   2  length of Data, at most 1200
//	 14   n  Data
type Block struct {
	Request uint64
	Number  uint32
	Data    []byte
}

// Type returns RecordBlock.
func (Block) Type() RecordType { return RecordBlock }

// ParseBlock reads a Block, whose Data aliases b, and ignores what follows.
func ParseBlock(b []byte) (Block, error) {
	r := &reader{what: "block", b: b}
	k := Block{Request: r.u64(), Number: r.u32()}
	n := int(r.u16())
	if n > MaxBlock {
		r.bad("length", uint64(n))
	}
	k.Data = r.take(n)
	return k, r.err
}

// AppendBinary appends k to b. It fails if Data is longer than MaxBlock.
func (k Block) AppendBinary(b []byte) ([]byte, error) {
	if len(k.Data) > MaxBlock {
		return b, &FieldError{"block", "data", uint64(len(k.Data)), "length"}
	}
	b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(b, k.Request), k.Number)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(k.Data))), k.Data...), nil
}

// A DoneStatus is how a transfer ended at the receiver.
type DoneStatus uint8

// The ends.
const (
	DoneComplete DoneStatus = 0
	DoneRefused  DoneStatus = 1
	DoneGaveUp   DoneStatus = 2
	DoneWrong    DoneStatus = 3 // the hash differs
)

// A Done ends a transfer: Request in 8 bytes, Status in one.
type Done struct {
	Request uint64
	Status  DoneStatus
}

// Type returns RecordDone.
func (Done) Type() RecordType { return RecordDone }

// ParseDone reads a Done and ignores what follows.
func ParseDone(b []byte) (Done, error) {
	r := &reader{what: "done", b: b}
	d := Done{r.u64(), DoneStatus(r.u8())}
	if d.Status > DoneWrong {
		r.bad("status", uint64(d.Status))
	}
	return d, r.err
}

// AppendBinary appends d to b. It never fails.
func (d Done) AppendBinary(b []byte) ([]byte, error) {
	return append(binary.BigEndian.AppendUint64(b, d.Request), byte(d.Status)), nil
}

// A CancelReason is why an end wants no more of a transfer.
type CancelReason uint8

// The reasons.
const (
	CancelClosed   CancelReason = 0
	CancelNotFound CancelReason = 1
	CancelRefused  CancelReason = 2
	CancelBusy     CancelReason = 3
	CancelLocal    CancelReason = 4
	CancelExpired  CancelReason = 5
)

// A Cancel ends a transfer from either end: Request in 8 bytes, Reason in one,
// and a text to the end, at most 255 bytes.
type Cancel struct {
	Request uint64
	Reason  CancelReason
	Text    string
}

// Type returns RecordCancel.
func (Cancel) Type() RecordType { return RecordCancel }

// ParseCancel reads a Cancel.
func ParseCancel(b []byte) (Cancel, error) {
	r := &reader{what: "cancel", b: b}
	c := Cancel{Request: r.u64(), Reason: CancelReason(r.u8())}
	switch {
	case c.Reason > CancelExpired:
		r.bad("reason", uint64(c.Reason))
	case len(r.b) > 255:
		r.bad("text length", uint64(len(r.b)))
	}
	c.Text = string(r.b)
	return c, r.err
}

// AppendBinary appends c to b. It fails if Text is longer than 255 bytes.
func (c Cancel) AppendBinary(b []byte) ([]byte, error) {
	if len(c.Text) > 255 {
		return b, &FieldError{"cancel", "text", uint64(len(c.Text)), "length"}
	}
	return append(append(binary.BigEndian.AppendUint64(b, c.Request), byte(c.Reason)), c.Text...), nil
}

// A Have asks who has an object, or says which blocks of it one has.
//
//	off len
//	  0  32  Object
//	 32   2  BlockSize
//	 34   4  Blocks
//	 38   1  flags: 1 Query, 2 Complete
//	 39   2  count of Runs, at most MaxRuns
//	 41   8  each: First 4, Count 4
type Have struct {
	Object    Hash
	BlockSize uint16
	Blocks    uint32
	Query     bool
	Complete  bool
	Runs      []Run // in rising order, apart from each other, within Blocks
}

// MaxRuns is how many runs fit into one Have.
const MaxRuns = 160

// Type returns RecordHave.
func (Have) Type() RecordType { return RecordHave }

// ParseHave reads a Have and ignores what follows.
func ParseHave(b []byte) (Have, error) {
	r := &reader{what: "have", b: b}
	h := Have{Object: r.hash(), BlockSize: r.u16(), Blocks: r.u32()}
	flags := r.u8()
	h.Query, h.Complete = flags&1 != 0, flags&2 != 0
	n := int(r.u16())
	if n > MaxRuns {
		r.bad("run count", uint64(n))
	}
	var next uint64
	for range n {
		run := Run{r.u32(), r.u32()}
		end := uint64(run.First) + uint64(run.Count)
		if r.err == nil && (run.Count == 0 || uint64(run.First) < next || end > uint64(h.Blocks)) {
			r.bad("run", uint64(run.First))
		}
		if r.err != nil {
			return Have{}, r.err
		}
		h.Runs, next = append(h.Runs, run), end
	}
	return h, r.err
}

// AppendBinary appends h to b. It fails if there are more than MaxRuns runs.
func (h Have) AppendBinary(b []byte) ([]byte, error) {
	if len(h.Runs) > MaxRuns {
		return b, &FieldError{Message: "have", Field: "run count", Value: uint64(len(h.Runs))}
	}
	b = binary.BigEndian.AppendUint16(append(b, h.Object[:]...), h.BlockSize)
	b = binary.BigEndian.AppendUint32(b, h.Blocks)
	var flags byte
	if h.Query {
		flags |= 1
	}
	if h.Complete {
		flags |= 2
	}
	b = binary.BigEndian.AppendUint16(append(b, flags), uint16(len(h.Runs)))
	for _, run := range h.Runs {
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, run.First), run.Count)
	}
	return b, nil
}
