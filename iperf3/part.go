package iperf3

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/stat"
	"github.com/sonde-net/sonde/internal/stream"
	"github.com/sonde-net/sonde/iperf3/wire"
	"github.com/sonde-net/sonde/result"
)

// A part is our end of one data stream: a sender or a receiver, over TCP or
// UDP.
type part interface {
	// run moves data until ctx ends: then it returns nil. A receiver also
	// returns nil when the far end has closed.
	run(ctx context.Context) error
	// view is what was counted so far.
	view() result.View
	// last is when data came last; zero at a sender, and before the first.
	last() time.Time
	local() netip.AddrPort
	remote() netip.AddrPort
	close()
}

// A plan is what all streams of a test have in common.
type plan struct {
	wire.Parameters
	rate   uint64 // bit/s of each stream; 0 is no limit
	budget *admit.Budget
	volume *admit.Budget   // what a test by volume may send; nil if it is none
	queue  stream.Queueing // of the UDP streams that our end receives
	intake *pace.Limiter   // what all TCP streams together may bring; nil is no limit
	police *stream.Police  // likewise of UDP
}

// newTCP makes our end of a TCP stream.
func (p *plan) newTCP(conn net.Conn, sends bool) (part, error) {
	if err := p.setOptions(conn); err != nil {
		return nil, err
	}
	bulk, err := sock.Bulk(conn)
	if err != nil {
		return nil, fmt.Errorf("connection: %w", err)
	}
	_ = bulk.SetUserTimeout(silenceTime) // where it can; else the control connection tells
	if sends {
		ring := p.ring()
		return &tcpSender{conn: bulk, out: &stream.TCPSender{Conn: bulk, Block: ring.Block(), Ring: ring, Limit: p.limiter(), Budget: p.outgoing()}}, nil
	}
	return &tcpReceiver{conn: bulk, in: &stream.TCPReceiver{Conn: bulk, Budget: p.budget.In(), Limit: p.intake}}, nil
}

// volumeOf is a budget of what a test by bytes or blocks sends from this end, so
// that not a block more is sent; nil where nobody can tell before. What is
// omitted does not count, nor does a test both ways end by what one end sends.
func (p *plan) volumeOf(sends bool) *admit.Budget {
	length := uint64(p.Length)
	n := (p.Bytes + length - 1) / length
	if p.Blocks > 0 {
		n = p.Blocks
	}
	if n == 0 || n > 1<<62/length || !sends || p.Bidirectional || p.Omit > 0 {
		return nil
	}
	return admit.NewBudget(n*length, volumeSent, "bytes of the test")
}

// volumeSent is the word of a volume's budget: that it is gone is no fault.
const volumeSent = "volume"

// outgoing is what a sender takes its bytes out of.
func (p *plan) outgoing() *admit.Budget { return admit.Join(p.volume, p.budget.Out()) }

func (p *plan) limiter() *pace.Limiter {
	if p.rate == 0 {
		return nil
	}
	return pace.NewLimiter(pace.NewRate(p.rate))
}

// setOptions sets what the test asks for on a data connection. Sizes are
// wishes; what changes the meaning of the test must be as asked.
func (p *plan) setOptions(conn net.Conn) error {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	_ = tcp.SetNoDelay(p.NoDelay)
	if p.Window > 0 {
		_ = tcp.SetWriteBuffer(p.Window)
		_ = tcp.SetReadBuffer(p.Window)
	}
	if p.Congestion != "" {
		if err := setCongestion(tcp, p.Congestion); err != nil {
			return &result.Error{Word: result.CodeUnsupported, Text: fmt.Sprintf("congestion control %q", p.Congestion), Err: err,
				Hint: "see /proc/sys/net/ipv4/tcp_available_congestion_control, on both ends"}
		}
	}
	if p.TOS > 0 {
		if err := setTOS(tcp, p.TOS); err != nil {
			return &result.Error{Word: result.CodeUnsupported, Text: fmt.Sprintf("TOS %#x", p.TOS), Err: err}
		}
	}
	return nil
}

// maxFrame is the largest UDP payload that is one packet on Ethernet.
const maxFrame = 1472

// packetOptions are for a UDP socket of the test. Datagrams beyond one frame
// were asked for, and real peers let IP fragment them.
func (p *plan) packetOptions() sock.PacketOptions {
	return sock.PacketOptions{
		SendBuffer: p.Window, ReceiveBuffer: p.Window, TrafficClass: p.TOS,
		Fragment: p.Length > maxFrame && !p.DontFragment, Stamp: true,
	}
}

// ring is what all TCP streams write from. A receiver cannot tell how long the
// writes were, so that one will do for all tests.
func (p *plan) ring() *stream.Ring {
	if p.RepeatingPayload {
		return digitRing()
	}
	return randomRing()
}

var (
	digitRing  = ringOf(fillDigits)
	randomRing = ringOf(fillRandom)
)

// ringOf makes a ring when it is first wanted.
func ringOf(fill func(b []byte)) func() *stream.Ring {
	return sync.OnceValue(func() *stream.Ring {
		block := make([]byte, stream.BlockBytes)
		fill(block)
		return stream.NewRing(block)
	})
}

func (p *plan) fill(b []byte) {
	if p.RepeatingPayload {
		fillDigits(b)
	} else {
		fillRandom(b)
	}
}

func fillRandom(b []byte) { rand.Read(b) }

func fillDigits(b []byte) {
	for i := range b {
		b[i] = byte('0' + i%10)
	}
}

// A tcpSender sends one stream over TCP.
type tcpSender struct {
	conn sock.BulkConn
	out  *stream.TCPSender

	mu    sync.Mutex   // guards final
	final *result.View // when the connection is closed, which knows no more then
}

func (s *tcpSender) run(ctx context.Context) error { return s.out.Run(ctx) }

func (s *tcpSender) view() result.View {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.final != nil {
		return *s.final
	}
	return s.out.View()
}

func (s *tcpSender) last() time.Time        { return time.Time{} }
func (s *tcpSender) local() netip.AddrPort  { return s.conn.LocalAddrPort() }
func (s *tcpSender) remote() netip.AddrPort { return s.conn.RemoteAddrPort() }

func (s *tcpSender) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.final == nil {
		s.final = result.Some(s.out.View())
		s.conn.Close()
	}
}

// A tcpReceiver receives one stream over TCP.
type tcpReceiver struct {
	conn sock.BulkConn
	in   *stream.TCPReceiver

	mu    sync.Mutex // guards final
	final *result.View
}

func (r *tcpReceiver) run(ctx context.Context) error {
	if err := r.in.Run(ctx); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func (r *tcpReceiver) view() result.View {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.final != nil {
		return *r.final
	}
	return r.in.View()
}

func (r *tcpReceiver) last() time.Time        { return r.in.Last() }
func (r *tcpReceiver) local() netip.AddrPort  { return r.conn.LocalAddrPort() }
func (r *tcpReceiver) remote() netip.AddrPort { return r.conn.RemoteAddrPort() }

func (r *tcpReceiver) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.final == nil {
		r.final = result.Some(r.in.View())
		r.conn.Close()
	}
}

// started is the zero of our clock in datagrams: any will do.
var started = time.Now()

// A udpSender sends one stream over UDP.
type udpSender struct {
	conn sock.PacketConn
	to   netip.AddrPort
	out  *stream.Sender
}

func (p *plan) newUDPSender(conn sock.PacketConn, to netip.AddrPort) *udpSender {
	return &udpSender{conn: conn, to: to, out: &stream.Sender{
		Conn: conn, To: func() netip.AddrPort { return to }, Size: p.Length, Fill: p.fill,
		Stamp: func(b []byte, seq uint64, at time.Time) {
			wire.Header{Sent: at.Sub(started), Seq: seq + 1}.Put(b, p.Counters64)
		},
		Rate: pace.NewRate(p.rate), Most: stream.TrainOf(p.Streams()), Budget: p.outgoing(),
	}}
}

func (s *udpSender) run(ctx context.Context) error { return s.out.Run(ctx) }
func (s *udpSender) view() result.View             { return s.out.View() }
func (s *udpSender) last() time.Time               { return time.Time{} }
func (s *udpSender) local() netip.AddrPort         { return s.conn.LocalAddrPort() }
func (s *udpSender) remote() netip.AddrPort        { return s.to }
func (s *udpSender) close()                        { s.conn.Close() }

// A udpReceiver receives one stream over UDP.
type udpReceiver struct {
	conn sock.PacketConn
	from netip.AddrPort
	in   *stream.Receiver

	// Of the goroutine that receives.
	queue *stream.Queueing
	base  stat.Base
	came  time.Time     // when the train came whose datagrams are parsed now
	sent  time.Duration // of the latest datagram
	any   bool          // there was one

	mu     sync.Mutex // guards what follows
	least  uint64     // the lowest number that came; 0 before the first
	hellos uint64     // datagrams that only open a stream
}

func (p *plan) newUDPReceiver(conn sock.PacketConn, from netip.AddrPort) *udpReceiver {
	r := &udpReceiver{conn: conn, from: from, queue: &p.queue}
	r.in = &stream.Receiver{
		Conn: conn, Header: wire.Header64Len, Budget: p.budget.In(), Sources: 1, Common: true,
		Accept: func(a netip.AddrPort, _ []byte) bool { return a == from }, Police: p.police,
		Arrive:     func(at time.Time) { r.came = at },
		ParseSized: func(b []byte, size int) (stream.Mark, bool) { return r.parse(b, size, p.Counters64) },
	}
	return r
}

func (r *udpReceiver) parse(b []byte, size int, counters64 bool) (stream.Mark, bool) {
	h, err := wire.ParseHeader(b, counters64)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		if size == wire.HelloLen {
			r.hellos++
		}
		return stream.Mark{}, false
	}
	if !r.any || h.Sent != r.sent { // a train is stamped with one moment
		r.any, r.sent = true, h.Sent
		r.queue.Record(&r.base, epoch.Add(h.Sent), r.came)
	}
	if r.least == 0 || h.Seq < r.least {
		r.least = h.Seq
	}
	return stream.Mark{Seq: uint32(h.Seq), Sent: epoch.Add(h.Sent)}, true
}

// epoch stands for the start of a sender's clock. Only differences count.
var epoch = time.Unix(0, 0)

// mostLead is how many datagrams may be lost before the first that comes. A
// stray number beyond it says nothing of the stream.
const mostLead = 1 << 24

func (r *udpReceiver) run(ctx context.Context) error { return r.in.Run(ctx) }

func (r *udpReceiver) view() result.View {
	v := r.in.View()
	r.mu.Lock()
	defer r.mu.Unlock()
	v.Bytes -= min(v.Bytes, r.hellos*wire.HelloLen)
	// Numbers begin at 1: what is lost before the first that comes is lost too.
	if lead := r.least - 1; r.least > 0 && lead > 0 && lead < mostLead && v.Lost != nil {
		v.Lost = result.Some(*v.Lost + int64(lead))
	}
	return v
}

func (r *udpReceiver) last() time.Time        { return r.in.Last() }
func (r *udpReceiver) local() netip.AddrPort  { return r.conn.LocalAddrPort() }
func (r *udpReceiver) remote() netip.AddrPort { return r.from }
func (r *udpReceiver) close()                 { r.conn.Close() }
