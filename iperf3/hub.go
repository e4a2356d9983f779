package iperf3

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/stream"
	"github.com/sonde-net/sonde/iperf3/wire"
)

const (
	hubBatch    = 64   // messages read at once, where they are no trains
	mostQueued  = 8192 // messages that wait for all streams of a test; each may be a train of datagrams
	leastQueued = 64   // for one of many
)

// A hub is the server's one UDP socket, shared by the streams of all tests.
// What comes is told apart by its source. Only the headers are of interest. Of
// datagrams that the kernel has joined into a train all headers are read, for
// which the whole train has to be copied; when that is too slow only the first.
type hub struct {
	conn sock.PacketConn

	wmu sync.Mutex // held while a train is written

	mu      sync.Mutex // guards what follows
	ports   map[netip.AddrPort]*port
	waiting map[netip.Addr]chan *port // of the test of an address that opens streams now
}

func newHub(conn sock.PacketConn) *hub {
	return &hub{conn: conn, ports: map[netip.AddrPort]*port{}, waiting: map[netip.Addr]chan *port{}}
}

// run hands out what comes until ctx ends.
func (h *hub) run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { h.conn.SetReadDeadline(longAgo) })()
	r := stream.NewReader(h.conn, hubBatch, wire.Header64Len, true)
	defer r.Release()
	for ctx.Err() == nil {
		ms, err := r.Read(hubBatch)
		if err != nil {
			if ctx.Err() != nil || sock.IsLoss(err) {
				continue
			}
			return err
		}
		for i := range ms {
			h.deliver(&ms[i])
		}
	}
	return nil
}

// deliver gives a message to its stream, or opens one. Anything else is left
// unanswered.
func (h *hub) deliver(m *sock.Message) {
	isHello := m.Len == wire.HelloLen && wire.IsHello(m.Data[:m.Len])
	h.mu.Lock()
	p := h.ports[m.From]
	isNew := p == nil && isHello && h.expects(m.From)
	h.mu.Unlock()
	switch {
	case isNew:
		// The answer first: data of a test that begins meanwhile would be taken
		// for it, and be lost.
		h.answer(m)
		h.open(m.From)
	case p == nil:
	case isHello: // again, when our answer was lost
		h.answer(m)
	default:
		p.putTrain(m)
	}
}

func (h *hub) answer(m *sock.Message) {
	reply := wire.AnswerTo(m.Data[:m.Len])
	_, _ = h.write(reply[:], len(reply), m.From) // a lost answer is asked for again
}

// expects tells whether a test waits for a stream from there. h.mu is held.
func (h *hub) expects(from netip.AddrPort) bool {
	who := h.waiting[from.Addr()]
	return who != nil && len(who) < cap(who)
}

// open makes the port of a new stream, if the test still waits for it. Only the
// goroutine that runs the hub calls it.
func (h *hub) open(from netip.AddrPort) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.expects(from) {
		return
	}
	who := h.waiting[from.Addr()]
	p := &port{hub: h, from: from, some: make(chan struct{}, 1), most: max(leastQueued, mostQueued/cap(who))}
	h.ports[from] = p
	who <- p // there is room
}

func (h *hub) write(buf []byte, size int, to netip.AddrPort) (int, error) {
	h.wmu.Lock()
	defer h.wmu.Unlock()
	return h.conn.WriteTrain(buf, size, to)
}

// await lets a test of peer open so many streams. While another test of the
// same address opens its own it waits: their hellos look alike. The caller
// takes the ports from the channel and then calls done.
func (h *hub) await(ctx context.Context, peer netip.Addr, streams int) (ports <-chan *port, done func(), err error) {
	mine := make(chan *port, streams)
	for {
		h.mu.Lock()
		if h.waiting[peer] == nil {
			h.waiting[peer] = mine
			h.mu.Unlock()
			return mine, func() { h.stopWaiting(peer, mine) }, nil
		}
		h.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (h *hub) stopWaiting(peer netip.Addr, mine chan *port) {
	h.mu.Lock()
	if h.waiting[peer] == mine {
		delete(h.waiting, peer)
	}
	h.mu.Unlock()
	for { // nobody takes these any more
		select {
		case p := <-mine:
			p.Close()
		default:
			return
		}
	}
}

func (h *hub) drop(p *port) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ports[p.from] == p {
		delete(h.ports, p.from)
	}
}

// A queued message: its front, and how much there was of it.
type queued struct {
	head         [wire.Header64Len]byte
	len, segment int
	at           time.Time
}

// A port is one stream's share of the hub. It is a sock.PacketConn.
type port struct {
	hub  *hub
	from netip.AddrPort
	near netip.Addr    // ours, as the client's control connection has it
	some chan struct{} // holds one while the queue may have something
	most int           // messages that may wait

	counters64 atomic.Bool // numbers have 64 bits

	mu      sync.Mutex // guards what follows
	queue   []queued
	spare   []queued // the queue's other half: it is drained while the first fills
	next    int      // of spare
	dropped uint64
	closed  bool
	deaf    bool // nobody reads: what comes is dropped
	read    deadline
	write   time.Time
}

// putTrain takes a message, cut where the numbers of a train that was read whole do
// not follow each other: who takes it out sees the first header of each piece.
func (p *port) putTrain(m *sock.Message) {
	size := m.Segment
	if size == 0 || len(m.Data) < m.Len {
		p.put(m)
		return
	}
	wide := p.counters64.Load()
	rest := *m
	rest.Data = m.Data[:m.Len]
	for rest.Len > 0 {
		n := follow(rest.Data, size, wide)
		piece := rest
		piece.Len, piece.Data = n, rest.Data[:n]
		if n <= size {
			piece.Segment = 0
		}
		p.put(&piece)
		rest.Data = rest.Data[n:]
		rest.Len -= n
	}
}

// follow is how many bytes at the front of a train are datagrams of one size,
// each numbered one more than the one before.
func follow(train []byte, size int, counters64 bool) int {
	first, err := wire.ParseHeader(train, counters64)
	n := min(size, len(train))
	for want := first.Seq + 1; err == nil && n+size <= len(train); want++ {
		h, bad := wire.ParseHeader(train[n:n+size], counters64)
		if bad != nil || h.Seq != want {
			break
		}
		n += size
	}
	return n
}

// put takes a message, or drops it when the stream is far behind.
func (p *port) put(m *sock.Message) {
	q := queued{len: m.Len, segment: m.Segment, at: m.At}
	copy(q.head[:], m.Data[:min(m.Len, len(m.Data))])
	p.mu.Lock()
	if len(p.queue) >= p.most || p.closed || p.deaf {
		p.dropped++
		p.mu.Unlock()
		return
	}
	p.queue = append(p.queue, q)
	p.mu.Unlock()
	p.wake()
}

// deafen says that the stream only sends: a client must not fill its queue.
func (p *port) deafen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf, p.queue = true, nil
}

func (p *port) wake() {
	select {
	case p.some <- struct{}{}:
	default:
	}
}

// ReadBatch implements sock.PacketConn. One goroutine at a time calls it.
func (p *port) ReadBatch(ms []sock.Message) (int, error) {
	for {
		p.mu.Lock()
		n := p.take(ms)
		err := p.read.passed()
		if p.closed {
			err = errClosed
		}
		p.mu.Unlock()
		switch {
		case n > 0:
			return n, nil
		case err != nil:
			return 0, err
		}
		<-p.some
	}
}

// take moves what is queued into ms. p.mu is held.
func (p *port) take(ms []sock.Message) (n int) {
	if p.next == len(p.spare) {
		p.queue, p.spare, p.next = p.spare[:0], p.queue, 0
	}
	for n < len(ms) && p.next < len(p.spare) {
		q := &p.spare[p.next]
		p.next++
		ms[n].Len, ms[n].Segment, ms[n].At, ms[n].From = q.len, q.segment, q.at, p.from
		copy(ms[n].Data, q.head[:min(q.len, len(q.head))])
		n++
	}
	return n
}

// WriteTrain implements sock.PacketConn.
func (p *port) WriteTrain(buf []byte, size int, to netip.AddrPort) (int, error) {
	p.mu.Lock()
	over := !p.write.IsZero() && !time.Now().Before(p.write)
	closed := p.closed
	p.mu.Unlock()
	switch {
	case closed:
		return 0, errClosed
	case over:
		return 0, errDeadline
	}
	return p.hub.write(buf, size, to)
}

// SetReadDeadline implements sock.PacketConn.
func (p *port) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.read.set(t, p.wake)
	return nil
}

// SetWriteDeadline implements sock.PacketConn. A write to UDP hardly waits: it
// is looked at before each.
func (p *port) SetWriteDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.write = t
	return nil
}

// LocalAddrPort implements sock.PacketConn. The shared socket has no address of
// its own where it serves all.
func (p *port) LocalAddrPort() netip.AddrPort {
	at := p.hub.conn.LocalAddrPort()
	if at.Addr().IsUnspecified() && p.near.IsValid() {
		at = netip.AddrPortFrom(p.near, at.Port())
	}
	return at
}

// Dropped implements sock.PacketConn: what the stream was too slow for. What
// the shared socket dropped cannot be told apart.
func (p *port) Dropped() (uint64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dropped, p.dropped > 0
}

// OnKernel says that the shared socket is one of the system, for sock.OnKernel.
func (p *port) OnKernel() bool { return sock.OnKernel(p.hub.conn) }

// Technique implements sock.PacketConn.
func (p *port) Technique() string { return p.hub.conn.Technique() + "+shared" }

// Close implements sock.PacketConn.
func (p *port) Close() error {
	p.hub.drop(p)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.read.stop()
	p.queue, p.spare, p.next = nil, nil, 0
	p.wake()
	return nil
}
