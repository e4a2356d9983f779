package testnet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// through connects to a server behind a relay by TCP.
func through(t *testing.T, up, down Link, addr string) (r *Relay, client, server net.Conn) {
	t.Helper()
	needLoopback(t, addr)
	l, err := net.Listen("tcp", at(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	r = Between(t, up, down, l.Addr().String())
	client, err = net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	client.SetDeadline(time.Now().Add(10 * time.Second))
	server.SetDeadline(time.Now().Add(10 * time.Second))
	return r, client, server
}

func TestRelayStream(t *testing.T) {
	bad := Link{Delay: ms, Jitter: ms, Loss: Every(20), Rate: 200_000_000, Queue: 50_000}
	for _, tt := range []struct {
		name     string
		up, down Link
		addr     string
	}{
		{"plain", Link{}, Link{}, "127.0.0.1"},
		{"IPv6", Link{}, Link{}, "::1"},
		{"bad", bad, bad, "127.0.0.1"},
		{"small MTU", Link{MTU: 576}, Link{MTU: 576}, "127.0.0.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, client, server := through(t, tt.up, tt.down, tt.addr)
			sent := noise(300_000)
			go func() {
				io.Copy(server, server)
				server.(*net.TCPConn).CloseWrite()
			}()
			go func() {
				client.Write(sent)
				client.(*net.TCPConn).CloseWrite()
			}()
			got, err := io.ReadAll(client)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%d of %d bytes came back, %v", len(got), len(sent), err)
			}
			for _, l := range []*Line{r.Up, r.Down} {
				c := l.Counts()
				if c.Offered != c.Passed+c.Lost || c.Reordered+c.Duplicated+c.TailDropped+c.TooBig+c.Unplugged != 0 {
					t.Errorf("counts %+v", c)
				}
				if lost := tt.up.Loss != nil; lost && c.Lost != c.Offered/20 {
					t.Errorf("%d of %d lost, want each 20th", c.Lost, c.Offered)
				}
				if most := uint64(1500); c.Bytes < uint64(len(sent)) || c.Bytes > c.Passed*most {
					t.Errorf("%d bytes in %d packets", c.Bytes, c.Passed)
				}
			}
		})
	}
}

// Only the least time can be told on a busy machine.
func TestRelayTakesTime(t *testing.T) {
	t.Run("delay", func(t *testing.T) {
		_, client, server := through(t, Link{Delay: 30 * ms}, Link{Delay: 20 * ms}, "127.0.0.1")
		go io.Copy(server, server)
		start := time.Now()
		client.Write([]byte("x"))
		wantRead(t, client, "x", nil)
		if took := time.Since(start); took < 50*ms {
			t.Errorf("a round trip took %v, want at least 50ms", took)
		}
	})
	t.Run("rate", func(t *testing.T) {
		_, client, server := through(t, Link{}, Link{Rate: 12_000_000}, "127.0.0.1")
		go func() {
			server.Write(make([]byte, 146_000)) // 100 packets of 1 ms
			server.Close()
		}()
		start := time.Now()
		got, err := io.ReadAll(client)
		if took := time.Since(start); len(got) != 146_000 || err != nil || took < 100*ms {
			t.Errorf("%d bytes took %v, %v, want at least 100ms", len(got), took, err)
		}
	})
}

func TestRelayEnds(t *testing.T) {
	t.Run("FIN then answer", func(t *testing.T) {
		_, client, server := through(t, Link{Delay: ms}, Link{}, "127.0.0.1")
		client.Write([]byte("last"))
		client.(*net.TCPConn).CloseWrite()
		wantRead(t, server, "last", nil)
		wantRead(t, server, "", io.EOF)
		server.Write([]byte("answer"))
		server.Close()
		wantRead(t, client, "answer", nil)
		wantRead(t, client, "", io.EOF)
	})
	t.Run("RST of the client", func(t *testing.T) {
		_, client, server := through(t, Link{Delay: ms}, Link{}, "127.0.0.1")
		Reset(client)
		wantRead(t, server, "", syscall.ECONNRESET)
	})
	t.Run("RST of the server", func(t *testing.T) {
		_, client, server := through(t, Link{}, Link{Delay: ms}, "127.0.0.1")
		Reset(server)
		wantRead(t, client, "", syscall.ECONNRESET)
	})
	t.Run("nobody listens", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		r := Between(t, Link{}, Link{}, l.Addr().String())
		c, err := net.Dial("tcp", r.Addr())
		if err != nil {
			return // the RST was quick
		}
		defer c.Close()
		wantRead(t, c, "", syscall.ECONNRESET)
	})
}

func TestRelaySwitches(t *testing.T) {
	t.Run("Reset", func(t *testing.T) {
		r, client, server := through(t, Link{}, Link{}, "127.0.0.1")
		r.Reset()
		wantRead(t, client, "", syscall.ECONNRESET)
		wantRead(t, server, "", syscall.ECONNRESET)
	})
	t.Run("Finish", func(t *testing.T) {
		r, client, server := through(t, Link{}, Link{}, "127.0.0.1")
		r.Finish()
		wantRead(t, client, "", io.EOF)
		wantRead(t, server, "", io.EOF)
		if _, err := client.Write([]byte("thrown away")); err != nil {
			t.Errorf("write after a FIN from the relay: %v", err)
		}
	})
	t.Run("Unplug", func(t *testing.T) {
		r, client, server := through(t, Link{Delay: ms}, Link{}, "127.0.0.1")
		client.Write([]byte("before "))
		wantRead(t, server, "before ", nil)
		r.Unplug()
		client.Write([]byte("after"))
		server.SetReadDeadline(time.Now().Add(50 * ms))
		_, err := server.Read(make([]byte, 1))
		wantTimeout(t, err)
		r.Plug()
		server.SetReadDeadline(time.Now().Add(10 * time.Second))
		wantRead(t, server, "after", nil)
	})
	t.Run("close while unplugged", func(t *testing.T) {
		r, client, _ := through(t, Link{}, Link{}, "127.0.0.1")
		r.Unplug()
		client.Write([]byte("x"))
		settle(place{})
	})
}

// sockets opens UDP sockets of this machine.
func sockets(t *testing.T, addrs ...string) []net.PacketConn {
	t.Helper()
	var all []net.PacketConn
	for _, a := range addrs {
		all = append(all, listenPacket(t, &kernel{}, a))
	}
	return all
}

func TestRelayDatagrams(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "::1"} {
		t.Run(addr, func(t *testing.T) {
			needLoopback(t, addr)
			c := sockets(t, at(addr), at(addr), at(addr))
			server, clients := c[0], c[1:]
			r := Between(t, Link{Loss: Every(4)}, Link{Duplicate: Every(3)}, server.LocalAddr().String())
			to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(r.Addr()))
			const each = 20
			for i := range each {
				for _, c := range clients {
					if _, err := c.WriteTo([]byte{byte(i)}, to); err != nil {
						t.Fatal(err)
					}
				}
			}
			const passed = 2 * each * 3 / 4
			from := map[string]int{}
			b := make([]byte, 10)
			for range passed {
				_, a, err := server.ReadFrom(b)
				if err != nil {
					t.Fatal(err)
				}
				from[a.String()]++
				server.WriteTo(b[:1], a)
			}
			if len(from) != 2 {
				t.Errorf("the server saw %d clients, want 2", len(from))
			}
			awaitCount(t, r.Up, func(c Counts) bool { return c.Offered == 2*each })
			awaitCount(t, r.Down, func(c Counts) bool { return c.Offered == passed })
			header := uint64(headerOf(netip.MustParseAddr(addr)) + udpHeader)
			if got, want := r.Up.Counts(), (Counts{Offered: 2 * each, Passed: passed, Lost: each / 2, Bytes: passed * (header + 1)}); got != want {
				t.Errorf("up   %+v\nwant %+v", got, want)
			}
			came := 0
			read := func() {
				for _, c := range clients {
					for {
						c.SetReadDeadline(time.Now().Add(200 * ms))
						_, a, err := c.ReadFrom(b)
						if err != nil {
							break
						}
						came++
						if a.String() != r.Addr() {
							t.Errorf("answer from %v, want %v", a, r.Addr())
						}
					}
				}
			}
			for end := time.Now().Add(5 * time.Second); came < passed*4/3 && time.Now().Before(end); {
				read()
			}
			read() // no more comes
			down := r.Down.Counts()
			if want := (Counts{Offered: passed, Passed: passed, Duplicated: passed / 3, Bytes: passed * 4 / 3 * (header + 1)}); down != want || came != int(down.Passed+down.Duplicated) {
				t.Errorf("%d came, down %+v\nwant %+v", came, down, want)
			}
		})
	}
}

func TestRelayDatagramsUnplugged(t *testing.T) {
	c := sockets(t, "127.0.0.1:0", "127.0.0.1:0")
	r := Between(t, Link{MTU: 100}, Link{}, c[0].LocalAddr().String())
	to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(r.Addr()))
	r.Unplug()
	c[1].WriteTo([]byte("lost"), to)
	awaitCount(t, r.Up, func(c Counts) bool { return c.Unplugged == 1 })
	r.Plug()
	c[1].WriteTo(make([]byte, 73), to)
	c[1].WriteTo([]byte("heard"), to)
	b := make([]byte, 10)
	if n, _, err := c[0].ReadFrom(b); err != nil || string(b[:n]) != "heard" {
		t.Errorf("read %q, %v", b[:n], err)
	}
	if got, want := r.Up.Counts(), (Counts{Offered: 3, Passed: 1, Bytes: 33, TooBig: 1, Unplugged: 1}); got != want {
		t.Errorf("counts %+v\nwant   %+v", got, want)
	}
}

func awaitCount(t *testing.T, l *Line, is func(Counts) bool) {
	t.Helper()
	for range 1000 {
		if is(l.Counts()) {
			return
		}
		time.Sleep(5 * ms)
	}
	t.Fatalf("after 5 s the counts are %+v", l.Counts())
}

// Ports that a protocol announces inside its own messages: the server sends from
// its port to the client's port + 256 before it has heard anything.
func TestRelayKeepsPorts(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs 127.0.0.2 and 127.0.0.3, which only Linux has from the start")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := sockets(t, "127.0.0.1:0", "127.0.0.1:0")
	server, client := c[0], c[1]
	ports := [2]uint16{}
	for i := range c {
		ports[i] = c[i].LocalAddr().(*net.UDPAddr).AddrPort().Port()
	}
	r := NewRelay(t, Link{}, Link{}, Route{Target: l.Addr().String(), Listen: "127.0.0.2:0", Source: "127.0.0.3"})
	if err := r.ForwardUDP(ports[0], ports[1]); err != nil {
		t.Fatal(err)
	}
	control, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	peer := accepted.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
	if peer.String() != "127.0.0.3" {
		t.Fatalf("the server sees %v, want 127.0.0.3", peer)
	}
	seen := net.UDPAddrFromAddrPort(netip.AddrPortFrom(peer, ports[1]))
	if _, err := server.WriteTo([]byte("first"), seen); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 10)
	n, from, err := client.ReadFrom(b)
	if want := fmt.Sprintf("127.0.0.2:%d", ports[0]); err != nil || string(b[:n]) != "first" || from.String() != want {
		t.Fatalf("the client read %q from %v, %v, want it from %s", b[:n], from, err, want)
	}
	if _, err := client.WriteTo([]byte("second"), from); err != nil {
		t.Fatal(err)
	}
	n, from, err = server.ReadFrom(b)
	if err != nil || string(b[:n]) != "second" || from.String() != seen.String() {
		t.Errorf("the server read %q from %v, %v, want it from %v", b[:n], from, err, seen)
	}
	if err := r.ForwardUDP(ports[0], 0); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), fmt.Sprint(ports[0])) {
		t.Errorf("the same port again: %v", err)
	}
}

func TestRelayErrors(t *testing.T) {
	for _, route := range []Route{
		{Target: "localhost"},
		{Target: "127.0.0.1:9", Listen: "nowhere"},
		{Target: "127.0.0.1:9", Source: "nowhere"},
		{Target: "127.0.0.1:9", Listen: "203.0.113.1:0"},
	} {
		if r, err := newRelay(Link{}, Link{}, route); err == nil {
			t.Errorf("%+v was taken", route)
			r.close()
		}
	}
}
