package rperf_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/iperf3"
	"github.com/sonde-net/sonde/result"
	"github.com/sonde-net/sonde/rperf"
)

// An outcome is what became of one test.
type outcome struct {
	begin result.Begin
	end   result.End
}

// ends collects the Ends of many runs.
type ends struct {
	mu     sync.Mutex
	begins map[result.ID]result.Begin
	all    []outcome
}

func (e *ends) Put(ev result.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.begins == nil {
		e.begins = map[result.ID]result.Begin{}
	}
	switch ev := ev.(type) {
	case result.Begin:
		e.begins[ev.Run] = ev
	case result.End:
		e.all = append(e.all, outcome{e.begins[ev.Run], ev})
	}
}

func (e *ends) list() []outcome {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]outcome(nil), e.all...)
}

func (e *ends) begun() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.begins)
}

// A testServer is a server of either protocol.
type testServer interface {
	Serve(ctx context.Context, l net.Listener) error
}

// A testClient is a client of either protocol.
type testClient interface {
	Run(ctx context.Context, sink result.Sink) error
}

func serve(t *testing.T, s testServer, l net.Listener) {
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// A site is a host that servers and clients run on.
type site interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	Listen(ctx context.Context, network, address string) (net.Listener, error)
	ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error)
}

// system is the host that the test runs on.
type system struct {
	net.Dialer
	net.ListenConfig
}

// TestTogether: a hundred clients at once, half of each protocol and of all
// kinds, in one process. All finish, and none is counted for another.
func TestTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n testnet.Network
		link := testnet.Link{Rate: 1_000_000_000, Wait: true, Delay: time.Millisecond}
		crowd{near: n.Host(link, testnet.Link{}, "192.0.2.1"), far: n.Host(link, testnet.Link{}, "192.0.2.2"), at: "192.0.2.2", exact: true}.meet(t)
	})
}

// TestTogetherOnSockets is TestTogether on the sockets of this machine, where a
// rate may fall short of what was asked for.
func TestTogetherOnSockets(t *testing.T) {
	crowd{near: &system{}, far: &system{}, at: "127.0.0.1"}.meet(t)
}

// A crowd is the clients of both protocols, and where their servers are.
type crowd struct {
	near, far site
	at        string
	exact     bool // nobody is late there, and nothing is lost
}

func (c crowd) meet(t *testing.T) {
	var sink ends
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var servers sync.WaitGroup
	at := map[string]string{}
	for name, s := range map[string]testServer{
		rperf.Protocol:  &rperf.Server{Sink: &sink, Dial: c.far.DialContext, Listen: c.far.Listen, ListenPacket: c.far.ListenPacket},
		iperf3.Protocol: &iperf3.Server{Sink: &sink, ListenPacket: c.far.ListenPacket},
	} {
		l, err := c.far.Listen(ctx, "tcp", net.JoinHostPort(c.at, "0"))
		if err != nil {
			t.Fatal(err)
		}
		at[name] = l.Addr().String()
		servers.Go(func() {
			if err := s.Serve(ctx, l); err != nil {
				t.Error(err)
			}
		})
	}
	const clients = 50 // of each protocol
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() { c.come(t, n, at) })
	}
	wg.Wait()
	stop()
	servers.Wait()
	served := sink.list()
	if len(served) != 2*clients {
		t.Errorf("the servers ended %d tests, want %d", len(served), 2*clients)
	}
	for _, o := range served {
		if o.end.Err != nil || o.end.Reason != result.ReasonDone {
			t.Errorf("server: %s, %v", o.end.Reason, o.end.Err)
		}
	}
}

// come makes the n-th test of each protocol, both at once.
func (c crowd) come(t *testing.T, n int, at map[string]string) {
	udp := n%2 == 1
	d := []result.Direction{result.Up, result.Down}[n/2%2]
	// A rate of its own for each: what is counted says whose it was.
	rate := uint64(100_000 + 8_000*n)
	var wg sync.WaitGroup
	defer wg.Wait()
	for name, client := range map[string]testClient{
		rperf.Protocol: &rperf.Client{Target: at[rperf.Protocol], UDP: udp, Direction: d, Streams: 1 + n%3, Duration: 2 * time.Second, Rate: rate, Length: 256,
			Classic: n%5 == 0, Dial: c.near.DialContext, Listen: c.near.Listen, ListenPacket: c.near.ListenPacket},
		iperf3.Protocol: &iperf3.Client{Target: at[iperf3.Protocol], UDP: udp, Direction: d, Streams: 1 + n%3, Duration: 2 * time.Second, Rate: rate, Length: 256,
			Dial: c.near.DialContext, ListenPacket: c.near.ListenPacket},
	} {
		wg.Go(func() {
			var mine ends
			if err := client.Run(t.Context(), &mine); err != nil {
				t.Errorf("%s, client %d: %v", name, n, err)
				return
			}
			total := mine.list()[0].end.Total(d)
			if total == nil || total.Sent == nil || total.Received == nil {
				t.Errorf("%s, client %d: total %+v", name, n, total)
				return
			}
			want := float64(rate) * float64(1+n%3) * 2 / 8
			sent, came := total.Sent.Bytes, total.Received.Bytes
			switch {
			case sent < came, sent != came && (c.exact || !udp):
				t.Errorf("%s, client %d: sent %d, received %d", name, n, sent, came)
			case float64(sent) > want*1.5, c.exact && float64(sent) > want*1.06, c.exact && float64(sent) < want*0.94, came == 0:
				t.Errorf("%s, client %d: sent %d, received %d, want about %.0f", name, n, sent, came, want)
			}
		})
	}
}

// TestDropped: clients of all kinds whose packets vanish in mid-test, both ways,
// free everything at their server within 10 s, also one that only sends; the
// next test works at once.
func TestDropped(t *testing.T) {
	testnet.NeedNamespaces(t)
	near, far := testnet.NewNamespace(t), testnet.NewNamespace(t)
	testnet.Wire(t, testnet.Cable{}, testnet.End{In: near, Name: "eth0", Addresses: []string{"192.0.2.1/24"}},
		testnet.End{In: far, Name: "eth0", Addresses: []string{"192.0.2.2/24"}})
	var sink ends
	counters := &admit.Counters{}
	settled := &books{}
	pool := []uint16{7001, 7002, 7003} // so many as are in use: the next test needs all of them
	for port, s := range map[string]testServer{
		"5199": &rperf.Server{Sink: &sink, Counters: counters, Policy: settled, Ports: rperf.Ports{TCP: pool, UDP: pool},
			Dial: far.DialContext, Listen: far.Listen, ListenPacket: far.ListenPacket},
		"5201": &iperf3.Server{Sink: &sink, Counters: counters, Policy: settled, ListenPacket: far.ListenPacket},
	} {
		l, err := far.Listen(t.Context(), "tcp", "192.0.2.2:"+port)
		if err != nil {
			t.Fatal(err)
		}
		serve(t, s, l)
	}
	clients := func(d time.Duration) map[string]testClient {
		all := map[string]testClient{}
		for _, udp := range []bool{false, true} {
			for _, way := range []result.Direction{result.Up, result.Down} {
				for _, classic := range []bool{false, true} {
					if way == result.Down || !classic {
						all[fmt.Sprintf("rperf udp=%v %v classic=%v", udp, way, classic)] = &rperf.Client{Target: "192.0.2.2", UDP: udp, Direction: way,
							Duration: d, Rate: 1e6, Classic: classic, Dial: near.DialContext, Listen: near.Listen, ListenPacket: near.ListenPacket}
					}
				}
				all[fmt.Sprintf("iperf3 udp=%v %v", udp, way)] = &iperf3.Client{Target: "192.0.2.2", UDP: udp, Direction: way,
					Duration: d, Rate: 1e6, Dial: near.DialContext, ListenPacket: near.ListenPacket}
			}
		}
		return all
	}
	var wg sync.WaitGroup
	first := clients(time.Minute)
	for name, c := range first {
		wg.Go(func() {
			if err := c.Run(t.Context(), result.Discard); result.CodeOf(err) != result.CodePeerLost {
				t.Errorf("%s: %v (%s), want %s", name, err, result.CodeOf(err), result.CodePeerLost)
			}
		})
	}
	for end := time.Now().Add(20 * time.Second); sink.begun() < len(first); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d of %d tests have begun", sink.begun(), len(first))
		}
	}
	time.Sleep(3 * time.Second) // what 0.8 s of it move is looked for below
	in, out := far.Drop(t, testnet.Match{}), near.Drop(t, testnet.Match{})
	gone := time.Now()
	for len(sink.list()) < len(first) && time.Since(gone) < 15*time.Second {
		time.Sleep(10 * time.Millisecond)
	}
	for _, o := range sink.list() {
		took := o.end.Time.Sub(gone)
		t.Logf("%s %s %v: %v after %v, %v", o.begin.Protocol, o.begin.Transport, o.begin.Direction, o.end.Reason, took.Round(time.Millisecond), o.end.Err)
		if took > 10*time.Second {
			t.Errorf("%s %s %v: ended after %v", o.begin.Protocol, o.begin.Transport, o.begin.Direction, took)
		}
		if v := o.end.Local(o.begin.Direction); v == nil || v.Bytes < 100_000 {
			t.Errorf("%s %s %v: the report is lost: %+v", o.begin.Protocol, o.begin.Transport, o.begin.Direction, v)
		}
	}
	_, running := counters.Tests()
	if n := len(sink.list()); n != len(first) || settled.open() != 0 || running != 0 {
		t.Errorf("%d of %d tests have ended, %d grants and %d tests are open", n, len(first), settled.open(), running)
	}
	in.Remove(t)
	out.Remove(t)
	for name, c := range clients(time.Second) {
		wg.Go(func() {
			if err := c.Run(t.Context(), result.Discard); err != nil {
				t.Errorf("the next test, %s: %v", name, err)
			}
		})
	}
	wg.Wait()
}

// books counts grants that are not settled.
type books struct {
	mu sync.Mutex
	n  int
}

func (b *books) open() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.n
}

func (b *books) Admit(context.Context, admit.Request) (*admit.Grant, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n++
	return &admit.Grant{Settle: func(_, _ uint64) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.n--
	}}, nil
}
