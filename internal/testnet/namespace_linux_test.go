package testnet

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
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
			t.Parallel()
			conform(t, place{client: client, server: server, from: family.from, to: family.to})
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
	// The collector may close what earlier tests left, such as pipes of io.Copy.
	after := open()
	for end := time.Now().Add(5 * time.Second); after > before && time.Now().Before(end); after = open() {
		time.Sleep(10 * ms)
	}
	if after > before {
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

// Without trains each segment is a packet to the rules.
func TestSingle(t *testing.T) {
	count := func(single bool) uint64 {
		a, b := neighbours(t, Cable{Single: single})
		client, server := pair(t, place{client: a, server: b, from: "192.0.2.1", to: "192.0.2.2"})
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
