package cli

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/sonde-net/sonde/internal/testnet"
)

// The quick-start lines of btest-rs, verbatim but for the folder of the CSV file,
// name fixed addresses and ports. Each test has a network of its own for them.

// privateNetwork makes a namespace whose lo has the addresses too.
func privateNetwork(t *testing.T, addresses ...string) *testnet.Namespace {
	t.Helper()
	ns := testnet.NewNamespace(t)
	ns.Do(func() {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range addresses {
			addr, err := netlink.ParseAddr(a + "/32")
			if err != nil {
				t.Fatal(err)
			}
			if err := netlink.AddrAdd(lo, addr); err != nil {
				t.Fatal(err)
			}
		}
	})
	return ns
}

// A running is a program in a namespace, with what it has said so far.
type running struct {
	t        *testing.T
	line     string
	cmd      *exec.Cmd
	out, err locked
}

// locked is a buffer that is read while a program writes.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// run starts a command line in ns, in the folder dir.
func run(t *testing.T, ns *testnet.Namespace, dir, line string) *running {
	t.Helper()
	words := strings.Fields(line)
	path, err := exec.LookPath(words[0])
	if err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, line: line, cmd: exec.Command(path, words[1:]...)}
	r.cmd.Args[0] = words[0]
	r.cmd.Dir, r.cmd.Stdout, r.cmd.Stderr = dir, &r.out, &r.err
	r.cmd.Env = append(os.Environ(), "HOME=/no-home")
	ns.Start(t, r.cmd)
	return r
}

// until waits until what was said matches.
func (r *running) until(said *locked, pattern string) {
	r.t.Helper()
	re := regexp.MustCompile("(?m)" + pattern)
	for late := time.Now().Add(patience); !re.MatchString(said.String()); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			r.t.Fatalf("%s: no match for %s; it said\n%s%s", r.line, pattern, r.out.String(), r.err.String())
		}
	}
}

// stop interrupts it, as Ctrl-C does, and wants the status of that.
func (r *running) stop() {
	r.t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGINT); err != nil {
		r.t.Fatal(err)
	}
	r.ended(130)
}

func (r *running) ended(status int) {
	r.t.Helper()
	r.cmd.Wait() // the status says more than its error
	if got := r.cmd.ProcessState.ExitCode(); got != status {
		r.t.Fatalf("%s: exit status %d, want %d; it said\n%s%s", r.line, got, status, r.out.String(), r.err.String())
	}
}

// lines holds each line of text against the form and wants so many at least.
func lines(t *testing.T, what, text, form string, least int) {
	t.Helper()
	re := regexp.MustCompile("^(?:" + form + ")$")
	all := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(all) < least {
		t.Errorf("%s: %d lines, want %d or more:\n%s", what, len(all), least, text)
	}
	for _, line := range all {
		if !re.MatchString(line) {
			t.Errorf("%s: line %q\nis not of the form %s", what, line, form)
		}
	}
}

const (
	figures = `[0-9]+ bps|[0-9]{1,3}\.[0-9]{2} [KMG]bps`
	cpuPart = `(?:  cpu: [0-9]{1,3}%/[0-9]{1,3}%(?: !)?)?`
	rxLine  = `\[ *[0-9]{1,}\]   RX  (?:` + figures + `) \([0-9]+ bytes\)(?:  lost: [0-9]+)?`
	txLine  = `\[ *[0-9]{1,}\]   TX  (?:` + figures + `) \([0-9]+ bytes\)`

	csvHeader = "timestamp,host,port,protocol,direction,duration_s,tx_avg_mbps,rx_avg_mbps,tx_bytes,rx_bytes,lost_packets,local_cpu_pct,remote_cpu_pct,auth_type\n"
)

// The client's lines, against a server in the router's place. It holds the rate
// so that eight tests at once leave room for others on the machine.
func TestQuickStartClient(t *testing.T) {
	t.Parallel()
	const router = "192.168.88.1"
	for _, tt := range []struct {
		name, line string
		server     string // its flags
		form       string // of each line on standard output
		status     int    // 130: runs until it is stopped
		started    string // the event in the log
		row        string // of the CSV file
	}{
		{ // first, because it takes longest
			name: "CSV", line: "btest -c 192.168.88.1 -r -d 30 --csv results.csv", form: rxLine + cpuPart,
			started: "peer=192.168.88.1 proto=TCP dir=receive connections=1",
			row:     `[0-9]{10},192\.168\.88\.1,2000,TCP,receive,3[0-9],0\.00,[0-9]+\.[0-9]{2},0,[0-9]+,0,[0-9]+,[0-9]+,none\n`},
		{name: "download", line: "btest -c 192.168.88.1 -r", form: rxLine + cpuPart, status: 130,
			started: "peer=192.168.88.1 proto=TCP dir=receive connections=1"},
		{name: "upload", line: "btest -c 192.168.88.1 -t", form: txLine + cpuPart, status: 130,
			started: "peer=192.168.88.1 proto=TCP dir=send connections=1"},
		{name: "both", line: "btest -c 192.168.88.1 -t -r", form: rxLine + cpuPart + "|" + txLine + cpuPart, status: 130,
			started: "peer=192.168.88.1 proto=TCP dir=both connections=1"},
		{name: "UDP at a rate", line: "btest -c 192.168.88.1 -r -u -b 100M", form: rxLine + cpuPart, status: 130,
			started: "peer=192.168.88.1 proto=UDP dir=receive connections=1"},
		{name: "login", line: "btest -c 192.168.88.1 -r -a admin -p password", server: "--user admin --password-file secret",
			form: rxLine + cpuPart, status: 130, started: "peer=192.168.88.1 proto=TCP dir=receive connections=1"},
		{name: "quiet", line: "btest -c 192.168.88.1 -r -d 10 --csv results.csv -q",
			started: "peer=192.168.88.1 proto=TCP dir=receive connections=1",
			row:     `[0-9]{10},192\.168\.88\.1,2000,TCP,receive,1[0-9],0\.00,[0-9]+\.[0-9]{2},0,[0-9]+,0,[0-9]+,[0-9]+,none\n`},
		{name: "NAT", line: "btest -c 192.168.88.1 -r -u -n", form: rxLine + cpuPart, status: 130,
			started: "peer=192.168.88.1 proto=UDP dir=receive connections=1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ns := privateNetwork(t, router)
			t.Parallel()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("password\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			server := run(t, ns, dir, "sonde btest server --max-rate 50M -q --log-level info "+tt.server)
			server.until(&server.err, "msg=listening")
			client := run(t, ns, dir, tt.line)
			if tt.status == 130 {
				client.until(&client.out, `^\[   3\]`)
				client.stop()
			} else {
				client.ended(tt.status)
			}
			if tt.form == "" {
				if client.out.String() != "" {
					t.Errorf("%s: printed\n%s", tt.line, client.out.String())
				}
			} else {
				lines(t, tt.line, client.out.String(), tt.form, 3)
			}
			for _, want := range []string{"TEST_START " + tt.started + "\n", "TEST_END " + strings.TrimSuffix(tt.started, " connections=1") + " duration="} {
				if !strings.Contains(client.err.String(), want) {
					t.Errorf("%s: the log lacks %q:\n%s", tt.line, want, client.err.String())
				}
			}
			if tt.row != "" {
				b, err := os.ReadFile(filepath.Join(dir, "results.csv"))
				if err != nil || !regexp.MustCompile("^"+csvHeader+tt.row+"$").Match(b) {
					t.Errorf("%s: results.csv, %v:\n%s\nwant the header and %s", tt.line, err, b, tt.row)
				}
			}
		})
	}
}

// The server's lines, tested against by the client of the same name.
func TestQuickStartServer(t *testing.T) {
	t.Parallel()
	serverLine := rxLine + "|" + txLine // of TCP: no CPU
	for _, tt := range []struct {
		name, line string
		client     string   // its flags, with the target
		form       string   // of each line on the server's standard output
		log        []string // forms of lines on the server's standard error
	}{
		{name: "open", line: "btest -s", client: "-c 127.0.0.1 -t -r", form: serverLine,
			log: []string{`level=WARN msg="no users: everybody`, ` INFO TEST_START peer=127\.0\.0\.1:[0-9]+ proto=TCP dir=BOTH connections=1\n`}},
		{name: "MD5", line: "btest -s -a admin -p password", client: "-c 127.0.0.1 -r -a admin -p password", form: serverLine,
			log: []string{` INFO AUTH_SUCCESS peer=127\.0\.0\.1:[0-9]+ user=admin type=md5\n`, `btest: warning: other users of this machine can read a password`}},
		{name: "EC-SRP5", line: "btest -s -a admin -p password --ecsrp5", client: "-c 127.0.0.1 -r -a admin -p password", form: serverLine,
			log: []string{` INFO AUTH_SUCCESS peer=127\.0\.0\.1:[0-9]+ user=admin type=ecsrp5\n`}},
		{name: "port", line: "btest -s -P 3000 -v", client: "-c 127.0.0.1 -P 3000 -t -u", form: rxLine + cpuPart,
			log: []string{`msg=listening address=\[::\]:3000`, ` INFO TEST_START peer=127\.0\.0\.1:[0-9]+ proto=UDP dir=RX connections=1\n`}},
		{name: "syslog and CSV", line: "btest -s --syslog 192.168.1.1:514 --csv btest.csv", client: "-c 127.0.0.1 -r -u", form: txLine + cpuPart},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ns := privateNetwork(t, "192.168.1.1")
			t.Parallel()
			dir := t.TempDir()
			syslog, err := ns.ListenPacket(context.Background(), "udp", "192.168.1.1:514")
			if err != nil {
				t.Fatal(err)
			}
			defer syslog.Close()
			server := run(t, ns, dir, tt.line)
			server.until(&server.err, "msg=listening")
			client := run(t, ns, dir, "btest "+tt.client+" -b 20M -d 3")
			client.ended(0)
			server.until(&server.err, "TEST_END")
			server.stop()
			lines(t, tt.line, server.out.String(), tt.form, 2)
			for _, form := range tt.log {
				if !regexp.MustCompile(form).MatchString(server.err.String()) {
					t.Errorf("%s: the log lacks %s:\n%s", tt.line, form, server.err.String())
				}
			}
			if strings.Contains(tt.line, "--csv") {
				checkLogged(t, dir, syslog)
			}
		})
	}
}

// checkLogged looks for the server's row and its events by syslog.
func checkLogged(t *testing.T, dir string, syslog net.PacketConn) {
	t.Helper()
	const row = `[0-9]{10},127\.0\.0\.1,[0-9]+,UDP,TX,[3-9],[0-9]+\.[0-9]{2},0\.00,[0-9]+,0,[0-9]+,[0-9]+,[0-9]+,none\n`
	b, err := os.ReadFile(filepath.Join(dir, "btest.csv"))
	if err != nil || !regexp.MustCompile("^"+csvHeader+row+"$").Match(b) {
		t.Errorf("btest.csv, %v:\n%s\nwant the header and %s", err, b, row)
	}
	const head = `<134>[A-Z][a-z]{2} [ 1-3][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} \S+ btest-rs: `
	for _, form := range []string{
		head + `TEST_START peer=127\.0\.0\.1:[0-9]+ proto=UDP dir=TX connections=1`,
		head + `TEST_END peer=127\.0\.0\.1:[0-9]+ proto=UDP dir=TX duration=[3-9]s tx_avg=[0-9]+\.[0-9]{2}Mbps rx_avg=0\.00Mbps tx_bytes=[0-9]+ rx_bytes=0 lost=[0-9]+`,
	} {
		syslog.SetReadDeadline(time.Now().Add(patience))
		message := make([]byte, 2048)
		n, _, err := syslog.ReadFrom(message)
		if err != nil || !regexp.MustCompile("^"+form+"$").Match(message[:n]) {
			t.Errorf("syslog: %v, %q\nwant %s", err, message[:n], form)
		}
	}
}

// Where the name btest listens, by its flags; an address may stand behind
// --listen6 with a blank or "=", or not at all.
func TestOldListen(t *testing.T) {
	t.Parallel()
	ns := privateNetwork(t)
	dir := t.TempDir()
	for _, tt := range []struct {
		line   string
		want   []string
		refuse string // an address where nobody must listen
	}{
		{"btest -s", []string{"[::]:2000"}, ""},
		{"btest -s --listen6", []string{"0.0.0.0:2000", "[::]:2000"}, ""},
		{"btest -s --listen6 -v", []string{"0.0.0.0:2000", "[::]:2000"}, ""},
		{"btest -s --listen6 ::1", []string{"0.0.0.0:2000", "[::1]:2000"}, ""},
		{"btest -s --listen6=::1 -P 3000", []string{"0.0.0.0:3000", "[::1]:3000"}, "[::1]:2000"},
		{"btest -s --listen none --listen6 ::", []string{"[::]:2000"}, "127.0.0.1:2000"},
		{"btest -s --listen 127.0.0.1", []string{"127.0.0.1:2000"}, "[::1]:2000"},
		{"btest-server --listen 127.0.0.1 --listen6 none", []string{"127.0.0.1:2000"}, "[::1]:2000"},
		{"sonde btest server --listen 0.0.0.0 --listen ::", []string{"0.0.0.0:2000", "[::]:2000"}, ""},
		{"sonde btest server", []string{"[::]:2000"}, ""},
	} {
		r := run(t, ns, dir, tt.line)
		for _, address := range tt.want {
			r.until(&r.err, "msg=listening address="+regexp.QuoteMeta(address)+"$")
			reach := strings.NewReplacer("0.0.0.0", "127.0.0.1", "[::]", "[::1]").Replace(address)
			c, err := ns.DialContext(t.Context(), "tcp", reach)
			if err != nil {
				t.Fatalf("%s: %v", tt.line, err)
			}
			c.Close()
		}
		if n := strings.Count(r.err.String(), "msg=listening"); n != len(tt.want) {
			t.Errorf("%s: listens on %d addresses, want %v:\n%s", tt.line, n, tt.want, r.err.String())
		}
		if tt.refuse != "" {
			if c, err := ns.DialContext(t.Context(), "tcp", tt.refuse); err == nil {
				c.Close()
				t.Errorf("%s: somebody listens on %s", tt.line, tt.refuse)
			}
		}
		r.stop()
	}
}
