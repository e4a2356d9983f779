package iperf3

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/sonde-net/sonde/internal/testmemory"
	"github.com/sonde-net/sonde/iperf3/wire"
)

// A hostile client of one kind: what it says, and what it does then.
type hostile struct {
	name    string
	clients int
	most    int // bytes that each may cost
	said    string
	then    func(t *testing.T, ctrl net.Conn, cookie string) []io.Closer
}

// TestMemoryOfHostile: a client that has not proved itself, or that opens many
// streams (128 are the most one way) and sends nothing or a little, or reads nothing, costs
// the server less than 1 MB. Both ends are in this process, so the figures are too
// high rather than too low.
func TestMemoryOfHostile(t *testing.T) {
	streams := testmemory.Streams(wire.MaxParallel)
	block := func(text string) string {
		return string(wire.AppendBlock(nil, []byte(strings.Replace(text, "STREAMS", strconv.Itoa(streams), 1))))
	}
	for _, h := range []hostile{ // what costs little first
		{name: "says nothing", clients: 200, most: 16 << 10},
		{name: "half a block", clients: 100, most: 128 << 10, said: "\x00\x00\x1f\x00{"},
		{name: "no streams come", clients: 4, most: 128 << 10, said: block(`{"tcp":true,"parallel":STREAMS,"time":60}`)},
		{name: "TCP, silent", clients: 4, most: 1 << 20, said: block(`{"tcp":true,"parallel":STREAMS,"time":60}`), then: open(streams, "tcp", "")},
		{name: "TCP, a little", clients: 4, most: 1 << 20, said: block(`{"tcp":true,"parallel":STREAMS,"time":60}`), then: open(streams, "tcp", "data")},
		{name: "TCP, unread", clients: 4, most: 1 << 20, said: block(`{"tcp":true,"parallel":STREAMS,"time":60,"reverse":true,"len":1048576,"window":4096}`), then: open(streams, "tcp", "")},
		{name: "UDP, silent", clients: 4, most: 1 << 20, said: block(`{"udp":true,"parallel":STREAMS,"time":60,"len":1000,"bandwidth":1000}`), then: open(streams, "udp", "")},
		{name: "UDP, a little", clients: 4, most: 1 << 20, said: block(`{"udp":true,"parallel":STREAMS,"time":60,"len":1000,"bandwidth":1000}`), then: open(streams, "udp", strings.Repeat("\x00\x00\x00\x01", 8))},
		{name: "UDP, slow", clients: 4, most: 1 << 20, said: block(`{"udp":true,"parallel":STREAMS,"time":60,"len":65507,"bandwidth":1000,"reverse":true}`), then: open(streams, "udp", "")},
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
		cookie := fmt.Sprintf("%036d\x00", n)
		if _, err := io.WriteString(ctrl, cookie+h.said); err != nil {
			t.Fatal(err)
		}
		if h.then == nil {
			return nil
		}
		return h.then(t, ctrl, cookie)
	})
	t.Logf("%d bytes for each", each)
	if each > h.most {
		t.Errorf("%d bytes for each of %d clients, want at most %d", each, h.clients, h.most)
	}
}

// open opens so many streams over network and sends a little on each.
func open(streams int, network, little string) func(t *testing.T, ctrl net.Conn, cookie string) []io.Closer {
	return func(t *testing.T, ctrl net.Conn, cookie string) (all []io.Closer) {
		var states [2]byte // ParamExchange, CreateStreams
		if _, err := io.ReadFull(ctrl, states[:]); err != nil || states[1] != wire.CreateStreams.Byte() {
			t.Fatal(states, err)
		}
		for range streams {
			c, err := net.Dial(network, ctrl.RemoteAddr().String())
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, c)
			hello := cookie
			if network == "udp" {
				b := wire.Hello
				hello = string(b[:])
			}
			if _, err := io.WriteString(c, hello); err != nil {
				t.Fatal(err)
			}
			if network == "udp" {
				if _, err := c.Read(make([]byte, wire.HelloLen)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := io.ReadFull(ctrl, states[:]); err != nil || states[1] != wire.TestRunning.Byte() {
			t.Fatal(states, err)
		}
		for _, c := range all {
			if _, err := io.WriteString(c.(net.Conn), little); err != nil {
				t.Fatal(err)
			}
		}
		return all
	}
}
