package testnet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

// neighbours are two namespaces on one wire.
func neighbours(t *testing.T, cable Cable) (a, b *Namespace) {
	t.Helper()
	a, b = NewNamespace(t), NewNamespace(t)
	Wire(t, cable,
		End{a, "eth0", []string{"192.0.2.1/24", "2001:db8::1/64"}},
		End{b, "eth0", []string{"192.0.2.2/24", "2001:db8::2/64"}})
	return a, b
}

// home is a client behind a router, and a server outside.
func home(t *testing.T) (client, router, server *Namespace) {
	t.Helper()
	client, router, server = NewNamespace(t), NewNamespace(t), NewNamespace(t)
	Wire(t, Cable{}, End{client, "eth0", []string{"192.168.1.2/24", "2001:db8:1::2/64"}}, End{router, "lan", []string{"192.168.1.1/24", "2001:db8:1::1/64"}})
	Wire(t, Cable{}, End{router, "wan", []string{"198.51.100.1/24", "2001:db8:2::1/64"}}, End{server, "eth0", []string{"198.51.100.2/24", "2001:db8:2::2/64"}})
	client.Route(t, "default", "192.168.1.1")
	client.Route(t, "default", "2001:db8:1::1")
	server.Route(t, "2001:db8:1::/64", "2001:db8:2::1")
	router.Forward(t)
	return client, router, server
}

func TestNamespaceConformance(t *testing.T) {
	NeedNamespaces(t)
	for _, family := range []struct{ name, from, to string }{
		{"4", "192.0.2.1", "192.0.2.2"},
		{"6", "2001:db8::1", "2001:db8::2"},
	} {
		t.Run(family.name, func(t *testing.T) {
			client, server := neighbours(t, Cable{})
			for _, tt := range conformance {
				t.Run(tt.name, func(t *testing.T) { tt.run(t, place{client, server, family.from, family.to}) })
			}
		})
	}
}

// names are the interfaces that the thread sees.
func names(t *testing.T) []string {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var ns []string
	for _, i := range all {
		ns = append(ns, i.Name)
	}
	slices.Sort(ns)
	return ns
}

func current(t *testing.T) string {
	t.Helper()
	ns, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	return ns.UniqueId()
}

func TestDo(t *testing.T) {
	a, b := neighbours(t, Cable{MTU: 1400})
	outside, homeID := names(t), current(t)
	a.Do(func() {
		if got := names(t); !slices.Equal(got, []string{"eth0", "lo"}) {
			t.Errorf("inside there are %q", got)
		}
		inA := current(t)
		b.Do(func() {
			if current(t) == inA {
				t.Error("two namespaces are one")
			}
			if i, err := net.InterfaceByName("eth0"); err != nil || i.MTU != 1400 {
				t.Errorf("eth0: %+v, %v, want an MTU of 1400", i, err)
			}
		})
		if current(t) != inA {
			t.Error("a Do within a Do did not come back")
		}
	})
	if got := names(t); !slices.Equal(got, outside) {
		t.Errorf("outside there were %q and are %q", outside, got)
	}
	func() {
		defer func() { recover() }()
		a.Do(func() { panic("left in the middle") })
	}()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { a.Do(func() { b.Do(func() {}) }) })
	}
	wg.Wait()
	for range 50 {
		wg.Go(func() {
			if got := current(t); got != homeID {
				t.Errorf("a thread was left in %s", got)
			}
		})
	}
	wg.Wait()
}

// What Do starts ends with the test, and leaves no descriptors.
func TestNamespacesEnd(t *testing.T) {
	NeedNamespaces(t)
	open := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	t.Run("first", func(t *testing.T) { neighbours(t, Cable{}) }) // opens what stays open
	before := open()
	t.Run("second", func(t *testing.T) { neighbours(t, Cable{}) })
	if after := open(); after != before {
		t.Errorf("%d descriptors were open, %d are", before, after)
	}
}

// Sockets stay where they were opened, whatever thread uses them.
func TestSocketsStay(t *testing.T) {
	a, b := neighbours(t, Cable{})
	l, err := b.Listen(t.Context(), "tcp", ":2000")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		io.Copy(c, c)
		c.Close()
	}()
	c, err := a.DialContext(t.Context(), "tcp", "192.0.2.2:2000")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	done := make(chan bool)
	go func() {
		defer close(done)
		c.Write([]byte("hello"))
		wantRead(t, c, "hello", nil)
	}()
	<-done
}

// A child is told by the environment that it is one.
const childKey = "SONDE_TESTNET_CHILD"

func TestChild(t *testing.T) {
	if os.Getenv(childKey) == "" {
		t.Skip("is the process that TestStart starts")
	}
	fmt.Println("interfaces:", strings.Join(names(t), " "))
	if os.Getenv(childKey) == "stay" {
		time.Sleep(time.Hour)
	}
}

func child(t *testing.T, what string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestChild$", "-test.v")
	cmd.Env = append(os.Environ(), childKey+"="+what)
	return cmd
}

func TestStart(t *testing.T) {
	a, _ := neighbours(t, Cable{})
	var out bytes.Buffer
	cmd := child(t, "once")
	cmd.Stdout = &out
	a.Start(t, cmd)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, out.Bytes())
	}
	if !strings.Contains(out.String(), "interfaces: eth0 lo\n") {
		t.Errorf("the process printed %q", out.String())
	}
	var stays *exec.Cmd
	t.Run("killed at the end", func(t *testing.T) {
		stays = child(t, "stay")
		a.Start(t, stays)
	})
	if stays.ProcessState == nil || stays.ProcessState.Success() {
		t.Errorf("after the test the process is %v", stays.ProcessState)
	}
}

func TestRouter(t *testing.T) {
	client, router, server := home(t)
	for _, tt := range []struct {
		name      string
		addr      string
		nat       *Masquerade
		seen      string // address that the server sees
		portStays bool
	}{
		{"IPv6 is routed", "[2001:db8:2::2]:5000", nil, "2001:db8:1::2", true},
		{"masquerade", "198.51.100.2:5000", &Masquerade{Out: "wan", Persistent: true}, "198.51.100.1", true},
		{"fully random", "198.51.100.2:5000", &Masquerade{Out: "wan", FullyRandom: true}, "198.51.100.1", false},
		{"random", "198.51.100.2:5000", &Masquerade{Out: "wan", Random: true}, "198.51.100.1", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, router, server := client, router, server
			if tt.nat != nil {
				client, router, server = home(t)
				router.Masquerade(t, *tt.nat)
			}
			in, out := listenPacket(t, server, tt.addr), listenPacket(t, client, ":40000")
			to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(tt.addr))
			if _, err := out.WriteTo([]byte("ping"), to); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 10)
			_, from, err := in.ReadFrom(b)
			if err != nil {
				t.Fatal(err)
			}
			seen := from.(*net.UDPAddr).AddrPort()
			if seen.Addr().Unmap().String() != tt.seen || (seen.Port() == 40000) != tt.portStays {
				t.Errorf("the server sees %v, want %s with port 40000: %v", from, tt.seen, tt.portStays)
			}
			in.WriteTo([]byte("pong"), from)
			if n, _, err := out.ReadFrom(b); err != nil || string(b[:n]) != "pong" {
				t.Errorf("the answer: %q, %v", b[:n], err)
			}
		})
	}
}

// Nobody outside reaches a client that has not asked, nor the router's UDP.
func TestMasqueradeDropsUnasked(t *testing.T) {
	for _, leaky := range []bool{false, true} {
		t.Run(fmt.Sprint("leaky ", leaky), func(t *testing.T) {
			_, router, server := home(t)
			router.Masquerade(t, Masquerade{Out: "wan", Leaky: leaky})
			c, err := server.DialContext(t.Context(), "udp", "198.51.100.1:40000")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.Write([]byte("unasked"))
			c.SetReadDeadline(time.Now().Add(200 * ms))
			_, err = c.Read(make([]byte, 1))
			if want := map[bool]error{false: os.ErrDeadlineExceeded, true: syscall.ECONNREFUSED}[leaky]; !errors.Is(err, want) {
				t.Errorf("read %v, want %v", err, want)
			}
		})
	}
}

func TestBridge(t *testing.T) {
	hub := NewNamespace(t)
	var hosts []*Namespace
	var ports []string
	for i := range 3 {
		h, port := NewNamespace(t), fmt.Sprintf("port%d", i)
		Wire(t, Cable{}, End{hub, port, nil}, End{h, "eth0", []string{fmt.Sprintf("192.0.2.%d/24", i+1)}})
		hosts, ports = append(hosts, h), append(ports, port)
	}
	hub.Bridge(t, "br0", ports...)
	for i, from := range hosts {
		for j, to := range hosts {
			in, out := listenPacket(t, to, ":0"), listenPacket(t, from, ":0")
			port := in.LocalAddr().(*net.UDPAddr).Port
			out.WriteTo([]byte{byte(i)}, &net.UDPAddr{IP: net.IPv4(192, 0, 2, byte(j+1)), Port: port})
			b := make([]byte, 1)
			if _, _, err := in.ReadFrom(b); err != nil || b[0] != byte(i) {
				t.Errorf("from %d to %d: %v, %v", i, j, b, err)
			}
		}
	}
}

func TestDropCounts(t *testing.T) {
	a, b := neighbours(t, Cable{})
	in, other, out := listenPacket(t, b, ":5000"), listenPacket(t, b, ":5001"), listenPacket(t, a, ":0")
	for _, tt := range []struct {
		name    string
		match   Match
		dropped uint64 // of 12 to port 5000 and 12 to port 5001
	}{
		{"all", Match{}, 24},
		{"all of the interface", Match{In: "eth0"}, 24},
		{"none of another", Match{In: "eth1"}, 0},
		{"each fourth", Match{Protocol: "udp", Every: 4}, 6},
		{"one port", Match{Protocol: "udp", ToPort: 5000}, 12},
		{"each third of a port", Match{Protocol: "udp", ToPort: 5000, Every: 3}, 4},
		{"TCP", Match{Protocol: "tcp"}, 0},
		{"from", Match{From: netip.MustParsePrefix("192.0.2.0/31")}, 24},
		{"from another", Match{From: netip.MustParsePrefix("192.0.2.2/31")}, 0},
		{"to", Match{To: netip.MustParsePrefix("192.0.2.2/32")}, 24},
		{"to IPv6", Match{To: netip.MustParsePrefix("2001:db8::/32")}, 0},
		{"a source port", Match{Protocol: "udp", FromPort: uint16(out.LocalAddr().(*net.UDPAddr).Port)}, 24},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := b.Drop(t, tt.match)
			defer d.Remove(t)
			for range 12 {
				for _, port := range []int{5000, 5001} {
					if _, err := out.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv4(192, 0, 2, 2), Port: port}); err != nil {
						t.Fatal(err)
					}
				}
			}
			if got := d.Packets(t); got != tt.dropped {
				t.Errorf("%d were dropped, want %d", got, tt.dropped)
			}
			came := uint64(0)
			for _, c := range []net.PacketConn{in, other} {
				for {
					c.SetReadDeadline(time.Now().Add(20 * ms))
					if _, _, err := c.ReadFrom(make([]byte, 1)); err != nil {
						break
					}
					came++
				}
			}
			if came != 24-tt.dropped {
				t.Errorf("%d came of 24, with %d dropped", came, tt.dropped)
			}
		})
	}
}

func TestDropIPv6(t *testing.T) {
	a, b := neighbours(t, Cable{})
	in, out := listenPacket(t, b, ":5000"), listenPacket(t, a, ":0")
	to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[2001:db8::2]:5000"))
	d := b.Drop(t, Match{To: netip.MustParsePrefix("2001:db8::2/128")}) // before b has been discovered
	for range 3 {
		out.WriteTo([]byte("lost"), to)
	}
	awaitDrop(t, d, 3)
	d.Remove(t)
	d.Remove(t)
	out.WriteTo([]byte("heard"), to)
	p := make([]byte, 10)
	if n, _, err := in.ReadFrom(p); err != nil || string(p[:n]) != "heard" {
		t.Errorf("read %q, %v", p[:n], err)
	}
}

// awaitDrop waits for packets that leave only when their neighbour was found.
func awaitDrop(t *testing.T, d *Drop, want uint64) {
	t.Helper()
	for range 500 {
		if d.Packets(t) == want {
			return
		}
		time.Sleep(10 * ms)
	}
	t.Fatalf("after 5 s %d packets were dropped, want %d", d.Packets(t), want)
}

// A link that fails leaves a connection without a word; when it comes back the
// stream goes on.
func TestDropStopsStreams(t *testing.T) {
	a, b := neighbours(t, Cable{})
	client, server := pair(t, place{a, b, "192.0.2.1", "192.0.2.2"})
	client.Write([]byte("before "))
	wantRead(t, server, "before ", nil)
	d := b.Drop(t, Match{Protocol: "tcp"})
	client.Write([]byte("after"))
	server.SetReadDeadline(time.Now().Add(100 * ms))
	_, err := server.Read(make([]byte, 1))
	wantTimeout(t, err)
	if d.Packets(t) == 0 {
		t.Error("nothing was dropped")
	}
	d.Remove(t)
	server.SetReadDeadline(time.Now().Add(10 * time.Second))
	wantRead(t, server, "after", nil)
}

// Without trains each segment is a packet to the rules.
func TestSingle(t *testing.T) {
	count := func(single bool) uint64 {
		a, b := neighbours(t, Cable{Single: single})
		client, server := pair(t, place{a, b, "192.0.2.1", "192.0.2.2"})
		go func() {
			client.Write(make([]byte, 1<<20))
			client.Close()
		}()
		if n, err := io.Copy(io.Discard, server); n != 1<<20 || err != nil {
			t.Errorf("%d bytes came, %v", n, err)
		}
		return received(t, b)
	}
	if single, trains := count(true), count(false); single < 1<<20/1448 || trains >= single {
		t.Errorf("1 MiB came in %d packets singly and in %d otherwise", single, trains)
	}
}

// received is how many packets came in by eth0.
func received(t *testing.T, ns *Namespace) uint64 {
	t.Helper()
	link, err := ns.kernel.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	return link.Attrs().Statistics.RxPackets
}

func TestNamespaceErrors(t *testing.T) {
	a, b := NewNamespace(t), NewNamespace(t)
	for what, err := range map[string]error{
		"a long name":    wire(Cable{}, End{a, "a-name-of-16-byte", nil}, End{b, "eth0", nil}),
		"a bad address":  wire(Cable{}, End{a, "eth1", []string{"192.0.2.1"}}, End{b, "eth1", nil}),
		"no interface":   a.bridge("br0", []string{"eth9"}),
		"no gateway":     a.route("default", "192.0.2.9"),
		"a bad gateway":  a.route("default", "router"),
		"a bad prefix":   a.route("192.0.2.0", "192.0.2.9"),
		"a bad sysctl":   a.sysctl("net.ipv4.no_such_thing", "1"),
		"no such device": a.up("eth9"),
	} {
		if err == nil {
			t.Errorf("%s was taken", what)
		}
	}
	for _, m := range []Match{{Protocol: "sctp"}, {ToPort: 5}, {Protocol: "icmp", FromPort: 5}} {
		if _, err := a.drop(m); err == nil {
			t.Errorf("%+v was taken", m)
		}
	}
}
