package diagnose_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/sonde-net/sonde/app/diagnose"
	"github.com/sonde-net/sonde/internal/stream"
	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/result"
	"golang.org/x/sys/unix"
)

// TestRealPathLoss: the kernel's TCP over a wire that loses packets.
func TestRealPathLoss(t *testing.T) {
	t.Parallel()
	here, there := testnet.NewNamespace(t), testnet.NewNamespace(t)
	testnet.Wire(t, testnet.Cable{Single: true},
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
	there.Drop(t, testnet.Match{Protocol: "tcp", ToPort: 5000, Every: 50})
	s := &stream.TCPSender{Conn: bulk(t, near), Block: make([]byte, 32<<10)}
	r := &stream.TCPReceiver{Conn: bulk(t, far)}
	f := flow{begin: result.Begin{Transport: result.TCP, Direction: result.Up}, run: []func(context.Context) error{s.Run, r.Run}, sent: s.View}
	end := f.measure(t, enough)
	check(t, end, diagnose.PathLoss)
}

// cubic has c slow down for loss, whatever the system's default.
func cubic(t *testing.T, c net.Conn) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "cubic")
	})
	if err := errors.Join(err, failed); err != nil {
		t.Skipf("the kernel has no cubic: %v", err)
	}
}
