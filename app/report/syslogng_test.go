package report

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// syslogNG starts syslog-ng with the example of docs/syslog-ng on free ports
// of the loopback interface, and returns them with the folder of its files.
func syslogNG(t *testing.T) (udp, tcp int, folder string) {
	t.Helper()
	program, err := exec.LookPath("syslog-ng")
	if err != nil {
		program = "/usr/sbin/syslog-ng" // not in every user's PATH
		if _, err := os.Stat(program); err != nil {
			t.Skip("syslog-ng is not installed: apt-get install syslog-ng-core")
		}
	}
	folder = t.TempDir()
	udp, tcp = freePort(t, "udp"), freePort(t, "tcp")
	config := filepath.Join(folder, "syslog-ng.conf")
	if err := os.WriteFile(config, []byte(exampleConfig(t, udp, tcp, folder)), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command(program, "--foreground", "--stderr", "--no-caps", "--cfgfile="+config,
		"--persist-file="+filepath.Join(folder, "persist"), "--pidfile="+filepath.Join(folder, "pid"),
		"--control="+filepath.Join(folder, "ctl"))
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // killed: the status says no more
		if t.Failed() {
			t.Logf("syslog-ng said:\n%s", &said)
		}
	})
	for deadline := time.Now().Add(20 * time.Second); ; {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", tcp))
		if err == nil {
			conn.Close()
			return udp, tcp, folder
		}
		if time.Now().After(deadline) {
			t.Fatalf("syslog-ng does not listen: %v", err)
		}
		time.Sleep(50 * ms)
	}
}

// exampleConfig is the example as it is, but for its four definitions.
func exampleConfig(t *testing.T, udp, tcp int, folder string) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/syslog-ng/sonde.conf")
	if err != nil {
		t.Fatal(err)
	}
	config := "@version: 3.35\n" + string(b)
	for old, value := range map[string]string{
		`@define sonde-address "0.0.0.0"`:       `@define sonde-address "127.0.0.1"`,
		`@define sonde-bsd-port "5140"`:         fmt.Sprintf(`@define sonde-bsd-port "%d"`, udp),
		`@define sonde-stream-port "6010"`:      fmt.Sprintf(`@define sonde-stream-port "%d"`, tcp),
		`@define sonde-folder "/var/log/sonde"`: fmt.Sprintf(`@define sonde-folder "%s"`, folder),
	} {
		if !strings.Contains(config, old) {
			t.Fatalf("the example has no line %s", old)
		}
		config = strings.Replace(config, old, value, 1)
	}
	return config
}

// freePort asks the system for a port that nobody listens on.
func freePort(t *testing.T, network string) int {
	t.Helper()
	if network == "udp" {
		c, err := net.ListenPacket(network, "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.LocalAddr().(*net.UDPAddr).Port
	}
	l, err := net.Listen(network, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// TestSyslogNG sends events in each way to a real syslog-ng and finds them in
// the daily files of the example.
func TestSyslogNG(t *testing.T) {
	udp, tcp, folder := syslogNG(t)
	for _, c := range []SyslogConfig{
		{Address: fmt.Sprintf("udp://127.0.0.1:%d", udp), Tag: "other"},
		{Address: fmt.Sprintf("127.0.0.1:%d", udp), Tag: "btest-rs"},
		{Address: fmt.Sprintf("tcp://127.0.0.1:%d", tcp), Format: RFC3164},
		{Address: fmt.Sprintf("tcp://127.0.0.1:%d", tcp), Format: RFC5424},
	} {
		s, err := Syslog(c)
		if err != nil {
			t.Fatal(err)
		}
		put(s, logins(), tcpLost(), udpBoth())
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	auth := messages(t, folder, "sonde-auth-*.log", 6)
	test := messages(t, folder, "sonde-test-*.log", 12)
	failed := messages(t, folder, "sonde-failed-*.log", 3)
	for _, text := range texts {
		in := test
		if strings.HasPrefix(text, "AUTH") {
			in = auth
		}
		n := 0
		for _, line := range in {
			if strings.HasSuffix(line, " "+text) {
				n++
			}
		}
		if n != 3 {
			t.Errorf("%q is there %d times, want once for each way, in\n%s", text, n, strings.Join(in, "\n"))
		}
	}
	for _, line := range failed {
		if !strings.HasSuffix(line, " 198.51.100.7:51022 bad name wrong password") {
			t.Errorf("failed login: %q", line)
		}
	}
	// The first sender called itself by another name: none of its lines is there.
	if len(auth) != 6 || len(test) != 12 || len(failed) != 3 {
		t.Errorf("%d, %d and %d lines, want 6, 12 and 3", len(auth), len(test), len(failed))
	}
}

// messages waits until the daily files hold n lines.
func messages(t *testing.T, folder, pattern string, n int) []string {
	t.Helper()
	var lines []string
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * ms) {
		files, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil {
			t.Fatal(err)
		}
		lines = nil
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, strings.Split(strings.TrimSpace(string(b)), "\n")...)
		}
		if len(lines) >= n {
			return lines
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d lines in %s, want %d:\n%s", len(lines), pattern, n, strings.Join(lines, "\n"))
		}
	}
}
