package report

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sonde-net/sonde/result"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var riga = time.FixedZone("EET", 2*60*60)

// logins are one that succeeded and one that did not.
func logins() []result.Event {
	peer := tcpLost()[0].(result.Begin).Peer
	head := result.Head{Time: began, Protocol: "btest", Role: result.Server}
	return []result.Event{
		result.Note{Head: head, Level: result.Info, Code: result.NoteAuthSuccess, Text: "ann logged in",
			Login: &result.Login{Peer: peer, Account: "ann", Method: "ecsrp5"}},
		result.Note{Head: head, Level: result.Warning, Code: result.NoteAuthFailure, Text: "wrong password",
			Login: &result.Login{Peer: peer, Account: "bad name", Method: "md5", Reason: "wrong password"}},
		result.Note{Head: head, Level: result.Warning, Code: "open", Text: "no login: not an event"},
	}
}

// texts are what the events of logins, tcpLost and udpBoth look like.
var texts = []string{
	"AUTH_SUCCESS peer=198.51.100.7:51022 user=ann type=ecsrp5",
	`AUTH_FAILURE peer=198.51.100.7:51022 user="bad name" type=md5 reason="wrong password"`,
	"TEST_START peer=198.51.100.7:51022 proto=TCP dir=RX connections=2",
	"TEST_END peer=198.51.100.7:51022 proto=TCP dir=RX duration=1s tx_avg=0.00Mbps rx_avg=936.00Mbps tx_bytes=0 rx_bytes=117000000 lost=-",
	"TEST_START peer=192.0.2.1 proto=UDP dir=both connections=1",
	"TEST_END peer=192.0.2.1 proto=UDP dir=both duration=2s tx_avg=98.13Mbps rx_avg=423.94Mbps tx_bytes=24532352 rx_bytes=105984000 lost=72",
}

// sent starts a sink, puts the sample events and closes it.
func sent(t *testing.T, c SyslogConfig) {
	t.Helper()
	c.Host, c.Location = "edge", time.UTC
	s, err := Syslog(c)
	if err != nil {
		t.Fatal(err)
	}
	put(s, logins(), tcpLost(), udpBoth(), refused())
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error("closed again:", err)
	}
	if len(s.begins) != 0 {
		t.Errorf("%d runs are still kept", len(s.begins))
	}
}

// bodies cuts the header off messages in the layout of RFC 3164.
func bodies(t *testing.T, messages []string) []string {
	t.Helper()
	var b []string
	for _, m := range messages {
		_, body, ok := strings.Cut(m, " edge sonde: ")
		if !ok {
			t.Fatalf("message %q", m)
		}
		b = append(b, body)
	}
	return b
}

func TestSyslogUDP(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sent(t, SyslogConfig{Address: conn.LocalAddr().String()}) // no scheme: as --syslog HOST:PORT of btest-rs
	var got []string
	buf := make([]byte, 4096)
	for range texts {
		if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(buf[:n]))
	}
	if d := cmp.Diff(texts, bodies(t, got)); d != "" {
		t.Errorf("messages (-want +got):\n%s", d)
	}
}

// readFrames reads messages with octet counting until the sender closes.
func readFrames(r io.Reader) ([]string, error) {
	br := bufio.NewReader(r)
	var frames []string
	for {
		digits, err := br.ReadString(' ')
		if errors.Is(err, io.EOF) && digits == "" {
			return frames, nil
		}
		if err != nil {
			return frames, err
		}
		n, err := strconv.Atoi(strings.TrimSuffix(digits, " "))
		if err != nil || n > longest5424 {
			return frames, fmt.Errorf("length %q: %w", digits, err)
		}
		frame := make([]byte, n)
		if _, err := io.ReadFull(br, frame); err != nil {
			return frames, err
		}
		frames = append(frames, string(frame))
	}
}

func TestSyslogStreams(t *testing.T) {
	cert, pool := certificate(t)
	for _, tt := range []struct {
		scheme string
		server *tls.Config
		client Dialer
	}{
		{"tcp", nil, nil},
		{"tls", &tls.Config{Certificates: []tls.Certificate{cert}}, (&tls.Dialer{Config: &tls.Config{RootCAs: pool}}).DialContext},
	} {
		t.Run(tt.scheme, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if tt.server != nil {
				l = tls.NewListener(l, tt.server)
			}
			received := make(chan []string, 1)
			go func() {
				defer close(received)
				conn, err := l.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				frames, err := readFrames(conn)
				if err != nil {
					t.Error(err)
				}
				received <- frames
			}()
			sent(t, SyslogConfig{Address: tt.scheme + "://" + l.Addr().String(), Secure: tt.client})
			if d := cmp.Diff(texts, bodies(t, <-received)); d != "" {
				t.Errorf("messages (-want +got):\n%s", d)
			}
		})
	}
}

// certificate makes a certificate for 127.0.0.1 and a pool that trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// An untrusted receiver gets nothing.
func TestSyslogTLSUntrusted(t *testing.T) {
	cert, _ := certificate(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if b, _ := io.ReadAll(conn); len(b) > 0 {
				t.Errorf("received %q", b)
			}
			conn.Close()
		}
	}()
	s, err := Syslog(SyslogConfig{Address: "tls://" + l.Addr().String(), Flush: 200 * ms})
	if err != nil {
		t.Fatal(err)
	}
	put(s, logins())
	if err := s.Close(); err == nil || !strings.Contains(err.Error(), "2 events could not be sent") {
		t.Errorf("Close = %v, want 2 events unsent", err)
	}
	l.Close()
	<-done
}

// A receiver that goes away and comes back gets what happened meanwhile.
func TestSyslogReconnects(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var log bytes.Buffer
	s, err := Syslog(SyslogConfig{Address: "tcp://" + l.Addr().String(), Host: "edge", Location: time.UTC, Flush: 5 * time.Second,
		Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s.Put(logins()[0])
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 2048)
	if n, err := conn.Read(first); err != nil || !strings.Contains(string(first[:n]), texts[0]) {
		t.Fatalf("first = %q, %v", first[:n], err)
	}
	conn.Close()
	back, frames := make(chan bool), make(chan []string, 1)
	go func() {
		defer close(frames)
		conn, err := l.Accept()
		close(back)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		got, err := readFrames(conn)
		if err != nil {
			t.Error(err)
		}
		frames <- got
	}()
	// What is written before the close has come is lost, as TCP has no answers.
	for again := true; again; {
		s.Put(logins()[1])
		select {
		case <-back:
			again = false
		case <-time.After(10 * ms):
		}
	}
	s.Put(logins()[0])
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	got := bodies(t, <-frames)
	if len(got) < 2 || got[0] != texts[1] || got[len(got)-1] != texts[0] {
		t.Errorf("messages after the return: %q", got)
	}
}

// Without a receiver Put does not wait, and what has no room is counted.
func TestSyslogNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	var log bytes.Buffer
	s, err := Syslog(SyslogConfig{Address: "tcp://" + address, Queue: 4, Flush: 300 * ms, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		s.Put(logins()[0])
	}
	if n := s.Dropped(); n < 90 {
		t.Errorf("%d dropped of 100 with room for 4", n)
	}
	if err := s.Close(); err == nil || !strings.Contains(err.Error(), "100 events could not be sent") {
		t.Errorf("Close = %v, want 100 events unsent", err)
	}
	s.Put(logins()[0])
	if n := s.Dropped(); n != 101 {
		t.Errorf("%d dropped after Close, want 101", n)
	}
	if n := strings.Count(log.String(), "cannot be reached"); n != 1 {
		t.Errorf("told %d times that the receiver is gone, want once: %s", n, &log)
	}
}

// A receiver that takes nothing must not hold up Close.
func TestSyslogStuck(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := Syslog(SyslogConfig{Address: "tcp://" + l.Addr().String(), Queue: 1 << 16, Flush: 300 * ms})
	if err != nil {
		t.Fatal(err)
	}
	for range 1 << 16 {
		s.Put(logins()[0])
	}
	start := time.Now()
	if err := s.Close(); err == nil {
		t.Skip("the socket buffers took all of it")
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("Close took %v: it waited for the receiver, which takes nothing for ever", took)
	}
}

func TestSyslogConfig(t *testing.T) {
	for _, address := range []string{"", "ftp://192.0.2.1", "udp://", "tcp://192.0.2.1:nonsense", "udp://192.0.2.1/path", "192.0.2.1:99999"} {
		if _, err := Syslog(SyslogConfig{Address: address}); result.ExitCode(err) != 2 || !strings.Contains(err.Error(), strconv.Quote(address)) {
			t.Errorf("Syslog(%q) = %v, want wrong usage that names it", address, err)
		}
	}
	if _, err := Syslog(SyslogConfig{Address: "192.0.2.1", Format: "rfc1"}); result.ExitCode(err) != 2 {
		t.Errorf("Syslog with format rfc1 = %v", err)
	}
	for address, want := range map[string]string{
		"192.0.2.1": "192.0.2.1:514", "tcp://log.example": "log.example:514", "tls://[2001:db8::1]": "[2001:db8::1]:6514", "udp://[::1]:5514": "[::1]:5514",
	} {
		if l, err := newSyslogLine(SyslogConfig{Address: address}); err != nil || l.address != want {
			t.Errorf("address %q = %+v, %v, want %s", address, l, err, want)
		}
	}
}
