package twamp

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"testing"

	"github.com/sonde-net/sonde/internal/testrace"
	"github.com/sonde-net/sonde/twamp/wire"
)

// TestIdleSessions holds that an idle session, with its control connection,
// costs no more than 8 KiB.
func TestIdleSessions(t *testing.T) {
	n := 10000
	if testrace.Enabled {
		n = 2000 // it knows no more than 8128 goroutines
	}
	s := &Server{ListenPacket: func(context.Context, string, string) (net.PacketConn, error) { return deaf{make(chan struct{})}, nil }}
	s.prepare()
	first := serverConnOf(s, severed(t), t) // its wait group stands for the server's
	first.conn.Close()
	ctx, cancel := context.WithCancel(t.Context())
	clients, servers := make([]net.Conn, n), make([]net.Conn, n)
	for i := range n {
		clients[i], servers[i] = net.Pipe()
	}
	before := memoryInUse()
	for i := range n {
		here, there := clients[i], servers[i]
		c := serverConnOf(s, there, t)
		c.peer, c.local = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 5000), netip.MustParseAddrPort("192.0.2.2:862")
		c.wg = first.wg
		first.wg.Go(func() { c.run(ctx) })
		k := &talk{control: newControl(here), t: t}
		k.hear(wire.ServerGreetingLen)
		k.say(wire.SetUpResponse{Mode: wire.Unauthenticated})
		k.hear(wire.ServerStartLen)
		if a := k.accepted(goodRequest); a.Accept != wire.OK {
			t.Fatalf("%+v", a)
		}
		k.say(wire.StartSessions{})
		k.hear(wire.StartAckLen)
	}
	each := (memoryInUse() - before) / uint64(n)
	t.Logf("%d octets for each of %d sessions", each, n)
	if each > 8<<10 && !testrace.Enabled {
		t.Errorf("%d octets for each session, more than 8 KiB", each)
	}
	for _, c := range clients {
		c.Close()
	}
	cancel()
	closePorts(s)
	first.wg.Wait()
}

// severed is one end of a pipe of which nobody has the other.
func severed(t *testing.T) net.Conn {
	t.Helper()
	a, b := net.Pipe()
	b.Close()
	return a
}

func memoryInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
