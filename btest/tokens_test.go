package btest

import (
	"net"
	"net/netip"
	"testing"

	"github.com/sonde-net/sonde/btest/wire"
)

func TestTokens(t *testing.T) {
	var all tokens
	peer, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	token, j, ok := all.register(peer, 2)
	if !ok || token.Hi < 2 || token.Lo == 0 {
		t.Fatalf("register = %v, %v", token, ok)
	}
	if !wire.IsJoin(token.AppendJoin(nil)) {
		t.Errorf("token %v could be taken for a command", token)
	}
	if _, ok := all.claim(token, other); ok {
		t.Error("another address joined")
	}
	if _, ok := all.claim(wire.Token{Hi: token.Hi ^ 1 | 2, Lo: token.Lo ^ 1}, peer); ok {
		t.Error("another token joined")
	}
	for n := range 3 {
		if _, ok := all.claim(token, peer); ok != (n < 2) {
			t.Errorf("claim %d = %v", n, ok)
		}
	}
	a, b := net.Pipe()
	defer b.Close()
	if !j.hand(a) {
		t.Error("hand before the end failed")
	}
	all.drop(token)
	if _, err := a.Write([]byte{0}); err == nil {
		t.Error("a connection that joined too late was not closed")
	}
	c, d := net.Pipe()
	defer c.Close()
	defer d.Close()
	if j.hand(c) {
		t.Error("hand after the end")
	}
	if _, ok := all.claim(token, peer); ok {
		t.Error("claim after the end")
	}
	all.drop(token) // again
}

func TestTokensRunOut(t *testing.T) {
	var all tokens
	peer := netip.MustParseAddr("192.0.2.1")
	for n := range 254 * 255 {
		token, _, ok := all.register(peer, 0)
		if !ok {
			if n < 200*255 {
				t.Fatalf("no token after %d", n)
			}
			return
		}
		if token.Hi < 2 || token.Lo == 0 {
			t.Fatalf("token %v", token)
		}
	}
}
