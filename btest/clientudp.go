package btest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
)

// runUDP learns the server's port, opens ours above it and runs the test.
func (c *clientRun) runUDP(ctx context.Context, t *test, ctrl *control, release func()) (result.End, error) {
	defer release()
	port, err := readPort(ctrl)
	var conns []sock.PacketConn
	if err == nil {
		conns, err = c.openPorts(ctx, t, sock.AddrPort(ctrl.conn.LocalAddr()).Addr(), port)
	}
	if err != nil {
		ctrl.conn.Close()
		return result.End{}, err
	}
	release()
	to := netip.AddrPortFrom(sock.AddrPort(ctrl.conn.RemoteAddr()).Addr(), port)
	return newUDPPhase(t, ctrl.conn, conns, to, len(conns)).run(), nil
}

// openPorts opens our UDP ports, which the server's port decides.
func (c *clientRun) openPorts(ctx context.Context, t *test, local netip.Addr, port uint16) ([]sock.PacketConn, error) {
	count := max(1, c.Connections)
	first := int(port) + wire.ClientPort
	if last := first + count - 1; last > 65535 {
		return nil, &result.Error{Word: result.CodeProtocol, Text: fmt.Sprintf("the server announced UDP port %d, which leaves no room for our %d ports from %d on", port, count, first),
			Hint: "ask for fewer connections"}
	}
	var conns []sock.PacketConn
	for k := range count {
		at := netip.AddrPortFrom(local, uint16(first+k))
		conn, err := t.listenPackets(ctx, c.ListenPacket, at)
		if err != nil {
			for _, open := range conns {
				open.Close()
			}
			return nil, portTaken(at, err)
		}
		conns = append(conns, conn)
	}
	return conns, nil
}

// portTaken says that the one port that the protocol leaves us is not free.
func portTaken(at netip.AddrPort, err error) error {
	hint := "the server announced it and the protocol has no way to ask for another"
	if errors.Is(err, syscall.EADDRINUSE) {
		hint = "another program, or another test, holds it; " + hint
	}
	return &result.Error{Word: result.CodeLocal, Text: fmt.Sprintf("our UDP port %v", at), Err: err, Hint: hint}
}

// doubleTime is how long the rest of a doubled "go" may take. A server that
// really has port 256 sends nothing before its first status, after a second.
const doubleTime = 500 * time.Millisecond

// readPort reads the announcement of the server's UDP port. btest-opensource
// says "go" twice after an MD5 login: then the first two bytes of the second
// one read as port 256 and its rest lies before the true port.
func readPort(ctrl *control) (uint16, error) {
	b, err := ctrl.read("UDP port", wire.PortLen)
	if err != nil {
		return 0, err
	}
	port, err := wire.ParsePort(b)
	if err != nil {
		return 0, protocolError(err, "")
	}
	if port != 0x0100 {
		return port, nil
	}
	defer func(usual time.Duration) { ctrl.time = usual }(ctrl.time)
	ctrl.time = doubleTime
	if b, err = ctrl.read("UDP port", 2+wire.PortLen); err != nil || b[0] != 0 || b[1] != 0 {
		return port, nil
	}
	if second, err := wire.ParsePort(b[2:]); err == nil && second >= 1024 {
		return second, nil
	}
	return port, nil
}
