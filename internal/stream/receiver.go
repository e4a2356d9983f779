package stream

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/stat"
	"github.com/sonde-net/sonde/result"
)

// A Mark is what the header of a datagram tells.
type Mark struct {
	Seq  uint32
	Sent time.Time // by the sender's clock; zero when the protocol carries none
}

// mostSources is how many sources a Receiver follows unless told.
const mostSources = 256

// A Receiver counts numbered datagrams.
type Receiver struct {
	Conn sock.PacketConn
	// Accept says whether a new source belongs to the test, by its address and
	// the front of its datagram; what others send is not counted at all, nor is
	// it paid for. Nil accepts all.
	Accept func(from netip.AddrPort, front []byte) bool
	// Parse reads the protocol's header from the front of a datagram. False
	// means that it carries no number: only its bytes count. Nil: none does.
	Parse func(payload []byte) (Mark, bool)
	// ParseSized is used in place of Parse where a protocol wants the size of the
	// datagram too, of which payload may be only the front.
	ParseSized func(payload []byte, size int) (Mark, bool)
	// Follow is told of the others of a train of which only the first header was
	// read, because we are slow: n more of the same size as the one that ParseSized
	// got last, each taken to be numbered one more than the one before. A shorter one
	// at the end, such as an end marker, is not among them and not counted.
	Follow func(n int)
	// Arrive is told when the datagrams that Parse gets next came, by the kernel's
	// stamp if there is one; they are one datagram or a train. It is called by
	// the goroutine of Run. Nil: nobody wants to know.
	Arrive func(at time.Time)
	// Header is how many bytes Parse needs; it may be given no more than these.
	Header int
	// Source is called once for each new source, before its first datagram is
	// counted. Nil: nobody wants to know.
	Source   func(from netip.AddrPort)
	Overhead int  // header bytes that the protocol counts into each datagram
	Common   bool // all sources number from one sequence; else see numbering
	FromZero bool // with Common: numbers begin at 0, so what is lost before the first that comes is lost too
	Sources  int  // most sources followed; 0 means 256; of more only the bytes count
	Budget   *admit.Budget
	Police   *Police // what comes faster is thrown away; nil is no limit
	// Yields has Run return a *Pause before it waits for the first datagram, and
	// when Rest finds that none comes. Conn is one that sock.Polled says yes to.
	Yields bool

	idle  idle
	state *batches // of Run

	mu     sync.Mutex // guards what follows; Run takes it once a batch
	bytes  uint64
	wire   uint64
	count  uint64
	last   time.Time
	trains uint64 // messages, each of which may have been many datagrams
	inside uint64 // datagrams in them
	before uint64 // drops of the socket before the run
	seen   numbering
	jitter stat.Jitter
}

// Run receives until ctx ends, then returns nil. It fails when the budget is
// gone (*admit.ExceededError) and when the socket fails. It may be called once,
// and again after a *Pause.
func (r *Receiver) Run(ctx context.Context) error {
	if r.Yields && r.idle.first() {
		return &Pause{Conn: r.Conn}
	}
	defer r.idle.run()()
	release, err := endWith(ctx, r.Conn.SetReadDeadline)
	if err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	defer release()
	defer ownThread(sock.Detached(r.Conn))()
	if r.state == nil {
		r.state = newBatches(r)
	}
	b := r.state
	b.open()
	defer b.close()
	for ctx.Err() == nil {
		ms, err := b.read()
		if err != nil {
			if ctx.Err() != nil || sock.IsLoss(err) {
				continue // a lost datagram of ours that was answered by ICMP
			}
			if r.Yields && isDeadline(err) {
				return &Pause{Conn: r.Conn}
			}
			return fmt.Errorf("receive: %w", err)
		}
		if err := b.take(ms, time.Now()); err != nil {
			return err
		}
	}
	return nil
}

// parses reports whether anybody reads the headers.
func (r *Receiver) parses() bool { return r.Parse != nil || r.ParseSized != nil }

// parse reads the header of a datagram of size bytes.
func (r *Receiver) parse(payload []byte, size int) (Mark, bool) {
	if r.ParseSized != nil {
		return r.ParseSized(payload, size)
	}
	return r.Parse(payload)
}

// Rest has a Run that yields pause when nothing has come for a while. It is for
// one goroutine, every now and then.
func (r *Receiver) Rest(now time.Time) {
	if !r.Yields {
		return
	}
	r.mu.Lock()
	moved := r.trains
	r.mu.Unlock()
	r.idle.rest(now, moved, r.Conn.SetReadDeadline)
}

// Last is when the latest datagram of the test came; zero if none did.
func (r *Receiver) Last() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// View is what came so far. It may be called while Run runs.
func (r *Receiver) View() result.View {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := result.View{Bytes: r.bytes, Packets: result.Some(r.count)}
	if r.Overhead > 0 {
		v.WireBytes = result.Some(r.wire)
	}
	dropped, ok := r.dropped()
	if ok {
		v.Dropped = &dropped
	}
	if !r.parses() {
		return v
	}
	c := r.seen.counts()
	dropped = min(dropped, uint64(max(0, c.Lost)))
	v.Lost, v.Late = &c.Lost, &c.Late
	v.Reordered, v.Duplicate = &c.Reordered, &c.Duplicate
	v.LossRuns = &result.LossRuns{Count: c.Runs, Longest: c.Longest}
	if j, ok := r.jitter.Value(); ok {
		v.Jitter = &j
	}
	return v
}

// dropped is how many datagrams our own socket threw away. The kernel counts a
// joined train as one: it is taken to be as long as those that came.
func (r *Receiver) dropped() (uint64, bool) {
	n, ok := r.Conn.Dropped()
	n -= min(n, r.before)
	if ok && r.trains > 0 {
		n = uint64(float64(n) * float64(r.inside) / float64(r.trains))
	}
	return n, ok
}
