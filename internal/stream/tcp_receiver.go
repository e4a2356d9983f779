package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
)

// Buffers of a receiver that looks at the bytes: it grows to what comes at once,
// so that one that waits for its test takes little.
const (
	smallBuffer = 4 << 10
	largeBuffer = 1 << 20
)

// mostRead is one call's worth of bytes that nobody looks at.
const mostRead = 4 << 20

// A TCPReceiver counts what comes on one connection.
type TCPReceiver struct {
	Conn sock.BulkConn
	// Scan sees every byte and says how many of them were data. Nil: nobody
	// looks, all are data and the kernel may throw them away.
	Scan   func(p []byte) (data int)
	Budget *admit.Budget
	// Limit slows the reading, and TCP's window then the peer; it is shared by
	// all connections of a test. Nil is no limit.
	Limit *pace.Limiter
	// Yields has Run return a *Pause before it waits for the first bytes, and when
	// Rest finds that none come. Conn is one that sock.Polled says yes to.
	Yields bool

	idle    idle
	receive func(most int) (data int, err error) // of Run

	mu    sync.Mutex // guards what follows
	bytes uint64
	came  uint64 // bytes, data or not
	last  time.Time
}

// Run receives until ctx ends, then returns nil, or until the peer closes: then
// it returns io.EOF. It fails when the budget is gone (*admit.ExceededError)
// and when the connection does. It may be called once, and again after a *Pause.
func (r *TCPReceiver) Run(ctx context.Context) error {
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
	if r.receive == nil {
		r.receive = r.discard
		if r.Scan != nil {
			r.receive = r.scanner()
		}
	}
	w := pace.NewWaiter()
	defer w.Close()
	longest := r.longest()
	for ctx.Err() == nil {
		most := longest
		if r.Limit.Rate() > 0 {
			most = min(most, r.Limit.Block())
		}
		data, err := r.receive(receiveBatch(r.Budget, most))
		if spent := r.Budget.Charge(data); spent != nil {
			return spent
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return io.EOF
		case ctx.Err() != nil:
			return nil
		case r.Yields && isDeadline(err):
			return &Pause{Conn: r.Conn}
		default:
			return fmt.Errorf("receive: %w", err)
		}
		r.slow(ctx, w, data)
	}
	return nil
}

// longest is the most that one call may receive while there is much left.
func (r *TCPReceiver) longest() int {
	if prompt := r.Scan == nil && sock.Detached(r.Conn); r.Budget != nil && !prompt {
		return sleptReceive
	}
	return mostRead
}

// slow waits until the limit lets more come after n bytes that did. A change of
// the limit ends the wait.
func (r *TCPReceiver) slow(ctx context.Context, w *pace.Waiter, n int) {
	rate := r.Limit.Rate()
	if rate == 0 || n == 0 {
		return
	}
	at := r.Limit.Reserve(n, time.Now())
	for time.Until(at) > 0 && ctx.Err() == nil && r.Limit.Rate() == rate {
		w.Until(ctx, earlier(at, time.Now().Add(lookAgain)))
	}
}

// earlier is the earlier of two times.
func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Rest has a Run that yields pause when nothing has come for a while. It is for
// one goroutine, every now and then.
func (r *TCPReceiver) Rest(now time.Time) {
	if !r.Yields {
		return
	}
	r.mu.Lock()
	moved := r.came
	r.mu.Unlock()
	r.idle.rest(now, moved, r.Conn.SetReadDeadline)
}

// Last is when bytes came last, data or not; zero if none did.
func (r *TCPReceiver) Last() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// Bytes is how many came so far, data only. It may be called while Run runs.
func (r *TCPReceiver) Bytes() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes
}

// View is what came so far. It may be called while Run runs.
func (r *TCPReceiver) View() result.View {
	r.mu.Lock()
	v := result.View{Bytes: r.bytes}
	r.mu.Unlock()
	if info, ok := r.Conn.Info(); ok {
		v.TCP = &info
	}
	return v
}

// count books n bytes that came, of which so many were data.
func (r *TCPReceiver) count(n, data int) {
	if n == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = time.Now()
	r.came += uint64(n)
	r.bytes += uint64(data)
}

// discard receives at most so many bytes that nobody looks at.
func (r *TCPReceiver) discard(most int) (data int, err error) {
	n, err := r.Conn.Discard(most)
	r.count(n, n)
	return n, err
}

// scanner returns a function that receives at most so many bytes and shows them
// to Scan.
func (r *TCPReceiver) scanner() func(most int) (data int, err error) {
	buf := make([]byte, smallBuffer)
	return func(most int) (data int, err error) {
		n, err := r.Conn.Read(buf[:min(most, len(buf))])
		if n > 0 {
			data = r.Scan(buf[:n])
		}
		r.count(n, data)
		if n == len(buf) && n < largeBuffer {
			buf = make([]byte, 2*n)
		}
		return data, err
	}
}
