package testnet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"
)

// A stack is what a Host, a Namespace and package net have in common.
type stack interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	Listen(ctx context.Context, network, address string) (net.Listener, error)
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
}

// kernel is the stack of this machine.
type kernel struct {
	net.Dialer
	net.ListenConfig
}

// A place is two stacks that reach each other.
type place struct {
	client, server stack
	from, to       string        // their addresses
	slow           time.Duration // what settle waits besides
}

// The tests of this file say how a stack behaves. They hold for the kernel, so
// they must hold in memory.
var conformance = []struct {
	name string
	run  func(*testing.T, place)
}{
	{"tcp/echo", testEcho},
	{"tcp/refused", testRefused},
	{"tcp/half close", testHalfClose},
	{"tcp/close delivers", testCloseDelivers},
	{"tcp/close unread resets", testCloseUnread},
	{"tcp/reset", testReset},
	{"tcp/reset wakes", testResetWakes},
	{"tcp/reset after FIN", testResetAfterFIN},
	{"tcp/write to closed", testWriteToClosed},
	{"tcp/write after CloseWrite", testWriteAfterCloseWrite},
	{"tcp/read deadline", testReadDeadline},
	{"tcp/write deadline", testWriteDeadline},
	{"tcp/past deadline wakes", testPastDeadlineWakes},
	{"tcp/close wakes", testCloseWakes},
	{"tcp/listener", testListener},
	{"tcp/listener close resets", testListenerCloseResets},
	{"tcp/dial cancelled", testDialCancelled},
	{"udp/echo", testUDPEcho},
	{"udp/connected", testUDPConnected},
	{"udp/refused", testUDPRefused},
	{"udp/deadline and close", testUDPDeadline},
	{"udp/too big", testUDPTooBig},
	{"udp/in use", testUDPInUse},
}

func TestConformance(t *testing.T) {
	for _, family := range []struct{ name, addr string }{{"loopback4", "127.0.0.1"}, {"loopback6", "::1"}} {
		t.Run(family.name, func(t *testing.T) {
			needLoopback(t, family.addr)
			t.Parallel()
			conform(t, place{client: &kernel{}, server: &kernel{}, from: family.addr, to: family.addr})
		})
	}
}

// conform runs the tests on a kernel.
func conform(t *testing.T, p place) {
	for _, tt := range conformance {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, p) })
	}
}

func TestMemoryConformance(t *testing.T) {
	far := Link{Delay: 20 * ms, Jitter: 5 * ms, Rate: 20_000_000}
	for _, m := range []struct {
		name     string
		up, down Link
		from, to string
	}{
		{"4", Link{}, Link{}, "192.0.2.2", "192.0.2.1"},
		{"6", Link{}, Link{}, "2001:db8::2", "2001:db8::1"},
		{"far", far, far, "192.0.2.2", "192.0.2.1"},
		{"one host", Link{}, Link{}, "192.0.2.1", "192.0.2.1"},
	} {
		for _, tt := range conformance {
			t.Run(m.name+"/"+tt.name, func(t *testing.T) {
				bubble(t, m.up, m.down, func(t *testing.T, client, server *Host) {
					if m.from == m.to {
						client = server
					}
					tt.run(t, place{client: client, server: server, from: m.from, to: m.to})
				})
			})
		}
	}
}

func needLoopback(t *testing.T, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
	if err != nil {
		t.Skipf("no loopback address %s: %v", addr, err)
	}
	l.Close()
}

func at(addr string) string { return net.JoinHostPort(addr, "0") }

// pair connects client and server by TCP.
func pair(t *testing.T, p place) (client, server net.Conn) {
	t.Helper()
	l, err := p.server.Listen(t.Context(), "tcp", at(p.to))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = p.client.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	for _, c := range []net.Conn{client, server} {
		c.SetDeadline(time.Now().Add(10 * time.Second)) // no test hangs
	}
	return client, server
}

func testEcho(t *testing.T, p place) {
	client, server := pair(t, p)
	if client.LocalAddr().String() != server.RemoteAddr().String() || client.RemoteAddr().String() != server.LocalAddr().String() {
		t.Errorf("client %v to %v, server %v to %v", client.LocalAddr(), client.RemoteAddr(), server.LocalAddr(), server.RemoteAddr())
	}
	if a, ok := client.RemoteAddr().(*net.TCPAddr); !ok || a.AddrPort().Addr().Unmap() != netip.MustParseAddr(p.to) {
		t.Errorf("RemoteAddr = %#v", client.RemoteAddr())
	}
	go func() {
		io.Copy(server, server)
		server.(interface{ CloseWrite() error }).CloseWrite()
	}()
	sent := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	go func() {
		client.Write(sent)
		client.(interface{ CloseWrite() error }).CloseWrite()
	}()
	got, err := io.ReadAll(client)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes of %d came back, %v", len(got), len(sent), err)
	}
}

func testRefused(t *testing.T, p place) {
	l, err := p.server.Listen(t.Context(), "tcp", at(p.to))
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, err = p.client.DialContext(t.Context(), "tcp", l.Addr().String())
	wantError(t, err, syscall.ECONNREFUSED)
	if op, ok := errors.AsType[*net.OpError](err); !ok || op.Op != "dial" || op.Addr.String() != l.Addr().String() {
		t.Errorf("%#v is no OpError of a dial to %v", err, l.Addr())
	}
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// wantRead expects that a read brings want and the error.
func wantRead(t *testing.T, c io.Reader, want string, wantErr error) {
	t.Helper()
	b := make([]byte, max(1, len(want)))
	n, err := io.ReadFull(c, b)
	if string(b[:n]) != want || !errors.Is(err, wantErr) {
		t.Errorf("read %q, %v, want %q, %v", b[:n], err, want, wantErr)
	}
}

// settle lets what is under way arrive.
func settle(p place) { time.Sleep(100*time.Millisecond + p.slow) }

func testHalfClose(t *testing.T, p place) {
	client, server := pair(t, p)
	client.Write([]byte("last"))
	client.(interface{ CloseWrite() error }).CloseWrite()
	wantRead(t, server, "last", nil)
	wantRead(t, server, "", io.EOF)
	wantRead(t, server, "", io.EOF)
	server.Write([]byte("answer"))
	server.Close()
	wantRead(t, client, "answer", nil)
	wantRead(t, client, "", io.EOF)
}

func testCloseDelivers(t *testing.T, p place) {
	client, server := pair(t, p)
	sent := make([]byte, 100_000)
	if _, err := client.Write(sent); err != nil {
		t.Fatal(err)
	}
	client.Close()
	if got, err := io.ReadAll(server); len(got) != len(sent) || err != nil {
		t.Errorf("%d bytes of %d came, %v", len(got), len(sent), err)
	}
}

func testCloseUnread(t *testing.T, p place) {
	client, server := pair(t, p)
	client.Write([]byte("unread"))
	settle(p)
	server.Close()
	settle(p)
	wantRead(t, client, "", syscall.ECONNRESET)
}

func testReset(t *testing.T, p place) {
	client, server := pair(t, p)
	server.Write([]byte("kept"))
	settle(p)
	if err := Reset(server); err != nil {
		t.Error(err)
	}
	settle(p)
	wantRead(t, client, "kept", nil)
	wantRead(t, client, "", syscall.ECONNRESET)
	wantRead(t, client, "", io.EOF) // the error is told once
	_, err := client.Write([]byte("x"))
	wantError(t, err, syscall.EPIPE)
}

func testResetWakes(t *testing.T, p place) {
	client, server := pair(t, p)
	read := make(chan error)
	go func() {
		_, err := client.Read(make([]byte, 1))
		read <- err
	}()
	settle(p)
	Reset(server)
	wantError(t, <-read, syscall.ECONNRESET)
}

func testResetAfterFIN(t *testing.T, p place) {
	client, server := pair(t, p)
	server.Close()
	wantRead(t, client, "", io.EOF)
	client.Write([]byte("nobody reads this"))
	settle(p)
	_, err := client.Write([]byte("x"))
	wantError(t, err, syscall.EPIPE)
}

func testWriteToClosed(t *testing.T, p place) {
	client, server := pair(t, p)
	server.Close()
	settle(p)
	if _, err := client.Write([]byte("x")); err != nil {
		t.Errorf("first write after the peer's close: %v", err)
	}
	settle(p)
	_, err := client.Write([]byte("x"))
	wantError(t, err, syscall.EPIPE)
}

func testWriteAfterCloseWrite(t *testing.T, p place) {
	client, _ := pair(t, p)
	client.(interface{ CloseWrite() error }).CloseWrite()
	_, err := client.Write([]byte("x"))
	wantError(t, err, syscall.EPIPE)
}

func wantTimeout(t *testing.T, err error) {
	t.Helper()
	ne, ok := errors.AsType[net.Error](err)
	if !ok || !ne.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v, want a timeout", err)
	}
}

func testReadDeadline(t *testing.T, p place) {
	client, server := pair(t, p)
	client.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	_, err := client.Read(make([]byte, 1))
	wantTimeout(t, err)
	server.Write([]byte("x"))
	settle(p)
	_, err = client.Read(make([]byte, 1)) // although there is something to read
	wantTimeout(t, err)
	client.SetReadDeadline(time.Time{})
	wantRead(t, client, "x", nil)
}

func testWriteDeadline(t *testing.T, p place) {
	client, _ := pair(t, p)
	large := make([]byte, 64<<20) // more than all buffers
	client.SetWriteDeadline(time.Now().Add(100 * ms))
	n, err := client.Write(large)
	wantTimeout(t, err)
	if n == len(large) {
		t.Errorf("all %d bytes were written before the deadline", n)
	}
}

func testPastDeadlineWakes(t *testing.T, p place) {
	client, _ := pair(t, p)
	read := make(chan error)
	go func() {
		_, err := client.Read(make([]byte, 1))
		read <- err
	}()
	settle(p)
	client.SetDeadline(time.Unix(1, 0))
	wantTimeout(t, <-read)
}

func testCloseWakes(t *testing.T, p place) {
	client, _ := pair(t, p)
	read := make(chan error)
	go func() {
		_, err := client.Read(make([]byte, 1))
		read <- err
	}()
	settle(p)
	client.Close()
	wantError(t, <-read, net.ErrClosed)
	_, err := client.Write([]byte("x"))
	wantError(t, err, net.ErrClosed)
	wantError(t, client.Close(), net.ErrClosed)
	wantError(t, client.SetDeadline(time.Now()), net.ErrClosed)
}

func testListener(t *testing.T, p place) {
	l, err := p.server.Listen(t.Context(), "tcp", at(p.to))
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.server.Listen(t.Context(), "tcp", l.Addr().String())
	wantError(t, err, syscall.EADDRINUSE)
	_, err = p.server.Listen(t.Context(), "tcp", at("203.0.113.77"))
	wantError(t, err, syscall.EADDRNOTAVAIL)
	l.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Now().Add(10 * time.Millisecond))
	_, err = l.Accept()
	wantTimeout(t, err)
	l.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Time{})
	accept := make(chan error)
	go func() {
		_, err := l.Accept()
		accept <- err
	}()
	settle(p)
	l.Close()
	wantError(t, <-accept, net.ErrClosed)
}

func testListenerCloseResets(t *testing.T, p place) {
	l, err := p.server.Listen(t.Context(), "tcp", at(p.to))
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.client.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	settle(p)
	l.Close()
	wantRead(t, c, "", syscall.ECONNRESET)
}

func testDialCancelled(t *testing.T, p place) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if c, err := p.client.DialContext(ctx, "tcp", net.JoinHostPort(p.to, "9")); err == nil {
		c.Close()
		t.Error("a cancelled dial succeeded")
	}
}
