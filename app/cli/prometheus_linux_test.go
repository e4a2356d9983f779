//go:build !nano

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Prometheus itself scrapes /metrics and /probe, and finds nothing to complain
// of in them, nor in the rules that the packages bring.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"prometheus", "promtool"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s on this machine (Debian's package prometheus)", program)
		}
	}
	if out, err := exec.Command("promtool", "check", "rules", "../../packaging/prometheus/alerts.yml").CombinedOutput(); err != nil {
		t.Errorf("alerts.yml: %v\n%s", err, out)
	}
	d := startDaemon(t, everything)
	web, twamp := d.address("web"), d.address("twamp")
	d.write(everything + fmt.Sprintf(`probes: [{name: office, protocol: stamp, target: %q, every: 2s, packets: 5, options: {interval: 10ms, timeout: 500ms}}]
`, twamp))
	d.client(0, "reload", "--config", d.file("sonde.yaml"))
	listen := freePort(t)
	config := fmt.Sprintf(`
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - {job_name: sonde, static_configs: [{targets: [%q]}]}
  - job_name: sonde-probe
    metrics_path: /probe
    params: {module: [quick]}
    scrape_interval: 5s
    scrape_timeout: 5s
    static_configs: [{targets: [%q]}]
    relabel_configs:
      - {source_labels: [__address__], target_label: __param_target}
      - {source_labels: [__param_target], target_label: instance}
      - {target_label: __address__, replacement: %q}
`, web, twamp, web)
	if err := os.WriteFile(d.file("prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	said := &bytes.Buffer{}
	server := exec.Command("prometheus", "--config.file", d.file("prometheus.yml"), "--storage.tsdb.path", d.file("tsdb"), "--web.listen-address", listen)
	server.Stderr = said
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Wait()
	defer server.Process.Kill()

	// Each of these queries comes to have an answer.
	for _, query := range []string{
		`up{job="sonde"} == 1`,
		`sonde_build_info == 1`,
		`probe_success{job="sonde-probe"} == 1`,
		`sonde_loss_ratio{job="sonde-probe"} == 0`,
		`sonde_rtt_quantile_seconds{job="sonde-probe",q="0.5"} > 0`,
		`sonde_probe_success{probe="office"} == 1`,
		`sonde_rtt_quantile_seconds{probe="office",q="0.99"} > 0`,
		`increase(sonde_probe_runs_total{probe="office",result="ok"}[1m]) > 0`,
		`histogram_quantile(0.9, sum by (le, protocol) (rate(sonde_rtt_seconds_bucket[1m]))) > 0`,
	} {
		var answer string
		for late := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
			var n int
			if n, answer = ask(listen, query); n > 0 {
				break
			}
			if time.Now().After(late) {
				t.Fatalf("no answer to %s; the last was %s; prometheus said\n%s", query, answer, said)
			}
		}
	}
	_, text := d.get("/metrics")
	check := exec.Command("promtool", "check", "metrics")
	check.Stdin = strings.NewReader(text)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// ask asks Prometheus and returns how many series answer.
func ask(server, query string) (int, string) {
	r, err := http.Get("http://" + server + "/api/v1/query?" + url.Values{"query": {query}}.Encode())
	if err != nil {
		return 0, err.Error() // it has not begun to listen
	}
	defer r.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct{ Result []any }
	}
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil {
		return 0, err.Error()
	}
	return len(answer.Data.Result), fmt.Sprintf("%+v", answer)
}

// freePort is an address that nobody listened on a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
