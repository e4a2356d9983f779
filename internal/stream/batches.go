package stream

import (
	"cmp"
	"net/netip"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
)

// Room for a batch. The kernel joins up to 64 KiB of datagrams; eight such
// trains stay in a processor's cache.
const (
	joinedBytes = 64 << 10
	joinedBatch = 8
	lookAtDrops = 64 // batches
)

// batches is the state of a Receiver's Run: the buffers that batches land in,
// and whose datagrams they are.
type batches struct {
	*Receiver
	ms     []sock.Message
	whose  []*source // of each message of a batch; nil when only bytes count
	mine   []bool    // whether each message belongs to the test
	known  map[netip.AddrPort]*source
	latest *source // most datagrams come from the source of the one before
	most   int

	until   int    // batches until the next look at the drops
	dropped uint64 // at the last one
}

func newBatches(r *Receiver) *batches {
	n, room := 1, max(1, r.Header)
	if sock.Joins(r.Conn) {
		n = joinedBatch
		if r.Parse != nil {
			room = joinedBytes
		}
	}
	b := &batches{
		Receiver: r,
		ms:       make([]sock.Message, n),
		whose:    make([]*source, n),
		mine:     make([]bool, n),
		known:    map[netip.AddrPort]*source{},
		most:     cmp.Or(r.Sources, mostSources),
	}
	buf := make([]byte, n*room)
	for i := range b.ms {
		b.ms[i].Data = buf[i*room : (i+1)*room : (i+1)*room]
	}
	b.dropped, _ = r.Conn.Dropped() // in an earlier test
	r.mu.Lock()
	r.seen.common, r.before = r.Common, b.dropped
	r.mu.Unlock()
	return b
}

// room is where the next batch lands: one message when the budget is nearly
// gone, so that little comes beyond it.
func (b *batches) room() []sock.Message {
	if b.until--; b.until < 0 {
		b.until = lookAtDrops
		b.relieve()
	}
	if left, limited := b.Budget.Left(); limited && left < 1024*smallBatch {
		return b.ms[:1]
	}
	return b.ms
}

// relieve makes room only for headers once our own socket has dropped joined
// trains: copying what nobody reads is then what costs the packets. Loss stays
// exact; what gets lost to sight is the order within a train. Until then every
// header is read, since order and duplicates are worth a little of the rate.
func (b *batches) relieve() {
	if len(b.ms) == 1 || len(b.ms[0].Data) < joinedBytes {
		return
	}
	n, _ := b.Conn.Dropped()
	if n == b.dropped {
		return
	}
	for i := range b.ms {
		b.ms[i].Data = b.ms[i].Data[:max(1, b.Header)]
	}
}

// take counts the first n messages, which came at now, and spends their bytes.
func (b *batches) take(n int, now time.Time) error {
	for i := range b.ms[:n] {
		m := &b.ms[i]
		b.whose[i], b.mine[i] = b.source(m)
		b.mine[i] = b.mine[i] && b.Police.pass(m, b.Overhead, now)
	}
	bytes := 0
	b.mu.Lock()
	for i := range b.ms[:n] {
		if b.mine[i] {
			bytes += b.ms[i].Len
			b.add(&b.ms[i], b.whose[i], now)
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
		if len(b.known) >= b.most {
			return nil, true
		}
		if b.Source != nil {
			b.Source(from)
		}
		s = &source{from: from}
		b.known[from] = s
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
	if b.Parse == nil || s == nil {
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
		b.addFirst(seen, datagrams, s, came)
	} else {
		b.walk(seen, segment, s, came)
	}
}

// walk reads the header of every datagram of a train. Numbers in a row, which
// is what a train nearly always holds, are recorded as one run.
func (b *batches) walk(p []byte, segment int, s *source, came time.Time) {
	var first uint32
	run := 0
	for {
		end := min(segment, len(p))
		mark, ok := b.Parse(p[:end:end])
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
		if p = p[end:]; len(p) == 0 {
			break
		}
	}
	b.seen.record(s, first, run)
}

// addFirst counts a train of which only the first header came: the others are
// taken to follow it, so loss stays exact but order within a train is not seen.
func (b *batches) addFirst(p []byte, datagrams int, s *source, came time.Time) {
	mark, ok := b.Parse(p)
	if !ok {
		return
	}
	b.count += uint64(datagrams)
	if !mark.Sent.IsZero() {
		b.jitter.Record(mark.Sent, came)
	}
	b.seen.record(s, mark.Seq, datagrams)
}
