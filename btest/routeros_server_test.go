package btest

import (
	"crypto/rand"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/btest/auth"
	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/result"
)

// A routerServer is a RouterOS server for our client.
type routerServer struct {
	login  bool
	token  wire.Token
	port   uint16
	always bool // sends zeros whatever the direction
}

// serve plays one connection until the client closes it.
func (r *routerServer) serve(c net.Conn) error {
	h := &scripted{c, nil}
	h.say(wire.Hello[:])
	record := h.hear(wire.CommandLen)
	if h.err == nil && wire.IsJoin(record) {
		token, _ := wire.ParseJoin(record)
		if token != r.token || record[2] != 2 {
			return fmt.Errorf("join % x", record)
		}
		h.say([]byte{1, token.Hi, token.Lo, 0})
		return r.data(h, wire.Command{Direction: wire.Both, Transport: wire.TCP})
	}
	cmd, err := wire.ParseCommand(record)
	if err != nil {
		return err
	}
	if r.login {
		h.say([]byte{3, 0, 0, 0})
		key, _ := wire.ParseClientKey(h.hear(int(h.hear(1)[0])))
		server, err := auth.NewServer(auth.NewRecord(key.Name, "secret", [16]byte{1, 2, 3}), true, rand.Reader)
		if err != nil {
			return err
		}
		own, err := server.Key(key)
		if err != nil {
			return err
		}
		b, _ := own.AppendBinary(nil)
		h.say(wire.AppendFrame(nil, b))
		confirm, ok := server.Check([32]byte(h.hear(int(h.hear(1)[0]))))
		if !ok {
			return fmt.Errorf("wrong confirmation")
		}
		h.say(wire.AppendFrame(nil, confirm[:]))
	}
	if cmd.Transport == wire.UDP { // the result and the port in one segment
		h.say(append([]byte{1, 0, 0, 0}, byte(r.port>>8), byte(r.port)))
		return r.statuses(h)
	}
	reply := []byte{1, 0, 0, 0}
	if cmd.Count() > 1 {
		reply = []byte{1, r.token.Hi, r.token.Lo, 0}
	}
	h.say(reply)
	return r.data(h, cmd)
}

// scripted reads and writes until the first error.
type scripted struct {
	net.Conn
	err error
}

func (s *scripted) say(b []byte) {
	if s.err == nil {
		_, s.err = s.Write(b)
	}
}

func (s *scripted) hear(n int) []byte {
	b := make([]byte, n)
	for have := 0; have < n && s.err == nil; {
		var m int
		m, s.err = s.Read(b[have:])
		have += m
	}
	return b
}

// cpus are the loads that the router tells, second by second.
var cpus = []byte{0xe4, 0xaa, 0x85}

// data sends zeros, with a status between each second, and reads all there is.
func (r *routerServer) data(h *scripted, cmd wire.Command) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	var mu sync.Mutex
	var came, told uint32
	wg.Go(func() {
		b := make([]byte, 32<<10)
		for {
			n, err := h.Read(b)
			mu.Lock()
			came += uint32(n)
			mu.Unlock()
			if err != nil {
				h.Close()
				return
			}
		}
	})
	for tick := 1; ; tick++ {
		time.Sleep(10 * time.Millisecond)
		if cmd.Direction&wire.Transmit != 0 || r.always {
			h.say(make([]byte, 1000))
		}
		if n := tick / 100; tick%100 == 0 && cmd.Direction&wire.Receive != 0 && n <= len(cpus) {
			mu.Lock()
			received := came - told
			told = came
			mu.Unlock()
			h.say([]byte{7, cpus[n-1], 0, 0, byte(n), 0, 0, 0, byte(received), byte(received >> 8), byte(received >> 16), byte(received >> 24)})
		}
		if h.err != nil {
			return nil // the client has closed
		}
	}
}

// statuses says one each second until the client closes.
func (r *routerServer) statuses(h *scripted) error {
	for n := range cpus {
		time.Sleep(time.Second)
		h.say([]byte{7, cpus[n], 0, 0, byte(n + 1), 0, 0, 0, 0x40, 0x42, 0x0f, 0})
	}
	for h.err == nil {
		h.hear(wire.StatusLen)
	}
	return nil
}

// TestRouterServer runs our client against RouterOS servers.
func TestRouterServer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		client Client
		router routerServer
	}{
		{"TCP both, 20 connections, login", Client{Direction: result.Both, Connections: 20}, routerServer{login: true, token: wire.Token{Hi: 0xef, Lo: 0x77}}},
		{"TCP upload, zeros come all the same", Client{Direction: result.Up}, routerServer{always: true}},
		{"TCP download", Client{Direction: result.Down}, routerServer{}},
		{"UDP both, login", Client{UDP: true, Direction: result.Both}, routerServer{login: true, port: 2042}},
		{"UDP upload", Client{UDP: true, Direction: result.Up}, routerServer{port: 2042}},
		{"no multi-connection tests", Client{Direction: result.Both, Connections: 5}, routerServer{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				client, server, l, at := duet(t, false)
				var wg sync.WaitGroup
				wg.Go(func() { tt.router.accept(t, l, &wg) })
				if tt.client.UDP {
					wg.Go(func() { tt.router.datagrams(t, server, tt.client.Direction.Has(result.Down)) })
				}
				c := tt.client
				c.Target, c.Duration, c.UpRate = at, 3500*time.Millisecond, 1e6
				c.Account, c.Password = "admin", "secret"
				c.Dial, c.ListenPacket = client.DialContext, client.ListenPacket
				var near events
				err := c.Run(t.Context(), &near)
				l.Close()
				wg.Wait()
				if err != nil {
					t.Fatal(err)
				}
				run := near.of()[0]
				checkRouterServer(t, &c, &tt.router, &run)
			})
		})
	}
}

func checkRouterServer(t *testing.T, c *Client, r *routerServer, run *seen) {
	t.Helper()
	end := run.check(t)
	checkSeconds(t, run.intervals)
	if !c.Direction.Has(result.Down) && end.Down != nil {
		t.Errorf("download %+v", end.Down)
	}
	if c.Connections > 1 && r.token.IsZero() {
		if run.note("one_connection") == nil || end.Up.Streams != nil {
			t.Error("no note of the connections that the server does not take")
		}
	}
	if c.Connections > 1 && !r.token.IsZero() && len(end.Up.Streams) != c.Connections {
		t.Errorf("%d streams", len(end.Up.Streams))
	}
	if !c.Direction.Has(result.Up) {
		return
	}
	told := map[float64]bool{}
	for _, i := range run.intervals {
		if i.CPU.Remote != nil {
			told[*i.CPU.Remote] = true
		}
	}
	if !told[100] || !told[42] || !told[5] {
		t.Errorf("CPU loads of the router %v", told)
	}
	if far := end.Remote(result.Up); far == nil || far.Bytes == 0 || far.Covered != 3*time.Second {
		t.Errorf("the router's view %+v", far)
	}
}

func (r *routerServer) accept(t *testing.T, l net.Listener, wg *sync.WaitGroup) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		wg.Go(func() {
			defer c.Close()
			if err := r.serve(c); err != nil {
				t.Errorf("router: %v", err)
			}
		})
	}
}

// datagrams sends to the client's port from the announced one, and swallows
// what comes, for as long as the test takes.
func (r *routerServer) datagrams(t *testing.T, host *testnet.Host, send bool) {
	c, err := host.ListenPacket(t.Context(), "udp", fmt.Sprintf("192.0.2.1:%d", r.port))
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	b := make([]byte, 1472)
	for seq := range 340 {
		time.Sleep(10 * time.Millisecond)
		if send {
			wire.PutSequence(b, uint32(seq))
			c.WriteTo(b, &net.UDPAddr{IP: net.IPv4(192, 0, 2, 7), Port: int(r.port) + wire.ClientPort})
		}
	}
}
