package sock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"
)

var longAgo = time.Unix(1, 0)

// forms runs f on every form of PacketConn: a socket with plain calls, the best
// the system offers, and something that is no socket of the runtime at all.
func forms(t *testing.T, f func(t *testing.T, open func(t *testing.T) PacketConn)) {
	listen := func(o PacketOptions) func(t *testing.T) PacketConn {
		return func(t *testing.T) PacketConn { return listenOn(t, "127.0.0.1:0", o) }
	}
	t.Run("plain", func(t *testing.T) { f(t, listen(PacketOptions{Plain: true})) })
	t.Run("best", func(t *testing.T) { f(t, listen(PacketOptions{})) })
	t.Run("wrapped", func(t *testing.T) {
		f(t, func(t *testing.T) PacketConn {
			c, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			c.(*net.UDPConn).SetReadBuffer(4 << 20)
			p := Packets(struct{ net.PacketConn }{c})
			t.Cleanup(func() { p.Close() })
			return p
		})
	})
}

func listenOn(t testing.TB, at string, o PacketOptions) PacketConn {
	t.Helper()
	c, err := ListenPackets(context.Background(), netip.MustParseAddrPort(at), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func messages(n, room int) []Message {
	ms := make([]Message, n)
	for i := range ms {
		ms[i].Data = make([]byte, room)
	}
	return ms
}

// receive reads datagrams until it has n, and returns their contents.
func receive(t *testing.T, c PacketConn, n int) [][]byte {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	var all [][]byte
	ms := messages(8, 1<<16)
	for len(all) < n {
		got, err := c.ReadBatch(ms)
		if err != nil {
			t.Fatalf("after %d of %d datagrams: %v", len(all), n, err)
		}
		for _, m := range ms[:got] {
			if m.Len > len(m.Data) {
				t.Fatalf("a message of %d bytes", m.Len)
			}
			rest := m.Data[:m.Len]
			for {
				size := len(rest)
				if m.Segment > 0 {
					size = min(m.Segment, size)
				}
				all = append(all, bytes.Clone(rest[:size]))
				if rest = rest[size:]; len(rest) == 0 {
					break
				}
			}
		}
	}
	return all
}

// TestWriteTrain: every datagram of a train comes, whole, with its own content
// and size, whatever the size.
func TestWriteTrain(t *testing.T) {
	forms(t, func(t *testing.T, open func(t *testing.T) PacketConn) {
		a, b := open(t), open(t)
		for _, tt := range []struct{ bytes, size int }{
			{0, 0}, {1, 1}, {4, 4}, {100, 4}, {64 * 64, 64}, {200 * 28, 28}, {1450*3 + 7, 1450}, {1450 * 100, 1450},
			{8192 * 7, 8192}, {20_000*3 + 1, 20_000}, {40_000 * 2, 40_000}, {MaxDatagram * 2, MaxDatagram},
		} {
			t.Run(fmt.Sprintf("%d by %d", tt.bytes, tt.size), func(t *testing.T) {
				buf := make([]byte, tt.bytes)
				for i := range buf {
					buf[i] = byte(i / max(1, tt.size))
				}
				want := 1
				if tt.size > 0 {
					want = (tt.bytes + tt.size - 1) / tt.size
				}
				n, err := a.WriteTrain(buf, tt.size, b.LocalAddrPort())
				if n != want || err != nil {
					t.Fatalf("WriteTrain = %d, %v; want %d", n, err, want)
				}
				for i, got := range receive(t, b, want) {
					sent := buf[min(i*tt.size, len(buf)):min((i+1)*tt.size, len(buf))]
					if !bytes.Equal(got, sent) {
						t.Fatalf("datagram %d has %d bytes that begin % x, want %d", i, len(got), got[:min(4, len(got))], len(sent))
					}
				}
			})
		}
	})
}

// TestReadShort: a buffer for headers tells the true length.
func TestReadShort(t *testing.T) {
	forms(t, func(t *testing.T, open func(t *testing.T) PacketConn) {
		a, b := open(t), open(t)
		buf := bytes.Repeat([]byte("abcdefgh"), 1000)
		if _, err := a.WriteTrain(buf, 1000, b.LocalAddrPort()); err != nil {
			t.Fatal(err)
		}
		b.SetReadDeadline(time.Now().Add(5 * time.Second))
		total := 0
		ms := messages(8, 4)
		for total < len(buf) {
			n, err := b.ReadBatch(ms)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range ms[:n] {
				if m.Len > 1000 && m.Segment != 1000 || string(m.Data) != "abcd" || m.From != a.LocalAddrPort() {
					t.Errorf("%d bytes in segments of %d, %q, from %v", m.Len, m.Segment, m.Data, m.From)
				}
				total += m.Len
			}
		}
	})
}

// TestPacketDeadline: deadlines pass, wake who waits, and can be lifted.
func TestPacketDeadline(t *testing.T) {
	forms(t, func(t *testing.T, open func(t *testing.T) PacketConn) {
		a, b := open(t), open(t)
		ms := messages(1, 100)
		b.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := b.ReadBatch(ms); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after the deadline: %v", err)
		}
		b.SetReadDeadline(time.Time{})
		done := make(chan error)
		go func() {
			_, err := b.ReadBatch(ms)
			done <- err
		}()
		time.Sleep(20 * time.Millisecond)
		b.SetReadDeadline(longAgo)
		if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a blocked read was woken with %v", err)
		}
		b.SetReadDeadline(time.Time{})
		if _, err := a.WriteTrain([]byte("x"), 1, b.LocalAddrPort()); err != nil {
			t.Fatal(err)
		}
		if n, err := b.ReadBatch(ms); n != 1 || err != nil {
			t.Errorf("with the deadline lifted: %d, %v", n, err)
		}
		a.SetWriteDeadline(longAgo)
		if _, err := a.WriteTrain([]byte("x"), 1, b.LocalAddrPort()); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write after its deadline: %v", err)
		}
	})
}

// TestPacketClose: Close wakes who waits, and later calls say so.
func TestPacketClose(t *testing.T) {
	forms(t, func(t *testing.T, open func(t *testing.T) PacketConn) {
		a := open(t)
		done := make(chan error)
		go func() {
			_, err := a.ReadBatch(messages(1, 100))
			done <- err
		}()
		time.Sleep(20 * time.Millisecond)
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("a blocked read was woken with %v", err)
		}
		if _, err := a.WriteTrain([]byte("x"), 1, a.LocalAddrPort()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write after Close: %v", err)
		}
		if err := a.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
	})
}

func TestListenInUse(t *testing.T) {
	for _, o := range []PacketOptions{{}, {Plain: true}} {
		a := listenOn(t, "127.0.0.1:0", o)
		_, err := ListenPackets(t.Context(), a.LocalAddrPort(), o)
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("a port that is taken: %v", err)
		}
	}
}

// TestFamilies: one socket for both families reaches both, and addresses are
// never mapped.
func TestFamilies(t *testing.T) {
	if c, err := net.ListenPacket("udp6", "[::1]:0"); err != nil {
		t.Skipf("no IPv6 on loopback: %v", err)
	} else {
		c.Close()
	}
	for _, o := range []PacketOptions{{}, {Plain: true}} {
		any, err := ListenPackets(t.Context(), netip.AddrPort{}, o)
		if err != nil {
			t.Fatal(err)
		}
		defer any.Close()
		port := any.LocalAddrPort().Port()
		for _, ip := range []string{"127.0.0.1", "::1"} {
			one := listenOn(t, netip.AddrPortFrom(netip.MustParseAddr(ip), 0).String(), o)
			to := netip.AddrPortFrom(netip.MustParseAddr(ip), port)
			if _, err := one.WriteTrain([]byte("ping"), 4, to); err != nil {
				t.Fatalf("to %v: %v", to, err)
			}
			any.SetReadDeadline(time.Now().Add(5 * time.Second))
			ms := messages(1, 100)
			if _, err := any.ReadBatch(ms); err != nil || ms[0].From != one.LocalAddrPort() {
				t.Fatalf("from %v, %v; want %v", ms[0].From, err, one.LocalAddrPort())
			}
			if _, err := any.WriteTrain([]byte("pong"), 4, ms[0].From); err != nil {
				t.Fatalf("back to %v: %v", ms[0].From, err)
			}
			if got := receive(t, one, 1); string(got[0]) != "pong" {
				t.Errorf("%q came back", got[0])
			}
		}
	}
}

// TestAllocations: moving batches allocates nothing.
func TestAllocations(t *testing.T) {
	for _, o := range []PacketOptions{{}, {Plain: true}} {
		a, b := listenOn(t, "127.0.0.1:0", o), listenOn(t, "127.0.0.1:0", o)
		buf, ms, to := make([]byte, 45*1450), messages(8, 1<<16), b.LocalAddrPort()
		n := testing.AllocsPerRun(200, func() {
			if _, err := a.WriteTrain(buf, 1450, to); err != nil {
				t.Fatal(err)
			}
			for left := len(buf); left > 0; {
				n, err := b.ReadBatch(ms)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range ms[:n] {
					left -= m.Len
				}
			}
		})
		if n > 0 {
			t.Errorf("%s: %v allocations for a train", a.Technique(), n)
		}
	}
}

func BenchmarkTrain(b *testing.B) {
	for _, o := range []PacketOptions{{}, {Plain: true}} {
		for _, size := range []int{64, 1450} {
			x, y := listenOn(b, "127.0.0.1:0", o), listenOn(b, "127.0.0.1:0", o)
			b.Run(fmt.Sprintf("%s/%d", x.Technique(), size), func(b *testing.B) {
				buf, ms, to := make([]byte, 45*size), messages(8, 1<<16), y.LocalAddrPort()
				b.SetBytes(int64(len(buf)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := x.WriteTrain(buf, size, to); err != nil {
						b.Fatal(err)
					}
					for left := len(buf); left > 0; {
						n, err := y.ReadBatch(ms)
						if err != nil {
							b.Fatal(err)
						}
						for _, m := range ms[:n] {
							left -= m.Len
						}
					}
				}
			})
		}
	}
}

// TestSlow: sockets over which little passes stay with the runtime, with all else
// as usual.
func TestSlow(t *testing.T) {
	c, err := ListenSlow(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"), PacketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if OnKernel(c) || Detached(c) {
		t.Errorf("%s: on the kernel %v, detached %v", c.Technique(), OnKernel(c), Detached(c))
	}
	if n, err := c.WriteTrain(make([]byte, 30), 10, c.LocalAddrPort()); n != 3 || err != nil {
		t.Errorf("sent %d, %v", n, err)
	}
	ms := []Message{{Data: make([]byte, 100)}}
	for range 3 {
		if n, err := c.ReadBatch(ms); n != 1 || err != nil || ms[0].Len != 10 {
			t.Errorf("received %d, %v: %+v", n, err, ms[0])
		}
	}
	if _, err := ListenSlow(t.Context(), c.LocalAddrPort(), PacketOptions{}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("an occupied port gave %v", err)
	}
	x, y := tcpPair(t)
	defer y.Close()
	b := SlowBulk(x)
	defer b.Close()
	if Detached(b) {
		t.Error("a slow TCP connection is detached")
	}
}
