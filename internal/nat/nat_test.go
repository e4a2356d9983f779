package nat

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v3"
	"github.com/sonde-net/sonde/internal/testnet"
)

func addrs(all ...string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range all {
		out = append(out, netip.MustParseAddrPort(s))
	}
	return out
}

var four = addrs("192.0.2.10:3478", "192.0.2.10:3479", "192.0.2.11:3478", "192.0.2.11:3479")

func TestResponder(t *testing.T) {
	r := &Responder{Sockets: four}
	from := netip.MustParseAddrPort("203.0.113.5:6000")
	for _, tt := range []struct {
		change byte
		via    int
		want   int
	}{
		{0, 0, 0}, {changePort, 0, 1}, {changeAddress, 0, 2}, {changeAddress | changePort, 0, 3},
		{changeAddress | changePort, 3, 0}, {changePort, 2, 3},
	} {
		req, err := request([12]byte{1}, tt.change)
		if err != nil {
			t.Fatal(err)
		}
		a, ok := r.Answer(req, tt.via, from, false)
		if !ok || a.Via != tt.want || len(a.Message) > len(req) {
			t.Errorf("change %d at %d: %+v, %v", tt.change, tt.via, a, ok)
			continue
		}
		m, err := parse(a.Message)
		if err != nil {
			t.Fatal(err)
		}
		if seen, ok := reflexiveOf(m); !ok || seen != from {
			t.Errorf("seen %v", seen)
		}
		if other, ok := otherOf(m); !ok || other != four[3-tt.via] {
			t.Errorf("change %d at %d: other address %v", tt.change, tt.via, other)
		}
	}
	one := &Responder{Sockets: four[:2]}
	req, _ := request([12]byte{1}, changeAddress)
	if a, ok := one.Answer(req, 0, from, false); ok {
		t.Errorf("a server with one address answers from another: %+v", a)
	}
}

// The answer to a short CHANGE-REQUEST, whose sender may be forged, is short.
func TestResponderDoesNotAmplify(t *testing.T) {
	m := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	m.Add(stun.AttrChangeRequest, []byte{0, 0, 0, changePort})
	m.Encode()
	r := &Responder{Sockets: four}
	a, ok := r.Answer(m.Raw, 0, netip.MustParseAddrPort("203.0.113.5:6000"), true)
	if !ok || len(a.Message) > len(m.Raw) {
		t.Errorf("%d bytes for %d", len(a.Message), len(m.Raw))
	}
}

// What is no Binding request gets no answer, a response least of all: two
// servers must not answer each other.
func TestResponderIgnores(t *testing.T) {
	r := &Responder{Sockets: four}
	from := netip.MustParseAddrPort("203.0.113.5:6000")
	req, _ := request([12]byte{1}, 0)
	a, _ := r.Answer(req, 0, from, false)
	for _, b := range [][]byte{nil, []byte("hello"), a.Message, req[:19], req[:len(req)-1]} {
		if got, ok := r.Answer(b, 0, from, true); ok {
			t.Errorf("% x: %+v", b, got)
		}
	}
}

// The vectors of RFC 5769, sections 2.2 and 2.3, without their credentials.
func TestReflexive(t *testing.T) {
	for _, want := range addrs("192.0.2.1:32853", "[2001:db8:1234:5678:11:2233:4455:6677]:32853") {
		m := stun.MustBuild(stun.TransactionID, stun.BindingSuccess, &stun.XORMappedAddress{IP: want.Addr().AsSlice(), Port: int(want.Port())})
		got, err := parse(m.Raw)
		if err != nil {
			t.Fatal(err)
		}
		if seen, ok := reflexiveOf(got); !ok || seen != want {
			t.Errorf("%v, want %v", seen, want)
		}
	}
}

func TestJudge(t *testing.T) {
	seen := addrs("203.0.113.5:1", "203.0.113.5:2", "203.0.113.5:3")
	at := func(server, seenAs int) Reflection { return Reflection{four[server], seen[seenAs]} }
	for _, tt := range []struct {
		all  []Reflection
		want Behaviour
	}{
		{nil, Unknown},
		{[]Reflection{at(0, 0)}, Unknown},
		{[]Reflection{at(0, 0), at(2, 0), at(3, 0)}, EndpointIndependent},
		{[]Reflection{at(0, 0), at(2, 1), at(3, 1)}, AddressDependent},
		{[]Reflection{at(0, 0), at(2, 1), at(3, 2)}, AddressPortDependent},
		{[]Reflection{at(0, 0), at(1, 1)}, AddressPortDependent},
	} {
		if got := judge(tt.all); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.all, got, tt.want)
		}
	}
}

func TestStep(t *testing.T) {
	for _, tt := range []struct {
		ports []uint16
		step  int
		ok    bool
	}{
		{[]uint16{1000, 1001, 1002}, 1, true},
		{[]uint16{16540, 16796, 17052}, 256, true},
		{[]uint16{65535, 1, 3}, 2, true},
		{[]uint16{1000, 998, 996}, -2, true},
		{[]uint16{1000, 1000, 1000}, 0, false},
		{[]uint16{1000, 1002}, 0, false},
		{[]uint16{1000, 5000, 9000}, 0, false},
		{[]uint16{1000, 1001, 1003}, 1, true},
		{[]uint16{1000, 1512, 1768}, 256, true},
		{[]uint16{1000, 1017, 1018}, 0, false},
		{[]uint16{1000, 1001, 1000}, 0, false},
	} {
		if step, ok := stepOf(tt.ports); step != tt.step || ok != tt.ok {
			t.Errorf("%v: %d, %v", tt.ports, step, ok)
		}
	}
	step := 256
	r := Report{Step: &step}
	for _, at := range addrs("203.0.113.5:64000", "203.0.113.5:64512", "203.0.113.5:64768") {
		r.Reflections = append(r.Reflections, Reflection{Seen: at})
	}
	// 64256 was skipped; after 65280 the numbers start again, below 1024 none is mapped.
	if got, want := r.Predict(0, 3), []uint16{64256, 65024, 65280}; !slices.Equal(got, want) {
		t.Errorf("Predict: %v, want %v", got, want)
	}
	if got := r.Predict(0, 5); !slices.Equal(got[3:], []uint16{1024, 1280}) {
		t.Errorf("Predict over the end: %v", got)
	}
	if got, want := r.Predict(2, 4), []uint16{63744, 63488, 64256, 65024}; !slices.Equal(got, want) {
		t.Errorf("Predict around: %v, want %v", got, want)
	}
}

// serve answers on four sockets of a host until they are closed.
func serve(t *testing.T, listen func(context.Context, string, string) (net.PacketConn, error), sockets []netip.AddrPort) (stop func()) {
	t.Helper()
	r := &Responder{Sockets: sockets}
	var conns []net.PacketConn
	for _, at := range sockets {
		c, err := listen(t.Context(), "udp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	over := make(chan struct{}, len(conns))
	for i, c := range conns {
		go func() {
			defer func() { over <- struct{}{} }()
			b := make([]byte, 1500)
			for {
				n, from, err := c.ReadFrom(b)
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err != nil {
					continue
				}
				if a, ok := r.Answer(b[:n], i, from.(*net.UDPAddr).AddrPort(), true); ok {
					conns[a.Via].WriteTo(a.Message, net.UDPAddrFromAddrPort(a.To))
				}
			}
		}()
	}
	return func() {
		for _, c := range conns {
			c.Close()
		}
		for range conns {
			<-over
		}
	}
}

// discover runs all tests from two sockets.
func discover(t *testing.T, listen func(context.Context, string, string) (net.PacketConn, error), own string, server netip.AddrPort, mapped func(Report)) Report {
	t.Helper()
	var sockets [2]*Exchange
	for i := range sockets {
		c, err := listen(t.Context(), "udp", netip.AddrPortFrom(netip.MustParseAddr(own), 0).String())
		if err != nil {
			t.Fatal(err)
		}
		var over <-chan struct{}
		sockets[i], over = Listen(c)
		defer func() { c.Close(); <-over }()
	}
	r, err := Discover(t.Context(), sockets[0], sockets[1], []netip.Addr{netip.MustParseAddr(own)}, Server{At: server}, mapped)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestNoNAT(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network testnet.Network
		link := testnet.Link{Delay: 5 * time.Millisecond}
		server := network.Host(link, link, "192.0.2.10", "192.0.2.11")
		host := network.Host(link, link, "192.0.2.99")
		stop := serve(t, server.ListenPacket, four)
		defer stop()
		start, early := time.Now(), Report{}
		r := discover(t, host.ListenPacket, "192.0.2.99", four[0], func(r Report) {
			early = r
			if took := time.Since(start); took != 60*time.Millisecond {
				t.Errorf("the mapping is told after %v, want three round trips", took)
			}
		})
		if early.Mapping != NoNAT || early.Filtering != Unknown || len(early.Reflections) != 3 {
			t.Errorf("told of the mapping: %+v", early)
		}
		if r.Mapping != NoNAT || r.Filtering != EndpointIndependent || !*r.PortKept || *r.RTT != 20*time.Millisecond || r.Old() != "Open Internet" || len(r.Remarks) != 0 {
			t.Errorf("%+v", r)
		}
	})
}

// A lossy path changes no finding; a server that is not there is one.
func TestLossAndSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network testnet.Network
		server := network.Host(testnet.Link{Loss: testnet.At(0, 2, 4)}, testnet.Link{}, "192.0.2.10", "192.0.2.11")
		host := network.Host(testnet.Link{}, testnet.Link{}, "192.0.2.99")
		stop := serve(t, server.ListenPacket, four)
		if r := discover(t, host.ListenPacket, "192.0.2.99", four[0], nil); r.Mapping != NoNAT || r.Filtering != EndpointIndependent {
			t.Errorf("%+v", r)
		}
		stop()
		start := time.Now()
		if r := discover(t, host.ListenPacket, "192.0.2.99", four[0], nil); r.Mapping != Blocked || r.Reflexive.IsValid() || time.Since(start) > 2*time.Second {
			t.Errorf("after %v: %+v", time.Since(start), r)
		}
	})
}

// FuzzAnswer: no datagram makes the responder fail, or answer with more than it
// got when it answers from elsewhere.
func FuzzAnswer(f *testing.F) {
	for _, change := range []byte{0, changePort, changeAddress | changePort} {
		b, err := request([12]byte{1}, change)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	from := netip.MustParseAddrPort("203.0.113.5:6000")
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &Responder{Sockets: four}
		if a, ok := r.Answer(b, 0, from, false); ok && len(a.Message) > len(b) {
			t.Fatalf("%d bytes for %d", len(a.Message), len(b))
		}
		if m, err := parse(b); err == nil {
			reflexiveOf(m)
			otherOf(m)
		}
	})
}
