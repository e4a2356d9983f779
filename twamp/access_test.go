package twamp

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
)

// Who is not on the list of a server does not even get a greeting.
func TestControlAllowList(t *testing.T) {
	for allowed, want := range map[string]int{"127.0.0.0/8": 0, "192.0.2.0/24": result.ExitCode(&result.Error{Word: result.CodeRefused})} {
		addr := serve(t, &Server{Only: []netip.Prefix{netip.MustParsePrefix(allowed)}}, "127.0.0.1")
		c := &Client{Addr: addr, Probe: Probe{Count: 3, Interval: time.Millisecond}}
		if err := c.Run(t.Context(), nil); result.ExitCode(err) != want {
			t.Errorf("allowed %s: %v, exit %d", allowed, err, result.ExitCode(err))
		}
	}
}

// Both ends mark their control connection.
func TestControlDSCP(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := markControl(c, 46); err != nil {
		t.Fatal(err)
	}
	if tos, err := ipv4.NewConn(c).TOS(); err == nil && tos != 46<<2 { // not every system tells
		t.Errorf("class %#x", tos)
	}
	if err := (&Server{DSCP: 64}).Validate(); err == nil {
		t.Error("DSCP 64 of a server is allowed")
	}
	if err := (&Client{ControlDSCP: 64}).Run(t.Context(), nil); result.CodeOf(err) != result.CodeUsage {
		t.Errorf("DSCP 64 of a client: %v", err)
	}
}

// Senders take the first free port of the range.
func TestSourcePorts(t *testing.T) {
	taken, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	first := sock.AddrPort(taken.LocalAddr()).Port()
	last := min(65535, int(first)+50)
	p := Pinger{Addr: "127.0.0.1:9", Probe: Probe{Source: netip.MustParseAddrPort("127.0.0.1:0"), Ports: PortRange{first, uint16(last)}}}
	if first == 65535 {
		t.Skip("the system gave the last port")
	}
	s, err := p.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := s.port.localAddr().Port(); got <= first || int(got) > last {
		t.Errorf("port %d, %d is taken and %d the last", got, first, last)
	}
	s.port.close()
	p.Ports.Last = first
	if _, err := p.open(t.Context()); result.CodeOf(err) != result.CodeLocal {
		t.Errorf("no port free: %v", err)
	}
	for _, bad := range []Probe{{Ports: PortRange{5, 4}}, {Ports: PortRange{0, 4}}, {Ports: PortRange{4, 5}, Source: netip.MustParseAddrPort("127.0.0.1:7")}} {
		if bad.Validate() == nil {
			t.Errorf("%+v is allowed", bad.Ports)
		}
	}
}
