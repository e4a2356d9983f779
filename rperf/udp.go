package rperf

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/stat"
	"github.com/sonde-net/sonde/internal/stream"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/rperf/wire"
)

// markerTimes are when the end markers leave, after the last data. A real
// sender sends five at once, where one full queue can swallow them all.
var markerTimes = []time.Duration{0, 5e6, 15e6, 35e6, 75e6, 150e6, 300e6, 600e6, 1200e6}

// packetOptions are for a socket of the test. Datagrams beyond one frame were
// asked for, and real peers let IP fragment them.
func (p *plan) packetOptions(sends bool) sock.PacketOptions {
	return sock.PacketOptions{SendBuffer: p.sendBuf, ReceiveBuffer: p.recvBuf, Fragment: p.length > maxFrame, Stamp: true, Refusals: sends}
}

// A udpSender sends one stream over UDP.
type udpSender struct {
	*plan
	conn sock.PacketConn
	// to is where the receiver listens. Where it calls first, it is learned from
	// its hello.
	to    netip.AddrPort
	learn bool

	waits waits // for the hello

	mu     sync.Mutex // guards sender and begun
	sender *stream.Sender
	begun  time.Time

	bytes, packets difference // recorded
}

// run sends for the plan's duration. The markers are left to finish.
func (s *udpSender) run(ctx context.Context) error {
	if s.learn && !s.to.IsValid() {
		if pause := s.waits.first(s.yields, s.conn, silenceTime); pause != nil {
			return pause
		}
		if err := s.awaitHello(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
	if s.sender == nil {
		s.begin()
	}
	end := s.begun.Add(s.duration)
	timed, stop := context.WithDeadline(ctx, end)
	defer stop()
	err := s.sender.Run(timed)
	if pause := stream.Paused(err); pause != nil {
		return pauseUntil(pause, end)
	}
	if err == nil {
		s.mark()
	}
	return err
}

// begin makes what sends.
func (s *udpSender) begin() {
	out := &stream.Sender{
		Conn: s.conn, To: func() netip.AddrPort { return s.to }, Size: s.length, Fill: wire.Fill,
		Stamp: func(b []byte, seq uint64, at time.Time) {
			wire.Header{TestID: s.id, Seq: seq, Sent: at}.Put(b)
		},
		Overhead: wire.Overhead, Budget: s.budget.Out(), Rate: pace.NewRate(s.rate), Most: stream.TrainOf(s.streams),
		Refusable: true, // a real sender, too, fails the stream then
		Yields:    s.yields && sock.Polled(s.conn),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sender, s.begun = out, time.Now()
}

// awaitHello waits for the receiver's first datagram, which has the form of a
// marker, and notes where it came from.
func (s *udpSender) awaitHello(ctx context.Context) error {
	ctx, cancel := context.WithDeadlineCause(ctx, s.waits.until(silenceTime), errNotJoined)
	defer cancel()
	defer context.AfterFunc(ctx, func() { s.conn.SetReadDeadline(longAgo) })()
	ms := []sock.Message{{Data: make([]byte, wire.HeaderLen)}}
	for {
		_, err := s.conn.ReadBatch(ms)
		switch m := ms[0]; {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && !sock.IsLoss(err):
			return err
		case err == nil && wire.Classify(s.id, m.Data[:min(m.Len, len(m.Data))]) == wire.Marker:
			s.to = m.From
			return nil
		}
	}
}

// mark sends an end marker. A port that is closed has had its one; any other loss is
// why there are several.
func (s *udpSender) mark() { _, _ = s.conn.WriteTrain(s.id[:], wire.MarkerLen, s.to) }

// finish sends the other markers, spread out, until ctx ends.
func (s *udpSender) finish(ctx context.Context) {
	s.mu.Lock()
	sent := s.sender != nil
	s.mu.Unlock()
	if !sent || s.conn.SetWriteDeadline(time.Time{}) != nil {
		return
	}
	for n := 1; n < len(markerTimes); n++ {
		select {
		case <-time.After(markerTimes[n] - markerTimes[n-1]):
			s.mark()
		case <-ctx.Done():
			return
		}
	}
}

func (s *udpSender) view() result.View {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sender == nil {
		return result.View{Packets: result.Some[uint64](0), WireBytes: result.Some[uint64](0)}
	}
	return s.sender.View()
}

func (s *udpSender) record(i *wire.Interval) {
	v := s.view()
	i.UDP, i.Sent = true, true
	i.Bytes, i.Packets = s.bytes.take(*v.WireBytes), s.packets.take(*v.Packets)
}

func (s *udpSender) last() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun
}

func (s *udpSender) tend(time.Time) (over bool) { return false }

func (s *udpSender) close() { s.conn.Close() }

// mostSources is how many ports one stream may come from: one, and what a NAT
// that changes its mind adds. The id is the credential, not the address: who
// does not show it is not counted, and the test does not pay for what he sends.
// Half of the places are kept for the peer, so that nobody who has seen the id
// takes all.
const mostSources = 16

// lingerTime is for datagrams that the end marker has overtaken.
const lingerTime = 50 * time.Millisecond

// A udpReceiver receives one stream over UDP.
type udpReceiver struct {
	*plan
	conn  sock.PacketConn
	hello netip.AddrPort // the sender is told here that we listen; invalid: it knows

	receiver *stream.Receiver
	vigil    vigil
	greeted  time.Time // when hello was said last; of the goroutine that tends

	mu     sync.Mutex // guards what follows
	marked time.Time  // when the first end marker came; zero before
	tally  wire.Tally // the peer's arithmetic
	bytes  uint64     // of payload, of this test's datagrams only
	count  uint64
	latest time.Time

	// Of the goroutine that receives.
	came   time.Time   // when the train came whose datagrams are parsed now
	header wire.Header // of the latest datagram
	size   int         // likewise
	base   stat.Base
}

func newUDPReceiver(p *plan, conn sock.PacketConn, peer netip.Addr) *udpReceiver {
	r := &udpReceiver{plan: p, conn: conn}
	strangers, own := 0, 0
	r.receiver = &stream.Receiver{
		Conn: conn, ParseSized: r.parse, Follow: r.follow, Arrive: func(at time.Time) { r.came = at }, Header: wire.HeaderLen, Overhead: wire.Overhead,
		Common: true, FromZero: true, Sources: mostSources, Budget: p.budget.In(), Police: p.police,
		Yields: p.yields && sock.Polled(conn),
		Accept: func(from netip.AddrPort, front []byte) bool { // asked once for each that is accepted
			if kind := wire.Classify(p.id, front); kind == wire.Runt || kind == wire.Foreign {
				return false
			}
			places := &strangers
			if from.Addr().WithZone("") == peer.WithZone("") {
				places = &own
			}
			if *places >= mostSources/2 {
				return false
			}
			*places++
			return true
		},
	}
	return r
}

// parse takes one datagram of size bytes. Those of others, and the marker, are
// not counted.
func (r *udpReceiver) parse(b []byte, size int) (stream.Mark, bool) {
	kind := wire.Classify(r.id, b)
	if kind == wire.Runt || kind == wire.Foreign {
		return stream.Mark{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if kind == wire.Marker {
		if r.marked.IsZero() {
			r.marked = time.Now()
		}
		return stream.Mark{}, false
	}
	h, err := wire.ParseHeader(b)
	if err != nil {
		return stream.Mark{}, false
	}
	if r.latest.IsZero() || h.Sent != r.header.Sent {
		// A train is stamped with one moment and comes at one: one look at the
		// clock, and one delay, will do for it.
		r.latest = time.Now()
		r.queueing.Record(&r.base, h.Sent, r.came)
	}
	r.header, r.size = h, size
	r.countLatest()
	return stream.Mark{Seq: uint32(h.Seq), Sent: h.Sent}, true
}

// countLatest counts the latest datagram. r.mu is held.
func (r *udpReceiver) countLatest() {
	r.tally.Record(r.header.Seq, min(r.size, r.length), r.header.Sent, r.came)
	r.bytes += uint64(r.size)
	r.count++
}

// follow takes n datagrams like the latest, each numbered one more.
func (r *udpReceiver) follow(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range n {
		r.header.Seq++
		r.countLatest()
	}
}

// run receives until a marker comes.
func (r *udpReceiver) run(ctx context.Context) error {
	alive, stop := r.vigil.begin(ctx)
	defer stop()
	err := r.receiver.Run(alive)
	switch cause := context.Cause(alive); {
	case err != nil:
		return err
	case ctx.Err() != nil, errors.Is(cause, errMarker):
		return nil
	default:
		return cause
	}
}

// helloEvery is how often a receiver that calls first does so, until data comes.
const helloEvery = 100 * time.Millisecond

// tend ends the stream when the marker has come, or nothing comes any more, and
// says hello until data comes.
func (r *udpReceiver) tend(now time.Time) (over bool) {
	r.mu.Lock()
	marked, latest := r.marked, r.latest
	r.mu.Unlock()
	if !marked.IsZero() && now.Sub(marked) >= lingerTime {
		r.vigil.end(errMarker)
		return true
	}
	if r.vigil.look(now, latest) {
		return true
	}
	r.receiver.Rest(now)
	if r.hello.IsValid() && latest.IsZero() && marked.IsZero() && now.Sub(r.greeted) >= helloEvery {
		r.greeted = now
		_, _ = r.conn.WriteTrain(r.id[:], wire.MarkerLen, r.hello) // a lost one is followed by the next
	}
	return false
}

func (r *udpReceiver) view() result.View {
	v := r.receiver.View()
	r.mu.Lock()
	defer r.mu.Unlock()
	v.Bytes, v.Packets = r.bytes, result.Some(r.count)
	v.WireBytes = result.Some(r.bytes + r.count*wire.Overhead)
	return v
}

func (r *udpReceiver) record(i *wire.Interval) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tally.Take(i)
}

func (r *udpReceiver) last() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.latest
}

func (r *udpReceiver) close() { r.conn.Close() }
