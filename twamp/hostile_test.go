package twamp

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/twamp/auth"
	"github.com/sonde-net/sonde/twamp/wire"
)

// encode is a message's octets.
func encode(tb testing.TB, m appender) []byte {
	tb.Helper()
	b, err := m.AppendBinary(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// A server that misbehaves makes the client end, by its deadline, and say why.
func TestHostileServer(t *testing.T) {
	good := wire.ServerGreeting{Modes: 15, Challenge: [16]byte{1}, Salt: [16]byte{2}, Count: 1024}
	with := func(change func(*wire.ServerGreeting)) []byte {
		g := good
		change(&g)
		return encode(t, g)
	}
	for _, tt := range []struct {
		name string
		says []byte
		code string
		text string
	}{
		{"silence", nil, result.CodeUnreachable, "no greeting within 10s"},
		{"half a greeting", encode(t, good)[:30], result.CodeUnreachable, "no greeting within 10s"},
		{"no mode", with(func(g *wire.ServerGreeting) { g.Modes = 0 }), result.CodeRefused, "offers no mode"},
		{"only unknown modes", with(func(g *wire.ServerGreeting) { g.Modes = 1 << 20 }), result.CodeUnsupported, "does not offer encrypted"},
		{"count 0", with(func(g *wire.ServerGreeting) { g.Count = 0 }), result.CodeProtocol, "0 key derivation rounds"},
		{"count 1023", with(func(g *wire.ServerGreeting) { g.Count = 1023 }), result.CodeProtocol, "1023 key derivation rounds"},
		{"count 2^31", with(func(g *wire.ServerGreeting) { g.Count = 1 << 31 }), result.CodeProtocol, "2147483648 key derivation rounds"},
		{"zero challenge", with(func(g *wire.ServerGreeting) { g.Challenge = [16]byte{} }), result.CodeProtocol, "all zeros"},
		{"silence after the greeting", encode(t, good), result.CodeUnreachable, "no server-start within 10s"},
		{"refuses", append(encode(t, good), encode(t, wire.ServerStart{Accept: wire.Failure})...), result.CodeAuth, "refused the set-up"},
		{"wrong keys", append(encode(t, good), make([]byte, 48+48)...), result.CodeAuth, "hmac"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				here, there := net.Pipe()
				at := netip.MustParseAddrPort("192.0.2.1:862")
				c := &Client{
					Addr: "192.0.2.1", Mode: wire.Encrypted, KeyID: "k", Secret: auth.NewSecret("s"),
					Dial: func(context.Context, string, string) (net.Conn, error) { return ended{here, at, at}, nil },
					ListenPacket: func(context.Context, string, string) (net.PacketConn, error) {
						return silent{}, nil
					},
				}
				go there.Write(tt.says)
				go func() {
					buf := make([]byte, 1024)
					for {
						if _, err := there.Read(buf); err != nil {
							return
						}
					}
				}()
				start := time.Now()
				err := c.Run(t.Context(), nil)
				there.Close()
				if err == nil || !strings.Contains(err.Error(), tt.text) || result.CodeOf(err) != tt.code {
					t.Errorf("Run: %v (%s), want %q (%s)", err, result.CodeOf(err), tt.text, tt.code)
				}
				if took := time.Since(start); took > 10*time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// A silent socket sends into the void.
type silent struct{ net.PacketConn }

func (silent) LocalAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 9} }

func (silent) WriteTo(b []byte, _ net.Addr) (int, error) { return len(b), nil }

func (silent) Close() error { return nil }

// Modes that cannot be are answered with Unsupported and the end.
func TestModesRefused(t *testing.T) {
	for _, mode := range []wire.Mode{wire.Unauthenticated | wire.Authenticated, wire.Symmetrical, wire.Unauthenticated | wire.IKEv2, wire.Encrypted, 1 << 31} {
		synctest.Test(t, func(t *testing.T) {
			s := &Server{}
			s.prepare()
			here, there := net.Pipe()
			defer here.Close()
			done := make(chan error, 1)
			go func() { done <- serverConnOf(s, there, t).run(t.Context()) }()
			k := &talk{control: newControl(here), t: t}
			k.hear(wire.ServerGreetingLen)
			k.say(wire.SetUpResponse{Mode: mode})
			if st, err := wire.ParseServerStart(k.hear(wire.ServerStartLen)); err != nil || st.Accept != wire.Unsupported {
				t.Errorf("mode %v: %+v, %v", mode, st, err)
			}
			if err := <-done; err == nil {
				t.Errorf("mode %v was taken", mode)
			}
		})
	}
}

// A wrong key, an unknown one and none at all look the same.
func TestWrongKeys(t *testing.T) {
	var answers [][]byte
	for _, c := range []Client{
		{KeyID: "sondekey", Secret: auth.NewSecret("wrong")},
		{KeyID: "nosuch", Secret: auth.NewSecret("correct horse battery staple")},
		{KeyID: "", Secret: auth.NewSecret("nobody has this key")},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &Server{Keys: testKeys(t)}
			s.prepare()
			here, there := net.Pipe()
			done := make(chan error, 1)
			go func() { done <- serverConnOf(s, there, t).run(t.Context()) }()
			heard := &listening{Conn: here}
			at := netip.MustParseAddrPort("192.0.2.1:862")
			c.Addr, c.Mode = "192.0.2.1", wire.Authenticated
			c.Dial = func(context.Context, string, string) (net.Conn, error) { return ended{heard, at, at}, nil }
			err := c.Run(t.Context(), nil)
			if result.ExitCode(err) != 4 || !strings.Contains(result.HintOf(err), "key") {
				t.Errorf("Run: %v, exit %d", err, result.ExitCode(err))
			}
			if err := <-done; !errors.Is(err, errRefused) {
				t.Errorf("the server ended with %v", err)
			}
			answers = append(answers, heard.heard.Bytes()[wire.ServerGreetingLen:])
		})
	}
	for _, a := range answers[1:] {
		if !bytes.Equal(a, answers[0]) {
			t.Errorf("% x\n% x", a, answers[0])
		}
	}
}

// A listening connection keeps what was read from it.
type listening struct {
	net.Conn
	heard bytes.Buffer
}

func (l *listening) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	l.heard.Write(b[:n])
	return n, err
}

// A flipped bit anywhere in an encrypted control message ends the connection
// without an answer.
func TestFlippedControlBits(t *testing.T) {
	for _, bit := range []int{0, 100, 400, 800, 895} {
		synctest.Test(t, func(t *testing.T) {
			s := &Server{Keys: testKeys(t)}
			s.prepare()
			here, there := net.Pipe()
			done := make(chan error, 1)
			go func() {
				err := serverConnOf(s, there, t).run(t.Context())
				there.Close()
				done <- err
			}()
			at := netip.MustParseAddrPort("192.0.2.1:862")
			c := Client{Addr: "192.0.2.1", KeyID: "sondekey", Secret: auth.NewSecret("correct horse battery staple"), ListenPacket: func(context.Context, string, string) (net.PacketConn, error) { return silent{}, nil },
				Dial: func(context.Context, string, string) (net.Conn, error) {
					return ended{&flipping{Conn: here, bit: wire.SetUpResponseLen*8 + bit}, at, at}, nil
				}}
			if err := c.Run(t.Context(), nil); err == nil {
				t.Errorf("bit %d: Run ended well", bit)
			}
			// A broken first block has no length any more; the rest fails its HMAC.
			err := <-done
			if _, ok := errors.AsType[*wire.FieldError](err); !ok && !errors.Is(err, auth.ErrHMAC) {
				t.Errorf("bit %d: the server ended with %v", bit, err)
			}
		})
	}
}

// A flipping connection flips one bit of what is written.
type flipping struct {
	net.Conn
	bit int
}

func (f *flipping) Write(b []byte) (int, error) {
	b = bytes.Clone(b)
	if f.bit >= 0 && f.bit < len(b)*8 {
		b[f.bit/8] ^= 1 << (f.bit % 8)
	}
	f.bit -= len(b) * 8
	return f.Conn.Write(b)
}
