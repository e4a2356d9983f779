package testnet

import (
	"bytes"
	"io"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

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
