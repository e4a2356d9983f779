package diagnose_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonde-net/sonde/app/diagnose"
	"github.com/sonde-net/sonde/internal/host"
	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/stream"
	"github.com/sonde-net/sonde/result"
)

// These tests make a cause happen to real sockets on the loopback interface and
// see it named.

// A flow is one direction of traffic with what is to be told of it.
type flow struct {
	begin    result.Begin
	run      []func(context.Context) error
	sent     func() result.View // nil when nobody tells
	received func() result.View
	busy     func() *float64 // this machine's CPU; nil when it is not told
}

// measure lets f run for d, puts an interval every 100 ms as an engine does, and
// returns the End.
func (f flow) measure(t *testing.T, d time.Duration) result.End {
	t.Helper()
	var end result.End
	sink := diagnose.Sink(result.Func(func(e result.Event) {
		if e, ok := e.(result.End); ok {
			end = e
		}
	}))
	f.begin.Run, f.begin.Role, f.begin.Streams = "r", result.Client, 1
	sink.Put(f.begin)

	ctx, stop := context.WithTimeout(t.Context(), d)
	defer stop()
	var wg sync.WaitGroup
	for _, run := range f.run {
		wg.Go(func() {
			if err := run(ctx); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Errorf("flow: %v", err)
			}
		})
	}
	start := time.Now()
	var before time.Duration
	var prev [2]result.View
	for n := range pace.Ticks(ctx, 100*time.Millisecond) {
		if n == 0 {
			continue
		}
		i := result.Interval{Head: f.begin.Head, Seq: n, Direction: f.begin.Direction, Stream: result.AllStreams, Start: before, End: time.Since(start)}
		for k, view := range []func() result.View{f.sent, f.received} {
			if view == nil {
				continue
			}
			now := view()
			part := now.Sub(prev[k])
			prev[k] = now
			*[]**result.View{&i.Sent, &i.Received}[k] = &part
		}
		if f.busy != nil {
			i.CPU.Local = f.busy()
		}
		before = i.End
		sink.Put(i)
	}
	total := result.Total{Elapsed: before}
	if f.sent != nil {
		total.Sent = result.Some(f.sent())
	}
	if f.received != nil {
		total.Received = result.Some(f.received())
	}
	wg.Wait()
	last := result.End{Head: f.begin.Head, Elapsed: before, Reason: result.ReasonDone, Down: &total}
	if f.begin.Direction == result.Up {
		last.Down, last.Up = nil, &total
	}
	sink.Put(last)
	return end
}

// enough is longer than it takes until a limit may be named, also where this
// machine is busy elsewhere for more than a second.
const enough = 4 * time.Second

// connected returns two ends of a TCP connection, whose receiving buffers have
// the given size; 0 leaves them to the system.
func connected(t *testing.T, buffer int) (sender, receiver net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	sender, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	receiver = <-accepted
	if buffer > 0 {
		if err := receiver.(*net.TCPConn).SetReadBuffer(buffer); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { sender.Close(); receiver.Close() })
	return sender, receiver
}

func bulk(t *testing.T, c net.Conn) sock.BulkConn {
	t.Helper()
	b, err := sock.Bulk(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := b.Info(); !ok {
		t.Skip("the system tells nothing of its TCP connections")
	}
	return b
}

// TestRealSlowReader: a peer that reads now and then closes its window.
func TestRealSlowReader(t *testing.T) {
	t.Parallel()
	near, far := connected(t, 64<<10)
	s := &stream.TCPSender{Conn: bulk(t, near), Block: make([]byte, 32<<10)}
	read := func(ctx context.Context) error {
		end, _ := ctx.Deadline()
		if err := far.SetReadDeadline(end); err != nil {
			return err
		}
		b := make([]byte, 16<<10)
		for range pace.Ticks(ctx, 5*time.Millisecond) {
			if _, err := far.Read(b); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				return err
			}
		}
		return nil
	}
	f := flow{begin: result.Begin{Transport: result.TCP, Direction: result.Up}, run: []func(context.Context) error{s.Run, read}, sent: s.View}
	check(t, f.measure(t, enough), diagnose.ReceiveWindow)
}

// mark numbers a datagram, number reads it.
func mark(b []byte, seq uint64, _ time.Time) { binary.BigEndian.PutUint32(b, uint32(seq)) }

func number(b []byte) (stream.Mark, bool) {
	if len(b) < 4 {
		return stream.Mark{}, false
	}
	return stream.Mark{Seq: binary.BigEndian.Uint32(b)}, true
}

// datagrams is a flow of numbered datagrams of 1000 bytes to us, at rate, with
// the receiver's buffer as options say.
func datagrams(t *testing.T, rate uint64, o sock.PacketOptions) (flow, *stream.Sender, *stream.Receiver) {
	t.Helper()
	loop := netip.MustParseAddrPort("127.0.0.1:0")
	open := func(o sock.PacketOptions) sock.PacketConn {
		c, err := sock.ListenPackets(t.Context(), loop, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	in, out := open(o), open(sock.PacketOptions{})
	s := &stream.Sender{Conn: out, To: in.LocalAddrPort, Size: 1000, Stamp: mark, Rate: pace.NewRate(rate)}
	r := &stream.Receiver{Conn: in, Parse: number, Header: 4}
	return flow{
		begin:    result.Begin{Transport: result.UDP, Direction: result.Down},
		run:      []func(context.Context) error{s.Run, r.Run},
		received: r.View,
	}, s, r
}

// TestRealReceiverDrops: a receiver that is slower than what comes.
func TestRealReceiverDrops(t *testing.T) {
	t.Parallel()
	f, _, r := datagrams(t, 40e6, sock.PacketOptions{ReceiveBuffer: 64 << 10})
	r.Parse = func(b []byte) (stream.Mark, bool) {
		time.Sleep(500 * time.Microsecond)
		return number(b)
	}
	if _, ok := r.Conn.Dropped(); !ok {
		t.Skip("the system does not tell what it drops")
	}
	check(t, f.measure(t, enough), diagnose.ReceiverDrops)
}

// TestRealPacingLate: a sender that is held up again and again.
func TestRealPacingLate(t *testing.T) {
	t.Parallel()
	f, s, _ := datagrams(t, 8e6, sock.PacketOptions{})
	f.begin.Direction, f.begin.UpRate, f.sent = result.Up, 8e6, s.View
	s.Stamp = func(b []byte, seq uint64, at time.Time) {
		if seq%50 == 49 {
			time.Sleep(60 * time.Millisecond)
		}
		mark(b, seq, at)
	}
	check(t, f.measure(t, enough), diagnose.PacingLate)
}

// TestRealCPU: every processor of this machine is kept busy.
func TestRealCPU(t *testing.T) {
	if testing.Short() {
		t.Skip("keeps all processors busy for some seconds")
	}
	f, _, _ := datagrams(t, 1e6, sock.PacketOptions{})
	cpu := host.NewCPU()
	cpu.Busy()
	asked := 0
	f.busy = func() *float64 {
		if asked++; asked%5 != 0 { // the kernel counts in hundredths of a second
			return nil
		}
		if p, ok := cpu.Busy(); ok {
			return &p
		}
		return nil
	}
	stop := burn(t)
	end := f.measure(t, enough)
	stop()
	check(t, end, diagnose.CPULocal)
}

// burn keeps all processors busy until stop is called. It takes twice as many
// threads as there are processors, for the runtime leaves one of them idle for
// a moment whenever a system call returns.
func burn(t *testing.T) (stop func()) {
	t.Helper()
	n := 2 * runtime.NumCPU()
	before := runtime.GOMAXPROCS(n)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for ctx.Err() == nil {
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
		runtime.GOMAXPROCS(before)
	}
}

// check compares the Why of e with a word, and shows all of it.
func check(t *testing.T, e result.End, want string) {
	t.Helper()
	if e.Why == nil {
		t.Fatalf("no why, want %s", want)
	}
	t.Logf("%s: %s\n%s", e.Why.Limit, e.Why.Text, strings.Join(e.Why.Evidence, "\n"))
	if e.Why.Limit != want {
		t.Errorf("%s, want %s", e.Why.Limit, want)
	}
}
