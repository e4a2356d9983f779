package rperf

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/internal/testserve"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/rperf/wire"
)

// A script is a server driven by hand.
type script struct {
	t    *testing.T
	host *testnet.Host
	conn net.Conn
	ctrl *control
	cfg  wire.Configuration
	msgs []wire.Message // that the client sent
	open []io.Closer
}

// scripted runs a client against a server that does what serve says.
func scripted(t *testing.T, c Client, serve func(s *script)) (*testserve.Record, error) {
	n := &testnet.Network{}
	client := n.Host(slow, testnet.Link{}, clientAddr)
	server := n.Host(slow, testnet.Link{}, serverAddr)
	l, err := server.Listen(t.Context(), "tcp4", "0.0.0.0:5199")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		s := &script{t: t, host: server, conn: conn, ctrl: newControl(conn)}
		m := s.read()
		s.cfg, _ = m.(wire.Configuration)
		serve(s)
		for _, o := range s.open {
			o.Close()
		}
	}()
	r, err := (&pair{client: client}).run(t.Context(), c)
	<-done
	time.Sleep(time.Second) // what is still on the way arrives
	return r, err
}

func (s *script) read() wire.Message {
	m, err := s.ctrl.read(context.Background(), "message", time.Minute)
	if err != nil {
		s.t.Logf("server: %v", err)
		return nil
	}
	s.msgs = append(s.msgs, m)
	return m
}

// say sends raw JSON.
func (s *script) say(text string) {
	if _, err := s.conn.Write(append([]byte{byte(len(text) >> 8), byte(len(text))}, text...)); err != nil {
		s.t.Logf("server: %v", err)
	}
}

// receive opens a port that takes the client's data, and says connect.
func (s *script) receive() { s.connect(1) }

// hold reads until the client closes.
func (s *script) hold() {
	for s.read() != nil {
	}
}

const oneReport = `{"bytes_received":1000,"duration":1.0,"family":"tcp","kind":"receive","stream_idx":0,"timestamp":1795186098.5}`

// TestOddServers: the cases of testdata/client-behaviour.json, where the real
// client hangs, loses its report or calls a failure a success.
func TestOddServers(t *testing.T) {
	const second = time.Second
	for _, tt := range []struct {
		name     string
		streams  int
		serve    func(s *script)
		code     string // of the error; empty: none
		measured bool   // what we counted is in the End
		within   time.Duration
	}{
		{"server-closes", 1, func(*script) {}, result.CodeRefused, false, second},
		{"server-silent", 1, func(s *script) { s.hold() }, result.CodeProtocol, false, 11 * second},
		{"server-slow", 1, func(s *script) {
			time.Sleep(6 * second)
			s.receive()
			s.read()
			time.Sleep(2 * second)
			s.say(oneReport)
			s.say(`{"kind":"done","origin":"server","stream_idx":0}`)
			s.hold()
		}, "", true, 10 * second},
		{"server-failed", 1, func(s *script) {
			s.receive()
			s.read()
			time.Sleep(second / 2)
			s.say(`{"kind":"failed","origin":"server","stream_idx":0}`)
			s.hold()
		}, result.CodePeerLost, true, 2 * second},
		{"unknown-kind", 1, func(s *script) {
			s.receive()
			s.read()
			time.Sleep(second / 2)
			s.say(`{"kind":"connect","stream_ports":[37843]}`)
			s.hold()
		}, result.CodeProtocol, true, 2 * second},
		{"no-done", 1, func(s *script) { s.receive(); s.hold() }, result.CodePeerLost, true, 8 * second},
		{"extra-field", 1, func(s *script) {
			s.receive()
			s.read()
			s.say(strings.Replace(oneReport, "{", `{"extra":{"a":[1]},`, 1))
			time.Sleep(2 * second)
			s.say(`{"kind":"done","origin":"server","stream_idx":0}`)
			s.hold()
		}, "", true, 3 * second},
		{"bad-stream-idx", 1, func(s *script) {
			s.receive()
			s.read()
			time.Sleep(second / 3)
			s.say(strings.Replace(oneReport, `"stream_idx":0`, `"stream_idx":7`, 1))
			s.hold()
		}, result.CodeProtocol, true, 2 * second},
		{"integer-numbers", 1, func(s *script) {
			s.receive()
			s.read()
			s.say(`{"bytes_received":1000,"duration":1,"family":"tcp","kind":"receive","stream_idx":0,"timestamp":1795186098}`)
			time.Sleep(2 * second)
			s.say(`{"kind":"done","stream_idx":0}`)
			s.hold()
		}, "", true, 3 * second},
		{"float-bytes", 1, func(s *script) {
			s.receive()
			s.read()
			time.Sleep(second / 3)
			s.say(strings.Replace(oneReport, "1000", "1000.0", 1))
			s.hold()
		}, result.CodeProtocol, true, 2 * second},
		{"fewer-ports", 2, func(s *script) { s.receive(); s.hold() }, result.CodeProtocol, false, second},
		{"server-drops", 1, func(s *script) { s.receive(); s.read(); time.Sleep(second / 2) }, result.CodePeerLost, true, 2 * second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				r, err := scripted(t, Client{Duration: time.Second, Rate: 1e6, Streams: tt.streams}, tt.serve)
				if result.CodeOf(err) != tt.code {
					t.Errorf("Run = %v (%s), want %q", err, result.CodeOf(err), tt.code)
				}
				if took := r.End(t).Time.Sub(start); took > tt.within+300*time.Millisecond {
					t.Errorf("ended after %v, want %v at most", took, tt.within)
				}
				e := r.End(t)
				if measured := e.Up != nil && e.Up.Sent != nil && e.Up.Sent.Bytes > 10_000; measured != tt.measured {
					t.Errorf("measured: %v, End %+v", measured, e)
				}
			})
		})
	}
}

// TestReplayServers plays every recorded server to our client: what it says on
// the control connection, when it did. The client must say what the real one
// said, key by key, and take all that is reported.
func TestReplayServers(t *testing.T) {
	n := 0
	for name, r := range recordings(t) {
		if len(r.Clients) == 0 || name == "client-limit" || strings.Contains(name, "ipv6") {
			continue // driven by hand, or only about the server
		}
		n++
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { replayServer(t, r) })
		})
	}
	if n < 14 {
		t.Errorf("only %d recordings", n)
	}
}

// clientOf is the client with the recording's command line.
func clientOf(t *testing.T, r recording) Client {
	c := Client{Classic: true, Direction: result.Up, Rate: 8 * wire.DefaultRate}
	words := strings.Fields(r.Clients[0])
	for i, w := range words {
		value := ""
		if i+1 < len(words) {
			value = words[i+1]
		}
		number := func() int {
			var n int
			if err := json.Unmarshal([]byte(value), &n); err != nil {
				t.Fatalf("%s: %q: %v", r.Name, value, err)
			}
			return n
		}
		switch w {
		case "-u":
			c.UDP = true
		case "-R":
			c.Direction = result.Down
		case "-N":
			c.NoDelay = true
		case "-t":
			c.Duration = time.Duration(number()) * time.Second
		case "-P":
			c.Streams = number()
		case "-l":
			c.Length = number()
		case "-b":
			rate, err := wire.ParseRate(value)
			if err != nil {
				t.Fatal(err)
			}
			c.Rate = 8 * rate
		case "--send-buffer":
			c.SendBuffer = number()
		case "--receive-buffer":
			c.ReceiveBuffer = number()
		case "--send-interval":
			d, err := time.ParseDuration(value + "s")
			if err != nil {
				t.Fatal(err)
			}
			c.SendInterval = d
		}
	}
	return c
}

func replayServer(t *testing.T, r recording) {
	c := clientOf(t, r)
	var want, got []wire.Message
	var told uint64
	for _, e := range r.Control {
		m, err := wire.Parse([]byte(e.Payload))
		if err != nil {
			continue
		}
		if e.From == "client" {
			want = append(want, m)
		} else if i, ok := m.(wire.Interval); ok {
			told += i.Bytes
		}
	}
	rec, err := scripted(t, c, func(s *script) {
		s.play(r)
		s.hold()
		got = s.msgs
	})
	if err != nil && result.CodeOf(err) != result.CodePeerLost {
		// In reverse the streams never come: only the server's words are played.
		if c.Direction == result.Up || result.CodeOf(err) != result.CodeUnreachable {
			t.Errorf("Run = %v", err)
		}
	}
	same := cmp.FilterValues(func(a, b wire.Configuration) bool { return true }, cmp.Comparer(func(a, b wire.Configuration) bool {
		a.TestID, b.TestID = wire.TestID{}, wire.TestID{}
		if len(a.StreamPorts) == len(b.StreamPorts) {
			a.StreamPorts, b.StreamPorts = nil, nil
		}
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		return string(x) == string(y)
	}))
	if d := cmp.Diff(want, got, same); d != "" {
		t.Errorf("the client said\n%+v\nthe real one\n%+v\n%s", got, want, d)
	}
	e := rec.End(t)
	if total := e.Total(c.Direction); total != nil {
		far := e.Remote(c.Direction)
		if far == nil {
			t.Fatalf("nothing of the server's in %+v", total)
		}
		bytes := far.Bytes
		if far.WireBytes != nil {
			bytes = *far.WireBytes
		}
		if bytes != told {
			t.Errorf("took %d bytes of the server's reports, it told %d", bytes, told)
		}
	} else if c.Direction == result.Up {
		t.Errorf("no total in %+v", e)
	}
}

// play says what the recorded server said, with ports of its own.
func (s *script) play(r recording) {
	var begun time.Time
	var base float64
	for _, e := range r.Control {
		if e.Event != "message" {
			continue
		}
		if e.From == "client" {
			if strings.Contains(e.Payload, `"begin"`) {
				s.read()
				begun, base = time.Now(), e.T
			}
			continue
		}
		if !begun.IsZero() {
			time.Sleep(time.Until(begun.Add(seconds(e.T - base))))
		}
		m, err := wire.Parse([]byte(e.Payload))
		if err != nil {
			s.t.Error(err)
			return
		}
		if c, ok := m.(wire.Connect); ok {
			s.connect(len(c.StreamPorts))
			continue
		}
		s.say(e.Payload)
	}
}

// connect opens ports that take the client's data, and says so.
func (s *script) connect(streams int) {
	var ports []uint16
	for range streams {
		if s.cfg.UDP {
			c, err := s.host.ListenPacket(s.t.Context(), "udp4", "0.0.0.0:0")
			if err != nil {
				s.t.Error(err)
				return
			}
			s.open = append(s.open, c)
			go func() {
				for b := make([]byte, 2000); ; {
					if _, _, err := c.ReadFrom(b); err != nil {
						return
					}
				}
			}()
			ports = append(ports, sock.AddrPort(c.LocalAddr()).Port())
			continue
		}
		l, err := s.host.Listen(s.t.Context(), "tcp4", "0.0.0.0:0")
		if err != nil {
			s.t.Error(err)
			return
		}
		ports = append(ports, sock.AddrPort(l.Addr()).Port())
		s.open = append(s.open, l)
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = io.Copy(io.Discard, c) // until the client closes
		}()
	}
	b, err := wire.AppendFrame(nil, wire.Connect{StreamPorts: ports})
	if err != nil {
		s.t.Error(err)
	}
	s.conn.Write(b)
}

// TestClientInterrupted: what was measured is kept, and the server is told.
func TestClientInterrupted(t *testing.T) {
	for _, d := range []result.Direction{result.Up, result.Down} {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t, slow, &Server{})
			ctx, cancel := context.WithTimeoutCause(t.Context(), 2500*time.Millisecond, &result.Error{Word: result.CodeInterrupted, Text: "interrupted"})
			defer cancel()
			start := time.Now()
			r, err := p.run(ctx, Client{Direction: d, Duration: time.Minute, Rate: 1e6})
			if result.CodeOf(err) != result.CodeInterrupted || time.Since(start) > 3*time.Second {
				t.Errorf("%v: %v after %v", d, err, time.Since(start))
			}
			if e := r.End(t); e.Reason != result.ReasonInterrupted || e.Local(d) == nil || e.Local(d).Bytes < 250_000 {
				t.Errorf("%v: %+v", d, e)
			}
			synctest.Wait()
			time.Sleep(time.Second)
			if e := p.sink.End(t); e.Reason != result.ReasonDone || e.Local(d).Bytes < 250_000 {
				t.Errorf("%v: server: %+v", d, e)
			}
			p.stop()
		})
	}
}

// TestReverseNoEnd: a server that sends for ever is stopped in time.
func TestReverseNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		r, err := scripted(t, Client{Direction: result.Down, UDP: true, Duration: 5 * time.Second}, func(s *script) {
			s.say(`{"kind":"connect-ready"}`)
			s.read()
			to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(clientAddr), s.cfg.StreamPorts[0]))
			c, err := s.host.ListenPacket(context.Background(), "udp4", "0.0.0.0:0")
			if err != nil {
				s.t.Error(err)
				return
			}
			defer c.Close()
			for n := range 6000 {
				b := make([]byte, 1024)
				wire.Header{TestID: s.cfg.TestID, Seq: uint64(n), Sent: time.Now()}.Put(b)
				if _, err := c.WriteTo(b, to); err != nil && !errors.Is(err, net.ErrClosed) {
					s.t.Log(err)
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
		e := r.End(t)
		if took := e.Time.Sub(start); took > 16*time.Second || err != nil {
			t.Errorf("Run = %v after %v", err, took)
		}
		if !r.HasNote("overdue") || e.Elapsed > 16*time.Second || e.Down == nil {
			t.Errorf("End %+v", e)
		}
	})
}
