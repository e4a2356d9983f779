package stream

import (
	"cmp"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
)

// batches is the state of a Receiver's Run: what batches are read with, and whose
// datagrams they are.
type batches struct {
	*Receiver
	reader  *Reader
	whose   []*source                  // of each message of a batch; nil when only bytes count
	mine    []bool                     // whether each message belongs to the test
	known   map[netip.AddrPort]*source // nil while there are none, or latest alone
	latest  *source                    // most datagrams come from the source of the one before
	most    int
	sources int // followed
}

func newBatches(r *Receiver) *batches {
	b := &batches{Receiver: r, most: cmp.Or(r.Sources, mostSources)}
	dropped, _ := r.Conn.Dropped() // in an earlier test
	r.mu.Lock()
	r.seen.common, r.seen.zero, r.before = r.Common, r.FromZero, dropped
	r.mu.Unlock()
	return b
}

// open makes what a batch lands in, until close.
func (b *batches) open() {
	b.reader = NewReader(b.Conn, 1, b.Header, b.parses())
	b.whose, b.mine = make([]*source, b.reader.Batch()), make([]bool, b.reader.Batch())
}

func (b *batches) close() {
	b.reader.Release()
	b.reader, b.whose, b.mine = nil, nil, nil
}

// read waits for the next batch: of one message when the budget is nearly gone, so
// that little comes beyond it.
func (b *batches) read() ([]sock.Message, error) {
	most := b.reader.Batch()
	if left, limited := b.Budget.Left(); limited && left < lowBudget {
		most = 1
	}
	return b.reader.Read(most)
}

// take counts the messages of a batch, which came at now, and spends their bytes.
func (b *batches) take(ms []sock.Message, now time.Time) error {
	for i := range ms {
		m := &ms[i]
		b.whose[i], b.mine[i] = b.source(m)
		b.mine[i] = b.mine[i] && b.Police.pass(m, b.Overhead, now)
	}
	bytes := 0
	b.mu.Lock()
	for i := range ms {
		if b.mine[i] {
			bytes += ms[i].Len
			b.add(&ms[i], b.whose[i], now)
		}
	}
	b.mu.Unlock()
	return b.Budget.Charge(bytes)
}

// source finds whose a message is. It is nil beyond the most sources.
func (b *batches) source(m *sock.Message) (s *source, mine bool) {
	from := m.From
	if b.latest != nil && b.latest.from == from {
		return b.latest, true
	}
	if s = b.known[from]; s == nil {
		if b.Accept != nil && !b.Accept(from, m.Data[:min(m.Len, len(m.Data), cmp.Or(m.Segment, m.Len))]) {
			return nil, false
		}
		if b.sources >= b.most {
			return nil, true
		}
		if b.Source != nil {
			b.Source(from)
		}
		s = &source{from: from}
		b.sources++
		switch {
		case b.known != nil:
			b.known[from] = s
		case b.latest != nil:
			b.known = map[netip.AddrPort]*source{b.latest.from: b.latest, from: s}
		}
		b.mu.Lock()
		b.seen.sources = append(b.seen.sources, s)
		b.mu.Unlock()
	}
	b.latest = s
	return s, true
}

// add counts the datagrams of one message.
func (b *batches) add(m *sock.Message, s *source, now time.Time) {
	b.last = now
	segment := cmp.Or(m.Segment, m.Len)
	datagrams := 1
	if segment > 0 {
		datagrams = (m.Len + segment - 1) / segment
	}
	b.trains++
	b.inside += uint64(datagrams)
	b.bytes += uint64(m.Len)
	if m.Len > 0 {
		b.wire += uint64(m.Len + datagrams*b.Overhead)
	}
	if !b.parses() || s == nil {
		b.count += uint64(datagrams)
		return
	}
	came := now
	if !m.At.IsZero() {
		came = m.At
	}
	if b.Arrive != nil {
		b.Arrive(came)
	}
	if seen := m.Data[:min(m.Len, len(m.Data))]; datagrams > 1 && len(seen) < m.Len {
		b.addFirst(seen, m.Len, segment, s, came)
	} else {
		b.walk(seen, m.Len, segment, s, came)
	}
}

// walk reads the header of every datagram of a train. Numbers in a row, which
// is what a train nearly always holds, are recorded as one run.
func (b *batches) walk(p []byte, total, segment int, s *source, came time.Time) {
	var first uint32
	run := 0
	for {
		end := min(segment, len(p))
		mark, ok := b.parse(p[:end:end], min(segment, total))
		if ok {
			b.count++
			if !mark.Sent.IsZero() {
				b.jitter.Record(mark.Sent, came)
			}
			if run == 0 || mark.Seq != first+uint32(run) {
				b.seen.record(s, first, run)
				first, run = mark.Seq, 0
			}
			run++
		}
		total -= end
		if p = p[end:]; len(p) == 0 {
			break
		}
	}
	b.seen.record(s, first, run)
}

// addFirst counts a train of which only the first header came: the others are
// taken to follow it. So what is missing before a train is counted, and what came
// out of order or twice within one is not seen: it counts as lost and as duplicate.
func (b *batches) addFirst(p []byte, total, segment int, s *source, came time.Time) {
	mark, ok := b.parse(p[:min(segment, len(p))], segment)
	if !ok {
		return
	}
	datagrams := (total + segment - 1) / segment
	if b.Follow != nil {
		datagrams = total / segment
		b.Follow(datagrams - 1)
	}
	b.count += uint64(datagrams)
	if !mark.Sent.IsZero() {
		b.jitter.Record(mark.Sent, came)
	}
	b.seen.record(s, mark.Seq, datagrams)
}
