package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
)

const (
	// A train without a limit is a few pieces, each of which the kernel takes
	// whole: it cuts a piece of at most so many datagrams and bytes.
	trainPieces = 4
	pieceLength = 128
	pieceBytes  = sock.MaxDatagram
	slowTrain   = 8 // datagrams of which no two fit into one piece

	idleBytes  = 4 << 10               // that a flow may keep to send from while it has nothing to send
	lookAgain  = 10 * time.Millisecond // how often a waiting sender asks for the rate and the address
	firstPause = 50 * time.Microsecond // when the kernel's queue is full; it doubles
	longPause  = 10 * time.Millisecond
	patience   = 10 * time.Second // without a single datagram taken
)

// A Sender sends numbered datagrams of one size to one address.
type Sender struct {
	Conn sock.PacketConn
	// To is asked once for each train, since the address may change (NAT). While
	// it is not valid nothing is sent and nothing is owed.
	To func() netip.AddrPort
	// Size is the payload of a datagram, 0 to sock.MaxDatagram.
	Size int
	// Stamp writes the protocol's header into a datagram; seq counts from 0 and
	// at is when its train leaves. Nil leaves the datagrams as Fill made them.
	Stamp func(b []byte, seq uint64, at time.Time)
	// Fill makes the payload of a datagram, once, before the first train; nil
	// means zeros.
	Fill func(b []byte)
	// Rate is the target in bit/s, of Size+Overhead bytes for each datagram. Nil
	// or 0 is no limit.
	Rate     *pace.Rate
	Overhead int           // header bytes that the protocol counts into each datagram
	Quantum  time.Duration // the longest train, in time at the rate; 0 means 100 µs, or 2 ms when many send
	Most     int           // bytes of the longest train; 0 is what is fastest for one flow
	Budget   *admit.Budget // of payload bytes
	// Refusable ends the run when the far end answers that its port is closed
	// (sock.PacketOptions.Refusals). Otherwise that is a loss like others.
	Refusable bool
	// Yields has Run return a *Pause before it waits long for its rate, which does
	// not change then.
	Yields bool

	state    *trains // of Run
	bytes    atomic.Uint64
	packets  atomic.Uint64
	skipped  atomic.Uint64
	stalled  atomic.Int64 // ns that the kernel took nothing
	late     atomic.Int64 // ns, summed over trains that had a due time
	lateness atomic.Int64 // trains that had one
}

// Run sends until ctx ends, then returns nil. It fails when the budget is gone
// (*admit.ExceededError), when the path is too narrow for the datagrams, and
// when the socket took nothing for ten seconds. It may be called once, and again
// after a *Pause.
func (s *Sender) Run(ctx context.Context) error {
	if s.Size < 0 || s.Size > sock.MaxDatagram {
		return fmt.Errorf("datagrams of %d bytes: want 0 to %d", s.Size, sock.MaxDatagram)
	}
	release, err := endWith(ctx, s.Conn.SetWriteDeadline)
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	defer release()
	exact, leave := exactly(sock.OnKernel(s.Conn))
	defer leave()
	defer ownThread(exact)()
	if s.state == nil {
		s.state = newTrains(s, exact)
	}
	t := s.state
	t.waiter = waiter(exact)
	defer t.close()
	for ctx.Err() == nil {
		if err := t.next(ctx); err != nil {
			if ctx.Err() != nil && isDeadline(err) {
				return nil
			}
			return err
		}
	}
	return nil
}

// View is what was sent so far. It may be called while Run runs.
func (s *Sender) View() result.View {
	packets := s.packets.Load()
	v := result.View{
		Bytes:   s.bytes.Load(),
		Packets: &packets,
		Skipped: result.Some(s.skipped.Load()),
	}
	if s.Overhead > 0 {
		v.WireBytes = result.Some(v.Bytes + packets*uint64(s.Overhead))
	}
	if n := s.lateness.Load(); n > 0 {
		v.ScheduleErr = result.Some(time.Duration(s.late.Load() / n))
	}
	// A socket of the runtime waits inside the call, where we cannot see it.
	waited, ok := sock.Waited(s.Conn)
	if d := time.Duration(s.stalled.Load()) + waited; d > 0 || ok {
		v.Stalled = &d
	}
	return v
}

// trains is the state of a Sender's Run.
type trains struct {
	*Sender
	buf     []byte // most datagrams, one after the other
	most    int
	bits    uint64 // of one datagram, as the rate counts
	quantum time.Duration
	waiter  *pace.Waiter
	start   time.Time // the timetable's moment 0
	table   pace.Timetable
	seq     uint64
	pause   time.Duration // after the last refusal by the kernel
	refused time.Time     // since when it has taken nothing; zero when it takes
}

func newTrains(s *Sender, exact bool) *trains {
	quantum := pace.DefaultQuantum
	if !exact && sock.OnKernel(s.Conn) {
		quantum = coarseQuantum
	}
	t := &trains{
		Sender:  s,
		most:    longestTrain(s.Size, s.Most),
		bits:    8 * uint64(max(1, s.Size+s.Overhead)),
		quantum: cmp.Or(s.Quantum, quantum),
		start:   time.Now(),
	}
	return t
}

func (t *trains) close() {
	t.waiter.Close()
	t.waiter = nil
}

// train is room for n datagrams. It grows to what the rate needs: a slow flow
// keeps a single datagram.
func (t *trains) train(n int) []byte {
	for len(t.buf) < n*t.Size {
		have := len(t.buf)
		more := min(t.most, max(n, 2*have/t.Size)) * t.Size
		buf := make([]byte, more)
		copy(buf, t.buf)
		if t.Fill != nil {
			for at := have; at < more; at += t.Size {
				t.Fill(buf[at : at+t.Size])
			}
		}
		t.buf = buf
	}
	return t.buf[:n*t.Size]
}

// TrainOf is the longest train, in bytes, of one of so many flows of a test: all
// together they keep a megabyte to send from, or little each.
func TrainOf(flows int) int { return max(1<<20/max(1, flows), 8<<10) }

// longestTrain is trainLength within so many bytes, 0 being no limit.
func longestTrain(size, most int) int {
	n := trainLength(size)
	if most > 0 && size > 0 {
		n = max(1, min(n, most/size))
	}
	return n
}

// trainLength is how many datagrams of size bytes are worth one call: what makes
// whole pieces, without a remainder.
func trainLength(size int) int {
	switch {
	case size == 0:
		return 1
	case size > pieceBytes/2:
		return slowTrain
	}
	return trainPieces * min(pieceLength, pieceBytes/size)
}

// next sends one train, or waits a little for what it needs.
func (t *trains) next(ctx context.Context) error {
	to := t.To()
	if !to.IsValid() {
		t.table = pace.Timetable{}
		t.waiter.Until(ctx, time.Now().Add(lookAgain))
		return nil
	}
	rate := t.Rate.Get()
	now := time.Now()
	if rate > 0 {
		due := t.start.Add(t.table.Due(now.Sub(t.start), rate))
		if t.Yields && due.Sub(now) > longWait {
			t.buf = nil
			return &Pause{Until: due.Add(-early)}
		}
		if due.Sub(now) > lookAgain {
			if len(t.buf) > idleBytes {
				t.buf = nil
			}
			t.waiter.Until(ctx, now.Add(lookAgain))
			return nil
		}
		if !t.waiter.Until(ctx, due) {
			return nil
		}
		now = time.Now()
	} else {
		t.table.Due(now.Sub(t.start), 0)
	}
	n, err := t.afford(pace.Train(rate, t.bits, t.quantum, t.most))
	if err != nil {
		return err
	}
	return t.send(ctx, n, to, now)
}

// afford spends the bytes of up to n datagrams and returns for how many the
// budget was enough.
func (t *trains) afford(n int) (int, error) {
	if t.Budget == nil || t.Size == 0 {
		return n, nil
	}
	n = max(1, min(n, batch(t.Budget, n*t.Size)/t.Size))
	return n, t.Budget.Spend(n * t.Size)
}

// send sends n datagrams as a train.
func (t *trains) send(ctx context.Context, n int, to netip.AddrPort, now time.Time) error {
	train := t.train(n)
	if stamp, size, seq := t.Stamp, t.Size, t.seq; stamp != nil && size > 0 {
		for rest := train; len(rest) >= size; rest = rest[size:] {
			stamp(rest[:size:size], seq, now)
			seq++
		}
	}
	took, err := t.Conn.WriteTrain(train, t.Size, to)
	if took > 0 {
		t.book(now, took)
	}
	if took < n {
		t.Budget.Return((n - took) * t.Size)
	}
	if err == nil {
		return nil
	}
	return t.endure(ctx, err, to)
}

// book counts a train of n datagrams that left at now.
func (t *trains) book(now time.Time, n int) {
	t.seq += uint64(n)
	t.bytes.Add(uint64(n * t.Size))
	t.packets.Add(uint64(n))
	late, skipped := t.table.Sent(now.Sub(t.start), n, t.bits)
	if t.table.Limited() {
		t.late.Add(int64(late))
		t.lateness.Add(1)
		t.skipped.Add(skipped)
	}
	t.pause, t.refused = 0, time.Time{}
}

// endure waits a little after an error that only costs time, and returns the
// others in words.
func (t *trains) endure(ctx context.Context, err error, to netip.AddrPort) error {
	switch {
	case sock.IsTooBig(err):
		return tooBig(t.Size, to, err)
	case !sock.IsLoss(err), t.Refusable && errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("send to %v: %w", to, err)
	}
	began := time.Now()
	if t.refused.IsZero() {
		t.refused = began
	} else if began.Sub(t.refused) > patience {
		return fmt.Errorf("send to %v: nothing was taken for %v: %w", to, patience, err)
	}
	t.pause = min(max(2*t.pause, firstPause), longPause)
	t.waiter.Until(ctx, began.Add(t.pause))
	t.stalled.Add(int64(time.Since(began)))
	return nil
}

// tooBig says that the path is too narrow, which is a finding about the path.
func tooBig(size int, to netip.AddrPort, err error) error {
	text := fmt.Sprintf("datagrams of %d bytes to %v exceed the path MTU", size, to)
	if mtu, ok := sock.PathMTU(to); ok {
		text = fmt.Sprintf("%s of %d", text, mtu)
	}
	return &result.Error{Word: result.CodeUnsupported, Text: text,
		Hint: "choose a smaller size; fragments are sent only when asked for", Err: err}
}
