package testnet

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

func listenPacket(t *testing.T, s stack, addr string) net.PacketConn {
	t.Helper()
	c, err := s.ListenPacket(t.Context(), "udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

func testUDPEcho(t *testing.T, p place) {
	server, client := listenPacket(t, p.server, at(p.to)), listenPacket(t, p.client, ":0")
	if _, err := client.WriteTo([]byte("hello there"), server.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5) // the rest of the datagram is lost
	n, from, err := server.ReadFrom(b)
	if err != nil || string(b[:n]) != "hello" {
		t.Fatalf("read %q, %v", b[:n], err)
	}
	addr := from.(*net.UDPAddr).AddrPort()
	if addr.Addr().Unmap() != netip.MustParseAddr(p.from) || int(addr.Port()) != client.LocalAddr().(*net.UDPAddr).Port {
		t.Errorf("from %v, sent by %v of %v", from, client.LocalAddr(), p.from)
	}
	if n, err := server.WriteTo(nil, from); n != 0 || err != nil {
		t.Errorf("wrote an empty datagram: %d, %v", n, err)
	}
	n, from, err = client.ReadFrom(b)
	if n != 0 || err != nil {
		t.Errorf("read %d bytes of an empty datagram, %v", n, err)
	}
	if got := from.(*net.UDPAddr).AddrPort(); netip.AddrPortFrom(got.Addr().Unmap(), got.Port()) != server.LocalAddr().(*net.UDPAddr).AddrPort() {
		t.Errorf("answer from %v, not %v", from, server.LocalAddr())
	}
}

func testUDPConnected(t *testing.T, p place) {
	server, stranger := listenPacket(t, p.server, at(p.to)), listenPacket(t, p.server, at(p.to))
	c, err := p.client.DialContext(t.Context(), "udp", server.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 10)
	_, from, err := server.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	stranger.WriteTo([]byte("not for you"), from)
	server.WriteTo([]byte("pong"), from)
	n, err := c.Read(b)
	if err != nil || string(b[:n]) != "pong" {
		t.Errorf("read %q, %v", b[:n], err)
	}
	if _, err := c.(net.PacketConn).WriteTo(b, stranger.LocalAddr()); !errors.Is(err, net.ErrWriteToConnected) {
		t.Errorf("WriteTo on a connected socket: %v", err)
	}
}

func testUDPRefused(t *testing.T, p place) {
	gone, client := listenPacket(t, p.server, at(p.to)), listenPacket(t, p.client, at(p.from))
	gone.Close()
	c, err := p.client.DialContext(t.Context(), "udp", gone.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	c.Write([]byte("x"))
	client.WriteTo([]byte("x"), gone.LocalAddr())
	settle(p)
	_, err = c.Write([]byte("x")) // sends nothing
	wantError(t, err, syscall.ECONNREFUSED)
	if _, err := c.Write([]byte("x")); err != nil {
		t.Errorf("the refusal was told twice: %v", err)
	}
	settle(p)
	_, err = c.Read(make([]byte, 1))
	wantError(t, err, syscall.ECONNREFUSED)
	if _, err := client.WriteTo([]byte("x"), gone.LocalAddr()); err != nil {
		t.Errorf("an unconnected socket was refused: %v", err)
	}
}

func testUDPDeadline(t *testing.T, p place) {
	c := listenPacket(t, p.client, at(p.from))
	c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	_, _, err := c.ReadFrom(make([]byte, 1))
	wantTimeout(t, err)
	c.SetReadDeadline(time.Time{})
	read := make(chan error)
	go func() {
		_, _, err := c.ReadFrom(make([]byte, 1))
		read <- err
	}()
	settle(p)
	c.Close()
	wantError(t, <-read, net.ErrClosed)
	_, err = c.WriteTo(nil, c.LocalAddr())
	wantError(t, err, net.ErrClosed)
	wantError(t, c.Close(), net.ErrClosed)
}

func testUDPTooBig(t *testing.T, p place) {
	server, client := listenPacket(t, p.server, at(p.to)), listenPacket(t, p.client, at(p.from))
	_, err := client.WriteTo(make([]byte, 65536), server.LocalAddr())
	wantError(t, err, syscall.EMSGSIZE)
}

func testUDPInUse(t *testing.T, p place) {
	c := listenPacket(t, p.client, at(p.from))
	_, err := p.client.ListenPacket(t.Context(), "udp", c.LocalAddr().String())
	wantError(t, err, syscall.EADDRINUSE)
	_, port, _ := net.SplitHostPort(c.LocalAddr().String())
	_, err = p.client.ListenPacket(t.Context(), "udp", ":"+port)
	wantError(t, err, syscall.EADDRINUSE)
}
