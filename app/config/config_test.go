package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "sonde.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestFaults holds what is said of broken files against what a person needs: the
// line, the key, and what to write instead.
func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		name string
		text string
		want []string // LINE: KEY: ..., all that is said
	}{
		{"misspelt key", "server:\n  btest:\n    lisen: [\":2000\"]\n",
			[]string{`3: server.btest.lisen: unknown key (did you mean "listen"?)`}},
		{"misspelt section", "sever:\n  btest:\n",
			[]string{`1: sever: unknown key (did you mean "server"?)`}},
		{"flag's spelling", "server: {rperf: {max-duration: 5m}}",
			[]string{`1: server.rperf.max-duration: unknown key (did you mean "max_duration"?)`}},
		{"nothing near", "server:\n  gopher: {}\n",
			[]string{`2: server.gopher: unknown key (there are drain, btest, rperf, iperf3, twamp, mesh)`}},
		{"no duration", "server:\n  twamp:\n    servwait: soon\n",
			[]string{`3: server.twamp.servwait: soon: not a duration; give seconds, or 500ms, 10s, 1h30m, 7d`}},
		{"no rate", "server:\n  rperf:\n\n    max_rate: 10Q\n",
			[]string{`4: server.rperf.max_rate: 10Q: not a rate; give bit/s such as 1000000, 10M, 1.5G, 100Mbit/s or 12.5MB/s, or 0 for no limit`}},
		{"no size", "outputs:\n  file: {path: x, max_size: -1}\n",
			[]string{`2: outputs.file.max_size: -1: not a size; give bytes such as 1500, 64K (65536) or 10MB (10000000)`}},
		{"no number", "server: {iperf3: {max_tests: many}}",
			[]string{`1: server.iperf3.max_tests: many: not a whole number`}},
		{"no switch", "server: {twamp: {ptp: yes}}",
			[]string{`1: server.twamp.ptp: yes: not true or false`}},
		{"list for a value", "server:\n  btest:\n    interval: [1s]\n",
			[]string{`3: server.btest.interval: want one value (duration), not a list or keys`}},
		{"value for a section", "server:\n  btest: true\n",
			[]string{`2: server.btest: want keys, such as listen: ...; there are listen, bind,`}},
		{"no value", "web:\n  listen:\n",
			[]string{`2: web.listen: the value is missing; give one, or leave the key out`}},
		{"twice", "log:\n  level: info\n  level: debug\n",
			[]string{`3: log.level: the key is there already, on line 2; leave one out`}},
		{"not YAML", "server:\n\tbtest:\n",
			[]string{`2: not YAML: found character that cannot start any token; keys are`}},
		{"two documents", "log: {level: info}\n---\nlog: {level: debug}\n",
			[]string{`1: more than one document; leave out the lines of ---`}},
		{"alias", "web: &w {listen: \":80\"}\nlog: *w\n",
			[]string{`2: log: aliases are not followed; write the value itself`}},
		{"choice", "log:\n  level: wran\n",
			[]string{`2: log.level: wran: not one of the choices (did you mean "warn"?)`}},
		{"address", "web:\n  listen: localhost\n",
			[]string{`2: web.listen: localhost: not an address to listen on; give ADDR:PORT or :PORT, such as 127.0.0.1:8080`}},
		{"probe", "probes:\n  - name: a\n    protocol: smtp\n    target: 192.0.2.1\n    every: 10ms\n    fail_if: loss>>1%\n",
			[]string{`3: probes[0].protocol: smtp: not one of the choices (there are btest, rperf, iperf3, twamp, stamp)`, `5: probes[0].every: 10ms: want 1s or more`, `6: probes[0].fail_if: loss>>1%: `}},
		{"probe without", "probes:\n  - every: 1m\n",
			[]string{`2: probes[0].name: it is missing`, `2: probes[0].protocol: it is missing; give one of btest,`, `2: probes[0].target: it is missing; give HOST or HOST:PORT`}},
		{"probe twice", "probes:\n- {name: a, protocol: stamp, target: h}\n- {name: a, protocol: stamp, target: h}\n",
			[]string{`3: probes[1].name: a: probes[0] has that name already; choose another`}},
		{"probe of the other kind", "probes:\n- {name: a, protocol: stamp, target: h, duration: 3s}\n- {name: b, protocol: btest, target: h, packets: 3}\n",
			[]string{`2: probes[0].duration: not of a stamp test`, `3: probes[1].packets: not of a btest test`}},
		{"m of n", "probes:\n- {name: a, protocol: stamp, target: h, fail_runs: 5/3}\n",
			[]string{`2: probes[0].fail_runs: 5/3: not M/N; give two numbers such as 3/5`}},
		{"no list", "probes: {name: a}\n",
			[]string{`1: probes: want a list; begin each entry with a dash: - name: ...`}},
		{"name", "modules:\n  'a b': {protocol: stamp}\n",
			[]string{`2: modules.a b: not a name; give up to 63 letters, digits, - and _`}},
		{"collector", "outputs:\n  otlp:\n    endpoint: collector:4318\n  on_change: {timeout: 1s}\n  syslog:\n    format: rfc5425\n",
			[]string{`3: outputs.otlp.endpoint: collector:4318: not the URL`, `4: outputs.on_change: neither webhook nor command`, `5: outputs.syslog.address: it is missing`, `6: outputs.syslog.format: rfc5425: not one of the choices (did you mean "rfc5424"?)`}},
		{"all at once", "servers:\nlog: {level: x}\nweb: {max_probes: 0}\n",
			[]string{`1: servers: unknown key (did you mean "server"?)`, `2: log.level: x: not`, `3: web.max_probes: 0: want 1 or more`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name := write(t, tt.text)
			_, err := Load(Options{File: name})
			if err == nil {
				t.Fatal("no fault found")
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tt.want) {
				t.Fatalf("said\n%v\nwant %d lines", err, len(tt.want))
			}
			for i, want := range tt.want {
				if !strings.HasPrefix(lines[i], name+":"+want) {
					t.Errorf("said %s\nwant FILE:%s", lines[i], want)
				}
			}
		})
	}
}

func TestLayers(t *testing.T) {
	name := write(t, "server:\n  btest:\n  rperf:\n    max_tests: 7\n    max_rate: 10M\nprobes:\n- {name: a, protocol: stamp, target: h, every: 30s}\n")
	l, err := Load(Options{
		File:    name,
		Environ: []string{"SONDE_SERVER_RPERF_MAX_TESTS=8", "SONDE_SERVER_RPERF_LISTEN=:1,:2", "SONDE_PASSWORD=x", "SONDE_LOG_LEVEL=debug"},
		Flags:   map[string]string{"log.level": "warn"},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := l.Server.Rperf
	if l.Server.Btest == nil || l.Server.Btest.MaxTests != 100 || l.Server.Iperf3 != nil {
		t.Errorf("servers %+v: want btest with its defaults, and no iperf3", l.Server)
	}
	if r.MaxTests != 8 || r.MaxRate != 10_000_000 || !slices.Equal(r.Listen, []string{":1", ":2"}) || l.Log.Level != "warn" {
		t.Errorf("rperf %+v, log %+v", r, l.Log)
	}
	if p := l.Probes[0]; time.Duration(p.Every) != 30*time.Second || !p.Alone || p.FailRuns != "1/1" {
		t.Errorf("probe %+v", p)
	}
	var b strings.Builder
	if err := l.Show(&b, true); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"max_tests: 8 # SONDE_SERVER_RPERF_MAX_TESTS\n", "max_rate: 10M # " + name + ":5\n", "level: warn # --log-level\n",
		"interval: 1s # default\n", "every: 30s # " + name + ":7\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("show has no %q in\n%s", want, b.String())
		}
	}
	// What is shown is itself a file that means the same.
	again, err := Load(Options{File: write(t, b.String())})
	if err != nil || again.Server.Rperf.MaxTests != 8 || len(again.Probes) != 1 {
		t.Errorf("what show wrote: %v", err)
	}
}

func TestEnvironmentFaults(t *testing.T) {
	_, err := Load(Options{File: write(t, ""), Environ: []string{"SONDE_SERVER_RPERF_MAX_TESTS=x"}, Flags: map[string]string{"log.format": "xml"}})
	want := "--log-format: log.format: xml: not one of the choices (there are auto, text, json, journal)\nSONDE_SERVER_RPERF_MAX_TESTS: server.rperf.max_tests: x: not a whole number"
	if err == nil || err.Error() != want {
		t.Errorf("said %v\nwant %s", err, want)
	}
}

func TestExample(t *testing.T) {
	l, err := Load(Options{File: write(t, Example)})
	if err != nil || l.Server.Twamp == nil || l.Web == nil {
		t.Errorf("the example: %v", err)
	}
	var bare strings.Builder // with what is behind # too
	for line := range strings.Lines(Example) {
		if rest, ok := strings.CutPrefix(strings.TrimLeft(line, " "), "# "); ok && (strings.Contains(rest, ": ") || strings.HasSuffix(rest, ":\n")) && !strings.Contains(line, "of sonde serve") {
			line = line[:strings.Index(line, "#")] + rest
		}
		bare.WriteString(strings.Replace(line, "probes: []", "probes:", 1))
	}
	if _, err := Load(Options{File: write(t, bare.String())}); err != nil {
		t.Errorf("the example with all its lines: %v\n%s", err, bare.String())
	}
}

func TestNoFile(t *testing.T) {
	_, err := Load(Options{File: "/nowhere/sonde.yaml"})
	if err == nil || !strings.Contains(err.Error(), "/nowhere/sonde.yaml: no such file or directory; sonde config init") {
		t.Errorf("said %v", err)
	}
	home := t.TempDir()
	if l, err := Load(Options{Environ: []string{"XDG_CONFIG_HOME=" + home}}); err != nil || strings.HasPrefix(l.File, home) {
		t.Errorf("%q, %v", l.File, err)
	}
}

// TestKeys makes sure that every key has a meaning, and every default is a value.
func TestKeys(t *testing.T) {
	for _, k := range Keys() {
		if k.Help == "" {
			t.Errorf("%s has no help", k.Path)
		}
		if k.Default != "" && !strings.ContainsAny(k.Path, "[*") {
			if _, err := parsed(k.Path, k.Default); err != nil {
				t.Errorf("%s: default %s: %v", k.Path, k.Default, err)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Example)
	f.Add("probes: [{name: a}]\nserver: {btest: }\n")
	f.Fuzz(func(t *testing.T, text string) {
		r := &reading{file: "x", values: map[string]any{}, lines: map[string]int{}}
		r.parse([]byte(text))
	})
}
