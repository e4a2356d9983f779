package iperf3

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sonde-net/sonde/internal/testnet"
	"github.com/sonde-net/sonde/iperf3/wire"
	"github.com/sonde-net/sonde/result"
)

// A recording is a conversation with the real iperf 3.12; testdata/README.md
// describes the files.
type recording struct {
	Name    string
	Server  string `json:"server_command"`
	Clients []struct {
		Command string
		Exit    int `json:"exit_code"`
	}
	Control []conversation
	Data    []recordedFlow
}

type conversation struct {
	Client int     `json:"client_port"`
	Opened float64 `json:"opened_t"`
	Events []struct {
		T       float64
		From    string
		Event   string
		Hex     string
		Byte    string
		Name    string
		Payload string          `json:"payload_utf8"`
		Message json.RawMessage `json:"message"`
	}
}

type recordedFlow struct {
	Protocol string
	Up       int `json:"bytes_client_to_server"`
	Down     int `json:"bytes_server_to_client"`
	Segments []struct {
		T      float64
		From   string
		Length int
		Flags  string
	}
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
		all[r.Name] = r
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

// said is what one side of a recorded conversation said, in short.
func (c conversation) said(from string) (words []string) {
	for _, e := range c.Events {
		switch {
		case e.From != from:
		case e.Event == "state":
			words = append(words, e.Name)
		case e.Event != "cookie":
			words = append(words, e.Event)
		}
	}
	return words
}

// TestReplayClients plays every recorded client to our server: its control
// connection and as much data as it sent. The server must say what the real
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
	switch r.Name {
	case "auth-ok", "auth-missing": // the key of the recording is not kept
		if r.Name == "auth-missing" {
			srv.Key = testKey()
		}
	case "busy":
		srv.OneAtATime = true
	case "server-bitrate-limit":
		srv.Policy = limits(1e6, 0)
	}
	p := newPair(t, testnet.Link{Delay: time.Millisecond}, srv)
	start := time.Now()
	var wg sync.WaitGroup
	for n, c := range r.Control {
		wg.Go(func() {
			time.Sleep(time.Until(start.Add(seconds(c.Opened))))
			want := c.said("server")
			switch r.Name {
			case "server-bitrate-limit": // newer servers say why, and before any stream
				want = []string{"PARAM_EXCHANGE", "SERVER_ERROR", "error codes"}
			case "server-interrupt":
				time.AfterFunc(1646*time.Millisecond, p.stop)
			}
			if got := playClient(t, p, r, c, n); !slices.Equal(got, want) {
				t.Errorf("connection %d: our server said %v\nthe real one %v", n, got, want)
			}
		})
	}
	wg.Wait()
	switch r.Name {
	case "auth-missing", "server-bitrate-limit":
		p.stop()
		return
	case "server-interrupt":
		return
	}
	rec, err := p.run(t.Context(), Client{Duration: time.Second, Rate: 1e6})
	p.stop()
	if err != nil || rec.End(t).Up == nil {
		t.Errorf("a good client after it: %v", err)
	}
	checkReplay(t, r, p.sink.All())
}

// checkReplay: our server counted what the recorded client sent.
func checkReplay(t *testing.T, r recording, events []result.Event) {
	var want int
	for _, f := range r.Data {
		want += f.Up
		if f.Protocol == "tcp" {
			want -= wire.CookieLen
		} else {
			want -= wire.HelloLen
		}
	}
	for _, e := range events {
		if e, ok := e.(result.End); ok && strings.Contains(r.Name, "omit") == false {
			if e.Up != nil && e.Up.Received.Bytes != uint64(want) && !strings.Contains(r.Name, "reverse") {
				t.Errorf("our server counted %d bytes, the recorded client sent %d", e.Up.Received.Bytes, want)
			}
			return // the first test is the recorded one
		}
	}
}

// playClient says what the client said, and returns what our server said.
func playClient(t *testing.T, p *pair, r recording, c conversation, n int) (said []string) {
	conn, err := p.client.DialContext(t.Context(), "tcp", serverAddr+":5201")
	if err != nil {
		t.Error(err)
		return nil
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ctrl := newControl(conn)
	var data sync.WaitGroup
	defer data.Wait()
	stopData, stop := context.WithCancel(ctx)
	defer stop()
	opened := false
	var cookie []byte
	hears := func(name string) bool {
		word, err := hearServer(ctx, ctrl, name)
		if err != nil {
			return false
		}
		said = append(said, word)
		if word == "SERVER_ERROR" {
			said = append(said, "error codes")
			return false
		}
		return word == name
	}
	for _, e := range c.Events {
		if e.From == "server" {
			name := e.Name
			if e.Event == "json results" {
				name = e.Event
			}
			if e.Event == "error codes" {
				continue
			}
			if !hears(name) {
				return said
			}
			if name == "CREATE_STREAMS" && !opened && r.Name != "server-bitrate-limit" {
				opened = true
				openFlows(t, stopData, p, r, cookie, &data)
			}
			continue
		}
		switch e.Event {
		case "cookie":
			cookie = unhex(t, e.Hex)
			conn.Write(cookie) // a busy server may have closed
		case "state":
			if e.Name == "TEST_END" || e.Name == "CLIENT_TERMINATE" {
				// The time at which the recorded test ended.
				time.Sleep(seconds(e.T - c.Opened))
			}
			conn.Write(unhex(t, e.Byte))
		case "json parameters":
			conn.Write(wire.AppendBlock(nil, []byte(e.Payload)))
		case "json results":
			conn.Write(wire.AppendBlock(nil, compact(t, e.Message)))
		}
	}
	return said
}

func compact(t *testing.T, m json.RawMessage) []byte {
	r, err := wire.ParseResults(m)
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// hearServer reads what the server says next, where name is expected.
func hearServer(ctx context.Context, ctrl *control, name string) (string, error) {
	if name == "json results" {
		_, err := ctrl.block(ctx, "results", wire.MaxServerResults)
		return name, err
	}
	s, err := ctrl.state(ctx, name, 20*time.Second)
	if s != 0 {
		return s.String(), nil
	}
	return "", err
}

// openFlows opens the recorded data streams one after the other and lets them
// send what was recorded.
func openFlows(t *testing.T, ctx context.Context, p *pair, r recording, cookie []byte, wg *sync.WaitGroup) {
	udp, wide := strings.HasPrefix(r.Name, "udp"), r.Name == "udp-64bit"
	for n, f := range r.Data {
		conn, err := p.client.DialContext(ctx, f.Protocol, serverAddr+":5201")
		if err != nil {
			t.Error(err)
			return
		}
		if udp {
			conn.Write(wire.Hello[:])
			conn.SetReadDeadline(time.Now().Add(time.Second))
			b := make([]byte, 2000)
			if n, err := conn.Read(b); err != nil || !wire.IsHelloReply(b[:n]) {
				t.Errorf("answer to hello: % x, %v", b[:n], err)
			}
			conn.SetReadDeadline(time.Time{})
		} else {
			conn.Write(cookie)
		}
		_ = n
		wg.Go(func() {
			defer conn.Close()
			go func() { _, _ = io.Copy(io.Discard, conn) }() // until it is closed
			time.Sleep(50 * time.Millisecond)                // TEST_RUNNING has come
			if udp {
				sendDatagrams(conn, f, wide)
			} else {
				sendBlocks(conn, f)
			}
			<-ctx.Done()
		})
	}
}

func sendDatagrams(conn net.Conn, f recordedFlow, wide bool) {
	length := 0
	for _, s := range f.Segments {
		if s.From == "client" {
			length = max(length, s.Length)
		}
	}
	n := (f.Up - wire.HelloLen) / max(length, 1)
	for seq := range n {
		b := make([]byte, length)
		wire.Header{Sent: time.Since(started), Seq: uint64(seq) + 1}.Put(b, wide)
		conn.Write(b) // the server may have ended
		time.Sleep(100 * time.Microsecond)
	}
}

func sendBlocks(conn net.Conn, f recordedFlow) {
	left := f.Up - wire.CookieLen
	for left > 0 {
		n, err := conn.Write(make([]byte, min(left, 8192)))
		if err != nil {
			return
		}
		left -= n
		time.Sleep(100 * time.Microsecond)
	}
}

// TestReplayServers plays every recorded server to our client. The client must
// say what the real one said, its parameters byte for byte but for the wish
// for 64-bit counters, and take the server's results.
func TestReplayServers(t *testing.T) {
	for name, r := range recordings(t) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { replayServer(t, r) })
		})
	}
}

func clientOf(t *testing.T, r recording) Client {
	c := Client{Direction: result.Up}
	words := strings.Fields(r.Clients[0].Command)
	number := func(s string) (n int) {
		unit := 1
		switch s[len(s)-1] {
		case 'K':
			unit, s = 1024, s[:len(s)-1]
		case 'M':
			unit, s = 1e6, s[:len(s)-1]
		}
		if _, err := fmt.Sscan(s, &n); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		return n * unit
	}
	for i, w := range words {
		value := ""
		if i+1 < len(words) {
			value = words[i+1]
		}
		switch w {
		case "-u":
			c.UDP = true
		case "-R":
			c.Direction = result.Down
		case "--bidir":
			c.Direction = result.Both
		case "-N":
			c.NoDelay = true
		case "-t":
			c.Duration = time.Duration(number(value)) * time.Second
		case "-O":
			c.Omit = time.Duration(number(value)) * time.Second
		case "-P":
			c.Streams = number(value)
		case "-l":
			c.Length = number(value)
		case "-b":
			c.Rate = uint64(number(value))
		case "-n":
			c.Bytes = uint64(number(value))
		case "-k":
			c.Blocks = uint64(number(value))
		case "-w":
			c.Window = number(value)
		case "-M":
			c.MSS = number(value)
		case "-S":
			c.TOS = number(value)
		case "-C":
			c.Congestion = value
		case "-T":
			c.Title = value
		case "--extra-data":
			c.ExtraData = value
		case "--repeating-payload":
			c.Repeating = true
		case "--get-server-output":
			c.ServerOutput = true
		case "--username":
			c.Account, c.Password, c.Key = value, "secret", &testKey().PublicKey
		}
	}
	if r.Name == "udp-defaults" {
		c.Rate, c.Length = wire.DefaultUDPRate, 32768 // what the command line fills in; the MSS of loopback
	}
	return c
}

func replayServer(t *testing.T, r recording) {
	n := &testnet.Network{}
	client := n.Host(testnet.Link{Delay: time.Millisecond}, testnet.Link{}, clientAddr)
	server := n.Host(testnet.Link{Delay: time.Millisecond}, testnet.Link{}, serverAddr)
	l, err := server.Listen(t.Context(), "tcp4", "0.0.0.0:5201")
	if err != nil {
		t.Fatal(err)
	}
	c := clientOf(t, r)
	conv := r.Control[0]
	if r.Name == "busy" {
		conv = r.Control[1]
	}
	ctx, cancel := context.WithCancel(t.Context())
	if r.Name == "client-interrupt" {
		time.AfterFunc(1650*time.Millisecond, cancel)
	}
	done := make(chan []string, 1)
	go func() { done <- (&fakeServer{t, server, l, conv, r, nil}).serve() }()
	rec, err := (&pair{client: client}).run(ctx, c)
	cancel()
	l.Close()
	got := <-done
	time.Sleep(time.Second) // what is still on the way arrives
	want := conv.said("client")
	if r.Name == "server-bitrate-limit" {
		want = want[:1] // the connection is closed: nobody would hear more
	}
	if !slices.Equal(got, want) {
		t.Errorf("our client said %v\nthe real one %v\n%v", got, want, err)
	}
	code := map[string]string{
		"busy": result.CodeRefused, "auth-missing": result.CodeAuth, "server-bitrate-limit": result.CodeRefused,
		"server-interrupt": result.CodePeerLost, "client-interrupt": result.CodeInterrupted,
	}[r.Name]
	if result.CodeOf(err) != code {
		t.Errorf("Run = %v (%s), want %q", err, result.CodeOf(err), code)
	}
	checkFar(t, conv, rec.End(t))
}

// checkFar: what the server told stands in the End.
func checkFar(t *testing.T, c conversation, e result.End) {
	for _, ev := range c.Events {
		if ev.Event != "json results" || ev.From != "server" {
			continue
		}
		far, err := wire.ParseResults(ev.Message)
		if err != nil {
			t.Fatal(err)
		}
		var told, taken uint64
		for _, s := range far.Streams {
			told += s.Bytes
		}
		for _, d := range []result.Direction{result.Down, result.Up} {
			if v := e.Remote(d); v != nil {
				taken += v.Bytes
			}
		}
		if told != taken {
			t.Errorf("the server told %d bytes, %d are in the End", told, taken)
		}
	}
}

// A fakeServer says what a recorded server said.
type fakeServer struct {
	t    *testing.T
	host *testnet.Host
	l    net.Listener
	conv conversation
	r    recording
	open []io.Closer
}

// serve returns what the client said.
func (f *fakeServer) serve() (heard []string) {
	conn, err := f.l.Accept()
	if err != nil {
		return nil
	}
	defer conn.Close()
	defer func() {
		for _, o := range f.open {
			o.Close()
		}
	}()
	ctrl := newControl(conn)
	ctx := context.Background()
	for _, e := range f.conv.Events {
		if e.From == "client" {
			word, err := f.hear(ctx, ctrl, e.Event, e.Payload)
			if word != "" {
				heard = append(heard, word)
			}
			if err != nil {
				return heard
			}
			continue
		}
		switch e.Event {
		case "state":
			if e.Name == "TEST_START" {
				f.takeStreams()
			}
			if e.Name == "SERVER_TERMINATE" {
				time.Sleep(1646 * time.Millisecond)
			}
			conn.Write(unhex(f.t, e.Byte))
		case "json results":
			conn.Write(wire.AppendBlock(nil, e.Message))
		case "error codes":
			conn.Write(unhex(f.t, e.Hex))
		}
		if f.r.Name == "server-bitrate-limit" && e.Name == "CREATE_STREAMS" {
			f.takeStreams()
			return heard
		}
	}
	return heard
}

// hear reads what the client says next.
func (f *fakeServer) hear(ctx context.Context, ctrl *control, event, payload string) (string, error) {
	switch event {
	case "cookie":
		var b [wire.CookieLen]byte
		return "", ctrl.fill(ctx, "cookie", b[:], 10*time.Second)
	case "state":
		s, err := ctrl.state(ctx, "state", 30*time.Second)
		if err != nil {
			return "", err
		}
		return s.String(), nil
	case "json parameters":
		b, err := ctrl.block(ctx, event, wire.MaxParameters)
		if got := plain(f.t, b); err == nil && got != plain(f.t, []byte(payload)) {
			f.t.Errorf("our client's parameters\n%s\nthe real one's\n%s", got, payload)
		}
		return event, err
	}
	_, err := ctrl.block(ctx, event, wire.MaxClientResults)
	return event, err
}

// plain is parameters without what differs by chance or on purpose.
func plain(t *testing.T, b []byte) string {
	p, err := wire.ParseParameters(b)
	if err != nil {
		t.Fatal(err)
	}
	if p.AuthToken != "" {
		p.AuthToken = "token"
	}
	p.Counters64, p.ZeroCopy = false, false
	if p.PacingTimer == 500 {
		p.PacingTimer = 1000
	}
	out, err := p.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// takeStreams takes the client's data streams and what they carry.
func (f *fakeServer) takeStreams() {
	for _, flow := range f.r.Data {
		if flow.Protocol == "udp" {
			continue
		}
		c, err := f.l.Accept()
		if err != nil {
			return
		}
		f.open = append(f.open, c)
		go func() { _, _ = io.Copy(io.Discard, c) }() // until it is closed
	}
	udp := slices.ContainsFunc(f.r.Data, func(r recordedFlow) bool { return r.Protocol == "udp" })
	if !udp {
		return
	}
	c, err := f.host.ListenPacket(context.Background(), "udp4", "0.0.0.0:5201")
	if err != nil {
		f.t.Error(err)
		return
	}
	f.open = append(f.open, c)
	seen := make(chan struct{}, len(f.r.Data))
	go func() {
		for b := make([]byte, 65536); ; {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			if wire.IsHello(b[:n]) {
				reply := wire.AnswerTo(b[:n])
				c.WriteTo(reply[:], from)
				seen <- struct{}{}
			}
		}
	}()
	for range f.r.Data {
		<-seen
	}
}
