package stream

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
)

// BlockBytes is what a sender repeats: small enough to stay in the cache.
const BlockBytes = 64 << 10

const (
	// mostWrite is one call's worth without a limit. 4 MiB leave data in the kernel's
	// queue that is then sent from where the acknowledgements come: over loopback that
	// is another CPU, so that packets overtake each other, and TCP takes it for loss
	// (docs/performance.md).
	mostWrite = 2 << 20
)

// A TCPSender sends a block of bytes over and over on one connection.
type TCPSender struct {
	Conn  sock.BulkConn
	Block []byte // one write of the protocol; not empty
	// Ring is Block repeated, which the senders of a test can share; nil makes one.
	Ring *Ring
	// Limit is shared by all connections of a test; nil is no limit. At low
	// rates the blocks are cut shorter, to 10 ms worth.
	Limit  *pace.Limiter
	Budget *admit.Budget
	// Insert brings messages that go between two blocks and do not count as
	// data. They leave promptly, however slowly the data is paced.
	Insert <-chan []byte
	// Yields has Run return a *Pause when Rest finds that the connection takes
	// nothing. Conn is one that sock.Polled says yes to, and there is no Insert.
	Yields bool

	idle     idle
	state    *blocks // of Run
	bytes    atomic.Uint64
	late     atomic.Int64 // ns, summed over limited writes
	lateness atomic.Int64 // limited writes
}

// Run sends until ctx ends, then returns nil. It fails when the budget is gone
// (*admit.ExceededError) and when the connection does. It may be called once,
// and again after a *Pause.
func (s *TCPSender) Run(ctx context.Context) error {
	if len(s.Block) == 0 {
		return errors.New("send: no block to repeat")
	}
	release, err := endWith(ctx, s.Conn.SetWriteDeadline)
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	defer release()
	own := sock.Detached(s.Conn)
	defer ownThread(own)()
	defer s.idle.run()()
	if s.state == nil {
		s.state = newBlocks(s)
	}
	b := s.state
	b.open(own)
	defer b.close()
	for ctx.Err() == nil {
		switch err := b.next(ctx); {
		case err == nil:
		case ctx.Err() != nil && isDeadline(err):
			return nil
		case s.Yields && isDeadline(err):
			return &Pause{Conn: s.Conn, Write: true}
		default:
			return err
		}
	}
	return nil
}

// Rest has a Run that yields pause when nothing was taken for a while. It is for
// one goroutine, every now and then.
func (s *TCPSender) Rest(now time.Time) {
	if s.Yields {
		s.idle.rest(now, s.bytes.Load(), s.Conn.SetWriteDeadline)
	}
}

// Bytes is how many were sent so far. It may be called while Run runs.
func (s *TCPSender) Bytes() uint64 { return s.bytes.Load() }

// View is what was sent so far. It may be called while Run runs.
func (s *TCPSender) View() result.View {
	v := result.View{Bytes: s.bytes.Load()}
	if n := s.lateness.Load(); n > 0 {
		v.ScheduleErr = result.Some(time.Duration(s.late.Load() / n))
	}
	if d, ok := sock.Waited(s.Conn); ok {
		v.Stalled = &d
	}
	if info, ok := s.Conn.Info(); ok {
		v.TCP = &info
	}
	return v
}

// A Ring is a block repeated, and one more: from any offset into a block, the
// next repeat bytes are whole blocks' worth.
type Ring struct {
	bytes  []byte
	size   int // of the block
	repeat int
}

// NewRing repeats block, which must not be empty.
func NewRing(block []byte) *Ring {
	size := len(block)
	r := &Ring{size: size, repeat: size * max(1, BlockBytes/size)}
	r.bytes = make([]byte, 0, r.repeat+size)
	for len(r.bytes) < r.repeat+size {
		r.bytes = append(r.bytes, block...)
	}
	return r
}

// Block is the block, within the ring.
func (r *Ring) Block() []byte { return r.bytes[:r.size:r.size] }

// from is the bytes to repeat when offset bytes of a block have been sent.
func (r *Ring) from(offset int) []byte { return r.bytes[offset : offset+r.repeat] }

// blocks is the state of a TCPSender's Run.
type blocks struct {
	*TCPSender
	insert <-chan []byte // Insert until it is closed
	ring   *Ring
	offset int // into the block: where the next byte comes from
	waiter *pace.Waiter
	timer  *time.Timer // nil until it is wanted
	paced  uint64      // the limit that the kernel was told
}

func newBlocks(s *TCPSender) *blocks {
	ring := s.Ring
	if ring == nil {
		ring = NewRing(s.Block)
	}
	return &blocks{TCPSender: s, insert: s.Insert, ring: ring}
}

// open takes what waiting needs, until close.
func (b *blocks) open(exact bool) { b.waiter = waiter(exact) }

func (b *blocks) close() {
	b.waiter.Close()
	if b.timer != nil {
		b.timer.Stop()
	}
	b.waiter, b.timer = nil, nil
}

// next sends a message that waits, or else one write's worth of data.
func (b *blocks) next(ctx context.Context) error {
	select {
	case m, ok := <-b.insert:
		return b.inserted(ctx, m, ok)
	default:
	}
	rate := b.Limit.Rate()
	b.pace(rate)
	if rate == 0 {
		_, err := b.write(b.afford(mostWrite))
		return err
	}
	return b.limited(ctx, rate)
}

// limited sends one block when its time has come.
func (b *blocks) limited(ctx context.Context, rate uint64) error {
	n := b.afford(b.Limit.Block())
	at := b.Limit.Reserve(n, time.Now())
	took := 0
	defer func() { b.Limit.Return(n - took) }()
	for time.Until(at) > 0 {
		m, open, got := b.wait(ctx, at)
		if got {
			return b.inserted(ctx, m, open)
		}
		if ctx.Err() != nil || b.Limit.Rate() != rate {
			return nil
		}
	}
	b.late.Add(int64(time.Since(at)))
	b.lateness.Add(1)
	var err error
	took, err = b.write(n)
	return err
}

// wait waits for at, or a slice of the time until then, or a message.
func (b *blocks) wait(ctx context.Context, at time.Time) (m []byte, open, got bool) {
	left := time.Until(at)
	if left <= 2*time.Millisecond {
		b.waiter.Until(ctx, at)
		return nil, true, false
	}
	if pause := min(left-time.Millisecond, lookAgain); b.timer == nil {
		b.timer = time.NewTimer(pause)
	} else {
		b.timer.Reset(pause)
	}
	select {
	case <-ctx.Done():
	case <-b.timer.C:
	case m, open = <-b.insert:
		return m, open, true
	}
	return nil, true, false
}

// afford is n bytes, or fewer where the budget ends.
func (b *blocks) afford(n int) int { return max(1, batch(b.Budget, n)) }

// write spends and sends up to n bytes of data.
func (b *blocks) write(n int) (took int, err error) {
	if err := b.Budget.Spend(n); err != nil {
		return 0, err
	}
	took, err = b.Conn.WriteBlocks(b.ring.from(b.offset), n)
	b.Budget.Return(n - took)
	b.bytes.Add(uint64(took))
	b.offset = (b.offset + took) % len(b.Block)
	if err != nil {
		return took, fmt.Errorf("send: %w", err)
	}
	return took, nil
}

// inserted sends a message between two blocks. A block that was begun is
// finished first, unless at this rate that takes more than one write: then it
// is left short.
func (b *blocks) inserted(ctx context.Context, m []byte, open bool) error {
	if !open {
		b.insert = nil
		return nil
	}
	if short := b.Limit.Block(); short > 0 && len(b.Block)-b.offset > short {
		b.offset = 0
	}
	for b.offset > 0 && ctx.Err() == nil {
		took, err := b.write(b.afford(len(b.Block) - b.offset))
		b.Limit.Reserve(took, time.Now())
		if err != nil {
			return err
		}
	}
	if _, err := b.Conn.Write(m); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// pace has the kernel spread what we write: half again as fast as the limit, so
// that ours alone decides the rate and can catch up. A kernel that cannot leaves it to us alone.
func (b *blocks) pace(rate uint64) {
	if rate == b.paced {
		return
	}
	b.paced = rate
	_ = b.Conn.SetPacingRate(rate + rate/2)
}
