package diagnose_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/sonde-net/sonde/app/diagnose"
	"github.com/sonde-net/sonde/internal/stream"
	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/result"
)

// TestRealSendBuffer: the kernel's TCP over a path so long that a small send
// buffer, fixed by hand, cannot hold what would fill it.
func TestRealSendBuffer(t *testing.T) {
	t.Parallel()
	here, there := testnet.NewNamespace(t), testnet.NewNamespace(t)
	long := testnet.Link{Delay: 20 * time.Millisecond}
	testnet.NewPath(t, testnet.Cable{}, long, long,
		testnet.End{In: here, Name: "eth0", Addresses: []string{"192.0.2.1/24"}},
		testnet.End{In: there, Name: "eth0", Addresses: []string{"192.0.2.2/24"}})
	l, err := there.Listen(t.Context(), "tcp", "192.0.2.2:5000")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := here.DialContext(t.Context(), "tcp", "192.0.2.2:5000")
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	cubic(t, near)
	if err := near.(*net.TCPConn).SetWriteBuffer(16 << 10); err != nil {
		t.Fatal(err)
	}
	s := &stream.TCPSender{Conn: bulk(t, near), Block: make([]byte, 32<<10)}
	r := &stream.TCPReceiver{Conn: bulk(t, far)}
	f := flow{begin: result.Begin{Transport: result.TCP, Direction: result.Up}, run: []func(context.Context) error{s.Run, r.Run}, sent: s.View}
	end := f.measure(t, enough)
	check(t, end, diagnose.SendBuffer)
}
