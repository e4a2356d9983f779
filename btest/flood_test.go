package btest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/testmemory"
	"github.com/sonde-net/sonde/result"
)

// TestFloodOfConnections: half-open connections are bounded, per address and in
// all, and places come back.
func TestFloodOfConnections(t *testing.T) {
	t.Parallel()
	needLoopbacks(t)
	server := serve(t, "127.0.0.1", &Server{Connections: 30, ConnectionsPerAddress: 20})
	var open []*hand
	for range 20 {
		open = append(open, greet(t, server.addr))
	}
	for range 10 {
		if said := touch(t, server.addr).expectClose(); len(said) > 0 {
			t.Fatalf("a connection too many was greeted: % x", said)
		}
	}
	for range 10 {
		open = append(open, from(t, "127.0.0.2", server.addr))
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 3)}}
	c, err := d.Dial("tcp", server.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := c.Read(make([]byte, 4)); n > 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one more than all was greeted: %d, %v", n, err)
	}
	for _, h := range open {
		h.Close()
	}
	server.awaitIdle(t, 5*time.Second)
	greet(t, server.addr).Close()
}

// TestFloodOfLogins: logins in progress are bounded per address and in all.
func TestFloodOfLogins(t *testing.T) {
	t.Parallel()
	needLoopbacks(t)
	server := serve(t, "127.0.0.1", &Server{Accounts: users(), Auth: AuthSRP5, Logins: 5, LoginsPerAddress: 3})
	const command = "01 02 01 00 0080 0000 00000000 00000000"
	var open []*hand
	for i := range 5 {
		h := from(t, fmt.Sprintf("127.0.0.%d", 1+i/3), server.addr)
		h.say(command)
		h.expect("03 00 00 00")
		open = append(open, h)
	}
	for _, ip := range []string{"127.0.0.1", "127.0.0.3"} {
		h := from(t, ip, server.addr)
		h.say(command)
		if said := h.expectClose(); len(said) > 0 {
			t.Errorf("%s: a login too many was answered: % x", ip, said)
		}
	}
	for _, h := range open {
		h.Close()
	}
	server.awaitIdle(t, 5*time.Second)
	if err := (&Client{Target: server.addr, Duration: 100 * time.Millisecond, Account: "test", Password: "secret", DownRate: 1e6}).Run(t.Context(), result.Discard); err != nil {
		t.Errorf("after the flood: %v", err)
	}
}

// TestHalfLogins: many who begin a login each from an address of its own, and do
// not go on, keep nobody out and cost little.
func TestHalfLogins(t *testing.T) {
	needLoopbacks(t)
	const command = "01 02 01 00 0080 0000 00000000 00000000"
	s := &Server{Accounts: users(), Auth: AuthSRP5, LoginsPerAddress: -1}
	each := testmemory.PerClient(t, s.Serve, 200, func(_ int, c net.Conn) []io.Closer {
		h := &hand{c, t}
		h.expect("01 00 00 00")
		h.say(command)
		h.expect("03 00 00 00")
		return nil
	})
	if each > 32<<10 {
		t.Errorf("a login that is begun costs %d bytes", each)
	}
	server := serve(t, "127.0.0.1", &Server{Accounts: users(), Auth: AuthSRP5})
	for host := range 100 {
		for range 8 {
			h := from(t, fmt.Sprintf("127.0.2.%d", 1+host), server.addr)
			h.say(command)
			h.expect("03 00 00 00")
		}
	}
	if err := (&Client{Target: server.addr, Duration: 100 * time.Millisecond, Account: "test", Password: "secret", DownRate: 1e6}).Run(t.Context(), result.Discard); err != nil {
		t.Errorf("beside 800 logins that are begun: %v", err)
	}
}

// TestBackoff: an address that keeps failing has to wait; others do not.
func TestBackoff(t *testing.T) {
	t.Parallel()
	inBubble(t, &Server{Accounts: users(), Auth: AuthMD5}, func(t *testing.T, b *bubble) {
		try := func(password string) error {
			c := &Client{Target: b.addr, Account: "test", Password: password, Duration: time.Second, DownRate: 1e5,
				Dial: b.client.DialContext, ListenPacket: b.client.ListenPacket}
			return c.Run(t.Context(), result.Discard)
		}
		for range 7 {
			exitCode(t, try("wrong"), 4)
		}
		if err := try("secret"); result.CodeOf(err) != result.CodeRefused {
			t.Errorf("the right password at once after seven wrong ones: %v", err)
		}
		time.Sleep(2 * time.Second)
		if err := try("secret"); err != nil {
			t.Errorf("a little later: %v", err)
		}
	})
}

// TestWrongTokens: a join of no test is closed and counted, one that only comes
// too late is not counted.
func TestWrongTokens(t *testing.T) {
	t.Parallel()
	needLoopbacks(t)
	server := serve(t, "127.0.0.1", &Server{})
	first := greet(t, server.addr)
	first.say("01 02 01 03 0080 0000 80841e00 00000000")
	token := first.token()
	go io.Copy(io.Discard, first)
	wrong := wire.Token{Hi: 2 + (token.Hi-1)%250, Lo: token.Lo}
	for _, tt := range []struct {
		name, ip string
		token    wire.Token
	}{
		{"another token", "127.0.0.1", wrong},
		{"another address", "127.0.0.2", token},
	} {
		h := from(t, tt.ip, server.addr)
		h.Write(tt.token.AppendJoin(nil))
		if said := h.expectClose(); len(said) > 0 {
			t.Errorf("%s: the server said % x", tt.name, said)
		}
	}
	for range 2 {
		go join(t, server.addr, token).pump()
	}
	h := greet(t, server.addr) // one too many
	h.Write(token.AppendJoin(nil))
	if said := h.expectClose(); len(said) > 0 {
		t.Errorf("one too many: the server said % x", said)
	}
	first.Close()
	server.awaitIdle(t, 5*time.Second)
	for range 20 {
		h := greet(t, server.addr) // too late
		h.Write(token.AppendJoin(nil))
		h.expectClose()
	}
	if err := server.backoff.Check(localAddr(first.LocalAddr()).Addr(), time.Now()); err != nil {
		t.Errorf("joins that came too late lock their address out: %v", err)
	}
	for range 20 {
		h := greet(t, server.addr)
		h.Write(wrong.AppendJoin(nil))
		h.expectClose()
	}
	if err := server.backoff.Check(localAddr(first.LocalAddr()).Addr(), time.Now()); err == nil {
		t.Error("guessing tokens costs nothing")
	}
}

// TestLateJoins: a connection that joins after the others takes part, and is
// numbered by itself; after ten seconds no more are let in.
func TestLateJoins(t *testing.T) {
	t.Parallel()
	inBubble(t, &Server{}, func(t *testing.T, b *bubble) {
		first := b.greet(t)
		first.say("01 01 00 04 0080 0000 00000000 00000000") // TCP upload, random, 4 connections
		token := first.token()
		go first.pump()
		add := func() *hand {
			h := b.greet(t)
			h.Write(token.AppendJoin(nil))
			return h
		}
		time.Sleep(4500 * time.Millisecond)
		late := add()
		late.token()
		late.Write(make([]byte, 1000))
		var scanner wire.Scanner
		scanner.Random = true // knows a status by its number only
		var got []wire.Status
		for range 3 {
			scanner.Scan(late.hear(wire.StatusLen), func(s wire.Status) { got = append(got, s) })
		}
		if len(got) < 2 || got[0].Seq != 1 || got[1].Seq != 2 || got[0].Received != 1000 || got[1].Received != 0 {
			t.Errorf("statuses of the late connection %+v", got)
		}
		time.Sleep(5 * time.Second)
		if said := add().expectClose(); len(said) > 0 {
			t.Errorf("a join after ten seconds: % x", said)
		}
		first.Close()
		run := b.events.await(t, 1)
		run.check(t)
		time.Sleep(time.Second) // for the pump
	})
}
