package twamp

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/twamp/wire"
)

// A talk is a client's end of a control connection without authentication, for
// saying wrong things.
type talk struct {
	*control
	t    *testing.T
	done chan error
	srv  *serverConn
}

// converse sets up a connection with s. Call it inside a synctest bubble.
func converse(t *testing.T, s *Server, mode wire.Mode) *talk {
	t.Helper()
	s.ListenPacket = func(context.Context, string, string) (net.PacketConn, error) { return deaf{make(chan struct{})}, nil }
	s.prepare()
	here, there := net.Pipe()
	c := serverConnOf(s, there, t)
	c.peer, c.local = netip.MustParseAddrPort("192.0.2.1:5000"), netip.MustParseAddrPort("192.0.2.2:862")
	k := &talk{newControl(here), t, make(chan error, 1), c}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		err := c.run(ctx)
		there.Close()
		k.done <- err
	}()
	t.Cleanup(func() {
		here.Close()
		cancel()
		closePorts(s)
		c.wg.Wait()
	})
	k.hear(wire.ServerGreetingLen)
	k.say(wire.SetUpResponse{Mode: mode})
	if st, err := wire.ParseServerStart(k.hear(wire.ServerStartLen)); err != nil || st.Accept != wire.OK {
		t.Fatalf("server-start %+v, %v", st, err)
	}
	return k
}

// closePorts ends the reflectors of a server that was not served.
func closePorts(s *Server) {
	s.ports.mu.Lock()
	defer s.ports.mu.Unlock()
	for _, one := range s.ports.at {
		one.close()
	}
}

func (k *talk) say(m appender) {
	k.t.Helper()
	if err := k.send(m); err != nil {
		k.t.Fatal(err)
	}
}

func (k *talk) hear(n int) []byte {
	k.t.Helper()
	b, err := k.clear(n)
	if err != nil {
		k.t.Fatalf("hear %d octets: %v", n, err)
	}
	return b
}

// ends waits for the server to close and returns why it did.
func (k *talk) ends() error {
	k.t.Helper()
	if n, err := k.conn.Read(make([]byte, 1)); err == nil {
		k.t.Fatalf("the server says %d octets more", n)
	}
	return <-k.done
}

// A deaf socket receives nothing until it is closed.
type deaf struct{ closed chan struct{} }

func (d deaf) WriteTo(b []byte, _ net.Addr) (int, error) { return len(b), nil }
func (d deaf) Close() error                              { close(d.closed); return nil }
func (d deaf) LocalAddr() net.Addr                       { return &net.UDPAddr{} }
func (d deaf) ReadFrom([]byte) (int, net.Addr, error)    { <-d.closed; return 0, nil, net.ErrClosed }

func (d deaf) SetDeadline(time.Time) error { return nil }

func (d deaf) SetReadDeadline(time.Time) error { return nil }

func (d deaf) SetWriteDeadline(time.Time) error { return nil }

var goodRequest = wire.RequestSession{SenderPort: 5001, ReceiverPort: 5002, Padding: 27}

// accepted asks for a session and returns the answer.
func (k *talk) accepted(r wire.RequestSession) wire.AcceptSession {
	k.t.Helper()
	k.say(r)
	a, err := wire.ParseAcceptSession(k.hear(wire.AcceptSessionLen))
	if err != nil {
		k.t.Fatal(err)
	}
	return a
}

// Requests that cannot be granted are refused, and the connection goes on.
func TestRequestsRefused(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*wire.RequestSession)
		want   wire.Accept
	}{
		{"good", func(*wire.RequestSession) {}, wire.OK},
		{"padding 2^32-1", func(r *wire.RequestSession) { r.Padding = 1<<32 - 1 }, wire.Unsupported},
		{"padding one too many", func(r *wire.RequestSession) { r.Padding = 65507 - 14 + 1 }, wire.Unsupported},
		{"most padding", func(r *wire.RequestSession) { r.Padding = 65507 - 14 }, wire.OK},
		{"start in 1900", func(r *wire.RequestSession) { r.StartTime = 1 }, wire.OK},
		{"start in 2100", func(r *wire.RequestSession) { r.StartTime = wire.NTP(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)) }, wire.OK},
		{"timeout of 136 years", func(r *wire.RequestSession) { r.Timeout = 1<<64 - 1 }, wire.OK},
		{"type-p of a PHB", func(r *wire.RequestSession) { r.TypeP = 1 << 30 }, wire.Unsupported},
		{"another's address", func(r *wire.RequestSession) { r.SenderAddr = netip.MustParseAddr("198.51.100.7") }, wire.Unsupported},
		{"own address", func(r *wire.RequestSession) { r.SenderAddr = netip.MustParseAddr("192.0.2.1") }, wire.OK},
		{"IPv6 over IPv4", func(r *wire.RequestSession) { r.IPv6 = true }, wire.Unsupported},
		{"sender port 0", func(r *wire.RequestSession) { r.SenderPort = 0 }, wire.Unsupported},
		{"reflects more than the padding", func(r *wire.RequestSession) { r.ReflectLen = 1 }, wire.Unsupported},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := converse(t, &Server{}, wire.Unauthenticated)
				r := goodRequest
				tt.change(&r)
				a := k.accepted(r)
				if a.Accept != tt.want || (a.Port != 0) != (tt.want == wire.OK) {
					t.Errorf("%+v, want %v", a, tt.want)
				}
				if tt.want == wire.OK && k.srv.sessions[0].grace > time.Minute {
					t.Errorf("grace of %v", k.srv.sessions[0].grace)
				}
				r = goodRequest
				r.SenderPort++
				if a := k.accepted(r); a.Accept != wire.OK {
					t.Errorf("the next request: %+v", a)
				}
			})
		})
	}
}

// Octets that a request must not have: the answer is Unsupported and the
// connection goes on.
func TestRequestFieldsRefused(t *testing.T) {
	for _, at := range []int{1, 2, 3, 7, 11} {
		synctest.Test(t, func(t *testing.T) {
			k := converse(t, &Server{}, wire.Unauthenticated)
			b := encode(t, goodRequest)
			b[at] = 9
			if _, err := k.conn.Write(b); err != nil {
				t.Fatal(err)
			}
			if a, err := wire.ParseAcceptSession(k.hear(wire.AcceptSessionLen)); err != nil || a.Accept != wire.Unsupported {
				t.Errorf("octet %d: %+v, %v", at, a, err)
			}
			if a := k.accepted(goodRequest); a.Accept != wire.OK {
				t.Errorf("the next request: %+v", a)
			}
		})
	}
}

// What is said out of turn is answered as far as the RFCs let it be, and ends
// the connection.
func TestOutOfTurn(t *testing.T) {
	unknown := func(c byte) []byte { b := make([]byte, 16); b[0] = c; return b }
	for _, tt := range []struct {
		name   string
		before func(*talk)
		says   []byte
		heard  int // octets of the last answer
		text   string
	}{
		{"command 0", nil, unknown(0), 48, "bad number 0x0"},
		{"OWAMP's request", nil, unknown(1), 48, "bad number 0x1"},
		{"command 11", nil, unknown(11), 48, "bad number 0xb"},
		{"stop before start", nil, encode(t, wire.StopSessions{}), 48, "out of turn"},
		{"start-n without the mode", nil, encode(t, wire.SessionList{Command: wire.CommandStartN, SIDs: make([]wire.SID, 1)}), 48, "out of turn"},
		{"request while active", (*talk).startOne, encode(t, goodRequest), 0, "while sessions run"},
		{"stop of 2 sessions", (*talk).startOne, encode(t, wire.StopSessions{Sessions: 2}), 0, "2 sessions, there were 1"},
		{"stop of 2^32-1 sessions", (*talk).startOne, encode(t, wire.StopSessions{Sessions: 1<<32 - 1}), 0, "there were 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := converse(t, &Server{}, wire.Unauthenticated)
				if tt.before != nil {
					tt.before(k)
				}
				go k.conn.Write(tt.says)
				if tt.heard > 0 {
					if a, err := wire.ParseAcceptSession(k.hear(tt.heard)); err != nil || a.Accept != wire.Unsupported {
						t.Errorf("answer %+v, %v", a, err)
					}
				}
				if err := k.ends(); err == nil || !strings.Contains(err.Error(), tt.text) {
					t.Errorf("ended with %v, want %q", err, tt.text)
				}
			})
		})
	}
}

// startOne makes one session and starts it.
func (k *talk) startOne() {
	k.t.Helper()
	if a := k.accepted(goodRequest); a.Accept != wire.OK {
		k.t.Fatalf("%+v", a)
	}
	k.say(wire.StartSessions{})
	if a, err := wire.ParseStartAck(k.hear(wire.StartAckLen)); err != nil || a.Accept != wire.OK {
		k.t.Fatalf("start-ack %+v, %v", a, err)
	}
}

func TestStartWithoutSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := converse(t, &Server{}, wire.Unauthenticated)
		k.say(wire.StartSessions{})
		if a, err := wire.ParseStartAck(k.hear(wire.StartAckLen)); err != nil || a.Accept != wire.Failure {
			t.Errorf("start-ack %+v, %v", a, err)
		}
	})
}

// After a stop the connection may be used for another round.
func TestRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := converse(t, &Server{}, wire.Unauthenticated)
		for range 3 {
			k.startOne()
			k.say(wire.StopSessions{Sessions: 1})
		}
	})
}

// TestTimers: what is left idle ends.
func TestTimers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(*talk)
		after  time.Duration
	}{
		{"nothing asked", nil, 900 * time.Second},
		{"accepted, not started", func(k *talk) { k.accepted(goodRequest) }, 900 * time.Second},
		// SERVWAIT is suspended until every session hit REFWAIT.
		{"started, no packets", (*talk).startOne, 1800 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &Server{}
				k := converse(t, s, wire.Unauthenticated)
				if tt.before != nil {
					tt.before(k)
				}
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				go s.ports.sweep(ctx)
				start := time.Now()
				k.ends()
				if took := time.Since(start); (took - tt.after).Abs() > 3*time.Second {
					t.Errorf("ended after %v, want %v", took, tt.after)
				}
			})
		})
	}
}

func TestSetUpTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{}
		s.prepare()
		here, there := net.Pipe()
		defer here.Close()
		start := time.Now()
		done := make(chan error, 1)
		go func() { done <- serverConnOf(s, there, t).run(t.Context()) }()
		if _, err := here.Read(make([]byte, 64)); err != nil {
			t.Fatal(err)
		}
		here.Write(make([]byte, 100)) // and no more
		if err := <-done; err == nil || time.Since(start) != 10*time.Second {
			t.Errorf("ended after %v with %v", time.Since(start), err)
		}
	})
}

func TestSessionLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{SessionsPerConnection: 3, Sockets: 2}
		k := converse(t, s, wire.Unauthenticated)
		ports := map[uint16]bool{}
		for i := range 5 {
			r := goodRequest
			r.SenderPort += uint16(i)
			r.ReceiverPort += uint16(i)
			a := k.accepted(r)
			if want := i < 3; (a.Accept == wire.OK) != want || !want && a.Accept != wire.TemporaryResource {
				t.Errorf("session %d: %+v", i, a)
			}
			if a.Accept == wire.OK {
				ports[a.Port] = true
			}
		}
		if len(ports) != 2 {
			t.Errorf("ports %v, want two that are shared", ports)
		}
	})
}

// A client that asks for 10 000 sessions gets as many as one connection may have.
func TestManySessionsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := converse(t, &Server{}, wire.Unauthenticated)
		granted := 0
		for i := range 10000 {
			r := goodRequest
			r.SenderPort, r.ReceiverPort = uint16(1024+i), uint16(1024+i)
			switch a := k.accepted(r); a.Accept {
			case wire.OK:
				granted++
			case wire.TemporaryResource:
			default:
				t.Fatalf("session %d: %v", i, a.Accept)
			}
		}
		if granted != 256 {
			t.Errorf("%d sessions granted", granted)
		}
	})
}

func TestAllSessionsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Sessions: 2}
		k := converse(t, s, wire.Unauthenticated)
		for i := range 3 {
			r := goodRequest
			r.SenderPort += uint16(i)
			if a := k.accepted(r); (a.Accept == wire.OK) != (i < 2) {
				t.Errorf("session %d: %+v", i, a)
			}
		}
	})
}

func TestIndividual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := converse(t, &Server{}, wire.Unauthenticated|wire.Individual)
		first := k.accepted(goodRequest)
		r := goodRequest
		r.SenderPort++
		k.say(wire.SessionList{Command: wire.CommandStartN, SIDs: []wire.SID{first.SID}})
		k.acks(wire.CommandStartNAck, map[wire.Accept]int{wire.OK: 1})
		second := k.accepted(r) // while the first runs
		if second.Accept != wire.OK {
			t.Fatalf("%+v", second)
		}
		k.say(wire.SessionList{Command: wire.CommandStartN, SIDs: []wire.SID{{9}, second.SID, first.SID}})
		k.acks(wire.CommandStartNAck, map[wire.Accept]int{wire.OK: 1, wire.Unsupported: 2})
		k.say(wire.SessionList{Command: wire.CommandStopN, SIDs: []wire.SID{first.SID, second.SID}})
		k.acks(wire.CommandStopNAck, map[wire.Accept]int{wire.OK: 2})
		k.say(wire.SessionList{Command: wire.CommandStopN, SIDs: []wire.SID{first.SID}})
		k.acks(wire.CommandStopNAck, map[wire.Accept]int{wire.Unsupported: 1})
		go k.send(wire.StartSessions{})
		if a, err := wire.ParseAcceptSession(k.hear(wire.AcceptSessionLen)); err != nil || a.Accept != wire.Unsupported {
			t.Errorf("start-sessions: %+v, %v", a, err)
		}
	})
}

// acks reads one acknowledgement for each Accept.
func (k *talk) acks(c wire.Command, want map[wire.Accept]int) {
	k.t.Helper()
	for range want {
		b, err := k.next()
		if err != nil {
			k.t.Fatal(err)
		}
		l, err := wire.ParseSessionList(b)
		if err != nil || l.Command != c || len(l.SIDs) != want[l.Accept] {
			k.t.Errorf("%+v, %v, want command %d and %v", l, err, c, want)
		}
	}
}
