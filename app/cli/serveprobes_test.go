//go:build !nano

package cli

import (
	"encoding/csv"
	"encoding/json"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/result"
)

// awaitMetric waits until /metrics matches.
func (d *daemonTest) awaitMetric(pattern string) {
	d.Helper()
	p := regexp.MustCompile("(?m)" + pattern)
	var text string
	for late := time.Now().Add(patience); time.Now().Before(late); time.Sleep(100 * time.Millisecond) {
		if _, text = d.get("/metrics"); p.MatchString(text) {
			return
		}
	}
	d.Fatalf("/metrics has no %s in\n%s", pattern, text)
}

// TestServeProbes runs probes against the daemon's own servers: of each protocol,
// with a limit of bytes, with a target where nobody is; reloads and stops it.
func TestServeProbes(t *testing.T) {
	t.Parallel()
	with := strings.Replace(everything, `btest: {listen: "127.0.0.1:0"`, `btest: {listen: "127.0.0.1:0", auth: none`, 1) + "store: {dsn: FOLDER/sonde.db}\n"
	d := startDaemon(t, with)
	targets := strings.NewReplacer("TWAMP", d.address("twamp"), "BTEST", d.address("btest"), "RPERF", d.address("rperf"), "IPERF3", d.address("iperf3"))
	probes := targets.Replace(`probes:
- {name: office, protocol: stamp, target: "TWAMP", every: 1s, packets: 5, options: {interval: 10ms, timeout: 300ms}, fail_if: "loss>50%"}
- {name: control, protocol: twamp, target: "TWAMP", every: 2s, packets: 5, options: {interval: 10ms, timeout: 300ms}}
- {name: router, protocol: btest, target: "BTEST", every: 10s, duration: 1s, bytes: 1M, options: {no_latency: true}, fail_if: "download.rate<1k"}
- {name: other, protocol: rperf, target: "RPERF", every: 10s, duration: 1s, options: {no_latency: true, rate: 1M}}
- {name: far, protocol: iperf3, target: "IPERF3", every: 10s, duration: 1s, options: {no_latency: true, rate: 10M, reverse: true}}
- {name: nobody, protocol: stamp, target: "127.0.0.1:1", every: 2s, packets: 2, options: {interval: 10ms, timeout: 300ms}, fail_runs: 2/2}
`)
	change := `  on_change: {command: [sh, -c, 'echo "$SONDE_PROBE $SONDE_BEFORE $SONDE_STATE $(cat)" >>FOLDER/changes']}
`
	d.write(with + probes + "# " + change)
	d.write(strings.Replace(with, "outputs:\n", "outputs:\n"+change, 1) + probes)
	d.client(0, "reload", "--config", d.file("sonde.yaml"))

	d.await("changes", `nobody unknown failed \{"schema":"sonde.change/1","time":"\S+","probe":"nobody","protocol":"stamp","target":"127.0.0.1:1","before":"unknown","state":"failed"`)
	for _, want := range []string{
		`^sonde_probe_success\{probe="office"\} 1$`, `^sonde_probe_success\{probe="control"\} 1$`, `^sonde_probe_success\{probe="nobody"\} 0$`,
		`^sonde_probe_failed\{probe="nobody"\} 1$`, `^sonde_probe_failed\{probe="office"\} 0$`,
		`^sonde_rtt_quantile_seconds\{probe="office",q="0.5"\} \S+$`, `^sonde_loss_ratio\{direction="round_trip",probe="office"\} 0$`,
		`^sonde_probe_runs_total\{probe="router",result="ok"\} [1-9]`, `^sonde_rate_bits_per_second\{direction="download",probe="router"\} [1-9]`,
		`^sonde_probe_runs_total\{probe="other",result="ok"\} [1-9]`, `^sonde_rate_bits_per_second\{direction="upload",probe="other"\} [1-9]`,
		`^sonde_probe_runs_total\{probe="far",result="ok"\} [1-9]`, `^sonde_rate_bits_per_second\{direction="download",probe="far"\} [1-9]`,
	} {
		d.awaitMetric(want)
	}
	_, text := d.get("/metrics")
	moved := regexp.MustCompile(`(?m)^sonde_probe_bytes_total\{probe="router"\} (\S+)$`).FindStringSubmatch(text)
	if moved == nil || len(moved[1]) > len("1.3e+06") && !strings.Contains(moved[1], "e+06") {
		t.Errorf("a test of 1M moved %v bytes", moved)
	}

	// What is the same goes on; what is no more has no metrics.
	d.write(strings.Replace(with, "outputs:\n", "outputs:\n"+change, 1) + targets.Replace(`probes:
- {name: office, protocol: stamp, target: "TWAMP", every: 1s, packets: 5, options: {interval: 10ms, timeout: 300ms}, fail_if: "loss>50%"}
- {name: long, protocol: btest, target: "BTEST", every: 10m, duration: 5m, options: {no_latency: true, rate: 1M}}
- {name: soon, protocol: btest, target: "BTEST", every: 1s, duration: 500ms, deadline: 900ms, options: {no_latency: true, rate: 1M}}
`))
	if said := d.client(2, "reload", "--config", d.file("sonde.yaml")); !strings.Contains(said, "probes[2]: a test takes 3.5s, and there are 900ms for it") {
		t.Errorf("reload said %s", said)
	}
	d.write(strings.Replace(with, "outputs:\n", "outputs:\n"+change, 1) + targets.Replace(`probes:
- {name: office, protocol: stamp, target: "TWAMP", every: 1s, packets: 5, options: {interval: 10ms, timeout: 300ms}, fail_if: "loss>50%"}
- {name: long, protocol: btest, target: "BTEST", every: 1m, duration: 50s, options: {no_latency: true, rate: 1M}}
`))
	if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for late := time.Now().Add(patience); strings.Contains(text, `probe="nobody"`); _, text = d.get("/metrics") {
		if time.Now().After(late) {
			t.Fatalf("metrics of a probe that is no more:\n%s", text)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if !strings.Contains(text, `sonde_probe_success{probe="office"} `) {
		t.Error("the probe that is the same has no metrics")
	}
	d.awaitMetric(`^sonde_probe_success\{probe="office"\} 1$`) // a stall of the machine may be a loss
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
	d.allEnded()
	d.results()
}

// results looks at what is in the store.
func (d *daemonTest) results() {
	d.Helper()
	at := []string{"--store", d.file("sonde.db")}
	results := func(args ...string) string {
		return d.client(0, append(append([]string{"results"}, args...), at...)...)
	}
	list := results("list", "--most", "1000")
	first := regexp.MustCompile(`(?m)^(p\d+)  .* office  +stamp .* ok +ok$`).FindStringSubmatch(list)
	failed := regexp.MustCompile(`(?m)^(p\d+)  .* nobody .* - +failed +unreachable$`).FindStringSubmatch(list)
	server := regexp.MustCompile(`(?m)^(s\d+)  .* btest .*$`).FindStringSubmatch(list)
	if first == nil || failed == nil || server == nil {
		d.Fatalf("the list is\n%s", list)
	}
	for _, tt := range []struct{ number, want string }{
		{first[1], `(?s)^probe office: stamp to 127.0.0.1:\d+, .*, state ok after it\n.*5 .*round trip`}, {failed[1], `no success: stamp 127.0.0.1:1: no reply to 2 packets`},
		{server[1], `(?s)^btest test of 127.0.0.1, .*it lasted `},
	} {
		if said := results("show", tt.number); !regexp.MustCompile(tt.want).MatchString(said) {
			d.Errorf("show %s said\n%s", tt.number, said)
		}
	}
	if said := results("show", first[1], "--json"); !strings.Contains(said, `"schema":"sonde.result/1"`) {
		d.Errorf("show --json said %s", said)
	}
	d.client(2, "results", "show", "p999999", at[0], at[1])
	d.client(2, "results", "show", "12", at[0], at[1])
	table, err := csv.NewReader(strings.NewReader(results("export", "--format", "csv"))).ReadAll()
	if err != nil || len(table) < 10 {
		d.Errorf("%d rows of CSV, %v", len(table), err)
	}
	lines := strings.Split(strings.TrimSpace(results("export")), "\n")
	if len(lines) != len(table)-1 || !json.Valid([]byte(lines[0])) || !strings.Contains(lines[0], `"packets_lost":`) {
		d.Errorf("%d lines of JSON, the first %s", len(lines), lines[0])
	}
	results("export", "--whole", "--probe", "office", "-o", d.file("office.jsonl"))
	if said := d.client(0, "explain", d.file("office.jsonl")); !strings.Contains(said, "round trip") {
		d.Errorf("explain said %s", said)
	}
	d.client(0, "report", d.file("office.jsonl"), "-o", d.file("office.html"))
	d.client(2, "results", "prune", at[0], at[1])
	dry := results("prune", "--older", "0s", "--dry-run")
	if again := results("prune", "--older", "0s", "--dry-run"); again != dry || strings.Contains(dry, ": 0 tests of probes") {
		d.Errorf("a dry run said %s, then %s", dry, again)
	}
	results("prune", "--older", "0s", "--probe", "office")
	if list := results("list", "--most", "1000"); strings.Contains(list, " office ") || !strings.Contains(list, " nobody ") {
		d.Errorf("after prune --probe office:\n%s", list)
	}
	results("prune", "--older", "0s")
	if list := results("list"); strings.Count(list, "\n") != 1 {
		d.Errorf("after prune:\n%s", list)
	}
}

// TestBudgetOfClients: a client moves what it may and no more, in each protocol
// and both ways.
func TestBudgetOfClients(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, everything)
	const most = 3_000_000
	for _, tt := range []struct {
		protocol string
		options  map[string]string
	}{
		{"btest", nil}, {"btest", map[string]string{"transmit": "true"}}, {"btest", map[string]string{"transmit": "true", "receive": "true", "connections": "4"}},
		{"btest", map[string]string{"udp": "true", "rate": "100M"}},
		{"rperf", map[string]string{"rate": "0"}}, {"rperf", map[string]string{"rate": "0", "reverse": "true"}}, {"rperf", map[string]string{"udp": "true", "rate": "100M"}},
		{"iperf3", nil}, {"iperf3", map[string]string{"reverse": "true"}}, {"iperf3", map[string]string{"bidir": "true"}},
	} {
		options := map[string]string{"no_latency": "true"}
		for k, v := range tt.options {
			options[k] = v
		}
		e := &env{getenv: func(string) string { return "" }, environ: func() []string { return nil }}
		var end *result.End
		err := newClientTest(e, tt.protocol, options).run(t.Context(), d.address(tt.protocol), admit.NewBudget(most, result.ReasonBytesExceeded, "bytes of the test"),
			result.Func(func(e result.Event) {
				if one, ok := e.(result.End); ok {
					end = &one
				}
			}))
		if end == nil || result.CodeOf(err) != result.ReasonBytesExceeded || end.Reason != result.ReasonBytesExceeded {
			t.Errorf("%s %v: %v, %+v", tt.protocol, tt.options, err, end)
			continue
		}
		var moved uint64
		for _, way := range result.Both.Each() {
			if v := end.Local(way); v != nil {
				moved += v.Bytes
			}
		}
		if moved > most+8*(64<<10) || moved < most/2 {
			t.Errorf("%s %v: %d bytes of %d", tt.protocol, tt.options, moved, most)
		}
	}
}

// TestChangeCommand: a program of on_change that is not there is a fault.
func TestChangeCommand(t *testing.T) {
	d := &daemonTest{T: t, folder: t.TempDir()}
	d.write("outputs:\n  on_change:\n    command: [/nowhere/program]\n")
	out, err := exec.Command("sonde", "config", "check", d.file("sonde.yaml")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "sonde.yaml:3: outputs.on_change.command: /nowhere/program: no such file or directory; give a program") {
		t.Errorf("check said %s", out)
	}
}
