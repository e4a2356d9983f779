//go:build !nano

package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/sonde-net/sonde/app/config"
)

// A daemonTest is sonde serve as a process.
type daemonTest struct {
	*testing.T
	folder string
	cmd    *exec.Cmd
	done   chan struct{}
}

// everything is a configuration with all servers.
const everything = `
server:
  btest: {listen: "127.0.0.1:0"}
  rperf: {listen: "127.0.0.1:0"}
  iperf3: {listen: "127.0.0.1:0"}
  twamp: {listen: "127.0.0.1:0"}
  mesh: {listen: "127.0.0.1:0"}
web: {listen: "127.0.0.1:0", probe_targets: [127.0.0.0/8]}
modules:
  quick: {protocol: stamp, options: {count: 5, interval: 10ms, timeout: 3s}}
  long: {protocol: btest, options: {duration: 1m}}
  rate: {protocol: btest, options: {duration: 1s, no_latency: true}}
outputs:
  file: {path: FOLDER/results.jsonl}
control: {socket: FOLDER/sonde.sock}
`

func startDaemon(t *testing.T, text string) *daemonTest {
	t.Helper()
	d := &daemonTest{T: t, folder: t.TempDir(), done: make(chan struct{})}
	d.write(text)
	errs, err := os.Create(d.file("err"))
	if err != nil {
		t.Fatal(err)
	}
	defer errs.Close()
	d.cmd = exec.Command("sonde", "serve", "--config", d.file("sonde.yaml"))
	d.cmd.Stderr = errs
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { d.cmd.Wait(); close(d.done) }()
	t.Cleanup(func() {
		d.cmd.Process.Kill()
		<-d.done
		if t.Failed() {
			t.Logf("the daemon said\n%s", readAll(d.file("err")))
		}
	})
	return d
}

func (d *daemonTest) file(name string) string { return filepath.Join(d.folder, name) }

func (d *daemonTest) write(text string) {
	d.Helper()
	if err := os.WriteFile(d.file("sonde.yaml"), []byte(strings.ReplaceAll(text, "FOLDER", d.folder)), 0o600); err != nil {
		d.Fatal(err)
	}
}

// await waits until a file matches.
func (d *daemonTest) await(file, pattern string) []string {
	d.Helper()
	p := regexp.MustCompile(pattern)
	for late := time.Now().Add(patience); time.Now().Before(late); time.Sleep(10 * time.Millisecond) {
		if m := p.FindStringSubmatch(readAll(d.file(file))); m != nil {
			return m
		}
		select {
		case <-d.done:
			d.Fatalf("the daemon ended without a match for %s", pattern)
		default:
		}
	}
	d.Fatalf("no match for %s in %v:\n%s", pattern, patience, readAll(d.file(file)))
	return nil
}

// address is where a server listens.
func (d *daemonTest) address(server string) string {
	d.Helper()
	return d.await("err", `msg=listening address=(\S+) server=`+server)[1]
}

func (d *daemonTest) get(path string) (int, string) {
	d.Helper()
	r, err := http.Get("http://" + d.address("web") + path)
	if err != nil {
		d.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		d.Fatal(err)
	}
	return r.StatusCode, string(b)
}

// client runs a client to its end.
func (d *daemonTest) client(status int, args ...string) string {
	d.Helper()
	cmd := exec.Command("sonde", args...)
	b, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		d.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != status {
		d.Fatalf("sonde %s: exit status %d, want %d:\n%s", strings.Join(args, " "), got, status, b)
	}
	return string(b)
}

// TestServe runs all servers from one file, reloads it under load, and stops
// under load: every test that began has its end.
func TestServe(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, everything)
	for _, args := range [][]string{
		{"btest", "client", d.address("btest"), "-d", "1", "--no-latency"},
		{"rperf", "client", d.address("rperf"), "-t", "1", "--no-latency"},
		{"iperf3", "client", d.address("iperf3"), "-t", "1", "--no-latency"},
		{"twamp", "ping", d.address("twamp"), "-c", "3"},
		{"stamp", "ping", d.address("twamp"), "-c", "3"},
	} {
		d.client(0, args...)
	}
	d.address("mesh")
	if out := d.client(0, "health", "--config", d.file("sonde.yaml")); out != "ready\n" {
		t.Errorf("health says %q", out)
	}
	d.metricsHold()
	d.probes()

	long := exec.Command("sonde", "btest", "client", d.address("btest"), "-d", "300", "--no-latency", "--rate", "1M", "--json-stream")
	out, err := os.Create(d.file("long"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	long.Stdout = out
	if err := long.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- long.Wait() }()
	d.await("long", `"event":"interval".*"seq":1,`)

	// A broken file changes nothing.
	d.write(strings.Replace(everything, "  rperf: {listen", "  rperf: {lisen", 1))
	if said := d.client(2, "reload", "--config", d.file("sonde.yaml")); !strings.Contains(said, `sonde.yaml:4: server.rperf.lisen: unknown key (did you mean "listen"?)`) {
		t.Errorf("reload said %s", said)
	}
	d.client(0, "rperf", "client", d.address("rperf"), "-t", "1", "--no-latency")

	// Another one holds for tests that begin, not for the one that runs.
	d.write(strings.NewReplacer(`btest: {listen: "127.0.0.1:0"`, `btest: {listen: "127.0.0.1:0", max_duration: 1s`,
		`twamp: {listen: "127.0.0.1:0"`, `twamp: {listen: "127.0.0.1:0", stateless: true`,
		`  rperf: {listen: "127.0.0.1:0"}`, ``).Replace(everything))
	if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	d.await("err", `msg=reloaded`)
	// A btest client sees no more of a server's limit than that it closed.
	if said := d.client(7, "btest", "client", d.address("btest"), "-d", "60", "--no-latency"); !strings.Contains(said, "it may limit how long") {
		t.Errorf("a test beyond max_duration ended with %s", said)
	}
	d.client(0, "stamp", "ping", d.address("twamp"), "-c", "3")
	d.client(1, "rperf", "client", d.address("rperf"), "-t", "1", "--no-latency")
	seen := strings.Count(readAll(d.file("long")), `"event":"interval"`)
	d.await("long", fmt.Sprintf(`(?s)("event":"interval".*){%d}`, min(seen+2, 900)))
	select {
	case err := <-ended:
		t.Fatalf("the running test ended: %v\n%s", err, readAll(d.file("long")))
	default:
	}

	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-d.done:
	case <-time.After(patience):
		t.Fatal("the daemon does not stop")
	}
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the daemon ended with %d", code)
	}
	<-ended
	if !strings.Contains(readAll(d.file("long")), `"event":"end"`) {
		t.Error("the client of the stopped daemon has no result")
	}
	d.allEnded()
}

// allEnded holds each start in the results against an end.
func (d *daemonTest) allEnded() {
	d.Helper()
	f, err := os.Open(d.file("results.jsonl"))
	if err != nil {
		d.Fatal(err)
	}
	defer f.Close()
	open, ends := map[string]string{}, 0
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e struct{ Event, ID, Protocol string }
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			d.Fatalf("%v in %s", err, lines.Text())
		}
		switch e.Event {
		case "start":
			open[e.ID] = e.Protocol
		case "end":
			delete(open, e.ID)
			ends++
		}
	}
	if len(open) > 0 || ends < 6 {
		d.Errorf("%d tests ended, and these did not: %v", ends, open)
	}
}

// metricsHold looks at what the tests left in /metrics.
func (d *daemonTest) metricsHold() {
	d.Helper()
	if status, _ := d.get("/metrics"); status != http.StatusOK {
		d.Fatalf("/metrics: %d", status)
	}
	// A server ends a test a moment after its client.
	for _, want := range []string{
		`^sonde_tests_total\{protocol="btest",result="ok",role="server"\} 1$`,
		`^sonde_tests_total\{protocol="iperf3",result="ok",role="server"\} 1$`,
		`^sonde_tests_total\{protocol="rperf",result="ok",role="server"\} 1$`,
		`^sonde_bytes_total\{direction="download",protocol="btest"\} [1-9]`,
		`^sonde_test_active\{protocol="btest"\} 0$`,
		`^sonde_build_info\{goversion="go`,
	} {
		d.awaitMetric(want)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, text := d.get(path); status != http.StatusOK {
			d.Errorf("%s: %d %s", path, status, text)
		}
	}
}

// probes asks /probe for what it makes and for what it refuses.
func (d *daemonTest) probes() {
	d.Helper()
	for _, tt := range []struct {
		query  string
		status int
		want   string
	}{
		{"module=quick&target=" + d.address("twamp"), 200, `(?m)^probe_success 1$(?s:.*)^sonde_loss_ratio\{direction="round_trip",probe="quick"\} 0$`},
		{"module=rate&target=" + d.address("btest"), 200, `(?m)^probe_success 1$(?s:.*)^sonde_rate_bits_per_second\{direction="download",probe="rate"\} [1-9]`},
		{"module=quick&target=127.0.0.1:1", 200, `(?m)^probe_success 0$`},
		{"module=quick&target=192.0.2.1", 403, `probe_targets`},
		{"module=none&target=127.0.0.1", 400, `no such module`},
		{"module=quick", 400, `give HOST`},
		{"module=long&target=127.0.0.1", 400, `its test lasts 1m3s, and there are 10s for it`},
	} {
		status, text := d.get("/probe?" + tt.query)
		if status != tt.status || !regexp.MustCompile(tt.want).MatchString(text) {
			d.Errorf("/probe?%s: %d %s", tt.query, status, text)
		}
		if strings.Contains(text, "probe_success 0") && strings.Contains(text, "sonde_loss_ratio{") {
			d.Errorf("/probe?%s has a figure that was not measured: %s", tt.query, text)
		}
	}
}

// TestServeKeys holds the keys of each server against the flags of its command,
// and their defaults against those of the flags.
func TestServeKeys(t *testing.T) {
	left := map[string]string{ // flags without a key, and why
		"port": "listen has it", "password": "password_file has it", "authuser": "user", "authpass": "password", "password-env": "password_file",
		"one-off": "a daemon goes on", "server-bitrate-limit": "max_rate is the same",
	}
	e := &env{getenv: func(string) string { return "" }}
	for _, one := range serverParts {
		fs := pflag.NewFlagSet(one.name, pflag.ContinueOnError)
		one.make(e, newOutput(e), fs, false)
		keys := map[string]config.Key{}
		for _, k := range config.Keys() {
			if key, ok := strings.CutPrefix(k.Path, "server."+one.name+"."); ok {
				keys[strings.ReplaceAll(key, "_", "-")] = k
			}
		}
		fs.VisitAll(func(f *pflag.Flag) {
			k, ok := keys[f.Name]
			switch {
			case !ok && left[f.Name] == "" && !(one.name == "iperf3" && f.Name == "affinity"):
				t.Errorf("server.%s has no key for --%s", one.name, f.Name)
			case ok && f.Name != "listen" && k.Default != f.DefValue && f.DefValue != "[]":
				t.Errorf("%s: default %q, of the flag %q", k.Path, k.Default, f.DefValue)
			}
			delete(keys, f.Name)
		})
		for name := range keys {
			t.Errorf("server.%s has a key for --%s, which there is not", one.name, name)
		}
	}
}
