package btest

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/sonde-net/sonde/btest/wire"
)

// awaitReceived waits until the tests of v have received so many bytes in all.
func awaitReceived(t *testing.T, v *live, want uint64) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var got uint64
		for _, one := range v.Sessions() {
			got += one.Received
		}
		if got >= want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d bytes were received, want %d", got, want)
		}
	}
}

// TestStrangers: in a UDP test nothing counts but what comes from the client's
// address, and nothing goes anywhere else.
func TestStrangers(t *testing.T) {
	t.Parallel()
	needLoopbacks(t)
	server := serve(t, "127.0.0.1", &Server{UDPPorts: udpPorts(t, 1, 1)})
	h := from(t, "127.0.0.2", server.addr)
	h.say("00 03 01 00 dc05 0000 40420f00 40420f00") // UDP both, 1 Mbit/s
	h.expect("01 00 00 00")
	to := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(h.port())}
	datagram := func(ip string, port int) *net.UDPConn {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(ip), Port: port})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	stranger := datagram("127.0.0.3", to.Port+wire.ClientPort)
	client := datagram("127.0.0.2", to.Port+wire.ClientPort)
	for n := range 100 { // the stranger comes first
		b := make([]byte, 1472)
		wire.PutSequence(b, uint32(n+1))
		if _, err := stranger.WriteTo(b, to); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 10 {
		b := bytes.Repeat([]byte{0}, 1000)
		wire.PutSequence(b, uint32(n+1))
		if _, err := client.WriteTo(b, to); err != nil {
			t.Fatal(err)
		}
	}
	client.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, _, err := client.ReadFrom(make([]byte, 2000)); err != nil {
		t.Errorf("nothing came to the client: %v", err)
	}
	awaitReceived(t, server, 10_000)
	time.Sleep(300 * time.Millisecond) // for what goes to the stranger
	stranger.SetReadDeadline(time.Now())
	if n, _, err := stranger.ReadFrom(make([]byte, 2000)); err == nil {
		t.Errorf("the server sent %d bytes to a stranger", n)
	}
	h.Close()
	run := server.events.await(t, 1)
	up := run.check(t).Up.Received
	if up.Bytes != 10_000 || *up.Packets != 10 || *up.Lost != 0 || *up.Duplicate != 0 {
		t.Errorf("received %d bytes in %d packets, %d lost, %d duplicates", up.Bytes, *up.Packets, *up.Lost, *up.Duplicate)
	}
}

// TestTwoFromOneAddress: tests of several connections from one address, at the
// same time, do not mix.
func TestTwoFromOneAddress(t *testing.T) {
	t.Parallel()
	server := serve(t, "127.0.0.1", &Server{})
	const n = 4
	var firsts []*hand
	var tokens []wire.Token
	write := func(h *hand, i int) { h.Write(make([]byte, 1000*(i+1))) }
	for i := range n {
		h := greet(t, server.addr)
		h.say("01 01 01 03 0080 0000 00000000 00000000")
		firsts, tokens = append(firsts, h), append(tokens, h.token())
		write(h, i) // at once: silence ends a test, and on a slow machine joining takes its time
	}
	for range 2 {
		for i, token := range tokens {
			write(join(t, server.addr, token), i)
		}
	}
	awaitReceived(t, server, 3000*(1+2+3+4))
	for _, h := range firsts {
		h.Close()
	}
	seen := map[uint64]bool{}
	for i := range n {
		run := server.events.await(t, i+1)
		end := run.check(t)
		seen[end.Up.Received.Bytes] = true
	}
	for i := range uint64(n) {
		if !seen[3000*(i+1)] {
			t.Errorf("no test of %d bytes among %v", 3000*(i+1), seen)
		}
	}
}
