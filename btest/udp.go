package btest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/stream"
	"github.com/sonde-net/sonde/result"
)

// udpPhase is the data phase of a UDP test: datagrams between one server port
// and one or several client ports, statuses both ways on the control
// connection.
type udpPhase struct {
	*test
	control net.Conn
	peer    netip.Addr
	ports   int // that the client sends from, at least one
	began   time.Time
	flows   []*flow
	rate    *pace.Rate // of our sending, shared by the flows in equal parts
	reports reports    // statuses of the far end

	mu      sync.Mutex       // guards what follows
	sources []netip.AddrPort // the client's ports that datagrams came from, in this order
	spread  bool             // send to all of sources in turn
	turn    int
	adapt   *adapter // nil with a fixed rate
	acked   uint64   // bytes sent, with headers, when the last status came
	told    uint64   // bytes received, with headers, that our statuses have told
}

// A flow is one socket of the test.
type flow struct {
	conn   sock.PacketConn
	sender *stream.Sender // nil when our end does not send
	recv   *stream.Receiver
	to     atomic.Pointer[netip.AddrPort]
	wait   time.Duration // before its first datagram: flows take turns
}

// newUDPPhase takes over control and the sockets; to is where the flows send,
// ports how many ports the client sends from.
func newUDPPhase(t *test, control net.Conn, conns []sock.PacketConn, to netip.AddrPort, ports int) *udpPhase {
	over := wire.Overhead(to.Addr())
	payload := wire.PayloadLen(t.size, to.Addr())
	p := &udpPhase{test: t, control: control, peer: to.Addr(), ports: ports, began: time.Now(), rate: pace.NewRate(0)}
	p.reports = reports{perPacket: over, payload: payload}
	for _, c := range conns {
		f := &flow{conn: c}
		f.to.Store(&to)
		f.recv = &stream.Receiver{
			Conn: c, Accept: func(from netip.AddrPort, _ []byte) bool { return p.accept(from) }, Parse: parseMark, Header: wire.SequenceLen,
			Overhead: over, Source: func(from netip.AddrPort) { p.learn(f, from) }, Sources: ports + moreSources,
		}
		f.recv.Budget = t.budget.In() // also of what is not wanted: it comes all the same
		if t.ceiling > 0 {
			f.recv.Police = &stream.Police{Rate: t.ceiling, First: p.policed}
		}
		if t.transmits() {
			f.sender = &stream.Sender{
				Conn: c, To: func() netip.AddrPort { return p.to(f) }, Size: payload, Stamp: stamp,
				Rate: p.rate, Overhead: over, Budget: t.budget.Out(),
			}
			if !t.zeros {
				f.sender.Fill = func(b []byte) { wire.FillRandom(b, randomWords()) }
			}
		}
		p.flows = append(p.flows, f)
	}
	p.setRate(t.rate)
	p.stagger(payload + over)
	if t.rate == 0 && t.transmits() {
		p.adapt = &adapter{}
		p.setRate(p.adapt.begin(time.Now()))
	}
	return p
}

// stagger spreads the first datagrams of size bytes of several flows over the
// time that they take together: otherwise all would be due at once.
func (p *udpPhase) stagger(size int) {
	if p.test.rate == 0 {
		return
	}
	gap := time.Duration(float64(8*size) / float64(p.test.rate) * float64(time.Second))
	for k, f := range p.flows {
		f.wait = time.Duration(k) * gap
	}
}

// setRate shares bits per second, within the ceiling, among the flows.
func (p *udpPhase) setRate(bps uint64) {
	if bps = lower(bps, p.ceiling); bps > 0 {
		p.rate.Set(max(1, bps/uint64(len(p.flows)))) // 0 would be no limit
	}
}

// stamp numbers a datagram; the numbers begin at 1.
func stamp(b []byte, seq uint64, _ time.Time) { wire.PutSequence(b, uint32(seq)+1) }

func parseMark(b []byte) (stream.Mark, bool) {
	seq, err := wire.ParseSequence(b)
	return stream.Mark{Seq: seq}, err == nil
}

// policed tells once that datagrams above the ceiling are thrown away.
func (p *udpPhase) policed() {
	p.sink.Put(result.Note{Head: p.now(), Level: result.Info, Code: result.NotePoliced,
		Text: fmt.Sprintf("the client sends more than the %d bit/s that this server allows: what is above counts as lost", p.ceiling)})
}

// run starts the goroutines and measures until the end.
func (p *udpPhase) run() result.End {
	if p.head.Role == result.Client && p.receives() {
		p.wg.Go(p.missDatagrams)
		if !p.transmits() { // data opens the way as well
			p.wg.Go(p.probe)
		}
	}
	for _, f := range p.flows {
		if f.sender != nil {
			p.sending.Go(func() { p.part(f.sender.Run(p.ctx)) })
		}
		p.wg.Go(func() { p.part(f.recv.Run(p.hear)) })
	}
	p.wg.Go(p.readStatuses)
	return p.test.run(p)
}

// unasked implements phase.
func (p *udpPhase) unasked() (n uint64) {
	if p.receives() {
		return 0
	}
	for _, f := range p.flows {
		n += f.recv.View().Bytes
	}
	return n
}

// part takes the outcome of a sender or receiver.
func (p *udpPhase) part(err error) {
	switch {
	case err == nil:
	case sock.IsTooBig(err):
		p.stop(&result.Error{Word: result.CodeProtocol, Err: err,
			Text: fmt.Sprintf("packets of %d bytes do not fit the path", p.size),
			Hint: "ask for smaller packets, such as --tx-size 1400"})
	default:
		p.stop(err)
	}
}

// readStatuses reads the far end's statuses until the connection ends, which
// ends the test.
func (p *udpPhase) readStatuses() {
	defer context.AfterFunc(p.hear, func() { p.control.SetReadDeadline(longAgo) })()
	var b [wire.StatusLen]byte
	for have, noted := 0, false; ; {
		n, err := io.ReadFull(p.control, b[have:])
		have += n
		if err != nil {
			if p.hear.Err() == nil {
				p.stop(closedBy(err))
			}
			return
		}
		s, err := wire.ParseStatus(b[:])
		if err != nil { // look for the next status in what came
			if !noted {
				p.log.Warn("the peer sent something else than a status", "bytes", fmt.Sprintf("% x", b))
				noted = true
			}
			have = resync(&b)
			continue
		}
		have = 0
		p.report(s, time.Now())
	}
}

// closedBy tells an orderly or abrupt close from other failures.
func closedBy(err error) error {
	if sock.IsGone(err) || errors.Is(err, os.ErrClosed) {
		return errPeerClosed
	}
	return err
}

// resync drops the front of b up to the next byte that may begin a status and
// returns how many bytes are left.
func resync(b *[wire.StatusLen]byte) int {
	for i := 1; i < len(b); i++ {
		if _, err := wire.ParseStatus(append(append([]byte(nil), b[i:]...), make([]byte, i)...)); err == nil {
			return copy(b[:], b[i:])
		}
	}
	return 0
}

// report takes a status of the far end.
func (p *udpPhase) report(s wire.Status, now time.Time) {
	p.reports.add(s, now)
	if p.adapt == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.wireBytes(true)
	p.setRate(p.adapt.report(s.Received, all-p.acked, now))
	p.acked = all
}

// wireBytes is what our end sent or received so far, with headers.
func (p *udpPhase) wireBytes(sent bool) uint64 {
	var n uint64
	for _, f := range p.flows {
		v := f.recv.View()
		if sent {
			v = f.sender.View()
		}
		if v.WireBytes != nil {
			n += *v.WireBytes
		}
	}
	return n
}

// sendStatuses implements phase: both ends tell each second what they received,
// in one-way tests too.
func (p *udpPhase) sendStatuses(n int) {
	p.mu.Lock()
	got := p.wireBytes(false)
	s := wire.Status{CPU: p.load.status(), Seq: uint32(n), Received: wire.Saturate(got - p.told)}
	p.told = got
	p.turnAround(n)
	if p.adapt != nil { // a peer that reports nothing slows us down
		p.setRate(p.adapt.quiet(time.Now()))
	}
	p.mu.Unlock()
	b, _ := s.AppendBinary(nil)
	_ = p.control.SetWriteDeadline(time.Now().Add(statusEvery))
	if _, err := p.control.Write(b); err != nil && p.hear.Err() == nil {
		p.stop(closedBy(err))
	}
}

// ways implements phase.
func (p *udpPhase) ways() []*way {
	var ways []*way
	for _, d := range p.direction.Each() {
		w := &way{direction: d, far: func() *result.View { return nil }}
		if d == sent(p.head.Role) {
			w.far = p.reports.view
			w.near = func() []result.View { return p.views(func(f *flow) result.View { return f.sender.View() }) }
		} else {
			w.near = func() []result.View { return p.views(func(f *flow) result.View { return f.recv.View() }) }
		}
		ways = append(ways, w)
	}
	return ways
}

func (p *udpPhase) views(view func(*flow) result.View) []result.View {
	all := make([]result.View, len(p.flows))
	for i, f := range p.flows {
		all[i] = view(f)
	}
	return all
}

func (p *udpPhase) lastDatagram() time.Time {
	var last time.Time
	for _, f := range p.flows {
		if at := f.recv.Last(); at.After(last) {
			last = at
		}
	}
	return last
}

// hasData implements phase. Probes and other datagrams without payload are not
// data.
func (p *udpPhase) hasData() bool {
	return slices.ContainsFunc(p.flows, func(f *flow) bool { return f.recv.View().Bytes >= wire.SequenceLen })
}

// lastSign implements phase: a datagram or a status.
func (p *udpPhase) lastSign() time.Time {
	last, _ := p.reports.heard()
	if at := p.lastDatagram(); at.After(last) {
		return at
	}
	return last
}

// remoteCPU implements phase.
func (p *udpPhase) remoteCPU() *float64 {
	_, cpu := p.reports.heard()
	return cpu
}

// reported implements phase.
func (p *udpPhase) reported() time.Duration { return p.reports.seconds() }

// shut implements phase: a UDP test has its one connection.
func (p *udpPhase) shut() {}

// close implements phase.
func (p *udpPhase) close() {
	p.control.Close()
	for _, f := range p.flows {
		f.conn.Close()
	}
}
