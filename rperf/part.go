package rperf

import (
	"context"
	"net"
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
	// also because ctx did.
	run(ctx context.Context) error
	// view is what was counted so far, exactly.
	view() result.View
	// record puts into i what was counted since the last call, as the peer
	// counts. One goroutine at a time calls it.
	record(i *wire.Interval)
	// last is when data last moved; zero before the first.
	last() time.Time
	// close frees what run may not have got to.
	close()
}

// A plan is what all streams of a test have in common.
type plan struct {
	id       wire.TestID
	length   int
	rate     uint64        // bit/s per stream, as the protocol counts; 0 is no limit
	duration time.Duration // of a sender, from its first data
	sendBuf  int           // bytes; 0 is the system's
	recvBuf  int
	noDelay  bool
	budget   *admit.Budget
	intake   *pace.Limiter  // what all TCP streams together may bring; nil is no limit
	police   *stream.Police // likewise of UDP
	queueing *queueing      // of what a UDP receiver gets
}

// maxBlock bounds what one stream keeps to write from. A receiver cannot tell
// how long the writes were.
const maxBlock = 128 << 10

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

// untilSilent returns a context that ends with errSilent when last has been
// more than limit ago, or there was none since the start.
func untilSilent(ctx context.Context, limit time.Duration, last func() time.Time) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancelCause(ctx)
	start := time.Now()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range pace.Ticks(ctx, limit/16) {
			at := last()
			if at.Before(start) {
				at = start
			}
			if time.Since(at) >= limit {
				stop(errSilent)
			}
		}
	}()
	return ctx, func() {
		stop(context.Canceled)
		<-done
	}
}

// A difference turns totals into records.
type difference struct {
	before result.View
}

// take is what v has more than the view of the last call.
func (d *difference) take(v result.View) result.View {
	more := v.Sub(d.before)
	d.before = v
	return more
}
