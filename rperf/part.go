package rperf

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/stream"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/rperf/wire"
)

// A part is our end of one data stream: a sender or a receiver, over TCP or
// UDP.
type part interface {
	// run moves data until the stream is over: nil when it ended as it should,
	// also because ctx did. After a *stream.Pause it is called again.
	run(ctx context.Context) error
	// view is what was counted so far, exactly.
	view() result.View
	// record puts into i what was counted since the last call, as the peer
	// counts. One goroutine at a time calls it.
	record(i *wire.Interval)
	// last is when data last moved; zero before the first.
	last() time.Time
	// tend is called every now and then while the test runs. True means that run
	// has to end.
	tend(now time.Time) (over bool)
	// close frees what run may not have got to.
	close()
}

// A plan is what all streams of a test have in common.
type plan struct {
	id       wire.TestID
	length   int
	streams  int
	rate     uint64        // bit/s per stream, as the protocol counts; 0 is no limit
	duration time.Duration // of a sender, from its first data
	sendBuf  int           // bytes; 0 is the system's
	recvBuf  int
	noDelay  bool
	budget   *admit.Budget
	intake   *pace.Limiter    // what all TCP streams together may bring; nil is no limit
	police   *stream.Police   // likewise of UDP
	queueing *stream.Queueing // of what a UDP receiver gets
	yields   bool             // streams pause while they are silent

	once   sync.Once // makes what follows
	shared *stream.Ring
}

// ring is what the writes of all TCP streams carry. A receiver cannot tell how long
// they were, so that it need not be larger than what a sender repeats.
func (p *plan) ring() *stream.Ring {
	p.once.Do(func() { p.shared = stream.NewRing(wire.Block(p.id, min(p.length, stream.BlockBytes))) })
	return p.shared
}

// maxFrame is the largest UDP payload that is one packet on Ethernet.
const maxFrame = 1472

// tcpSocket sets what the test asked for on a data connection.
func (p *plan) tcpSocket(c net.Conn) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	// The sizes are wishes; a system that refuses one goes on with its own.
	_ = tcp.SetNoDelay(p.noDelay)
	if p.sendBuf > 0 {
		_ = tcp.SetWriteBuffer(p.sendBuf)
	}
	if p.recvBuf > 0 {
		_ = tcp.SetReadBuffer(p.recvBuf)
	}
}

// A vigil ends a stream that has become silent. The zero vigil is ready to use.
type vigil struct {
	mu    sync.Mutex              // guards what follows
	start time.Time               // since when something should come; zero before
	cause error                   // why the stream is over; nil before
	stop  context.CancelCauseFunc // nil while nobody waits for data
}

// begin returns the context of a stream that should flow from now on, or goes on
// after a pause.
func (v *vigil) begin(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancelCause(ctx)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.start.IsZero() {
		v.start = time.Now()
	}
	if v.stop = stop; v.cause != nil {
		stop(v.cause)
	}
	return ctx, v.leave
}

// leave says that nobody waits any more.
func (v *vigil) leave() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stop(context.Canceled)
	v.stop = nil
}

// end ends the stream for cause.
func (v *vigil) end(cause error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.finish(cause)
}

// finish ends the stream for cause if nothing else has. v.mu is held.
func (v *vigil) finish(cause error) {
	if v.cause == nil {
		v.cause = cause
	}
	if v.stop != nil {
		v.stop(cause)
	}
}

// look ends the stream when its last data is longer than silenceTime ago, or
// none came since it began. It reports whether the stream is over.
func (v *vigil) look(now, last time.Time) (over bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if last.Before(v.start) {
		last = v.start
	}
	if !v.start.IsZero() && now.Sub(last) >= silenceTime {
		v.finish(errSilent)
	}
	return v.cause != nil
}

// A difference turns a total into records.
type difference struct {
	before uint64
}

// take is what the total has more than at the last call.
func (d *difference) take(total uint64) uint64 {
	more := total - d.before
	d.before = total
	return more
}
