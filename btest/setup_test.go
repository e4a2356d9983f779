package btest

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/host"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/result"
)

// TestMain lets many tests run side by side, since they mostly wait, and fails
// when a goroutine of the package outlives them.
func TestMain(m *testing.M) {
	flag.Parse()
	fuzzing := flag.Lookup("test.fuzz").Value.String() != ""
	if n := flag.Lookup("test.parallel"); !fuzzing && n.Value.String() == fmt.Sprint(runtime.GOMAXPROCS(0)) {
		flag.Set("test.parallel", "32")
	}
	code := m.Run()
	if left := leftovers(5 * time.Second); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "goroutines that outlive the tests:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// leftovers waits for the goroutines that run code of sonde to end, and returns
// the stacks of those that do not.
func leftovers(within time.Duration) string {
	for end := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		buf := make([]byte, 1<<20)
		var left []string
		for i, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if i > 0 && strings.Contains(g, "sonde-net/sonde/") { // the first is our own
				left = append(left, g)
			}
		}
		if len(left) == 0 || time.Now().After(end) {
			return strings.Join(left, "\n\n")
		}
	}
}

// UDP ports for tests lie below those that the system hands out. A page holds
// 256 ports of servers and, above them, those of their clients.
var testPorts = struct {
	sync.Mutex
	page, used int
}{page: 10240}

// udpPorts returns n free UDP ports for a server, of which the clients' ports
// are free as well: more of them in all, if the last test uses several.
func udpPorts(t testing.TB, n, more int) PortRange {
	t.Helper()
	testPorts.Lock()
	defer testPorts.Unlock()
	need := n + more
	for testPorts.page < 32000 {
		if testPorts.used+need > wire.ClientPort {
			testPorts.page += 2 * wire.ClientPort
			testPorts.used = 0
		}
		first := testPorts.page + testPorts.used
		testPorts.used += need
		if free(first, n) && free(first+wire.ClientPort, need) {
			return PortRange{uint16(first), uint16(first + n - 1)}
		}
	}
	t.Fatal("no free UDP ports for the test")
	return PortRange{}
}

func free(first, n int) bool {
	for port := first; port < first+n; port++ {
		c, err := net.ListenPacket("udp", fmt.Sprintf(":%d", port))
		if err != nil {
			return false
		}
		c.Close()
	}
	return true
}

// events is a Sink that keeps everything, run by run.
type events struct {
	mu    sync.Mutex
	runs  []*seen
	notes []result.Note // of no run
}

// seen is what one run put.
type seen struct {
	id        result.ID
	begins    []result.Begin
	intervals []result.Interval
	notes     []result.Note
	ends      []result.End
	late      int // events after the End
}

func (e *events) Put(ev result.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	id := ev.Of().Run
	if id == "" {
		e.notes = append(e.notes, ev.(result.Note))
		return
	}
	i := slices.IndexFunc(e.runs, func(s *seen) bool { return s.id == id })
	if i < 0 {
		i = len(e.runs)
		e.runs = append(e.runs, &seen{id: id})
	}
	s := e.runs[i]
	if len(s.ends) > 0 {
		s.late++
	}
	switch ev := ev.(type) {
	case result.Begin:
		s.begins = append(s.begins, ev)
	case result.Interval:
		s.intervals = append(s.intervals, ev)
	case result.Note:
		s.notes = append(s.notes, ev)
	case result.End:
		s.ends = append(s.ends, ev)
	}
}

// of returns copies of the runs so far.
func (e *events) of() []seen {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []seen
	for _, s := range e.runs {
		all = append(all, *s)
	}
	return all
}

// logins returns the notes that belong to no run.
func (e *events) logins() []result.Note {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.notes)
}

// await waits for the n-th run, from 1, to end.
func (e *events) await(t testing.TB, n int) seen {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if all := e.of(); len(all) >= n && len(all[n-1].ends) > 0 {
			return all[n-1]
		}
	}
	t.Fatalf("run %d has not ended", n)
	return seen{}
}

func (s *seen) note(code string) *result.Note {
	for _, n := range s.notes {
		if n.Code == code {
			return &n
		}
	}
	return nil
}

// check holds what every run promises: one Begin, one End, nothing after it,
// intervals without gaps that add up to the totals of the end that reports.
func (s *seen) check(t testing.TB) result.End {
	t.Helper()
	if len(s.begins) != 1 || len(s.ends) != 1 || s.late > 0 {
		t.Fatalf("%d Begins, %d Ends, %d events after the End", len(s.begins), len(s.ends), s.late)
	}
	end := s.ends[0]
	for _, d := range result.Both.Each() {
		s.checkWay(t, end, d)
	}
	return end
}

func (s *seen) checkWay(t testing.TB, end result.End, d result.Direction) {
	t.Helper()
	var sum result.View
	var until time.Duration
	seq := 0
	for _, i := range s.intervals {
		if i.Direction != d {
			continue
		}
		if i.Seq != seq+1 || i.Start != until || i.End <= i.Start {
			t.Errorf("%v: interval %d from %v to %v after interval %d until %v", d, i.Seq, i.Start, i.End, seq, until)
		}
		seq, until = i.Seq, i.End
		if i.Local() == nil {
			t.Fatalf("%v: interval %d without the figures of our own end", d, i.Seq)
		}
		sum = result.Sum(sum, *i.Local())
	}
	total := end.Local(d)
	if total == nil {
		if seq > 0 {
			t.Errorf("%v: intervals but no total", d)
		}
		return
	}
	if until != end.Elapsed || end.Total(d).Elapsed != end.Elapsed {
		t.Errorf("%v: intervals until %v, total of %v, run of %v", d, until, end.Total(d).Elapsed, end.Elapsed)
	}
	for _, f := range []struct {
		what       string
		sum, total any
	}{
		{"bytes", sum.Bytes, total.Bytes},
		{"bytes with headers", figure(sum.WireBytes), figure(total.WireBytes)},
		{"packets", figure(sum.Packets), figure(total.Packets)},
		{"lost", figure(sum.Lost), figure(total.Lost)},
		{"reordered", figure(sum.Reordered), figure(total.Reordered)},
		{"duplicates", figure(sum.Duplicate), figure(total.Duplicate)},
	} {
		if f.sum != f.total {
			t.Errorf("%v: %s of the intervals add up to %v, the total is %v", d, f.what, f.sum, f.total)
		}
	}
	if streams := end.Total(d).Streams; streams != nil {
		var parts uint64
		for _, one := range streams {
			parts += result.End{Head: end.Head, Down: &one, Up: &one}.Local(d).Bytes
		}
		if parts != total.Bytes {
			t.Errorf("%v: %d streams add up to %d bytes, the total is %d", d, len(streams), parts, total.Bytes)
		}
	}
}

func figure[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

// A live is a server that serves.
type live struct {
	*Server
	addr   string
	events *events
	stop   context.CancelCauseFunc
	served chan error
}

// serve starts s on a free port of host and checks at the end of the test that
// it has nothing left of anybody.
func serve(t testing.TB, host string, s *Server) *live {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, l, s)
}

func serveOn(t testing.TB, l net.Listener, s *Server) *live {
	t.Helper()
	v := &live{Server: s, addr: l.Addr().String(), events: &events{}, served: make(chan error, 1)}
	s.Sink = result.Tee(v.events, s.Sink)
	ctx, stop := context.WithCancelCause(context.Background())
	v.stop = stop
	go func() { v.served <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		v.awaitIdle(t, 10*time.Second)
		stop(nil)
		select {
		case err := <-v.served:
			if err != nil {
				t.Errorf("Serve = %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Serve does not return")
		}
	})
	return v
}

// idle says what a server still has of its clients.
func (v *live) idle() error {
	var errs []error
	if n := len(v.Sessions()); n > 0 {
		errs = append(errs, fmt.Errorf("%d sessions", n))
	}
	if n := v.conns.Open(); n > 0 {
		errs = append(errs, fmt.Errorf("%d connections", n))
	}
	if n := v.logins.Open(); n > 0 {
		errs = append(errs, fmt.Errorf("%d logins", n))
	}
	if v.ports != nil {
		v.ports.mu.Lock()
		if n := len(v.ports.taken); n > 0 {
			errs = append(errs, fmt.Errorf("%d UDP ports", n))
		}
		v.ports.mu.Unlock()
	}
	v.tokens.mu.Lock()
	if n := len(v.tokens.open); n > 0 {
		errs = append(errs, fmt.Errorf("%d tokens", n))
	}
	v.tokens.mu.Unlock()
	return errors.Join(errs...)
}

// awaitIdle waits until the server has nothing left of its clients and returns
// how long that took.
func (v *live) awaitIdle(t testing.TB, within time.Duration) time.Duration {
	t.Helper()
	start := time.Now()
	for {
		err := v.idle()
		if err == nil {
			return time.Since(start)
		}
		if time.Since(start) > within {
			t.Errorf("the server is not idle after %v: %v", within, err)
			return time.Since(start)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// test runs c against v and returns what both ends saw.
func (v *live) test(t testing.TB, c *Client) (client, server seen, err error) {
	t.Helper()
	before := len(v.events.of())
	c.Target = cmp.Or(c.Target, v.addr)
	var mine events
	err = c.Run(t.Context(), &mine)
	return mine.of()[0], v.events.await(t, before+1), err
}

// watchCPU returns a function that tells whether the machine was too busy at any
// time since, with this test or with others, for figures that need a CPU in time.
func watchCPU() (tooBusy func() bool) {
	cpu := host.NewCPU()
	cpu.Busy()
	stop, busy := make(chan struct{}), make(chan bool)
	go func() {
		ever := false
		tick := time.NewTicker(250 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-stop:
				busy <- ever
				return
			}
			percent, ok := cpu.Busy()
			ever = ever || !ok || percent > 90
		}
	}()
	return sync.OnceValue(func() bool { close(stop); return <-busy })
}

// users are the accounts of the recordings, and more.
func users() Accounts {
	return NewList(List{"test": {Password: "secret"}, "modern": {Password: "secret", NoMD5: true}})
}

// needLoopbacks skips a test that uses several loopback addresses where there is
// only one.
func needLoopbacks(t testing.TB) {
	t.Helper()
	if c, err := net.ListenPacket("udp", "127.0.0.2:0"); err != nil {
		t.Skipf("needs all of 127.0.0.0/8: %v", err)
	} else {
		c.Close()
	}
}

// exitCode fails unless err has the code.
func exitCode(t testing.TB, err error, want int) {
	t.Helper()
	if got := result.ExitCode(err); got != want {
		t.Errorf("exit code %d, want %d: %v", got, want, err)
	}
}

// localAddr is the address of a listener or socket.
func localAddr(a net.Addr) netip.AddrPort { return sock.AddrPort(a) }
