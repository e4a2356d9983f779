package sock

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"
)

func tcpPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// bulkForms runs f on a pair of every form of BulkConn.
func bulkForms(t *testing.T, f func(t *testing.T, a, b BulkConn)) {
	both := func(t *testing.T, a, b BulkConn) {
		t.Cleanup(func() { a.Close(); b.Close() })
		f(t, a, b)
	}
	take := func(c net.Conn) BulkConn {
		b, err := Bulk(c)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	t.Run("best", func(t *testing.T) {
		a, b := tcpPair(t)
		both(t, take(a), take(b))
	})
	t.Run("plain", func(t *testing.T) {
		a, b := tcpPair(t)
		both(t, newPlainBulk(a), newPlainBulk(b))
	})
	t.Run("wrapped", func(t *testing.T) {
		a, b := tcpPair(t)
		both(t, take(struct{ net.Conn }{a}), take(struct{ net.Conn }{b}))
	})
	t.Run("pipe", func(t *testing.T) {
		a, b := net.Pipe()
		both(t, take(a), take(b))
	})
}

// TestBulk: what is written comes, repeated in the right order.
func TestBulk(t *testing.T) {
	bulkForms(t, func(t *testing.T, a, b BulkConn) {
		block := []byte("0123456789abcdefghijklmnopqrstuvwxyz")
		const total = 1_000_003
		sent := make(chan error, 1)
		go func() {
			// The next call begins where the last one ended.
			double := append(bytes.Clone(block), block...)
			for n := 0; n < total; {
				at := n % len(block)
				m, err := a.WriteBlocks(double[at:at+len(block)], total-n)
				if n += m; err != nil || m == 0 {
					sent <- err
					return
				}
			}
			_, err := a.Write([]byte("end"))
			a.Close()
			sent <- err
		}()
		var got bytes.Buffer
		if _, err := io.Copy(&got, readerOf(b)); err != nil {
			t.Fatal(err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		want := bytes.Repeat(block, total/len(block)+1)[:total]
		if !bytes.Equal(got.Bytes(), append(want, "end"...)) {
			t.Errorf("%d bytes came, or not those that were sent: want %d", got.Len(), total+3)
		}
	})
}

// readerOf hides all but Read.
func readerOf(b BulkConn) io.Reader { return struct{ io.Reader }{b} }

func TestDiscard(t *testing.T) {
	bulkForms(t, func(t *testing.T, a, b BulkConn) {
		go func() {
			a.Write(make([]byte, 500_000))
			a.Close()
		}()
		total := 0
		for {
			n, err := b.Discard(1000 + total)
			if n > 1000+total {
				t.Fatalf("discarded %d, more than %d", n, 1000+total)
			}
			total += n
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if total != 500_000 {
			t.Errorf("discarded %d bytes, want 500000", total)
		}
	})
}

// TestDiscardAsksAnew: on a detached connection a call that has waited, briefly or for
// good, takes nothing: how much its caller wanted was long ago.
func TestDiscardAsksAnew(t *testing.T) {
	x, y := tcpPair(t)
	defer x.Close()
	b, err := Bulk(y)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if !Detached(b) {
		t.Skip("no connection is detached here")
	}
	calls := make(chan int)
	go func() {
		defer close(calls)
		for {
			n, err := b.Discard(1 << 20)
			if err != nil {
				t.Error(err)
			}
			if n > 0 || err != nil {
				return
			}
			calls <- n
		}
	}()
	naps := 0
	for asleep := false; !asleep; {
		select {
		case <-calls:
			naps++
		case <-time.After(500 * time.Millisecond):
			asleep = true
		}
	}
	if naps == 0 {
		t.Error("the first call slept for good")
	}
	if _, err := x.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if _, asked := <-calls; !asked {
		t.Error("a call took what came while it slept")
	}
	if _, asked := <-calls; asked {
		t.Error("the next call took nothing")
	}
}

func TestBulkDeadline(t *testing.T) {
	bulkForms(t, func(t *testing.T, a, b BulkConn) {
		a.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read after the deadline: %v", err)
		}
		a.SetReadDeadline(time.Time{})
		read, write := make(chan error, 1), make(chan error, 1)
		go func() {
			var err error
			for err == nil { // it may have waited in vain
				_, err = a.Discard(1)
			}
			read <- err
		}()
		go func() { // until the buffers are full
			var err error
			for err == nil {
				_, err = a.WriteBlocks(make([]byte, 1000), 1<<20)
			}
			write <- err
		}()
		time.Sleep(30 * time.Millisecond)
		a.SetReadDeadline(longAgo)
		a.SetWriteDeadline(longAgo)
		for name, err := range map[string]error{"read": <-read, "write": <-write} {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("a blocked %s was woken with %v", name, err)
			}
		}
		a.SetReadDeadline(time.Time{})
		go b.Write([]byte("x"))
		if n, err := a.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("read with the deadline lifted: %d, %v", n, err)
		}
	})
}

func TestBulkClose(t *testing.T) {
	bulkForms(t, func(t *testing.T, a, b BulkConn) {
		done := make(chan error, 1)
		go func() {
			_, err := a.Read(make([]byte, 1))
			done <- err
		}()
		time.Sleep(20 * time.Millisecond)
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("a blocked read was woken with %v", err)
		}
		if _, err := a.Write([]byte("x")); err == nil {
			t.Error("a write after Close")
		}
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the other end reads %v, want EOF", err)
		}
	})
}

func TestBulkAddresses(t *testing.T) {
	x, y := tcpPair(t)
	local, remote := AddrPort(x.LocalAddr()), AddrPort(x.RemoteAddr())
	a, err := Bulk(x)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	defer y.Close()
	if a.LocalAddrPort() != local || a.RemoteAddrPort() != remote || !local.Addr().Is4() {
		t.Errorf("between %v and %v, want %v and %v", a.LocalAddrPort(), a.RemoteAddrPort(), local, remote)
	}
}

// TestBulkAllocations: moving bytes allocates nothing.
func TestBulkAllocations(t *testing.T) {
	for _, form := range []func(net.Conn) (BulkConn, error){Bulk, func(c net.Conn) (BulkConn, error) { return newPlainBulk(c), nil }} {
		x, y := tcpPair(t)
		a, err := form(x)
		if err != nil {
			t.Fatal(err)
		}
		b, err := form(y)
		if err != nil {
			t.Fatal(err)
		}
		block := make([]byte, 1000)
		move := func() {
			n, err := a.WriteBlocks(block, 10_000)
			if err != nil {
				t.Fatal(err)
			}
			for n > 0 {
				m, err := b.Discard(n)
				if err != nil {
					t.Fatal(err)
				}
				n -= m
			}
		}
		for range 10 {
			move() // buffers are made when they are first needed
		}
		if n := testing.AllocsPerRun(200, move); n > 0 {
			t.Errorf("%s: %v allocations for a write and its reads", a.Technique(), n)
		}
		a.Close()
		b.Close()
	}
}

func BenchmarkBulk(b *testing.B) {
	for _, form := range []func(net.Conn) (BulkConn, error){Bulk, func(c net.Conn) (BulkConn, error) { return newPlainBulk(c), nil }} {
		x, y := tcpPair(b)
		s, err := form(x)
		if err != nil {
			b.Fatal(err)
		}
		r, err := form(y)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(s.Technique(), func(b *testing.B) {
			block := make([]byte, 64<<10)
			b.ReportAllocs()
			b.SetBytes(int64(len(block)))
			go func() {
				for {
					if _, err := s.WriteBlocks(block, 64*len(block)); err != nil {
						return
					}
				}
			}()
			for b.Loop() {
				for n := len(block); n > 0; {
					m, err := r.Discard(n)
					if err != nil {
						b.Fatal(err)
					}
					n -= m
				}
			}
		})
		s.Close()
		r.Close()
	}
}

// TestPeerClosed: a close is seen while there is still something to read.
func TestPeerClosed(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs TCP_INFO of Linux")
	}
	for _, form := range []func(net.Conn) (BulkConn, error){Bulk, func(c net.Conn) (BulkConn, error) { return newPlainBulk(c), nil }} {
		x, y := tcpPair(t)
		b, err := form(y)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		if PeerClosed(b) {
			t.Errorf("%s: closed before the far end has", b.Technique())
		}
		x.Close()
		for end := time.Now().Add(5 * time.Second); !PeerClosed(b); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: the close is not seen", b.Technique())
			}
		}
		if n, err := b.Discard(2000); n != 1000 || err != nil {
			t.Errorf("%s: %d bytes, %v after the close", b.Technique(), n, err)
		}
		b.Close()
		if PeerClosed(b) {
			t.Errorf("%s: a connection that we closed says that the far end did", b.Technique())
		}
	}
	x, y := net.Pipe()
	defer x.Close()
	defer y.Close()
	if b := newPlainBulk(x); PeerClosed(b) {
		t.Error("a pipe tells")
	}
}
