package rperf

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/testmemory"
	"github.com/sonde-net/sonde/rperf/wire"
)

// A hostile client of one kind: what it says, and what it does when the server
// has answered.
type hostile struct {
	name    string
	clients int
	most    int // bytes that each may cost
	said    string
	then    func(t *testing.T, ctrl net.Conn) []io.Closer
}

// TestMemoryOfHostile: a client that has not proved itself, or that opens many
// streams and sends nothing or a little, costs the server less than 1 MB. Both
// ends are in this process, so the figures are too high rather than too low.
func TestMemoryOfHostile(t *testing.T) {
	const id = `"test_id":[7]`
	// Clients ask for all the streams that the protocol knows, where streams pause.
	streams := testmemory.Streams(wire.MaxStreams)
	if runtime.GOOS != "linux" {
		streams = 64
	}
	order := func(family string) string {
		return frame(fmt.Sprintf(`{"kind":"configuration","family":%q,"receive_buffer":0,"length":1024,"streams":%d,%s}`, family, streams, id))
	}
	reverse := func(family string, length, bandwidth int, port uint16, more string) string {
		ports := strings.Repeat(fmt.Sprint(port, ","), streams-1) + fmt.Sprint(port)
		return frame(fmt.Sprintf(`{"kind":"configuration","family":%q,"role":"upload","length":%d,"send_buffer":0,"bandwidth":%d,"duration":60,"send_interval":1,"no_delay":false,"stream_ports":[%s],%s%s}`,
			family, length, bandwidth, ports, id, more))
	}
	const dial = `,"sonde":{"version":3,"dial":true}` // the streams are the client's to open
	packets, tcp := deaf(t)
	begin := frame(`{"kind":"begin"}`)
	for _, h := range []hostile{ // what costs little first
		{name: "says nothing", clients: 200, most: 16 << 10},
		{name: "half a length", clients: 200, most: 16 << 10, said: "\xff"},
		{name: "half a message", clients: 100, most: 128 << 10, said: "\xff\xff{"},
		{name: "TCP, no begin", clients: 4, most: 1 << 20, said: order("tcp")},
		{name: "TCP, reverse, not begun", clients: 4, most: 1 << 20, said: reverse("tcp", 1024, fastest, tcp, dial) + begin},
		{name: "TCP, begun, silent", clients: 4, most: 1 << 20, said: order("tcp") + begin},
		{name: "UDP, no begin", clients: 4, most: 1 << 20, said: order("udp")},
		{name: "UDP, reverse, not begun", clients: 4, most: 1 << 20, said: reverse("udp", 1024, 50, packets, dial) + begin},
		{name: "UDP, reverse, slow", clients: 4, most: 1 << 20, said: reverse("udp", 1024, 50, packets, "") + begin},
		{name: "UDP, begun, silent", clients: 4, most: 1 << 20, said: order("udp") + begin},
		{name: "UDP, reverse, large", clients: 4, most: 1 << 20, said: reverse("udp", sock.MaxDatagram, 1000, packets, "") + begin},
		{name: "TCP, begun, joined", clients: 4, most: 1 << 20, said: order("tcp") + begin, then: joinTCP},
		{name: "TCP, reverse, unread", clients: 4, most: 1 << 20, said: reverse("tcp", 1<<20, fastest, tcp, "") + begin},
		// From 1025 datagrams on the distribution of the test's delays would be in it.
		{name: "UDP, begun, trickles", clients: 4, most: 1 << 20, said: order("udp") + begin, then: trickleUDP},
	} {
		t.Run(h.name, func(t *testing.T) { h.measure(t) })
	}
}

// measure holds what one of the clients costs against what it may.
func (h hostile) measure(t *testing.T) {
	each := testmemory.PerClient(t, (&Server{StreamsPerAddress: 4096}).Serve, h.clients, func(n int, ctrl net.Conn) []io.Closer {
		if h.said == "" {
			return nil
		}
		if _, err := io.WriteString(ctrl, h.said); err != nil {
			t.Fatal(err)
		}
		if h.then == nil {
			return nil
		}
		return h.then(t, ctrl)
	})
	t.Logf("%d bytes for each", each)
	if each > h.most {
		t.Errorf("%d bytes for each of %d clients, want at most %d", each, h.clients, h.most)
	}
}

// deaf is a port for datagrams and one for connections behind which nobody reads.
func deaf(t *testing.T) (udp, tcp uint16) {
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(); l.Close() })
	return sock.AddrPort(p.LocalAddr()).Port(), sock.AddrPort(l.Addr()).Port()
}

// portsFrom reads the answer to an order.
func portsFrom(t *testing.T, ctrl net.Conn) []uint16 {
	var prefix [wire.PrefixLen]byte
	if _, err := io.ReadFull(ctrl, prefix[:]); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint16(prefix[:]))
	if _, err := io.ReadFull(ctrl, b); err != nil {
		t.Fatal(err)
	}
	m, err := wire.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return m.(wire.Connect).StreamPorts
}

// testID is what the orders of these tests name.
var testID = wire.TestID{7}

// trickleUDP sends one datagram on each stream.
func trickleUDP(t *testing.T, ctrl net.Conn) []io.Closer {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	data := append(append([]byte(nil), testID[:]...), make([]byte, 100)...)
	for _, p := range portsFrom(t, ctrl) {
		if _, err := c.WriteTo(data, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(p)}); err != nil {
			t.Fatal(err)
		}
	}
	return []io.Closer{c}
}

// joinTCP opens all streams and sends a little on each.
func joinTCP(t *testing.T, ctrl net.Conn) (all []io.Closer) {
	for _, p := range portsFrom(t, ctrl) {
		c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(int(p)))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
		if _, err := io.WriteString(c, string(testID[:])+"data"); err != nil {
			t.Fatal(err)
		}
	}
	return all
}
