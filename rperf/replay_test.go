package rperf

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/rperf/wire"
)

// A recording is a conversation with the real rperf; testdata/README.md
// describes the files.
type recording struct {
	Name    string
	Server  string   `json:"server_command"`
	Clients []string `json:"client_commands"`
	Control []event
	Data    []flow
}

type event struct {
	T       float64
	Event   string
	From    string
	Client  int    `json:"client_port"`
	Prefix  string `json:"prefix_hex"`
	Payload string `json:"payload_utf8"`
}

type flow struct {
	Protocol  string
	Initiator struct{ Port uint16 }
	Acceptor  struct{ Port uint16 }
	Packets   int `json:"packets_with_payload"`
	Bytes     int `json:"payload_bytes"`
	Segments  []segment
}

type segment struct {
	T       float64
	From    string
	Length  int
	Flags   string
	Head    string `json:"head_hex"`
	Omitted int
}

func recordings(t testing.TB) map[string]recording {
	t.Helper()
	names, err := filepath.Glob("testdata/*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("no recordings: %v", err)
	}
	all := map[string]recording{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var r recording
		if err := json.Unmarshal(b, &r); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if r.Name != "" { // client-behaviour.json has another form
			all[r.Name] = r
		}
	}
	return all
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// A said is what a server said on one control connection, in short.
type said struct {
	connect, ready, done, failed int
	ports                        []uint16
	bytes, packets               uint64
	lost                         int64
	late, again                  uint64
}

func (s *said) take(m wire.Message) {
	switch m := m.(type) {
	case wire.Connect:
		s.connect++
		s.ports = m.StreamPorts
	case wire.ConnectReady:
		s.ready++
	case wire.StreamEnd:
		if m.Failed {
			s.failed++
		} else {
			s.done++
		}
	case wire.Interval:
		s.bytes += m.Bytes
		s.packets += m.Packets
		s.lost += m.Counts.Lost
		s.late += m.Counts.OutOfOrder
		s.again += m.Counts.Duplicated
	}
}

// otherwise are the recordings where our server does, on purpose, something
// else than the real one, and what; n is the number of the control connection.
var otherwise = map[string]func(n int, s *said){
	// The streams are ended, and what came is told.
	"probe-begin-twice": func(_ int, s *said) { s.failed = 1 },
	"probe-end-early":   func(_ int, s *said) { s.done, s.bytes = 1, 116 },
	// Stream numbers end at 255.
	"probe-streams-300": func(_ int, s *said) { *s = said{} },
	// A fork writes the id so.
	"probe-test-id-uuid-string": func(_ int, s *said) { s.connect = 1 },
	// Only the bad client is closed, not those after it.
	"probe-poisoned-pool":  func(n int, s *said) { s.connect = min(n, 1) },
	"probe-pool-exhausted": func(n int, s *said) { s.connect = min(n, 1) },
	// An id may come in pieces.
	"probe-tcp-split-header": func(_ int, s *said) { s.failed, s.done, s.bytes = 0, 1, 16 },
	// Our sockets do not hear that a UDP port is closed.
	"probe-udp-reverse-closed-port": func(_ int, s *said) { s.failed, s.done = 0, 1 },
}

// TestReplayClients plays every recorded client, its control messages and its
// data, to our server, and compares what the server says with what the real
// one said. After each a good client is served.
func TestReplayClients(t *testing.T) {
	for name, r := range recordings(t) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { replayClients(t, r) })
		})
	}
}

func replayClients(t *testing.T, r recording) {
	srv := &Server{}
	switch {
	case strings.Contains(r.Server, "--client-limit 1"):
		srv.Tests, srv.Refuse = 1, true
	case r.Name == "tcp-port-pool":
		srv.Ports.TCP = []uint16{40010, 40011, 40012, 40013}
	case r.Name == "probe-pool-exhausted":
		srv.Ports.UDP = []uint16{40020, 40021}
	}
	p := newPair(t, testnet.Link{Delay: time.Millisecond}, srv)
	start := time.Now()
	var wg sync.WaitGroup
	var order []int
	for _, e := range r.Control {
		if e.Event == "control-open" {
			order = append(order, e.Client)
		}
	}
	for n, port := range order {
		wg.Go(func() { replayClient(t, p, r, n, port, start) })
	}
	wg.Wait()
	if _, err := p.run(t.Context(), Client{Duration: time.Second, Rate: 100_000, UDP: strings.Contains(r.Name, "udp")}); err != nil {
		t.Errorf("a good client after it: %v", err)
	}
	p.stop()
}

// replayClient plays one control connection, the n-th of the recording.
func replayClient(t *testing.T, p *pair, r recording, n, port int, start time.Time) {
	var events []event
	for _, e := range r.Control {
		if e.Client == port {
			events = append(events, e)
		}
	}
	var want said
	for _, e := range events {
		if m, err := wire.Parse([]byte(e.Payload)); err == nil && e.From == "server" {
			want.take(m)
		} else if e.From == "server" && strings.HasPrefix(e.Payload, `{"kind":"connect"`) {
			want.connect++ // with 300 ports
		}
	}
	if change := otherwise[r.Name]; change != nil {
		change(n, &want)
	}
	got := play(t, p, r, events, start)
	ports := got.ports
	got.ports, want.ports = nil, nil
	if strings.Contains(r.Name, "reverse") {
		// What we send is ours: paced evenly, not in bursts of whole buffers.
		got.bytes, want.bytes, got.packets, want.packets = 0, 0, 0, 0
	}
	if !slices.Equal(got.ports, want.ports) || got.differs(want) {
		t.Errorf("control connection %d: our server said %+v\nthe real one %+v", n, got, want)
	}
	if r.Name == "tcp-port-pool" && !slices.Equal(ports, []uint16{40011, 40012, 40013}) {
		t.Errorf("ports %v of the pool, the real one gave 40011, 40012, 40013", ports)
	}
}

func (s said) differs(o said) bool {
	a, _ := json.Marshal([]any{s.connect, s.ready, s.done, s.failed, s.bytes, s.packets, s.lost, s.late, s.again})
	b, _ := json.Marshal([]any{o.connect, o.ready, o.done, o.failed, o.bytes, o.packets, o.lost, o.late, o.again})
	return string(a) != string(b)
}

// play says what the client said, when it did, and returns what our server said.
func play(t *testing.T, p *pair, r recording, events []event, start time.Time) (got said) {
	time.Sleep(time.Until(start.Add(seconds(events[0].T))))
	conn, err := p.client.DialContext(t.Context(), "tcp", serverAddr+":5199")
	if err != nil {
		t.Error(err)
		return got
	}
	defer conn.Close()
	ctrl := newControl(conn)
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	var mu sync.Mutex
	heard := make(chan struct{})
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		for {
			m, err := ctrl.read(ctx, "anything", 0)
			if err != nil {
				return
			}
			mu.Lock()
			got.take(m)
			first := got.connect+got.ready == 1
			if _, ok := m.(wire.Interval); !ok && first && (got.done+got.failed == 0) {
				close(heard)
			}
			mu.Unlock()
		}
	}()
	var data sync.WaitGroup
	playing, stop := context.WithCancel(ctx)
	defer data.Wait()
	defer stop()
	for _, e := range events {
		if e.From != "client" || e.Event != "message" {
			continue
		}
		time.Sleep(time.Until(start.Add(seconds(e.T))))
		if strings.Contains(e.Payload, `"end"`) && r.Name != "probe-end-early" {
			awaitStreams(closed, &mu, &got)
		}
		if strings.Contains(e.Payload, `"configuration"`) {
			listenFor(t, playing, p, e.Payload, &data)
		}
		if strings.Contains(e.Payload, `"begin"`) && heardSoon(heard, closed) {
			mu.Lock()
			ports := got.ports
			mu.Unlock()
			sendData(t, playing, p, r, ports, start, &data)
		}
		if _, err := conn.Write(append(unhex(t, e.Prefix), e.Payload...)); err != nil {
			break // our server has closed already: what it said is what counts
		}
	}
	last := events[len(events)-1]
	time.Sleep(time.Until(start.Add(seconds(last.T))))
	if otherwise[r.Name] != nil {
		time.Sleep(3 * time.Second) // the recorded client left when the real server had closed
	}
	if last.From == "server" || strings.Contains(r.Name, "no-") || strings.Contains(r.Name, "streams-300") {
		select {
		case <-closed:
		case <-time.After(20 * time.Second):
		}
	}
	conn.Close()
	<-closed
	mu.Lock()
	defer mu.Unlock()
	return got
}

func heardSoon(heard, closed chan struct{}) bool {
	select {
	case <-heard:
		return true
	case <-closed:
	case <-time.After(time.Second):
	}
	return false
}

// awaitStreams waits until our server has reported the end of what it began:
// it is more patient than the real one.
func awaitStreams(closed chan struct{}, mu *sync.Mutex, got *said) {
	for range 2000 {
		mu.Lock()
		over := got.done+got.failed >= max(1, len(got.ports))
		mu.Unlock()
		select {
		case <-closed:
			return
		case <-time.After(10 * time.Millisecond):
		}
		if over {
			return
		}
	}
}

// listenFor opens the ports that a reverse configuration names, and takes what
// comes.
func listenFor(t *testing.T, ctx context.Context, p *pair, payload string, wg *sync.WaitGroup) {
	m, err := wire.Parse([]byte(payload))
	cfg, ok := m.(wire.Configuration)
	if err != nil || !ok || !cfg.Reverse {
		return
	}
	for _, port := range cfg.StreamPorts {
		if port == 9 {
			continue // the closed port of two probes
		}
		at := netip.AddrPortFrom(netip.IPv4Unspecified(), port).String()
		if cfg.UDP {
			c, err := p.client.ListenPacket(ctx, "udp4", at)
			if err != nil {
				t.Error(err)
				return
			}
			wg.Go(func() {
				defer context.AfterFunc(ctx, func() { c.Close() })()
				for b := make([]byte, 2000); ; {
					if _, _, err := c.ReadFrom(b); err != nil {
						return
					}
				}
			})
			continue
		}
		l, err := p.client.Listen(ctx, "tcp4", at)
		if err != nil {
			t.Error(err)
			return
		}
		wg.Go(func() {
			defer context.AfterFunc(ctx, func() { l.Close() })()
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			defer context.AfterFunc(ctx, func() { c.Close() })()
			_, _ = io.Copy(io.Discard, c) // however it ends
		})
	}
}

// sendData plays the recorded data flows of a forward test.
func sendData(t *testing.T, ctx context.Context, p *pair, r recording, ports []uint16, start time.Time, wg *sync.WaitGroup) {
	var recorded []uint16
	var id wire.TestID
	for _, e := range r.Control {
		m, err := wire.Parse([]byte(e.Payload))
		if err != nil {
			continue
		}
		switch m := m.(type) {
		case wire.Connect:
			if recorded == nil {
				recorded = m.StreamPorts
			}
		case wire.Configuration:
			if id == (wire.TestID{}) {
				id = m.TestID
			}
		}
	}
	for _, f := range r.Data {
		n := slices.Index(recorded, f.Acceptor.Port)
		if n < 0 || n >= len(ports) || len(f.Segments) == 0 {
			continue
		}
		to := netip.AddrPortFrom(netip.MustParseAddr(serverAddr), ports[n]).String()
		wg.Go(func() {
			time.Sleep(time.Until(start.Add(seconds(f.Segments[0].T))))
			conn, err := p.client.DialContext(ctx, f.Protocol, to)
			if err != nil {
				t.Errorf("%s: %v", to, err)
				return
			}
			defer conn.Close()
			if f.Protocol == "udp" {
				playUDP(t, conn, f, id, start)
				return
			}
			if !f.complete() {
				f.Bytes = r.received(uint8(n)) // without what was sent twice
			}
			playTCP(t, conn, f, id, start)
		})
	}
}

// received is what the real server counted of a stream.
func (r recording) received(stream uint8) (bytes int) {
	for _, e := range r.Control {
		m, err := wire.Parse([]byte(e.Payload))
		if i, ok := m.(wire.Interval); err == nil && ok && i.Stream == stream {
			bytes += int(i.Bytes)
		}
	}
	return bytes
}

func (f flow) complete() bool {
	return !slices.ContainsFunc(f.Segments, func(s segment) bool { return s.Omitted > 0 })
}

func playUDP(t *testing.T, conn net.Conn, f flow, id wire.TestID, start time.Time) {
	if f.complete() {
		for _, s := range f.Segments {
			time.Sleep(time.Until(start.Add(seconds(s.T))))
			b := make([]byte, s.Length)
			copy(b, unhex(t, s.Head))
			conn.Write(b) // one that meets a closed port was refused in the recording too
		}
		return
	}
	first, last := f.Segments[0], f.Segments[len(f.Segments)-1]
	n := f.Packets - wire.Markers
	for seq := range n {
		at := first.T + (last.T-first.T)*float64(seq)/float64(n)
		time.Sleep(time.Until(start.Add(seconds(at))))
		b := make([]byte, first.Length)
		wire.Header{TestID: id, Seq: uint64(seq), Sent: time.Now()}.Put(b)
		conn.Write(b)
	}
	for range wire.Markers {
		conn.Write(id[:])
	}
}

func playTCP(t *testing.T, conn net.Conn, f flow, id wire.TestID, start time.Time) {
	last := f.Segments[len(f.Segments)-1]
	if f.complete() {
		for _, s := range f.Segments {
			if s.From != "initiator" || s.Length == 0 {
				continue
			}
			time.Sleep(time.Until(start.Add(seconds(s.T))))
			b := make([]byte, s.Length)
			copy(b, unhex(t, s.Head))
			if _, err := conn.Write(b); err != nil {
				return // dropped, as in the recording
			}
		}
		time.Sleep(time.Until(start.Add(seconds(last.T))))
		return
	}
	block := wire.Block(id, wire.DefaultTCPLength)
	steps := max(1, int((last.T-f.Segments[0].T)/0.05))
	for n, sent := 0, 0; sent < f.Bytes; n++ {
		part := min(f.Bytes-sent, max(wire.TestIDLen, f.Bytes/steps+1), len(block))
		if _, err := conn.Write(block[:part]); err != nil {
			t.Error(err)
			return
		}
		sent += part
		time.Sleep(time.Until(start.Add(seconds(f.Segments[0].T + 0.05*float64(n)))))
	}
}

// TestAnomalies: the peer's arithmetic and the true figures both come out of
// probe-udp-anomalies.
func TestAnomalies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := recordings(t)["probe-udp-anomalies"]
		p := newPair(t, testnet.Link{Delay: time.Millisecond}, &Server{})
		var events []event
		events = append(events, r.Control...)
		got := play(t, p, r, events, time.Now())
		p.stop()
		if got.lost != 2 || got.late != 2 || got.again != 2 || got.packets != 20 {
			t.Errorf("the server said %+v, the real one 2 lost, 2 out of order, 2 duplicated of 20", got)
		}
		v := p.sink.End(t).Up.Received
		if *v.Lost != 2 || *v.Reordered != 2 || *v.Duplicate != 2 || *v.Packets != 20 {
			t.Errorf("lost %d, reordered %d, duplicate %d of %d packets; true are 2, 2, 2 of 20", *v.Lost, *v.Reordered, *v.Duplicate, *v.Packets)
		}
	})
}
