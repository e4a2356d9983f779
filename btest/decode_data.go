package btest

import (
	"bytes"
	"fmt"
	"time"

	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/transcript"
)

// bulk is data that was not told yet.
type bulk struct {
	bytes, nonzero int64
	from, to       time.Duration
}

// zeros takes n zeros that from said from a time until another.
func (d *dialog) zeros(from transcript.Side, at, until time.Duration, n int64) {
	var some [wire.StatusLen]byte
	h := d.half(from)
	plain := func() bool {
		return d.stage == stageData && len(h.pending) == 0 && h.scanner.Rest() == 0 && !d.mayRepeat(from)
	}
	for fed := 0; n > 0 && fed < mostPending && d.stage != stageOver && !plain(); fed += len(some) {
		part := min(n, int64(len(some)))
		d.feed(from, at, some[:part])
		n -= part
	}
	switch {
	case n == 0:
	case plain():
		h.offset += n
		h.bulk.add(at, until, n, 0)
	default:
		h.offset += n
		d.tell(message{kind: kindUnknown, from: from, at: at, until: until, offset: h.offset - n, length: n,
			name: "unknown", text: "zeros where nothing is due"})
	}
}

// missing takes n bytes that are not known.
func (d *dialog) missing(from transcript.Side, at, until time.Duration, n int64) {
	h := d.half(from)
	if d.stage == stageData {
		h.bulk.add(at, until, n, n)
		h.offset += n
		return
	}
	d.flush(from, at)
	h.offset += n
	d.stage = stageData // where what follows is found again, if anything is
	d.tell(message{kind: kindUnknown, from: from, at: at, until: until, offset: h.offset - n, length: n, name: "missing",
		text: fmt.Sprintf("%d bytes are not in the recording", n)})
}

// beginData tells a second "go" before the data of a TCP test, and hands the
// rest to the scanner.
func (d *dialog) beginData(at time.Duration) bool {
	for _, from := range []transcript.Side{transcript.Client, transcript.Server} {
		h := d.half(from)
		if len(h.pending) == 0 {
			continue
		}
		if d.mayRepeat(from) {
			again := []byte{byte(wire.Go), 0, 0, 0}
			if len(h.pending) < len(again) && bytes.HasPrefix(again, h.pending) {
				continue // it may yet become one
			}
			d.repeated = true // told, or not there
			if bytes.HasPrefix(h.pending, again) {
				m := d.cut(from, at, len(again))
				describeReply(&m, false, false)
				m.text += " " + againRemark
				d.tell(m)
				return true
			}
		}
		b := h.pending
		h.pending = nil
		d.scan(from, at, at, b)
		return true
	}
	return false
}

// scan tells the statuses in the data of a TCP test.
func (d *dialog) scan(from transcript.Side, at, until time.Duration, b []byte) {
	h := d.half(from)
	h.offset += int64(len(b))
	h.bulk.nonzero += nonzeros(b)
	h.scanner.Random = !d.command.Zeros && h.bulk.nonzero > 64
	data := h.scanner.Scan(b, func(s wire.Status) {
		raw, _ := s.AppendBinary(nil)
		h.bulk.nonzero -= nonzeros(raw)
		d.tellBulk(from)
		m := message{kind: kindStatus, from: from, at: at, length: wire.StatusLen, raw: raw}
		describeStatus(&m, s)
		d.tell(m)
	})
	h.bulk.add(at, until, int64(data), 0)
}

func nonzeros(b []byte) int64 { return int64(len(b) - bytes.Count(b, []byte{0})) }

// add counts data that came from a time until another.
func (b *bulk) add(at, until time.Duration, n, nonzero int64) {
	if n == 0 {
		return
	}
	if b.bytes == 0 {
		b.from = at
	}
	b.bytes += n
	b.nonzero += nonzero
	b.to = max(b.to, until)
}

// tellBulk tells of the data since the last status, if there was any.
func (d *dialog) tellBulk(from transcript.Side) {
	h := d.half(from)
	if h.bulk.bytes == 0 {
		return
	}
	told := h.bulk
	told.nonzero = min(max(0, told.nonzero), told.bytes)
	h.bulk = bulk{nonzero: h.bulk.nonzero - told.nonzero} // what lies behind the status that is about to be told
	m := message{kind: kindData, from: from, at: told.from, until: told.to, length: told.bytes}
	describeBulk(&m, told)
	d.tell(m)
}

// statuses tells one status of a UDP test, or of what is none.
func (d *dialog) statuses(from transcript.Side, at time.Duration) bool {
	h := d.half(from)
	if len(h.pending) == 0 {
		return false
	}
	if at0 := bytes.IndexByte(h.pending, 0x07); at0 != 0 {
		if at0 < 0 {
			at0 = len(h.pending)
		}
		m := d.cut(from, at, at0)
		m.kind, m.name, m.text = kindUnknown, "unknown", "where a status is due"
		if !h.odd {
			d.tell(m)
		}
		h.odd = true
		return true
	}
	if len(h.pending) < wire.StatusLen {
		return false
	}
	m := d.cut(from, at, wire.StatusLen)
	s, err := wire.ParseStatus(m.raw)
	if err != nil {
		m.kind, m.name, m.text = kindUnknown, "unknown", err.Error()
		d.tell(m)
		return true
	}
	m.kind = kindStatus
	describeStatus(&m, s)
	d.tell(m)
	return true
}
