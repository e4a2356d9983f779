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

const (
	blockBytes = 64 << 10 // what a sender repeats: small enough to stay in the cache
	mostBytes  = 4 << 20  // one call's worth without a limit
)

// A TCPSender sends a block of bytes over and over on one connection.
type TCPSender struct {
	Conn  sock.BulkConn
	Block []byte // one write of the protocol; not empty
	// Limit is shared by all connections of a test; nil is no limit. At low
	// rates the blocks are cut shorter, to 10 ms worth.
	Limit  *pace.Limiter
	Budget *admit.Budget
	// Insert brings messages that go between two blocks and do not count as
	// data. They leave promptly, however slowly the data is paced.
	Insert <-chan []byte

	bytes    atomic.Uint64
	late     atomic.Int64 // ns, summed over limited writes
	lateness atomic.Int64 // limited writes
}

// Run sends until ctx ends, then returns nil. It fails when the budget is gone
// (*admit.ExceededError) and when the connection does. It may be called once.
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
	b := newBlocks(s, own)
	defer b.close()
	for ctx.Err() == nil {
		if err := b.next(ctx); err != nil {
			if ctx.Err() != nil && isDeadline(err) {
				return nil
			}
			return err
		}
	}
	return nil
}

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

// blocks is the state of a TCPSender's Run.
type blocks struct {
	*TCPSender
	insert <-chan []byte // Insert until it is closed
	// ring is the block repeated, and one more: from any offset into a block,
	// the next repeat bytes are whole blocks' worth.
	ring   []byte
	repeat int
	offset int // into the block: where the next byte comes from
	waiter *pace.Waiter
	timer  *time.Timer
	paced  uint64 // the limit that the kernel was told
}

func newBlocks(s *TCPSender, exact bool) *blocks {
	size := len(s.Block)
	repeat := size * max(1, blockBytes/size)
	ring := make([]byte, 0, repeat+size)
	for len(ring) < repeat+size {
		ring = append(ring, s.Block...)
	}
	return &blocks{TCPSender: s, insert: s.Insert, ring: ring, repeat: repeat,
		waiter: waiter(exact), timer: time.NewTimer(0)}
}

func (b *blocks) close() {
	b.waiter.Close()
	b.timer.Stop()
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
		_, err := b.write(b.afford(mostBytes))
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
	b.timer.Reset(min(left-time.Millisecond, lookAgain))
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
	took, err = b.Conn.WriteBlocks(b.ring[b.offset:b.offset+b.repeat], n)
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
