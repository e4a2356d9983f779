package stream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/pace"
	"github.com/sonde-net/sonde/internal/sock"
)

// pipe is an in-memory connection, both ends as bulk connections.
func pipe(t *testing.T) (a, b sock.BulkConn) {
	x, y := net.Pipe()
	return bulk(t, x), bulk(t, y)
}

// loopback is a TCP connection of the system, both ends as bulk connections.
func loopback(t *testing.T) (a, b sock.BulkConn) {
	x, y := tcpPair(t)
	return bulk(t, x), bulk(t, y)
}

func tcpPair(t testing.TB) (x, y net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	x, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	y, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return x, y
}

func bulk(t testing.TB, c net.Conn) sock.BulkConn {
	t.Helper()
	b, err := sock.Bulk(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// start runs f and returns the channel its error will come on.
func start(f func(context.Context) error, ctx context.Context) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	return done
}

func TestTCPUnlimited(t *testing.T) {
	for _, scan := range []bool{false, true} {
		a, b := loopback(t)
		sctx, stop := context.WithCancel(t.Context())
		s := &TCPSender{Conn: a, Block: make([]byte, 32768)}
		r := &TCPReceiver{Conn: b}
		if scan {
			r.Scan = func(p []byte) int { return len(p) }
		}
		sent, received := start(s.Run, sctx), start(r.Run, t.Context())
		for r.View().Bytes < 10_000_000 {
			time.Sleep(time.Millisecond)
		}
		stop()
		if err := <-sent; err != nil {
			t.Errorf("send: %v", err)
		}
		a.Close()
		if err := <-received; err != io.EOF {
			t.Errorf("receive = %v, want EOF", err)
		}
		if in, out := s.View().Bytes, r.View().Bytes; in != out {
			t.Errorf("sent %d bytes, received %d", in, out)
		}
		if r.Last().IsZero() {
			t.Error("no time of the last byte")
		}
	}
}

// TestTCPRate: the limit holds in total over two connections, exactly.
func TestTCPRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bps = 10e6
		limit := pace.NewLimiter(pace.NewRate(bps))
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		var total uint64
		var done []<-chan error
		var receivers []*TCPReceiver
		for range 2 {
			a, b := pipe(t)
			s := &TCPSender{Conn: a, Block: make([]byte, 32768), Limit: limit}
			r := &TCPReceiver{Conn: b}
			done = append(done, start(s.Run, ctx), start(r.Run, ctx))
			receivers = append(receivers, r)
		}
		for _, d := range done {
			if err := <-d; err != nil {
				t.Error(err)
			}
		}
		for _, r := range receivers {
			total += r.View().Bytes
		}
		if want := uint64(bps * 10 / 8); total < want-25_000 || total > want+25_000 {
			t.Errorf("%d bytes in 10s at %.0f bit/s, want %d", total, bps, want)
		}
	})
}

// TestTCPReceiveRate: two receivers that share a limit take no more than it
// together, whatever the senders would send.
func TestTCPReceiveRate(t *testing.T) {
	for _, bps := range []uint64{8_000, 1e6, 100e6} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			limit := pace.NewLimiter(pace.NewRate(bps))
			var recvs []*TCPReceiver
			var running []<-chan error
			for range 2 {
				a, b := pipe(t)
				s := &TCPSender{Conn: a, Block: make([]byte, 32768)}
				r := &TCPReceiver{Conn: b, Limit: limit}
				recvs = append(recvs, r)
				running = append(running, start(s.Run, ctx), start(r.Run, ctx))
			}
			time.Sleep(10 * time.Second)
			got := recvs[0].View().Bytes + recvs[1].View().Bytes
			cancel()
			for _, done := range running {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
			want, block := bps*10/8, 4*uint64(limit.Block())
			if got < want-block || got > want+block {
				t.Errorf("%d bit/s: %d bytes in 10s, want %d within %d", bps, got, want, block)
			}
		})
	}
}

// TestTCPRateChange: a stream that crawls follows a new rate at once.
func TestTCPRateChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rate := pace.NewRate(80) // 10 byte/s
		a, b := pipe(t)
		s := &TCPSender{Conn: a, Block: make([]byte, 1000), Limit: pace.NewLimiter(rate)}
		r := &TCPReceiver{Conn: b}
		ctx, stop := context.WithCancel(t.Context())
		sent, received := start(s.Run, ctx), start(r.Run, ctx)
		time.Sleep(3 * time.Second)
		slow := r.View().Bytes
		rate.Set(8e6)
		time.Sleep(time.Second)
		stop()
		<-sent
		<-received
		if slow < 30 || slow > 32 {
			t.Errorf("%d bytes in 3s at 80 bit/s", slow)
		}
		if fast := r.View().Bytes - slow; fast < 980_000 || fast > 1_020_002 {
			t.Errorf("%d bytes in 1s at 8 Mbit/s", fast)
		}
	})
}

// TestTCPInsert: messages lie between blocks, are not data, and do not wait for
// a slow stream.
func TestTCPInsert(t *testing.T) {
	for _, tt := range []struct {
		name  string
		limit *pace.Limiter
	}{
		{"slow", pace.NewLimiter(pace.NewRate(8_000))},
		{"fast", pace.NewLimiter(pace.NewRate(100e6))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				block := []byte("0123456789abcdefghij")
				a, b := pipe(t)
				insert := make(chan []byte, 1)
				s := &TCPSender{Conn: a, Block: block, Limit: tt.limit, Insert: insert}
				var got []byte
				r := &TCPReceiver{Conn: b, Scan: func(p []byte) int {
					got = append(got, p...)
					return len(p) - 3*bytes.Count(p, []byte("<m>"))
				}}
				ctx, stop := context.WithCancel(t.Context())
				sent, received := start(s.Run, ctx), start(r.Run, ctx)
				for range 3 {
					time.Sleep(time.Second)
					began := time.Now()
					insert <- []byte("<m>")
					for len(insert) > 0 {
						time.Sleep(time.Millisecond)
					}
					if took := time.Since(began); took > 50*time.Millisecond {
						t.Errorf("a message waited for %v", took)
					}
				}
				time.Sleep(100 * time.Millisecond)
				stop()
				if err := <-sent; err != nil {
					t.Error(err)
				}
				if err := <-received; err != nil {
					t.Error(err)
				}
				if n := bytes.Count(got, []byte("<m>")); n != 3 {
					t.Errorf("%d messages came, want 3", n)
				}
				if tt.name == "fast" {
					if rest := bytes.ReplaceAll(bytes.ReplaceAll(got, []byte("<m>"), nil), block, nil); len(rest) >= len(block) {
						t.Errorf("a block was cut: %q", rest[:40])
					}
				}
				if s.View().Bytes != uint64(len(got)-9) {
					t.Errorf("sent %d bytes of data, %d came", s.View().Bytes, len(got)-9)
				}
			})
		})
	}
}

// TestTCPBudget: both ends end with the reason, and not a byte beyond is sent.
func TestTCPBudget(t *testing.T) {
	const all = 1_000_003
	a, b := loopback(t)
	s := &TCPSender{Conn: a, Block: make([]byte, 32768), Budget: admit.NewBudget(all, "w", "t")}
	r := &TCPReceiver{Conn: b, Budget: admit.NewBudget(all/2, "w", "t")}
	sent, received := start(s.Run, t.Context()), start(r.Run, t.Context())
	for name, err := range map[string]error{"send": <-sent, "receive": <-received} {
		if _, ok := errors.AsType[*admit.ExceededError](err); !ok {
			t.Errorf("%s = %v, want an ExceededError", name, err)
		}
	}
	if n := s.View().Bytes; n != all {
		t.Errorf("sent %d bytes of a budget of %d", n, all)
	}
	if n := r.View().Bytes; n < all/2 || n > all/2+smallBatch {
		t.Errorf("received %d bytes of a budget of %d", n, all/2)
	}
}

// TestTCPBudgetShared: what many receive of a budget that is large at first goes
// beyond it by at most a small batch each.
func TestTCPBudgetShared(t *testing.T) {
	const all, streams = 5 * lowBudget, 8
	budget := admit.NewBudget(all, "w", "t")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var receivers []*TCPReceiver
	var received, sent []<-chan error
	for range streams {
		a, b := loopback(t)
		r := &TCPReceiver{Conn: b, Budget: budget}
		receivers = append(receivers, r)
		received = append(received, start(r.Run, ctx))
		sent = append(sent, start((&TCPSender{Conn: a, Block: make([]byte, 32768)}).Run, ctx))
	}
	var moved uint64
	for i, err := range received {
		if _, ok := errors.AsType[*admit.ExceededError](<-err); !ok {
			t.Errorf("stream %d did not end with the budget", i)
		}
		moved += receivers[i].View().Bytes
	}
	stop()
	for _, err := range sent {
		<-err
	}
	if moved < all || moved > all+streams*smallBatch {
		t.Errorf("%d received of a budget of %d", moved, all)
	}
}

// TestReceiveBatch: when as many streams as are ever detached ask at the same
// moment, and to each comes all that it asked for, they go beyond the budget by at
// most a small batch each, and while much is left not at all.
func TestReceiveBatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		left := rapid.OneOf(rapid.Uint64Range(0, 2*lowBudget), rapid.Uint64Range(0, 64<<30)).Draw(t, "left")
		streams := rapid.IntRange(1, 64).Draw(t, "streams")
		want := rapid.IntRange(1, mostRead).Draw(t, "want")
		b := admit.NewBudget(left, "w", "t")
		most := 0
		for range streams {
			n := receiveBatch(b, want)
			if n < 1 || n > want {
				t.Fatalf("%d of %d wanted", n, want)
			}
			most += n
		}
		switch sum := uint64(most); {
		case left >= lowBudget && sum > left/4:
			t.Errorf("%d in hand, of %d", sum, left)
		case left < lowBudget && sum > uint64(streams*smallBatch):
			t.Errorf("%d in hand of %d streams", sum, streams)
		}
	})
}

// TestTCPEnd: a blocked call ends within milliseconds of the context.
func TestTCPEnd(t *testing.T) {
	a, b := loopback(t)
	s := &TCPSender{Conn: a, Block: make([]byte, 32768)} // nobody reads
	r := &TCPReceiver{Conn: a}                           // nobody writes
	ctx, stop := context.WithCancel(t.Context())
	sent, received := start(s.Run, ctx), start(r.Run, ctx)
	time.Sleep(50 * time.Millisecond)
	began := time.Now()
	stop()
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if err := <-received; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("ended after %v", took)
	}
	_ = b
}

// TestTCPPeerGone: a peer that closes is an error to the sender.
func TestTCPPeerGone(t *testing.T) {
	a, b := loopback(t)
	s := &TCPSender{Conn: a, Block: make([]byte, 32768)}
	sent := start(s.Run, t.Context())
	time.Sleep(20 * time.Millisecond)
	b.Close()
	if err := <-sent; err == nil {
		t.Error("no error after the peer closed")
	}
}
