//go:build !nano

package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBrokenFiles: sonde serve says what is wrong with a file, with line, key and
// what to write instead, and starts nothing of it: opens no socket, makes no file.
func TestBrokenFiles(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	// What is right, on lines 1 to 5; each case goes on behind it.
	const right = `server:
  rperf: {listen: "127.0.0.1:0"}
outputs:
  file: {path: FOLDER/results.jsonl}
control: {socket: FOLDER/sonde.sock}
`
	for _, tt := range []struct{ name, text, want string }{
		{"misspelt key", "web: {lisen: ':1'}", `6: web.lisen: unknown key (did you mean "listen"?)`},
		{"misspelt section", "prob: []", `6: prob: unknown key (did you mean "probes"?)`},
		{"no duration", "probes:\n- {name: a, protocol: stamp, target: h, every: often}", `7: probes[0].every: often: not a duration; give seconds, or 500ms`},
		{"no size", "probes:\n- {name: a, protocol: iperf3, target: h, every: 1m, bytes: much}", `7: probes[0].bytes: much: not a size; give bytes such as`},
		{"protocol", "probes:\n- {name: a, protocol: stanp, target: h}", `7: probes[0].protocol: stanp: not one of the choices (did you mean "stamp"?)`},
		{"no target", "probes:\n- {name: a, protocol: stamp}", `7: probes[0].target: it is missing; give HOST or HOST:PORT`},
		{"no name", "probes:\n- {protocol: stamp, target: h}", `7: probes[0].name: it is missing; give the probe a name`},
		{"option", "probes:\n- name: a\n  protocol: stamp\n  target: h\n  options:\n    intervall: 10ms", `11: probes[0].options.intervall: no option of a stamp probe (did you mean "interval"?)`},
		{"value of an option", "probes:\n- {name: a, protocol: btest, target: h, options: {rate: 10Q}}", `7: probes[0].options.rate: 10Q: `},
		{"option that is the daemon's", "probes:\n- {name: a, protocol: btest, target: h, options: {output: x}}", `7: probes[0].options.output: no option of a btest probe (`},
		{"too long", "probes:\n- {name: a, protocol: iperf3, target: h, every: 5s}", `7: probes[0]: a test takes 13s, and there are 5s for it; make it shorter, or every or deadline longer`},
		{"threshold", "probes:\n- {name: a, protocol: stamp, target: h, fail_if: lost>1%}", `7: probes[0].fail_if: lost>1%: `},
		{"jitter", "probes:\n- {name: a, protocol: stamp, target: h, jitter: 2m}", `7: probes[0].jitter: 2m0s: want less than the 1m0s between two tests`},
		{"deadline", "probes:\n- {name: a, protocol: stamp, target: h, deadline: 2m}", `7: probes[0].deadline: 2m0s: want at most the 1m0s between two tests`},
		{"m of n", "probes:\n- {name: a, protocol: stamp, target: h, fail_runs: 3}", `7: probes[0].fail_runs: 3: not M/N; give two numbers such as 3/5`},
		{"the same name", "probes:\n- {name: a, protocol: stamp, target: h}\n- {name: a, protocol: stamp, target: h}", `8: probes[1].name: a: probes[0] has that name already; choose another`},
		{"target", "probes:\n- {name: a, protocol: stamp, target: 'h:port'}", `7: probes[0]`},
		{"log level", "web:\nmodules:\n  m: {protocol: stamp}\nlog: {level: loud}", `9: log.level: loud: not one of the choices (there are debug, info, warn, error)`},
		{"module", "modules:\n  m: {protocol: stamp, options: {coumt: 3}}", `7: modules.m.options.coumt: no option of a stamp probe (did you mean "count"?)`},
		{"store", "store: {on_loss: panic, dsn: FOLDER/sonde.db}", `6: store.on_loss: panic: `},
		{"twice", "log: {level: info}\nlog: {level: debug}", `7: log: the key is there already, on line 6; leave one out`},
		{"not YAML", "web: {listen: ':1'", `not YAML: `},
		{"server's value", "web: {max_probes: 0}", `6: web.max_probes: 0: want 1 or more`},
		{"a probe without end", "probes:\n- {name: a, protocol: stamp, target: h, options: {count: 0}}", `7: probes[0]: its test has no end; give duration, packets or bytes`},
		{"a module without end", "modules:\n  m: {protocol: btest, options: {duration: 0}}", `7: modules.m: its test has no end; give a duration`},
		{"list", "probes: {name: a}", `6: probes: want a list; begin each entry with a dash: - name: ...`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			folder := t.TempDir()
			file := filepath.Join(folder, "sonde.yaml")
			text := strings.ReplaceAll(right+tt.text+"\n", "FOLDER", folder)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var out, errs bytes.Buffer
			status := Main([]string{"sonde", "serve", "--config", file}, strings.NewReader(""), &out, &errs)
			if said := errs.String(); status != 2 || !strings.Contains(said, fmt.Sprintf("%s:", file)) || !strings.Contains(said, tt.want) || strings.Contains(said, "listening") {
				t.Errorf("exit status %d, said\n%s\nwant %s", status, said, tt.want)
			}
			left, err := os.ReadDir(folder)
			if err != nil || len(left) != 1 {
				t.Errorf("it made %v, %v", left, err)
			}
		})
	}
}
