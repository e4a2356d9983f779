package btest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sonde-net/sonde/btest/auth"
	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/sock"
)

// A hand is a client that a test plays by hand, byte by byte.
type hand struct {
	net.Conn
	t testing.TB
}

// unhex reads bytes in hexadecimal; blanks do not matter.
func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// touch connects, and greet hears the hello as well.
func touch(t testing.TB, addr string) *hand {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &hand{c, t}
}

func greet(t testing.TB, addr string) *hand {
	t.Helper()
	h := touch(t, addr)
	h.expect("01 00 00 00")
	return h
}

// from is greet from another address of this machine.
func from(t testing.TB, ip, addr string) *hand {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	c, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	h := &hand{c, t}
	h.expect("01 00 00 00")
	return h
}

// say sends bytes in hexadecimal.
func (h *hand) say(s string) {
	h.t.Helper()
	if _, err := h.Write(unhex(s)); err != nil {
		h.t.Fatalf("say %s: %v", s, err)
	}
}

// hear reads n bytes.
func (h *hand) hear(n int) []byte {
	h.t.Helper()
	b := make([]byte, n)
	h.SetReadDeadline(time.Now().Add(15 * time.Second))
	if got, err := io.ReadFull(h, b); err != nil {
		h.t.Fatalf("%d of %d bytes (% x): %v", got, n, b[:got], err)
	}
	return b
}

// expect reads what is given in hexadecimal.
func (h *hand) expect(s string) {
	h.t.Helper()
	want := unhex(s)
	if got := h.hear(len(want)); !bytes.Equal(got, want) {
		h.t.Fatalf("heard % x, want % x", got, want)
	}
}

// expectClose reads until the server has closed, which it must do soon.
func (h *hand) expectClose() (before []byte) {
	h.t.Helper()
	h.SetReadDeadline(time.Now().Add(15 * time.Second))
	before, err := io.ReadAll(h)
	if err != nil && !sock.IsGone(err) {
		h.t.Fatalf("the server has not closed: %v", err)
	}
	return before
}

// token reads a "go" with a token.
func (h *hand) token() wire.Token {
	h.t.Helper()
	r, err := wire.ParseReply(h.hear(wire.ReplyLen))
	if err != nil || r.Verdict != wire.Go || r.Token.Hi < 2 || r.Token.Lo == 0 {
		h.t.Fatalf("reply %+v, %v, want a token", r, err)
	}
	return r.Token
}

// port reads the announcement of a UDP port.
func (h *hand) port() uint16 {
	h.t.Helper()
	p, err := wire.ParsePort(h.hear(wire.PortLen))
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

// socket opens a UDP port on the address of the connection.
func (h *hand) socket(port uint16) net.PacketConn {
	h.t.Helper()
	c, err := net.ListenPacket("udp", netip.AddrPortFrom(localAddr(h.LocalAddr()).Addr(), port).String())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(15 * time.Second))
	return c
}

// join opens a further connection of a test.
func join(t testing.TB, addr string, token wire.Token) *hand {
	t.Helper()
	h := greet(t, addr)
	if _, err := h.Write(token.AppendJoin(nil)); err != nil {
		t.Fatal(err)
	}
	h.expect(fmt.Sprintf("01 %02x %02x 00", token.Hi, token.Lo))
	return h
}

// pump sends zeros slowly and throws away what comes, until the connection ends.
func (h *hand) pump() {
	go io.Copy(io.Discard, h)
	for {
		if _, err := h.Write(make([]byte, 1000)); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// loginMD5 answers an MD5 challenge.
func (h *hand) loginMD5(name, password string) {
	h.t.Helper()
	h.expect("02 00 00 00")
	hash := auth.MD5(password, [16]byte(h.hear(16)))
	b, _ := wire.Response{Hash: hash, Name: name}.AppendBinary(nil)
	if _, err := h.Write(b); err != nil {
		h.t.Fatal(err)
	}
}
