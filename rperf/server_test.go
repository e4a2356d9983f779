package rperf

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/internal/testserve"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/rperf/wire"
)

// frame is text with its length.
func frame(text string) string { return string([]byte{byte(len(text) >> 8), byte(len(text))}) + text }

// TestHostile: whatever a client says or leaves unsaid, it is closed in time
// and a good client is served right after.
func TestHostile(t *testing.T) {
	good := `{"kind":"configuration","family":"udp","receive_buffer":0,"length":1024,"test_id":[1]}`
	for name, said := range map[string]string{
		"nothing":          "",
		"half a length":    "\x00",
		"length 0":         "\x00\x00",
		"no payload":       "\xff\xff",
		"half a payload":   "\x00\x10{",
		"not JSON":         frame(`{"kind":`),
		"deep":             frame(`{"kind":` + strings.Repeat("[", 60000)),
		"wide":             frame(`{"kind":"configuration"` + strings.Repeat(`,"x":1`, 9000) + "}"),
		"HTTP":             "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"wrong kind":       frame(`{"kind":"end"}`),
		"no begin":         frame(good),
		"begin twice":      frame(good) + frame(`{"kind":"begin"}`) + frame(`{"kind":"begin"}`),
		"two orders":       frame(good) + frame(good),
		"begun, no data":   frame(good) + frame(`{"kind":"begin"}`),
		"no streams":       frame(strings.Replace(good, "{", `{"streams":0,`, 1)) + frame(`{"kind":"begin"}`),
		"huge":             frame(`{"kind":"configuration","family":"tcp","receive_buffer":2147483647,"length":1073741824}`) + frame(`{"kind":"begin"}`),
		"reverse, no port": frame(`{"kind":"configuration","role":"upload","stream_ports":[1],"bandwidth":1e18,"duration":1e9,"send_interval":0,"send_buffer":0,"no_delay":true}`) + frame(`{"kind":"begin"}`),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, slow, &Server{})
				conn, err := p.client.DialContext(t.Context(), "tcp", serverAddr+":5199")
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				if _, err := io.WriteString(conn, said); err != nil {
					t.Error(err)
				}
				conn.SetReadDeadline(start.Add(time.Minute))
				if _, err := io.Copy(io.Discard, conn); err != nil && !gone(err) {
					t.Errorf("not closed after %v: %v", time.Since(start), err)
				}
				if took := time.Since(start); took > beginTime+time.Second {
					t.Errorf("closed after %v", took)
				}
				if _, err := p.run(t.Context(), Client{UDP: true, Duration: time.Second, Rate: 1e5}); err != nil {
					t.Errorf("a good client: %v", err)
				}
				conn.Close()
				p.stop()
			})
		})
	}
}

// TestVanish: a client that is gone without a word frees everything within
// 10 s, and the next test works at once.
func TestVanish(t *testing.T) {
	for _, udp := range []bool{false, true} {
		for _, d := range []result.Direction{result.Up, result.Down} {
			t.Run(fmt.Sprintf("udp=%v %v", udp, d), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := newPair(t, slow, &Server{})
					other := &pair{client: p.client, server: p.server, sink: p.sink}
					var wg sync.WaitGroup
					var unplugged time.Time
					wg.Go(func() {
						r, err := p.run(t.Context(), Client{UDP: udp, Direction: d, Duration: 12 * time.Second, Rate: 1e6})
						e := r.End(t)
						if code := result.CodeOf(err); code != result.CodePeerLost {
							t.Errorf("client: %v (%s)", err, code)
						}
						if took := e.Time.Sub(unplugged); took > 24*time.Second {
							t.Errorf("the client gave up after %v", took)
						}
						if e.Local(d) == nil || e.Local(d).Bytes < 200_000 {
							t.Errorf("the client lost its report: %+v", e)
						}
					})
					time.Sleep(3 * time.Second)
					unplugged = time.Now()
					p.client.Unplug()
					time.Sleep(10 * time.Second)
					if d == result.Up && p.sink.Ends() != 1 {
						t.Error("the server has not ended the test 10 s after its client vanished")
					}
					wg.Wait()
					time.Sleep(10 * time.Second)
					p.client.Plug()
					if _, err := other.run(t.Context(), Client{UDP: udp, Direction: d, Duration: time.Second, Rate: 1e6}); err != nil {
						t.Errorf("the next test: %v", err)
					}
					p.stop()
				})
			})
		}
	}
}

// TestBadLink: with a fifth lost and 300 ms of delay a test ends in time, with
// a result.
func TestBadLink(t *testing.T) {
	bad := testnet.Link{Rate: 10_000_000, Wait: true, Delay: 150 * time.Millisecond, Loss: testnet.Share(0.2), Seed: 1}
	for _, udp := range []bool{false, true} {
		for _, d := range []result.Direction{result.Up, result.Down} {
			t.Run(fmt.Sprintf("udp=%v %v", udp, d), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := newPair(t, bad, &Server{})
					const asked = 20 * time.Second
					var r *testserve.Record
					var err error
					for range 5 { // to connect at all takes luck
						r, err = p.run(t.Context(), Client{UDP: udp, Direction: d, Duration: asked, Rate: 1e6, ConnectTime: 10 * time.Second})
						if code := result.CodeOf(err); code != result.CodeUnreachable && code != result.CodeProtocol {
							break
						}
					}
					e := r.End(t)
					var begun time.Time
					for _, ev := range r.All() {
						if b, ok := ev.(result.Begin); ok {
							begun = b.Time
						}
					}
					if took := e.Time.Sub(begun); took > asked+joinTime+2*graceTime+time.Second {
						t.Errorf("ended after %v: %v", took, err)
					}
					if e.Local(d) == nil || e.Local(d).Bytes == 0 {
						t.Errorf("no result: %+v, %v", e, err)
					}
					if udp && err == nil {
						v := e.Total(d).Received
						if v == nil || *v.Lost < int64(*e.Total(d).Sent.Packets)/10 {
							t.Errorf("received %+v", v)
						}
					}
					time.Sleep(time.Minute)
					p.stop()
				})
			})
		}
	}
}

// TestManyClients: a hundred at once, of all kinds, and none is counted for
// another.
func TestManyClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, testnet.Link{Rate: 1_000_000_000, Wait: true, Delay: time.Millisecond}, &Server{})
		var wg sync.WaitGroup
		for n := range 100 {
			wg.Go(func() {
				c := Client{UDP: n%2 == 0, Direction: result.Up, Streams: 1 + n%3, Duration: 2 * time.Second, Rate: uint64(100_000 + 1000*n), Classic: n%5 == 0}
				if n%4 > 1 {
					c.Direction = result.Down
				}
				r, err := p.run(t.Context(), c)
				if err != nil {
					t.Errorf("client %d: %v", n, err)
					return
				}
				total := r.End(t).Total(c.Direction)
				if total.Sent.Bytes != total.Received.Bytes {
					t.Errorf("client %d: sent %d, received %d", n, total.Sent.Bytes, total.Received.Bytes)
				}
			})
		}
		wg.Wait()
		p.stop()
		if n := p.sink.Ends(); n != 100 {
			t.Errorf("%d tests ended at the server", n)
		}
	})
}

// TestBudget: a test is cut when its budget is gone, not a batch later, and
// what it moved is booked.
func TestBudget(t *testing.T) {
	for _, d := range []result.Direction{result.Up, result.Down} {
		synctest.Test(t, func(t *testing.T) {
			const all = 300_000
			books := &testserve.Ledger{Grant: admit.Grant{Budget: admit.NewBudget(all, "user_daily_quota_exceeded", "daily bytes")}}
			p := newPair(t, slow, &Server{Policy: books})
			_, err := p.run(t.Context(), Client{Direction: d, Duration: 10 * time.Second, Rate: 1e6})
			if err == nil {
				t.Error("the client was not told")
			}
			p.stop()
			e := p.sink.End(t)
			if e.Reason != "user_daily_quota_exceeded" || result.ExitCode(e.Err) != 5 {
				t.Errorf("server: %s, %v", e.Reason, e.Err)
			}
			if n := books.Sent + books.Received; n < all*9/10 || n > all+65536 {
				t.Errorf("%v: %d bytes booked of %d", d, n, all)
			}
		})
	}
}

// TestLimits: the server's longest duration and highest rate hold, whatever a
// client asks for.
func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, slow, &Server{Policy: &admit.Limits{Duration: 2 * time.Second, Rate: 200_000}})
		for _, d := range []result.Direction{result.Up, result.Down} {
			start := time.Now()
			r, _ := p.run(t.Context(), Client{Direction: d, Duration: 10 * time.Second, Rate: 1e6, Streams: 2})
			if took := time.Since(start); took > 4*time.Second {
				t.Errorf("%v: ended after %v", d, took)
			}
			e := r.End(t)
			if d == result.Down && (e.Down == nil || e.Down.Received.Bytes > 60_000) {
				t.Errorf("download above the limit of 50000 bytes: %+v", e.Down)
			}
		}
		p.stop()
	})
}

// TestQueue: who comes to a busy server waits, is told how long, and has his
// turn in order.
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, slow, &Server{Tests: 1})
		var wg sync.WaitGroup
		start := time.Now()
		for n := range 3 {
			time.Sleep(100 * time.Millisecond)
			wg.Go(func() {
				c := Client{Direction: result.Down, Duration: 5 * time.Second, Rate: 1e5, Classic: n == 2}
				r, err := p.run(t.Context(), c)
				if n == 2 && result.CodeOf(err) == result.CodeProtocol {
					return // a client of ours that offers nothing is not told to wait longer than 10 s
				}
				if err != nil {
					t.Errorf("client %d: %v", n, err)
				}
				if took := r.End(t).Time.Sub(start); took < time.Duration(n+1)*5*time.Second || took > time.Duration(n+1)*6*time.Second {
					t.Errorf("client %d ended after %v", n, took)
				}
				if r.HasNote("queued") != (n == 1) {
					t.Errorf("client %d: told to wait: %v", n, n != 1)
				}
			})
		}
		wg.Wait()
		p.stop()
	})
}

// TestShutdown: a server that stops ends its tests at once.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, slow, &Server{})
		var wg sync.WaitGroup
		wg.Go(func() {
			r, err := p.run(t.Context(), Client{Duration: time.Minute, Rate: 1e6})
			if result.CodeOf(err) != result.CodePeerLost || r.End(t).Up == nil {
				t.Errorf("client: %v", err)
			}
		})
		time.Sleep(2 * time.Second)
		start := time.Now()
		p.stop()
		if took := time.Since(start); took > time.Second {
			t.Errorf("stopped after %v", took)
		}
		if e := p.sink.End(t); e.Reason != result.ReasonShutdown || e.Up == nil {
			t.Errorf("server: %+v", e)
		}
		wg.Wait()
	})
}

// TestStranger: who finds a stream's port before the client does changes
// nothing.
func TestStranger(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &called{listener: l, id: wire.TestID{1}, data: true, within: 5 * time.Second, unproven: &admit.Gate{}}
	type got struct {
		conn net.Conn
		n    int
		err  error
	}
	done := make(chan got, 1)
	go func() {
		conn, n, err := c.connect(t.Context())
		done <- got{conn, n, err}
	}()
	for range 3 * strangers { // silent ones, and wrong ones
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.Write(make([]byte, 16))
	}
	right := map[string]bool{} // where those with the id come from: a slow machine takes an earlier one
	for range 50 {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		right[conn.LocalAddr().String()] = true
		conn.Write(append([]byte{1}, make([]byte, 15)...))
		select {
		case g := <-done:
			if g.err != nil || g.n != 16 || !right[g.conn.RemoteAddr().String()] {
				t.Fatalf("connect = %v, %d, %v", g.conn, g.n, g.err)
			}
			g.conn.Close()
			return
		case <-time.After(80 * time.Millisecond):
		}
	}
	t.Error("the right connection was not taken")
}

// TestManyStrangers: connections to streams' ports that show no id are bounded in
// all, however many streams are open, and the test goes on when they are gone.
func TestManyStrangers(t *testing.T) {
	gate := &admit.Gate{Total: 20, PerAddress: 10}
	var calls []*called
	done := make(chan error, 4)
	for range cap(done) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c := &called{listener: l, id: wire.TestID{1}, data: true, within: 10 * time.Second, unproven: gate}
		calls = append(calls, c)
		go func() {
			conn, _, err := c.connect(t.Context())
			if err == nil {
				conn.Close()
			}
			done <- err
		}()
	}
	var silent []net.Conn
	for _, c := range calls {
		for range strangers {
			conn, err := net.Dial("tcp", c.listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			silent = append(silent, conn)
		}
	}
	// One for which there is no place is closed at once: long before the time of the others is over.
	closed := 0
	for end := time.Now().Add(3 * time.Second); closed < len(silent)-10 && time.Now().Before(end); {
		closed = 0
		for _, conn := range silent {
			conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				closed++
			}
		}
	}
	if open := gate.Open(); open > 10 || closed < len(silent)-10 {
		t.Errorf("%d of %d are closed, %d open, want 10 open at most", closed, len(silent), open)
	}
	for _, conn := range silent {
		conn.Close()
	}
	for _, c := range calls {
		for gate.Open() > 0 {
			time.Sleep(time.Millisecond)
		}
		conn, err := net.Dial("tcp", c.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.Write(append([]byte{1}, make([]byte, 15)...))
	}
	for range calls {
		if err := <-done; err != nil {
			t.Errorf("connect: %v", err)
		}
	}
}

func TestPool(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want string
	}{
		{"", "[]"}, {"5", "[5]"}, {"21, 1-3,19,2", "[1 2 3 19 21]"}, {"65535", "[65535]"},
		{"0", ""}, {"3-1", ""}, {"65536", ""}, {"1-", ""}, {"x", ""}, {"1,,2", ""},
	} {
		got, err := ParsePorts(tt.in)
		if (err != nil) != (tt.want == "") || err == nil && fmt.Sprint(got) != tt.want {
			t.Errorf("ParsePorts(%q) = %v, %v, want %s", tt.in, got, err, tt.want)
		}
	}
}
