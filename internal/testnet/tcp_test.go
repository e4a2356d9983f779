package testnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// bubble runs f with two hosts, the client's links as given.
func bubble(t *testing.T, up, down Link, f func(t *testing.T, client, server *Host)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var n Network
		server := n.Host(Link{}, Link{}, "192.0.2.1", "2001:db8::1")
		f(t, n.Host(up, down, "192.0.2.2", "2001:db8::2"), server)
	})
}

// pairOf connects two hosts by TCP and takes the deadlines away.
func pairOf(t *testing.T, client, server *Host) (a, b net.Conn) {
	t.Helper()
	a, b = pair(t, place{client, server, "192.0.2.2", "192.0.2.1"})
	a.SetDeadline(time.Time{})
	b.SetDeadline(time.Time{})
	return a, b
}

// download has b write until closed, and counts what a reads from the moment
// from to the moment to.
func download(a, b net.Conn, from, to time.Duration) (bytes int) {
	go func() {
		block := make([]byte, 1460*960) // whole segments for both MTUs used here
		for {
			if _, err := b.Write(block); err != nil {
				return
			}
		}
	}()
	start := time.Now()
	p := make([]byte, 1<<20)
	for {
		n, err := a.Read(p)
		since := time.Since(start)
		if err != nil || since >= to {
			a.Close()
			b.Close()
			return bytes
		}
		if since >= from {
			bytes += n
		}
	}
}

func TestStreamRateIsExact(t *testing.T) {
	for _, tt := range []struct {
		rate uint64
		mtu  int
		want int // bytes in 5 s: whole segments
	}{
		{12_000_000, 0, 5 * 1000 * 1460},
		{12_000_000, 1000, 5 * 1500 * 960},
		{1_200_000, 0, 5 * 100 * 1460},
		{48_000_000, 0, 5 * 4000 * 1460},
	} {
		t.Run(fmt.Sprint(tt.rate, " ", tt.mtu), func(t *testing.T) {
			bubble(t, Link{Delay: 5 * ms}, Link{Delay: 5 * ms, Rate: tt.rate, MTU: tt.mtu}, func(t *testing.T, client, server *Host) {
				a, b := pairOf(t, client, server)
				if got := download(a, b, 5*time.Second, 10*time.Second); got != tt.want {
					t.Errorf("%d bytes in 5 s, want %d", got, tt.want)
				}
			})
		})
	}
}

// Loss that a full window recovers from makes a stream slower, and no byte goes
// missing: the congestion window is what RFC 5681 says.
func TestLossSlowsStreams(t *testing.T) {
	took := func(loss Pick) (d time.Duration, did Counts) {
		link := Link{Delay: 20 * ms, Rate: 100_000_000, Seed: 1}
		bubble(t, link, link, func(t *testing.T, client, server *Host) {
			a, b := pairOf(t, client, server)
			start := time.Now()
			client.Down.Set(Link{Delay: 20 * ms, Rate: 100_000_000, Loss: loss})
			sent := noise(1_000_000)
			go func() {
				b.Write(sent)
				b.Close()
			}()
			got, err := io.ReadAll(a)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%d of %d bytes came, %v", len(got), len(sent), err)
			}
			d, did = time.Since(start), client.Down.Counts()
		})
		return d, did
	}
	clean, _ := took(nil)
	lossy, did := took(Every(50))
	if did.Lost == 0 || lossy < 2*clean {
		t.Errorf("%v without loss, %v with %d lost", clean, lossy, did.Lost)
	}
	again, didAgain := took(Every(50))
	if again != lossy || did != didAgain {
		t.Errorf("the same again took %v, %+v and not %v, %+v", again, didAgain, lossy, did)
	}
}

func noise(n int) []byte {
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, n)
	r.Read(b)
	return b
}

// Whatever the links do, the bytes come in order, both ways at once, and both
// ends see the end.
func TestStreamsAreReliable(t *testing.T) {
	for seed := range uint64(25) {
		r := rand.New(rand.NewPCG(seed, 0))
		link := func() Link {
			return Link{
				Delay: time.Duration(r.IntN(30)) * ms, Jitter: time.Duration(r.IntN(5)) * ms,
				Loss: Share(r.Float64() * 0.2), Duplicate: Share(r.Float64() * 0.1), Reorder: Share(r.Float64() * 0.1),
				Rate: 1_000_000 << r.IntN(6), Queue: 3000 << r.IntN(6), MTU: 576 + r.IntN(1000), Seed: seed,
			}
		}
		up, down := link(), link()
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			bubble(t, up, down, func(t *testing.T, client, server *Host) {
				a, b := pairPatiently(t, client, server)
				var wg sync.WaitGroup
				for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
					sent := noise(100_000)
					wg.Go(func() {
						way[0].Write(sent)
						way[0].(*conn).CloseWrite()
					})
					wg.Go(func() {
						if got, err := io.ReadAll(way[1]); err != nil || !bytes.Equal(got, sent) {
							t.Errorf("%d of %d bytes came, %v", len(got), len(sent), err)
						}
					})
				}
				wg.Wait()
			})
		})
	}
}

// pairPatiently is pairOf for links so bad that the 10 s of pair are too short.
func pairPatiently(t *testing.T, client, server *Host) (a, b net.Conn) {
	t.Helper()
	l, err := server.Listen(t.Context(), "tcp", ":2000")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = client.DialContext(t.Context(), "tcp", "192.0.2.1:2000"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return a, b
}

func TestHandshakeTimes(t *testing.T) {
	far := Link{Delay: 10 * ms}
	for _, tt := range []struct {
		name     string
		up, down Link
		want     time.Duration // of the dial
	}{
		{"one round trip", far, far, 20 * ms},
		{"SYN lost", Link{Loss: At(0), Delay: 10 * ms}, far, 1020 * ms},
		{"two SYNs lost", Link{Loss: At(0, 1), Delay: 10 * ms}, far, 3020 * ms},
		{"SYN-ACK lost", far, Link{Loss: At(0), Delay: 10 * ms}, 1020 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, tt.up, tt.down, func(t *testing.T, client, server *Host) {
				l, err := server.Listen(t.Context(), "tcp", ":2000")
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				start := time.Now()
				c, err := client.DialContext(t.Context(), "tcp", "192.0.2.1:2000")
				if err != nil || time.Since(start) != tt.want {
					t.Errorf("dial took %v, %v, want %v", time.Since(start), err, tt.want)
				}
				c.Close()
			})
		})
	}
}

// A server that speaks first gets going although the last packet of the
// handshake is lost.
func TestServerSpeaksFirst(t *testing.T) {
	bubble(t, Link{Loss: At(1)}, Link{}, func(t *testing.T, client, server *Host) {
		start := time.Now()
		a, b := pairOf(t, client, server)
		b.Write([]byte("hello"))
		wantRead(t, a, "hello", nil)
		if time.Since(start) != time.Second {
			t.Errorf("took %v, want the second after which the SYN-ACK is repeated", time.Since(start))
		}
	})
}

func TestDialNowhere(t *testing.T) {
	bubble(t, Link{}, Link{}, func(t *testing.T, client, _ *Host) {
		start := time.Now()
		_, err := client.DialContext(t.Context(), "tcp", "203.0.113.1:2000")
		// 1 + 2 + 4 + … + 64 s: tcp(7), tcp_syn_retries is 6
		if !errors.Is(err, syscall.ETIMEDOUT) || time.Since(start) != 127*time.Second {
			t.Errorf("after %v: %v, want ETIMEDOUT after 127s", time.Since(start), err)
		}
		start = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err = client.DialContext(ctx, "tcp", "203.0.113.1:2000")
		ne, ok := errors.AsType[net.Error](err)
		if !ok || !ne.Timeout() || time.Since(start) != 3*time.Second {
			t.Errorf("after %v: %v, want a timeout after 3s", time.Since(start), err)
		}
	})
}

func TestDialErrors(t *testing.T) {
	bubble(t, Link{}, Link{}, func(t *testing.T, client, _ *Host) {
		for _, tt := range []struct{ network, addr string }{
			{"tcp", "example.com:80"}, {"tcp", "192.0.2.1"}, {"tcp", "192.0.2.1:http"}, {"tcp", ":80"},
			{"tcp6", "192.0.2.1:80"}, {"tcp4", "[2001:db8::1]:80"}, {"unix", "x:1"}, {"tcp", "192.0.2.1:65536"},
		} {
			if c, err := client.DialContext(t.Context(), tt.network, tt.addr); err == nil {
				c.Close()
				t.Errorf("dial %s %s succeeded", tt.network, tt.addr)
			}
		}
		if _, err := client.Listen(t.Context(), "udp", ":0"); err == nil {
			t.Error("Listen took udp")
		}
		if _, err := client.ListenPacket(t.Context(), "tcp", ":0"); err == nil {
			t.Error("ListenPacket took tcp")
		}
	})
}

func TestOneFamily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n Network
		v4 := n.Host(Link{}, Link{}, "192.0.2.1")
		_, err := v4.DialContext(t.Context(), "tcp", "[2001:db8::1]:80")
		wantError(t, err, syscall.ENETUNREACH)
		both := n.Host(Link{}, Link{}, "192.0.2.2", "2001:db8::2")
		four, six := listenOn(t, both, "udp4", ":9"), listenOn(t, both, "udp6", ":9")
		if _, err := both.ListenPacket(t.Context(), "udp", ":9"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("third socket on one port: %v", err)
		}
		six.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(four.(*packetConn).bind.at))
		for _, tt := range []struct {
			from net.PacketConn
			to   string
		}{{four, "192.0.2.2:9"}, {six, "[2001:db8::2]:9"}} {
			a, err := net.ResolveUDPAddr("udp", tt.to)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tt.from.WriteTo([]byte(tt.to), a); err != nil {
				t.Error(err)
			}
			p := make([]byte, 100)
			if n, from, err := tt.from.ReadFrom(p); err != nil || string(p[:n]) != tt.to || from.String() != tt.to {
				t.Errorf("read %q from %v, %v", p[:n], from, err)
			}
		}
	})
}

func listenOn(t *testing.T, h *Host, network, addr string) net.PacketConn {
	t.Helper()
	c, err := h.ListenPacket(t.Context(), network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// A peer that was unplugged says nothing. The deadline works, and in the end TCP
// gives up as Linux does: 15 time-outs of at first 200 ms, at most 2 min.
func TestUnpluggedStream(t *testing.T) {
	bubble(t, Link{}, Link{}, func(t *testing.T, client, server *Host) {
		a, b := pairOf(t, client, server)
		b.Write([]byte("x"))
		wantRead(t, a, "x", nil)
		a.Write([]byte("x"))
		wantRead(t, b, "x", nil)
		client.Unplug()
		start := time.Now()
		a.SetReadDeadline(start.Add(3 * time.Second))
		_, err := a.Read(make([]byte, 1))
		wantTimeout(t, err)
		if time.Since(start) != 3*time.Second {
			t.Errorf("timeout after %v, want 3s", time.Since(start))
		}
		a.SetReadDeadline(time.Time{})
		start = time.Now()
		if _, err := a.Write([]byte("into the void")); err != nil {
			t.Error(err)
		}
		_, err = a.Read(make([]byte, 1))
		wantError(t, err, syscall.ETIMEDOUT)
		// 0.2 + 0.4 + … + 102.4 = 204.6 s, then 6 times 120 s
		if took := time.Since(start); took != 924600*ms {
			t.Errorf("gave up after %v, want 924.6s", took)
		}
	})
}

func TestPlugAgain(t *testing.T) {
	bubble(t, Link{}, Link{}, func(t *testing.T, client, server *Host) {
		a, b := pairOf(t, client, server)
		client.Unplug()
		a.Write([]byte("held"))
		time.Sleep(10 * time.Second)
		client.Plug()
		start := time.Now()
		wantRead(t, b, "held", nil)
		if took := time.Since(start); took <= 0 || took > 10*time.Second {
			t.Errorf("took %v after the link came back", took)
		}
	})
}

// A reader that stops stops the writer, and a lost window update does not end it.
func TestFlowControl(t *testing.T) {
	bubble(t, Link{}, Link{}, func(t *testing.T, client, server *Host) {
		a, b := pairOf(t, client, server)
		a.(*conn).SetReadBuffer(10_000)
		b.(*conn).SetWriteBuffer(20_000)
		sent := noise(200_000)
		wrote := make(chan int)
		go func() {
			n, err := b.Write(sent)
			if err != nil {
				t.Error(err)
			}
			b.Close()
			wrote <- n
		}()
		time.Sleep(time.Minute)
		select {
		case n := <-wrote:
			t.Fatalf("%d bytes were written, though nobody reads", n)
		default:
		}
		client.Up.Set(Link{Loss: At(client.Up.Counts().Offered)}) // the window update
		got, err := io.ReadAll(a)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%d of %d bytes came, %v", len(got), len(sent), err)
		}
		if n := <-wrote; n != len(sent) {
			t.Errorf("%d bytes were written", n)
		}
		if client.Up.Counts().Lost != 1 {
			t.Error("no window update was lost")
		}
	})
}

// A RST that is lost leaves the other end alone until it sends.
func TestLostReset(t *testing.T) {
	bubble(t, Link{}, Link{}, func(t *testing.T, client, server *Host) {
		a, b := pairOf(t, client, server)
		client.Up.Set(Link{Loss: At(client.Up.Counts().Offered)})
		Reset(a)
		b.SetReadDeadline(time.Now().Add(time.Minute))
		_, err := b.Read(make([]byte, 1))
		wantError(t, err, os.ErrDeadlineExceeded)
		b.SetReadDeadline(time.Time{})
		b.Write([]byte("x"))
		wantRead(t, b, "", syscall.ECONNRESET)
	})
}

func TestLostFIN(t *testing.T) {
	bubble(t, Link{}, Link{}, func(t *testing.T, client, server *Host) {
		a, b := pairOf(t, client, server)
		client.Up.Set(Link{Loss: At(client.Up.Counts().Offered)})
		start := time.Now()
		a.Close()
		wantRead(t, b, "", io.EOF)
		if took := time.Since(start); took != 200*ms {
			t.Errorf("the FIN came after %v, want 200ms", took)
		}
	})
}

func TestManyStreamsShareTheLink(t *testing.T) {
	const streams = 20
	bubble(t, Link{Delay: 5 * ms}, Link{Delay: 5 * ms, Rate: 24_000_000, Queue: 100_000}, func(t *testing.T, client, server *Host) {
		l, err := server.Listen(t.Context(), "tcp", ":2000")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		var wg sync.WaitGroup
		var mu sync.Mutex
		sum := 0
		for range streams {
			a, err := client.DialContext(t.Context(), "tcp", "192.0.2.1:2000")
			if err != nil {
				t.Fatal(err)
			}
			b, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				n := download(a, b, 5*time.Second, 15*time.Second)
				mu.Lock()
				defer mu.Unlock()
				sum += n
			})
		}
		wg.Wait()
		most := 10 * 2000 * 1460
		if sum < most*95/100 || sum > most*105/100 {
			t.Errorf("%d bytes in 10 s, want about %d", sum, most)
		}
		if client.Down.Counts().TailDropped == 0 {
			t.Error("20 streams never filled the queue")
		}
	})
}

// A connection that both ends have closed is forgotten.
func TestConnectionsAreForgotten(t *testing.T) {
	bubble(t, Link{}, Link{}, func(t *testing.T, client, server *Host) {
		a, b := pairOf(t, client, server)
		a.Close()
		b.Close()
		time.Sleep(lingering + time.Second)
		synctest.Wait()
		if n := len(client.conns) + len(server.conns); n != 0 {
			t.Errorf("%d connections are remembered", n)
		}
	})
}

func TestBacklog(t *testing.T) {
	bubble(t, Link{}, Link{}, func(t *testing.T, client, server *Host) {
		l, err := server.Listen(t.Context(), "tcp", ":2000")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for range backlog {
			c, err := client.DialContext(t.Context(), "tcp", "192.0.2.1:2000")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
		start := time.Now()
		time.AfterFunc(1500*ms, func() {
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		})
		c, err := client.DialContext(t.Context(), "tcp", "192.0.2.1:2000")
		if err != nil || time.Since(start) != 3*time.Second {
			t.Errorf("dial into a full backlog took %v, %v, want 3s", time.Since(start), err)
		}
		c.Close()
	})
}

func TestHostPanics(t *testing.T) {
	var n Network
	n.Host(Link{}, Link{}, "192.0.2.1")
	for _, addrs := range [][]string{{"192.0.2.1"}, {"nonsense"}, {}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Host(%q) did not panic", addrs)
				}
			}()
			n.Host(Link{}, Link{}, addrs...)
		}()
	}
	n.Host(Link{}, Link{}, "192.0.2.2") // the network is not locked after a panic
}

func TestOverrun(t *testing.T) {
	bubble(t, Link{}, Link{}, func(t *testing.T, client, server *Host) {
		in, out := listenPacket(t, server, ":9"), listenPacket(t, client, ":0")
		in.(*packetConn).SetReadBuffer(1000)
		to, err := net.ResolveUDPAddr("udp", "192.0.2.1:9")
		if err != nil {
			t.Fatal(err)
		}
		for range 12 {
			out.WriteTo(make([]byte, 100), to)
		}
		if got := server.Overrun(); got != 2 {
			t.Errorf("%d datagrams found the buffer full, want 2", got)
		}
	})
}
