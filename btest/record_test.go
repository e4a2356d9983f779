package btest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sonde-net/sonde/btest/wire"
	"github.com/sonde-net/sonde/internal/sock"
	"github.com/sonde-net/sonde/internal/transcript"
	"github.com/sonde-net/sonde/result"
)

// A studio is a server, a recorder in front of it and a client, on loopback.
type studio struct {
	server net.Listener
	front  net.Listener
	said   []string
	out    bytes.Buffer
}

// listenOn listens for TCP on a free port of ip.
func listenOn(t *testing.T, ip string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// record lets the two ends of a recording test against each other through a
// Recorder, and returns what that wrote.
func (s *studio) record(t *testing.T, rec *transcript.Recording, clientIP string) (*transcript.Recording, *tally, *tally) {
	t.Helper()
	r := &Recorder{To: s.server.Addr().String(), Once: true, Name: "again", Server: "a", Client: "b",
		Say: func(line string) { s.said = append(s.said, line) }}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.Serve(ctx, s.front, &s.out); err != nil {
			t.Errorf("recorder: %v", err)
		}
	})
	var served *tally
	server := &peer{rec: rec, side: transcript.Server, twin: true,
		connect: func(context.Context, int) (net.Conn, error) { return s.server.Accept() }}
	wg.Go(func() {
		var err error
		if served, err = server.run(ctx); err != nil {
			t.Errorf("server: %v", err)
		}
	})
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(clientIP)}}
	client := &peer{rec: rec, side: transcript.Client, twin: true, duration: 1200 * time.Millisecond,
		connect: func(ctx context.Context, _ int) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", s.front.Addr().String())
		}}
	tested, err := client.run(ctx)
	if err != nil {
		t.Errorf("client: %v", err)
		cancel()
		s.server.Close()
	}
	wg.Wait()
	again, err := transcript.ReadJSON(bytes.NewReader(s.out.Bytes()))
	if err != nil {
		t.Fatalf("what was recorded is not read: %v\n%s", err, s.out.String())
	}
	return again, tested, served
}

// handshake lists the messages before the data, connection by connection.
func handshake(rec *transcript.Recording) (said []string) {
	for _, l := range decode(rec) {
		if l.conn > 0 && l.kind != kindStatus && l.kind != kindData && l.kind != kindUnknown {
			said = append(said, fmt.Sprintf("#%d %v %s %d bytes", l.conn, l.from, l.name, l.length))
		}
	}
	slices.SortStableFunc(said, func(a, b string) int { return strings.Compare(a[:3], b[:3]) })
	return said
}

// TestRecorder: the recorder is transparent, and what it writes decodes to the
// conversation that took place.
func TestRecorder(t *testing.T) {
	for _, name := range []string{"rs-tcp-both-md5", "rs-tcp-multi-both-ecsrp5", "rs-udp-both-md5", "rs-udp-multi-both-noauth", "c-server-md5-ok"} {
		t.Run(name, func(t *testing.T) {
			rec := golden(t, name)
			s := &studio{server: listenOn(t, "127.0.0.1"), front: listenOn(t, "127.0.0.1")}
			again, tested, served := s.record(t, rec, "127.0.0.1")
			if tested == nil || served == nil {
				t.Fatal("the test did not take place")
			}
			if d := cmp.Diff(handshake(rec), handshake(again)); d != "" {
				t.Errorf("handshake (-golden +recorded):\n%s", d)
			}
			checkRecorded(t, again, tested, served)
			if len(s.said) == 0 || !strings.Contains(s.said[0], "#1 server: hello") {
				t.Errorf("said %q", s.said)
			}
		})
	}
}

// checkRecorded compares amounts: nothing is in the recording that neither
// end sent, and of what came through all is.
func checkRecorded(t *testing.T, rec *transcript.Recording, tested, served *tally) {
	t.Helper()
	for _, l := range decode(rec) {
		if l.kind == kindUnknown {
			t.Errorf("recorded at %v: %s", l.at, l.line(true))
		}
	}
	bulk := map[transcript.Side]uint64{}
	udp := map[transcript.Side]uint64{}
	for i := range rec.Events {
		switch e := &rec.Events[i]; {
		case e.Kind.UDP():
			udp[e.From] += uint64(e.Bytes())
		case e.Kind == transcript.Zeros:
			bulk[e.From] += uint64(e.Len)
		}
	}
	if len(udp) > 0 {
		bulk = udp
	}
	for _, way := range []struct {
		from       transcript.Side
		sent, came uint64
	}{{transcript.Client, tested.Sent, served.Received}, {transcript.Server, served.Sent, tested.Received}} {
		if way.sent > 0 && way.came == 0 {
			t.Errorf("of the %v's %d bytes nothing came through", way.from, way.sent)
		}
		// Statuses among the zeros are literal; the client's close cuts the end off.
		if got := bulk[way.from]; got > way.sent+1000 || got+1000 < way.came {
			t.Errorf("recorded %d bytes from the %v, which sent %d; %d came through", got, way.from, way.sent, way.came)
		}
	}
	if len(rec.Events) > 300 {
		t.Errorf("%d events for a second of traffic", len(rec.Events))
	}
}

// TestRecorderKeepsPorts: with three addresses each device talks to the very
// ports that the protocol has. Only Linux answers on all of 127.0.0.0/8.
func TestRecorderKeepsPorts(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs 127.0.0.2 and 127.0.0.3, which " + runtime.GOOS + " does not have by itself")
	}
	rec := golden(t, "rs-udp-both-noauth")
	s := &studio{server: listenOn(t, "127.0.0.1"), front: listenOn(t, "127.0.0.2")}
	again, tested, served := s.record(t, rec, "127.0.0.3")
	if tested == nil || served == nil {
		t.Fatal("the test did not take place")
	}
	if len(again.Notes) > 0 {
		t.Errorf("notes: %q", again.Notes)
	}
	var announced uint16
	for _, l := range decode(again) {
		if l.kind == kindPort {
			announced, _ = wire.ParsePort(l.raw)
		}
	}
	for i := range again.Events {
		e := &again.Events[i]
		if !e.Kind.UDP() {
			continue
		}
		server, client := e.Src.Port(), e.Dst.Port()
		if e.From == transcript.Client {
			server, client = client, server
		}
		if server != announced || client != announced+wire.ClientPort {
			t.Fatalf("datagrams between %d and %d, announced was %d", server, client, announced)
		}
	}
	checkRecorded(t, again, tested, served)
}

// TestRecorderHoldsAnnouncement: an announcement that comes in two pieces, or
// after a second "go", is changed as a whole.
func TestRecorderHoldsAnnouncement(t *testing.T) {
	for _, tt := range []struct {
		name  string
		login bool
		tail  string
	}{
		{"whole", false, "\x01\x00\x00\x00PP"},
		{"second go", true, "\x01\x00\x00\x00\x01\x00\x00\x00PP"},
	} {
		for cut := range len(tt.tail) + 1 {
			server, front := listenOn(t, "127.0.0.1"), listenOn(t, "127.0.0.1")
			taken, port := takenPort(t) // as if the server had it
			answer := strings.Replace(tt.tail, "PP", string([]byte{byte(port >> 8), byte(port)}), 1)
			command := []byte{0, 3, 1, 0, 0xdc, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
			got := throughRecorder(t, server, front, command, tt.login, answer, cut)
			taken.Close()
			if len(got) != len(answer) || got[:len(got)-2] != answer[:len(answer)-2] || got[len(got)-2:] == answer[len(answer)-2:] {
				t.Errorf("%s, cut at %d: client got % x, server said % x: want another port at the end", tt.name, cut, got, answer)
			}
		}
	}
}

// takenPort binds a UDP port that a server could announce.
func takenPort(t *testing.T) (net.PacketConn, uint16) {
	t.Helper()
	for {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if p := sock.AddrPort(c.LocalAddr()).Port(); p <= wire.MaxUDPPort {
			return c, p
		}
		c.Close()
	}
}

// throughRecorder returns what a client gets of an answer that comes in two
// pieces.
func throughRecorder(t *testing.T, server, front net.Listener, command []byte, login bool, answer string, cut int) string {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	var out bytes.Buffer
	wg.Go(func() {
		if err := (&Recorder{To: server.Addr().String()}).Serve(ctx, front, &out); err != nil {
			t.Errorf("recorder: %v", err)
		}
	})
	wg.Go(func() {
		c, err := server.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		before := []byte{1, 0, 0, 0}
		c.Write(before)
		need := len(command)
		if login {
			need += wire.ResponseLen
			c.Write(append([]byte{2, 0, 0, 0}, make([]byte, challengeLen)...))
		}
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		for b := make([]byte, 64); need > 0; {
			n, err := c.Read(b)
			if err != nil {
				t.Errorf("server: %v", err)
				return
			}
			need -= n
		}
		c.Write([]byte(answer[:cut]))
		time.Sleep(3 * time.Millisecond) // so that it is read in two pieces
		c.Write([]byte(answer[cut:]))
	})
	c, err := net.Dial("tcp", front.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	skip := wire.HelloLen
	c.Write(command)
	if login {
		skip += wire.ReplyLen + challengeLen
		c.Write(make([]byte, wire.ResponseLen))
	}
	var got bytes.Buffer
	if _, err := got.ReadFrom(c); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Errorf("client: %v", err)
	}
	return got.String()[min(skip, got.Len()):]
}

// TestRecorderEnds: a cancel ends it at once with all connections, and what
// was recorded is written; a server that is not there is noted.
func TestRecorderEnds(t *testing.T) {
	server, front := listenOn(t, "127.0.0.1"), listenOn(t, "127.0.0.1")
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	done := make(chan error, 1)
	go func() { done <- (&Recorder{To: server.Addr().String()}).Serve(ctx, front, &out) }()
	c, err := net.Dial("tcp", front.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	far, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	far.Write(wire.Hello[:])
	c.Read(make([]byte, 4))
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("Serve = %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the recorder goes on after its context has ended")
	}
	rec, err := transcript.ReadJSON(&out)
	if err != nil || len(rec.Events) != 2 || rec.Events[1].Len != 4 {
		t.Errorf("recorded %v, %v; want the connection and the hello", rec, err)
	}
}

func TestRecorderWithoutServer(t *testing.T) {
	gone := listenOn(t, "127.0.0.1")
	gone.Close()
	front := listenOn(t, "127.0.0.1")
	var out bytes.Buffer
	done := make(chan error, 1)
	go func() {
		done <- (&Recorder{To: gone.Addr().String(), Once: true}).Serve(t.Context(), front, &out)
	}()
	c, err := net.Dial("tcp", front.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Error("the client is not hung up on")
	}
	if err := <-done; err != nil {
		t.Errorf("Serve = %v", err)
	}
	rec, err := transcript.ReadJSON(&out)
	if err != nil || len(rec.Notes) != 1 || !strings.Contains(rec.Notes[0], "cannot be reached") {
		t.Errorf("recorded %+v, %v", rec, err)
	}
}

func TestRecorderRefuses(t *testing.T) {
	if err := (&Recorder{To: "host:99999"}).Run(t.Context(), &bytes.Buffer{}); result.ExitCode(err) != 2 && !strings.Contains(fmt.Sprint(err), "99999") {
		t.Errorf("Run to a bad port = %v, exit %d", err, result.ExitCode(err))
	}
	taken := listenOn(t, "127.0.0.1")
	err := (&Recorder{Listen: taken.Addr().String(), To: "127.0.0.1"}).Run(t.Context(), &bytes.Buffer{})
	if result.ExitCode(err) != 6 || result.HintOf(err) == "" {
		t.Errorf("Run on a taken port = %v, exit %d, hint %q", err, result.ExitCode(err), result.HintOf(err))
	}
}
