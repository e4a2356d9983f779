package rperf

import (
	"net"
	"testing"
	"time"

	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/rperf/wire"
)

// TestClosedPort: a server that is to send to a UDP port that nobody listens on
// reports the stream as failed as soon as the kernel tells, as a real one does.
func TestClosedPort(t *testing.T) {
	target, sink, _ := serveReal(t, &Server{})
	conn, err := net.Dial("tcp", target)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := sock.AddrPort(closed.LocalAddr()).Port()
	closed.Close()
	ctrl := newControl(conn)
	read := func() wire.Message {
		m, err := ctrl.read(t.Context(), "message", 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if err := ctrl.write(wire.Configuration{UDP: true, Reverse: true, Streams: 1, StreamPorts: []uint16{port}, Length: 1000,
		Bandwidth: 125_000, Duration: 60, SendInterval: 0.05}); err != nil {
		t.Fatal(err)
	}
	if m := read(); m.Kind() != wire.KindConnectReady {
		t.Fatalf("got %v", m)
	}
	if err := ctrl.write(wire.Begin{}); err != nil {
		t.Fatal(err)
	}
	for {
		if end, ok := read().(wire.StreamEnd); ok {
			if !end.Failed {
				t.Error("the stream ended well")
			}
			break
		}
	}
	for deadline := time.Now().Add(5 * time.Second); sink.Ends() == 0 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	if e := sink.End(t); result.CodeOf(e.Err) != result.CodePeerLost {
		t.Errorf("end %v (%s)", e.Err, result.CodeOf(e.Err))
	}
}
