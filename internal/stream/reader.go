package stream

import (
	"sync"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
)

// Room for a batch. The kernel joins up to 64 KiB of datagrams; eight such
// trains stay in a processor's cache.
const (
	joinedBytes = 64 << 10
	joinedBatch = 8
)

// A Reader reads batches of datagrams, or of trains that the kernel has joined, and
// keeps room for whole trains only while something flows.
//
// Trains are read whole, for the headers of all their datagrams. Copying what nobody
// looks at is also what costs packets when much comes: so after a backlog, or drops
// by our own socket, only the front of each train is read for a while.
type Reader struct {
	conn  sock.PacketConn
	front int            // bytes of each message that are wanted when trains are not read whole
	joins bool           // trains come, and are read whole if they can be
	load  load           // whether they can
	full  bool           // the last batch was: more may be waiting
	ms    []sock.Message // what a batch lands in
	whole *trainRoom     // what ms is made of while trains come; nil: nothing flows
}

// NewReader makes a Reader of batches of so many messages, or of 8 where trains come.
// Of each the first front bytes are read, and whole trains if trains is true.
func NewReader(conn sock.PacketConn, batch, front int, trains bool) *Reader {
	r := &Reader{conn: conn, front: max(1, front), joins: trains && sock.Joins(conn)}
	if sock.Joins(conn) {
		batch = joinedBatch
	}
	r.load.dropped, _ = conn.Dropped() // in an earlier test
	r.ms = make([]sock.Message, batch)
	if r.joins {
		return r
	}
	buf := make([]byte, batch*r.front)
	for i := range r.ms {
		r.ms[i].Data = buf[i*r.front : (i+1)*r.front : (i+1)*r.front]
	}
	return r
}

// Batch is the most messages of a batch.
func (r *Reader) Batch() int { return len(r.ms) }

// A trainRoom holds a batch of joined trains.
type trainRoom [joinedBatch][joinedBytes]byte

// trainRooms are those that nobody uses. A flow that is idle gives its own back:
// half a megabyte each is too much for flows that somebody only keeps open.
var trainRooms = sync.Pool{New: func() any { return new(trainRoom) }}

// Read waits for the next batch, of at most so many messages. They are valid until
// the next Read.
func (r *Reader) Read(most int) ([]sock.Message, error) {
	most = min(most, len(r.ms))
	if !r.joins {
		n, err := r.conn.ReadBatch(r.ms[:most])
		return r.ms[:n], err
	}
	if r.load.look(r.full, r.conn, time.Now()) && r.whole != nil {
		r.cut()
	}
	for {
		if r.whole == nil {
			if err := sock.Await(r.conn); err != nil {
				return nil, err
			}
			r.whole = trainRooms.Get().(*trainRoom)
			r.cut()
		}
		n, err := sock.ReadSome(r.conn, r.ms[:most])
		r.full = n == len(r.ms)
		if n == 0 {
			r.Release()
		}
		if n > 0 || err != nil {
			return r.ms[:n], err
		}
	}
}

// cut makes the messages of the room, short where only fronts are read.
func (r *Reader) cut() {
	size := joinedBytes
	if r.load.high {
		size = r.front
	}
	for i := range r.ms {
		r.ms[i].Data = r.whole[i][:size]
	}
}

// Release gives the room for trains back, until the next Read.
func (r *Reader) Release() {
	if r.whole == nil {
		return
	}
	for i := range r.ms {
		r.ms[i].Data = nil
	}
	trainRooms.Put(r.whole)
	r.whole = nil
}

const (
	backlog     = 4  // full batches in a row: more is waiting than can be read whole
	lookAtDrops = 64 // batches
	firstHold   = time.Second
	longestHold = time.Minute
)

// A load tells whether more comes than can be read whole: from a backlog or a drop on
// for a second, and twice as long each time that it turns out to be still so.
type load struct {
	high bool

	full    int    // batches in a row
	until   int    // batches until the next look at the drops
	dropped uint64 // at the last one
	hold    time.Duration
	end     time.Time // of high
}

// look is told of each batch whether it was full, and reports whether high has changed.
func (l *load) look(full bool, conn sock.PacketConn, now time.Time) (changed bool) {
	if l.full++; !full {
		l.full = 0
	}
	was := l.high
	if l.full >= backlog || l.drops(conn) {
		if !l.high {
			l.hold = min(max(2*l.hold, firstHold), longestHold)
			l.end = now.Add(l.hold)
		}
		l.high, l.full = true, 0
	} else if l.high && !now.Before(l.end) {
		l.high = false
	}
	return l.high != was
}

// drops looks now and then whether our socket has dropped anything.
func (l *load) drops(conn sock.PacketConn) bool {
	if l.until--; l.until >= 0 {
		return false
	}
	l.until = lookAtDrops
	n, _ := conn.Dropped()
	more := n != l.dropped
	l.dropped = n
	return more
}
