package iperf3

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sonde-net/sonde/internal/testserve"
	"github.com/sonde-net/sonde/iperf3/auth"
	"github.com/sonde-net/sonde/iperf3/wire"
	"github.com/sonde-net/sonde/result"
)

// These tests run against the real iperf3 where it is installed.

// theirs is the path of the real iperf3; the test is skipped without it.
func theirs(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("iperf3")
	if err != nil {
		t.Skip("iperf3 is not installed")
	}
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	return path
}

// freePort is a port that nobody has just now.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// theirServer starts a real server and returns its port.
func theirServer(t *testing.T, args ...string) int {
	t.Helper()
	path, port := theirs(t), freePort(t)
	cmd := exec.Command(path, append([]string{"-s", "-p", strconv.Itoa(port)}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("server: %s", out.String())
		}
	})
	awaitListening(t, port)
	return port
}

// awaitListening waits for a real server to listen, and to be done with the test
// before. Between two tests it does not listen, for a moment.
func awaitListening(t *testing.T, port int) {
	t.Helper()
	in := 0
	for range 500 {
		time.Sleep(10 * time.Millisecond)
		if in++; !listening(port) {
			in = 0
		}
		if in == 5 {
			return
		}
	}
	t.Fatal("the real server does not listen")
}

// listening looks without connecting: a connection would be a test. A server that
// has one still is not ready for the next.
func listening(port int) (ready bool) {
	b, err := os.ReadFile("/proc/net/tcp6")
	four, _ := os.ReadFile("/proc/net/tcp")
	for line := range strings.Lines(string(b) + string(four)) {
		f := strings.Fields(line) // number, local address, remote address, state
		if len(f) < 4 || !strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
			continue
		}
		switch f[3] {
		case "0A": // LISTEN
			ready = true
		case "01", "03", "08": // ESTABLISHED, SYN_RECV, CLOSE_WAIT
			return false
		}
	}
	return err == nil && ready
}

// ourServer starts our server and returns its port.
func ourServer(t *testing.T, s *Server) int {
	t.Helper()
	target, _ := testserve.Loopback(t, s.Serve)
	return int(netip.MustParseAddrPort(target).Port())
}

// document collects what a Client reports into iperf3's document.
func document(r *wire.Report, lines io.Writer) func(string, any) {
	return func(event string, data any) {
		switch d := data.(type) {
		case wire.ReportStart:
			r.Start = d
		case wire.ReportInterval:
			r.Intervals = append(r.Intervals, d)
		case wire.ReportEnd:
			r.End = d
		case json.RawMessage:
			r.ServerDocument = d
		case string:
			if event == wire.EventServerText {
				r.ServerText = d
			} else {
				r.Error = d
			}
		}
		if lines != nil {
			line, err := wire.AppendEvent(nil, event, data)
			if err == nil {
				lines.Write(line)
			}
		}
	}
}

// TestOurClient runs our client in every mode against the real server.
func TestOurClient(t *testing.T) {
	port := theirServer(t)
	for name, c := range map[string]Client{
		"TCP":             {Rate: 8e6},
		"TCP unlimited":   {},
		"TCP reverse":     {Direction: result.Down, Rate: 8e6},
		"TCP both ways":   {Direction: result.Both, Rate: 8e6},
		"TCP -P 4":        {Streams: 4, Rate: 2e6},
		"TCP bidir -P 2":  {Direction: result.Both, Streams: 2, Rate: 2e6},
		"TCP -O 1":        {Omit: time.Second, Rate: 8e6},
		"TCP -n 100M":     {Bytes: 100 << 20},
		"TCP -R -n 10M":   {Direction: result.Down, Bytes: 10 << 20},
		"TCP -k 20":       {Blocks: 20, Length: 10000},
		"TCP options":     {Rate: 8e6, NoDelay: true, Window: 65536, TOS: 16, Congestion: "cubic", Title: "a <b>", ServerOutput: true},
		"UDP":             {UDP: true, Rate: 8e6},
		"UDP reverse":     {UDP: true, Direction: result.Down, Rate: 8e6},
		"UDP both ways":   {UDP: true, Direction: result.Both, Rate: 4e6, Streams: 2},
		"UDP -O 1":        {UDP: true, Omit: time.Second, Rate: 4e6},
		"UDP -R -O 1":     {UDP: true, Direction: result.Down, Omit: time.Second, Rate: 4e6},
		"UDP -l 8000":     {UDP: true, Rate: 8e6, Length: 8000},
		"UDP -n 1M":       {UDP: true, Bytes: 1 << 20, Rate: 20e6},
		"with its output": {Rate: 8e6, ServerOutput: true},
	} {
		t.Run(name, func(t *testing.T) {
			awaitListening(t, port)
			testOurClient(t, port, c)
		})
	}
}

func testOurClient(t *testing.T, port int, c Client) {
	c.Target = fmt.Sprintf("127.0.0.1:%d", port)
	if c.Bytes == 0 && c.Blocks == 0 {
		c.Duration = time.Second
	}
	if c.Direction == 0 {
		c.Direction = result.Up
	}
	var doc wire.Report
	var e result.End
	for n := range 3 {
		doc = wire.Report{}
		c.Report = document(&doc, nil)
		r := &testserve.Record{}
		if err := c.Run(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		e = r.End(t)
		odd := oddAmounts(c, e)
		if odd == "" {
			break
		}
		if n == 2 {
			t.Fatal(odd)
		}
		t.Logf("once more: %s", odd) // the machine stood still, most likely: not three times
		awaitListening(t, port)
	}
	for _, way := range c.Direction.Each() {
		total := e.Total(way)
		if way == result.Up && c.Bytes > 0 && (total.Sent.Bytes < c.Bytes || total.Sent.Bytes > c.Bytes+131072) {
			t.Errorf("sent %d bytes, want %d", total.Sent.Bytes, c.Bytes)
		}
	}
	if c.ServerOutput && !strings.Contains(doc.ServerText, "Accepted connection") {
		t.Errorf("the server's output is %q", doc.ServerText)
	}
	if len(doc.Start.Connected) == 0 || doc.End.SumSent == nil || doc.End.SumReceived == nil || doc.End.CPU == nil {
		t.Errorf("document %+v", doc)
	}
}

// oddAmounts says what is wrong with how much moved in a second; empty: nothing.
func oddAmounts(c Client, e result.End) string {
	want := float64(max(c.Streams, 1)) * float64(c.Rate) / 8
	for _, way := range c.Direction.Each() {
		total := e.Total(way)
		if total == nil || total.Sent == nil || total.Received == nil {
			return fmt.Sprintf("%v: %+v", way, e)
		}
		sent, received := float64(total.Sent.Bytes), float64(total.Received.Bytes)
		if sent == 0 || received < 0.7*sent && c.Rate > 0 || received > 1.05*sent+400_000 { // a real server drops what is on the way at the end
			return fmt.Sprintf("%v: sent %.0f bytes, received %.0f", way, sent, received)
		}
		if c.Rate > 0 && c.Bytes == 0 && (sent < 0.3*want || sent > 1.15*want+float64(4*131072)) { // a busy machine may send less
			return fmt.Sprintf("%v: sent %.0f bytes in 1s, want %.0f", way, sent, want)
		}
	}
	return ""
}

// TestTheirClient runs the real client in every mode against our server, and
// reads its document.
func TestTheirClient(t *testing.T) {
	path := theirs(t)
	sink := &testserve.Record{}
	port := ourServer(t, &Server{Sink: sink})
	for _, args := range []string{
		"-b 8M", "", "-R -b 8M", "--bidir -b 8M", "-P 4 -b 2M", "--bidir -P 2 -b 2M", "-O 1 -b 8M",
		"-n 100M", "-R -n 10M", "-k 20 -l 10000", "-b 8M -N -w 64K -S 16 -C cubic -T title --extra-data x",
		"-b 8M --get-server-output", "-R -b 8M -P 2 -Z",
		"-u -b 8M", "-u -R -b 8M", "-u --bidir -b 4M -P 2", "-u -O 1 -b 4M", "-u -R -O 1 -b 4M", "-u -b 8M -l 8000",
		"-u -b 8M --udp-counters-64bit", "-u -b 20M -n 1M", "-u -R -b 8M -P 4 -l 1000", "-u -b 8M --repeating-payload --dont-fragment -l 1000",
	} {
		t.Run(args, func(t *testing.T) {
			out := runTheirs(t, path, port, args)
			// The buffer of the real client overflows when it stands still: not three times.
			for n := 0; n < 2 && (strings.Contains(args, "-R") || strings.Contains(args, "--bidir")) && lostAny(out); n++ {
				t.Log("once more: the real client lost some")
				out = runTheirs(t, path, port, args)
			}
			checkTheirs(t, args, out)
		})
	}
}

// runTheirs runs the real client and returns its document.
func runTheirs(t *testing.T, path string, port int, args string) wire.Report {
	t.Helper()
	words := append([]string{"-c", "127.0.0.1", "-p", strconv.Itoa(port), "-J"}, strings.Fields(args)...)
	if !strings.Contains(args, "-n ") && !strings.Contains(args, "-k ") {
		words = append(words, "-t", "1")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	b, err := exec.CommandContext(ctx, path, words...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", words, err, b)
	}
	var doc wire.Report
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	if doc.Error != "" {
		t.Fatalf("it says %q", doc.Error)
	}
	return doc
}

// lostAny tells whether datagrams were lost.
func lostAny(doc wire.Report) bool {
	for _, f := range []*wire.ReportFigures{doc.End.SumReceived, doc.End.SumReceivedReverse} {
		if f != nil && f.LostPackets != nil && *f.LostPackets != 0 {
			return true
		}
	}
	return false
}

func checkTheirs(t *testing.T, args string, doc wire.Report) {
	t.Helper()
	sums := [][2]*wire.ReportFigures{{doc.End.SumSent, doc.End.SumReceived}}
	if strings.Contains(args, "--bidir") && strings.Contains(args, "-u") {
		sums = append(sums, [2]*wire.ReportFigures{doc.End.SumSentReverse, doc.End.SumReceivedReverse})
	}
	for _, s := range sums {
		sent, received := s[0], s[1]
		if sent == nil || received == nil || sent.Bytes == 0 || received.Bytes == 0 {
			t.Fatalf("sent %+v, received %+v", sent, received)
		}
		// Where the real client receives it stops counting at the end of its
		// time; what is omitted each end decides by its own clock.
		slack := 200_000 + 0.1*float64(sent.Bytes)
		if d := float64(received.Bytes) - float64(sent.Bytes); d > 0 && !strings.Contains(args, "-O") || d > 3*slack || d < -3*slack && strings.Contains(args, "-b") {
			t.Errorf("sent %d bytes, received %d", sent.Bytes, received.Bytes)
		}
		if !strings.Contains(args, "-R") && !strings.Contains(args, "--bidir") && !strings.Contains(args, "-O") && sent.Bytes != received.Bytes {
			t.Errorf("sent %d bytes, our server received %d", sent.Bytes, received.Bytes)
		}
		if strings.Contains(args, "-u") && received.LostPackets != nil && *received.LostPackets != 0 {
			t.Errorf("lost %d of %d", *received.LostPackets, *received.Packets)
		}
	}
	if strings.Contains(args, "server-output") && !strings.Contains(doc.ServerText, "Accepted connection") {
		t.Errorf("our output is %q", doc.ServerText)
	}
}

// TestLogin: both roles log in, and are turned away, with the padding that
// 3.12 knows.
func TestLogin(t *testing.T) {
	path := theirs(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, b []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		if kind != "" {
			b = pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b})
		}
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	privateFile := write("private.pem", "PRIVATE KEY", private, err)
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	publicFile := write("public.pem", "PUBLIC KEY", public, err)
	list, err := auth.AppendUser(nil, "alice", "secret")
	users := write("users.csv", "", list, err)

	t.Run("our client", func(t *testing.T) {
		port := theirServer(t, "--rsa-private-key-path", privateFile, "--authorized-users-path", users)
		for password, code := range map[string]string{"secret": "", "wrong": result.CodeAuth} {
			awaitListening(t, port)
			c := Client{Target: fmt.Sprintf("127.0.0.1:%d", port), Duration: time.Second, Rate: 1e6,
				Account: "alice", Password: password, Key: &key.PublicKey}
			if err := c.Run(t.Context(), result.Discard); result.CodeOf(err) != code {
				t.Errorf("password %q: %v, want %q", password, err, code)
			}
		}
		awaitListening(t, port)
		c := Client{Target: fmt.Sprintf("127.0.0.1:%d", port), Duration: time.Second}
		if err := c.Run(t.Context(), result.Discard); result.CodeOf(err) != result.CodeAuth {
			t.Errorf("without a login: %v", err)
		}
	})
	t.Run("their client", func(t *testing.T) {
		known, err := auth.ParseUsers(string(list))
		if err != nil {
			t.Fatal(err)
		}
		sink := &testserve.Record{}
		port := ourServer(t, &Server{Key: key, Users: known, Sink: sink})
		for password, want := range map[string]string{"secret": "", "wrong": "authorization failed"} {
			cmd := exec.Command(path, "-c", "127.0.0.1", "-p", strconv.Itoa(port), "-t", "1", "-b", "1M",
				"--username", "alice", "--rsa-public-key-path", publicFile)
			cmd.Env = append(os.Environ(), "IPERF3_PASSWORD="+password)
			b, err := cmd.CombinedOutput()
			if (err != nil) != (want != "") || !strings.Contains(string(b), want) {
				t.Errorf("password %q: %v\n%s", password, err, b)
			}
		}
	})
}

// TestTheirBusyServer: who comes second to a real server is told so.
func TestTheirBusyServer(t *testing.T) {
	port := theirServer(t)
	target := fmt.Sprintf("127.0.0.1:%d", port)
	first, begun := make(chan error, 1), make(chan struct{})
	go func() {
		first <- (&Client{Target: target, Duration: 3 * time.Second, Rate: 1e6}).Run(t.Context(), result.Func(func(e result.Event) {
			if _, ok := e.(result.Begin); ok {
				close(begun)
			}
		}))
	}()
	select {
	case <-begun:
	case err := <-first:
		t.Fatalf("first client: %v", err)
	}
	err := (&Client{Target: target, Duration: time.Second}).Run(t.Context(), result.Discard)
	if result.CodeOf(err) != result.CodeRefused || !strings.Contains(err.Error(), "busy") {
		t.Errorf("second client: %v", err)
	}
	if err := <-first; err != nil {
		t.Errorf("first client: %v", err)
	}
}

// TestOurLimits: the real client understands our refusals.
func TestOurLimits(t *testing.T) {
	path := theirs(t)
	for _, tt := range []struct {
		srv  *Server
		args string
		want string
	}{
		{&Server{Policy: limits(1e6, 0)}, "-t 1 -b 2M", "total required bandwidth is larger than server limit"},
		{&Server{Policy: limits(0, 5*time.Second)}, "-t 6 -b 2M", "37"}, // 3.12 has no words for it
		{&Server{Policy: refusal{}}, "-t 1", "busy"},
	} {
		port := ourServer(t, tt.srv)
		words := append([]string{"-c", "127.0.0.1", "-p", strconv.Itoa(port)}, strings.Fields(tt.args)...)
		b, err := exec.Command(path, words...).CombinedOutput()
		if err == nil || !strings.Contains(string(b), tt.want) {
			t.Errorf("%s: %v\n%s", tt.args, err, b)
		}
	}
}
