package stream

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
)

// TestUDPTrouble: whatever the kernel says now and then, the test goes on, every
// datagram that was counted as sent came, and none was numbered twice.
func TestUDPTrouble(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault func(call sock.Call, n uint64) syscall.Errno
		stall bool
	}{
		{"no buffers, each third call", func(c sock.Call, n uint64) syscall.Errno {
			return when(c == sock.CallSend && n%3 == 0, unix.ENOBUFS)
		}, true},
		{"storm of EAGAIN", func(c sock.Call, n uint64) syscall.Errno {
			return when(c == sock.CallSend && n%10 < 7, unix.EAGAIN)
		}, true},
		{"refused by the peer's ICMP", func(c sock.Call, n uint64) syscall.Errno {
			return when(c == sock.CallSend && n%4 == 0, unix.ECONNREFUSED)
		}, true},
		{"GSO refused in mid-test", func(c sock.Call, n uint64) syscall.Errno {
			return when(c == sock.CallSend && n > 50, unix.EIO)
		}, false},
		{"GSO refused and queues full", func(c sock.Call, n uint64) syscall.Errno {
			return when(c == sock.CallSend && n > 50, unix.EIO) + when(c == sock.CallSendMM && n%3 == 0, unix.ENOBUFS)
		}, true},
		{"receiver interrupted", func(c sock.Call, n uint64) syscall.Errno {
			return when(c == sock.CallReceive && n%2 == 0, unix.EINTR)
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := packets(t, sock.PacketOptions{})
			var calls [2]atomic.Uint64
			for i, c := range []sock.PacketConn{a, b} {
				sock.Inject(c, func(call sock.Call) syscall.Errno { return tt.fault(call, calls[i].Add(1)) })
			}
			s := &Sender{Conn: a, To: toward(b), Size: 100, Stamp: stamp, Rate: pace.NewRate(30e6)}
			r := &Receiver{Conn: b, Parse: parse, Header: 4}
			ctx, stop := context.WithCancel(t.Context())
			rctx, rstop := context.WithCancel(t.Context())
			sent, received := start(s.Run, ctx), start(r.Run, rctx)
			time.Sleep(200 * time.Millisecond)
			// A sender that was held up has not met the trouble yet.
			for end := time.Now().Add(10 * time.Second); calls[0].Load() < 100 && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			stop()
			if err := <-sent; err != nil {
				t.Error(err)
			}
			in := s.View()
			for end := time.Now().Add(5 * time.Second); r.View().Bytes < in.Bytes && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			rstop()
			if err := <-received; err != nil {
				t.Error(err)
			}
			out := r.View()
			if in.Bytes == 0 || in.Bytes != out.Bytes || *out.Lost != 0 || *out.Duplicate != 0 {
				t.Errorf("sent %d bytes, received %d, lost %d, duplicate %d", in.Bytes, out.Bytes, *out.Lost, *out.Duplicate)
			}
			if tt.stall && *in.Stalled == 0 {
				t.Error("no stall was counted")
			}
			if refused := strings.Contains(tt.name, "GSO refused"); refused != strings.HasPrefix(a.Technique(), "sendmmsg") {
				t.Errorf("technique %s", a.Technique())
			}
		})
	}
}

func when(yes bool, e syscall.Errno) syscall.Errno {
	if yes {
		return e
	}
	return 0
}

// TestUDPTooBig: a path that is too narrow is told as a finding with a way out.
func TestUDPTooBig(t *testing.T) {
	a, b := packets(t, sock.PacketOptions{})
	var n atomic.Uint64
	sock.Inject(a, func(sock.Call) syscall.Errno { return when(n.Add(1) > 10, unix.EMSGSIZE) })
	s := &Sender{Conn: a, To: toward(b), Size: 9000, Stamp: stamp, Rate: pace.NewRate(100e6)}
	err := s.Run(t.Context())
	e, ok := errors.AsType[*result.Error](err)
	if !ok || e.Code() != result.CodeUnsupported || e.Hint == "" || !sock.IsTooBig(err) || !strings.Contains(err.Error(), "9000") {
		t.Errorf("Run = %v", err)
	}
	if *s.View().Packets == 0 {
		t.Error("nothing was sent before")
	}
}

// TestUDPFails: an error that does not pass by ends the test with its reason.
func TestUDPFails(t *testing.T) {
	a, b := packets(t, sock.PacketOptions{})
	sock.Inject(a, func(sock.Call) syscall.Errno { return unix.EACCES })
	s := &Sender{Conn: a, To: toward(b), Size: 100}
	if err := s.Run(t.Context()); !errors.Is(err, unix.EACCES) || !strings.Contains(err.Error(), b.LocalAddrPort().String()) {
		t.Errorf("Run = %v, want permission denied and to whom", err)
	}
	sock.Inject(b, func(sock.Call) syscall.Errno { return unix.EIO })
	sock.Inject(a, nil)
	if _, err := a.WriteTrain([]byte{0}, 1, b.LocalAddrPort()); err != nil { // until something comes nobody reads
		t.Fatal(err)
	}
	r := &Receiver{Conn: b, Parse: parse}
	if err := r.Run(t.Context()); !errors.Is(err, unix.EIO) {
		t.Errorf("Run = %v, want EIO", err)
	}
}

// TestHeadersOnly: once our own buffer has dropped trains only headers are read;
// what was lost is still counted exactly.
func TestHeadersOnly(t *testing.T) {
	open := func(buffer int) sock.PacketConn {
		a, _ := packets(t, sock.PacketOptions{ReceiveBuffer: buffer})
		return a
	}
	a, b := open(0), open(100_000)
	s := &Sender{Conn: a, To: toward(b), Size: 1000, Stamp: stamp}
	r := &Receiver{Conn: b, Parse: parse, Header: 4}
	ctx, stop := context.WithCancel(t.Context())
	rctx, rstop := context.WithCancel(t.Context())
	sent, received := start(s.Run, ctx), start(r.Run, rctx)
	technique := b.Technique() // it changes again when all is calm
	for end := time.Now().Add(10 * time.Second); !strings.Contains(technique, "trunc") && time.Now().Before(end); technique = b.Technique() {
		time.Sleep(time.Millisecond)
	}
	stop()
	<-sent
	// More, until one comes, so that no loss stays unseen at the end.
	all := *s.View().Packets
	isCounted := func() bool { v := r.View(); return *v.Packets+uint64(*v.Lost) >= all }
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		last := make([]byte, 1000)
		stamp(last, all, time.Time{})
		if _, err := a.WriteTrain(last, 1000, b.LocalAddrPort()); err != nil {
			t.Fatal(err)
		}
		all++
		if time.Sleep(20 * time.Millisecond); isCounted() {
			break
		}
	}
	rstop()
	<-received
	if !strings.Contains(technique, "trunc") {
		t.Skipf("a receive buffer of 100 kB was enough: technique %s", technique)
	}
	out := r.View()
	if *out.Packets+uint64(*out.Lost) != all || *out.Duplicate != 0 {
		t.Errorf("sent %d packets, received %d, lost %d, duplicate %d", all, *out.Packets, *out.Lost, *out.Duplicate)
	}
	if *out.Dropped == 0 || *out.Dropped > uint64(*out.Lost) {
		t.Errorf("dropped %d of %d lost", *out.Dropped, *out.Lost)
	}
}

// TestFollow: of a train of which only the first header was read the others follow
// that one, but for a shorter one at the end.
func TestFollow(t *testing.T) {
	conn, _ := packets(t, sock.PacketOptions{})
	for total, want := range map[int]uint64{300: 3, 316: 3, 200: 2, 100: 1} {
		var first, followed uint64
		r := &Receiver{
			Conn: conn,
			ParseSized: func(p []byte, size int) (Mark, bool) {
				if first++; size != 100 {
					t.Errorf("size %d", size)
				}
				return Mark{Seq: binary.BigEndian.Uint32(p)}, true
			},
			Follow: func(n int) { followed += uint64(n) },
			Common: true, FromZero: true,
		}
		b := &batches{Receiver: r}
		r.seen.common, r.seen.zero = true, true
		b.add(&sock.Message{Data: []byte{0, 0, 0, 7}, Len: total, Segment: 100}, &source{}, time.Now())
		v := r.View()
		if *v.Packets != want || first+followed != want || *v.Lost != 7 || *v.Duplicate != 0 {
			t.Errorf("%d bytes: %d packets, %d and %d told, %d lost", total, *v.Packets, first, followed, *v.Lost)
		}
	}
}

// TestShortTrain: of a train of datagrams shorter than a header, such as end markers,
// the first is shown as it is, without what comes after it.
func TestShortTrain(t *testing.T) {
	r := &Receiver{Header: 36, ParseSized: func(p []byte, size int) (Mark, bool) {
		if len(p) != 16 || size != 16 {
			t.Errorf("%d of %d bytes", len(p), size)
		}
		return Mark{}, false
	}, Follow: func(n int) { t.Errorf("%d more", n) }}
	b := &batches{Receiver: r}
	b.add(&sock.Message{Data: make([]byte, 36), Len: 80, Segment: 16}, &source{}, time.Now())
	if r.count != 0 {
		t.Errorf("%d counted", r.count)
	}
}

// TestNoAllocations: a running pair allocates nothing per packet or batch.
func TestNoAllocations(t *testing.T) {
	a, b := packets(t, sock.PacketOptions{})
	s := &Sender{Conn: a, To: toward(b), Size: 1450, Stamp: stamp, Overhead: 28, Rate: pace.NewRate(500e6)}
	r := &Receiver{Conn: b, Parse: parse, Header: 4, Overhead: 28}
	x, y := loopback(t)
	ts := &TCPSender{Conn: x, Block: make([]byte, 32768), Limit: pace.NewLimiter(pace.NewRate(500e6))}
	tr := &TCPReceiver{Conn: y, Scan: func(p []byte) int { return len(p) }}
	ctx, stop := context.WithCancel(t.Context())
	running := []<-chan error{start(s.Run, ctx), start(r.Run, ctx), start(ts.Run, ctx), start(tr.Run, ctx)}
	time.Sleep(100 * time.Millisecond) // buffers have their size
	var found []string
	for good := 0; good < 2; { // a machine that holds us up has the runtime allocate, too
		var before, after runtime.MemStats
		packets := *r.View().Packets
		runtime.ReadMemStats(&before)
		time.Sleep(300 * time.Millisecond)
		runtime.ReadMemStats(&after)
		packets = *r.View().Packets - packets
		if n := after.Mallocs - before.Mallocs; packets > 1000 && n <= packets/100 {
			good++
			continue
		} else if found = append(found, fmt.Sprintf("%d allocations for %d packets", n, packets)); len(found) == 5 {
			t.Error(found)
			break
		}
		t.Logf("once more: %s", found[len(found)-1])
	}
	stop()
	for _, done := range running {
		<-done
	}
}
