package btest

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/btest/auth"
	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/result"
)

// A bubble is a server in memory, in a bubble of synctest: its time is exact.
type bubble struct {
	*live
	client *testnet.Host
}

// inBubble runs f against s in a bubble, and ends the server after it.
func inBubble(t *testing.T, s *Server, f func(t *testing.T, b *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		client, server, l, _ := duet(t, false)
		s.ListenPacket = server.ListenPacket
		f(t, &bubble{serveOn(t, l, s), client})
	})
}

// dial connects a hand to the server in the bubble.
func (b *bubble) dial(t *testing.T) *hand {
	t.Helper()
	c, err := b.client.DialContext(t.Context(), "tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &hand{c, t}
}

func (b *bubble) greet(t *testing.T) *hand {
	t.Helper()
	h := b.dial(t)
	h.expect("01 00 00 00")
	return h
}

// dribble writes one byte at a time.
type dribble struct{ net.Conn }

func (d dribble) Write(b []byte) (int, error) {
	for i := range b {
		if _, err := d.Conn.Write(b[i : i+1]); err != nil {
			return i, err
		}
		time.Sleep(time.Millisecond)
	}
	return len(b), nil
}

// TestByteByByte: both roles take every message of every login byte by byte.
func TestByteByByte(t *testing.T) {
	t.Parallel()
	for _, login := range []string{LoginNone, LoginMD5, LoginSRP5} {
		for _, udp := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/udp=%v", login, udp), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					client, server, l, at := duet(t, false)
					s := &Server{ListenPacket: server.ListenPacket}
					c := &Client{Target: at, UDP: udp, Direction: result.Both, Connections: 3, Duration: 2 * time.Second, UpRate: 1e4, DownRate: 1e4,
						ListenPacket: client.ListenPacket,
						Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
							c, err := client.DialContext(ctx, network, address)
							return dribble{c}, err
						}}
					if login != LoginNone {
						s.Accounts, s.Auth = users(), Auth(login)
						c.Account, c.Password = "test", "secret"
					}
					v := serveOn(t, dribbling{l}, s)
					near, far, err := v.test(t, c)
					if err != nil {
						t.Fatal(err)
					}
					near.check(t)
					far.check(t)
				})
			})
		}
	}
}

// dribbling is a listener whose connections dribble.
type dribbling struct{ net.Listener }

func (d dribbling) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	return dribble{c}, err
}

// TestGlued: data that comes glued to the command, or to a join, is data.
func TestGlued(t *testing.T) {
	t.Parallel()
	inBubble(t, &Server{}, func(t *testing.T, b *bubble) {
		const more = 4321
		zeros := make([]byte, more)
		first := b.greet(t)
		first.Write(append(unhex("01 01 01 02 0080 0000 00000000 00000000"), zeros...))
		token := first.token()
		second := b.greet(t)
		second.Write(append(token.AppendJoin(nil), zeros...))
		second.token()
		time.Sleep(1500 * time.Millisecond)
		first.Close()
		run := b.events.await(t, 1)
		if end := run.check(t); end.Up.Received.Bytes != 2*more {
			t.Errorf("%d bytes of data, want %d", end.Up.Received.Bytes, 2*more)
		}
	})
}

// TestEveryTransportAndDirection: what is no test is closed, without a word.
func TestEveryTransportAndDirection(t *testing.T) {
	t.Parallel()
	inBubble(t, &Server{Policy: &admit.Limits{Rate: 1e6}}, func(t *testing.T, b *bubble) {
		for transport := range 256 {
			for _, direction := range []int{0, 1, 2, 3, 4, 5, 127, 128, 129, 255} {
				h := b.greet(t)
				h.say(fmt.Sprintf("%02x %02x 01 00 dc05 0000 00000000 00000000", transport, direction))
				valid := transport <= 1 && direction >= 1 && direction <= 3
				if valid {
					h.expect("01 00 00 00")
					h.Close()
					continue
				}
				if said := h.expectClose(); len(said) > 0 {
					t.Errorf("transport %d, direction %d: the server said % x", transport, direction, said)
				}
				h.Close()
			}
		}
	})
}

// TestOddSizes: no size of the command is beyond what a server can do.
func TestOddSizes(t *testing.T) {
	t.Parallel()
	for _, udp := range []bool{false, true} {
		for _, size := range []int{0, 1, 3, 4, 27, 28, 31, 32, 47, 48, 511, 512, 1500, 32768, 63999, 64000, 64001, 65535} {
			t.Run(fmt.Sprintf("udp=%v/%d", udp, size), func(t *testing.T) {
				t.Parallel()
				server := serve(t, "127.0.0.1", &Server{UDPPorts: udpPorts(t, 1, 1)})
				h := greet(t, server.addr)
				cmd := wire.Command{Transport: wire.TCP, Direction: wire.Transmit, Size: uint16(size), ServerRate: 1e6}
				if udp {
					cmd.Transport = wire.UDP
				}
				b, _ := cmd.AppendBinary(nil)
				h.Write(b)
				h.expect("01 00 00 00")
				if !udp {
					h.hear(20_000)
					h.Close()
					return
				}
				data := h.socket(h.port() + wire.ClientPort)
				in := make([]byte, 1<<16)
				for range 3 {
					n, _, err := data.ReadFrom(in)
					if err != nil {
						t.Fatal(err)
					}
					if want := wire.PayloadLen(cmd.WriteSize(), localAddr(h.RemoteAddr()).Addr()); n != want {
						t.Errorf("%d bytes of payload, want %d", n, want)
					}
				}
				h.Close()
			})
		}
	}
}

// TestSlowSteps: whoever says nothing, or only a part, is closed after the time
// for a step, at each step of each login.
func TestSlowSteps(t *testing.T) {
	t.Parallel()
	const command = "01 02 01 00 0080 0000 00000000 00000000"
	key, _ := auth.NewClient("test", "secret", rand.Reader)
	frame, _ := key.Key().AppendBinary(nil)
	clientKey := fmt.Sprintf("%x", wire.AppendFrame(nil, frame))
	for _, tt := range []struct {
		name string
		auth Auth
		says []string // each after what the server says to the one before
		hear []int
		took time.Duration
	}{
		{"nothing", AuthNone, nil, nil, handshakeTime},
		{"half a command", AuthNone, []string{command[:14]}, nil, handshakeTime},
		{"no MD5 response", AuthMD5, []string{command}, []int{20}, handshakeTime},
		{"half an MD5 response", AuthMD5, []string{command, "0102030405060708"}, []int{20, 0}, handshakeTime},
		{"no client key", AuthSRP5, []string{command}, []int{4}, handshakeTime},
		{"only the length of a frame", AuthSRP5, []string{command, "26"}, []int{4, 0}, handshakeTime},
		{"half a client key", AuthSRP5, []string{command, clientKey[:40]}, []int{4, 0}, handshakeTime},
		{"no confirmation", AuthSRP5, []string{command, clientKey}, []int{4, 50}, handshakeTime},
		{"half a confirmation", AuthSRP5, []string{command, clientKey, "20 0102"}, []int{4, 50, 0}, handshakeTime},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &Server{Auth: tt.auth}
			if tt.auth != AuthNone {
				s.Accounts = users()
			}
			inBubble(t, s, func(t *testing.T, b *bubble) {
				h := b.greet(t)
				for i, say := range tt.says {
					h.say(say)
					h.hear(append(tt.hear, 0)[i])
				}
				start := time.Now()
				h.SetReadDeadline(time.Time{})
				rest, err := io.ReadAll(h)
				took := time.Since(start)
				if err != nil || len(rest) > 0 || took < tt.took-time.Second || took > tt.took+time.Second {
					t.Errorf("closed after %v with % x, %v, want %v", took, rest, err, tt.took)
				}
				h.Close()
			})
		})
	}
}

// TestSlowServer: nor does our client wait for ever, whatever a server leaves out.
func TestSlowServer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, says string }{
		{"nothing", ""},
		{"half a hello", "01 00"},
		{"no answer", "01 00 00 00"},
		{"half an answer", "01 00 00 00 01 00"},
		{"no challenge", "01 00 00 00 02 00 00 00"},
		{"no result", "01 00 00 00 02 00 00 00" + "00112233445566778899aabbccddeeff"},
		{"no server key", "01 00 00 00 03 00 00 00"},
		{"half a server key", "01 00 00 00 03 00 00 00 31 01 02"},
		{"no port", "01 00 00 00 01 00 00 00"},
		{"half a port", "01 00 00 00 01 00 00 00 07"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, _, l, at := duet(t, false)
				defer l.Close()
				go func() {
					c, err := l.Accept()
					if err != nil {
						return
					}
					defer c.Close()
					c.Write(unhex(tt.says))
					io.Copy(io.Discard, c)
				}()
				start := time.Now()
				var got events
				c := &Client{Target: at, UDP: true, Account: "test", Password: "secret", Duration: time.Second, Dial: client.DialContext, ListenPacket: client.ListenPacket}
				err := c.Run(t.Context(), &got)
				if took := time.Since(start); took < 10*time.Second || took > 11*time.Second {
					t.Errorf("gave up after %v", took)
				}
				if code := result.CodeOf(err); code != result.CodeUnreachable && code != result.CodeProtocol {
					t.Errorf("%v, code %q", err, code)
				}
				if runs := got.of(); len(runs) != 1 || len(runs[0].ends) != 1 {
					t.Errorf("runs %+v", runs)
				}
				time.Sleep(time.Second)
			})
		})
	}
}

// TestSlowDribble: a client that says a byte every few seconds does not get
// more time for it.
func TestSlowDribble(t *testing.T) {
	t.Parallel()
	inBubble(t, &Server{Accounts: users(), Auth: AuthSRP5}, func(t *testing.T, b *bubble) {
		h := b.greet(t)
		start := time.Now()
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			for range 10 {
				time.Sleep(3 * time.Second)
				if _, err := h.Write([]byte{1}); err != nil {
					return
				}
			}
		})
		h.SetReadDeadline(time.Time{})
		io.ReadAll(h)
		if took := time.Since(start); took > 11*time.Second {
			t.Errorf("closed after %v", took)
		}
	})
}

// TestEveryFrameLength: an EC-SRP5 login takes a frame of any length in the
// place of each of its messages, and ends.
func TestEveryFrameLength(t *testing.T) {
	t.Parallel()
	inBubble(t, &Server{Accounts: users(), Auth: AuthSRP5, Logins: -1, LoginsPerAddress: -1}, func(t *testing.T, b *bubble) {
		role, err := auth.NewClient("test", "nope", rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		key, _ := role.Key().AppendBinary(nil)
		for step := range 2 {
			var wg sync.WaitGroup
			for n := range 256 {
				b.backoff.Succeeded(localAddr(testAddr).Addr())
				wg.Go(func() {
					h := b.greet(t)
					defer h.Close()
					h.say("01 02 01 00 0080 0000 00000000 00000000")
					h.expect("03 00 00 00")
					if step == 1 {
						h.Write(wire.AppendFrame(nil, key))
						h.hear(50)
					}
					junk := make([]byte, n)
					rand.Read(junk)
					h.Write(wire.AppendFrame(nil, junk))
					if said := h.expectClose(); len(said) > 0 && (step == 1 || len(said) != 50) {
						t.Errorf("step %d, frame of %d bytes: the server said % x", step, n, said)
					}
				})
			}
			wg.Wait()
		}
	})
}

var testAddr = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7)}
