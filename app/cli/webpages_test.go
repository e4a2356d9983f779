//go:build !nano

package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPages stops a test of each protocol through the API of the daemon, and
// finds it in what is kept.
func TestPages(t *testing.T) {
	t.Parallel()
	d := startDaemon(t, `
server:
  btest: {listen: "127.0.0.1:0", auth: [none]}
  rperf: {listen: "127.0.0.1:0"}
  iperf3: {listen: "127.0.0.1:0"}
  twamp: {listen: "127.0.0.1:0"}
web: {listen: "127.0.0.1:0"}
store: {dsn: FOLDER/sonde.db}
limits: {addresses: {quota: {daily: 1TB}}}
control: {socket: none}
`)
	d.address("web") // it is up
	token := strings.TrimSpace(d.client(0, "users", "token", "add", "test", "--store", d.file("sonde.db"), "--role", "admin"))
	for _, line := range strings.Split(token, "\n") {
		if strings.HasPrefix(line, "sonde_") {
			token = line
		}
	}
	ask := func(method, path string, v any) int {
		t.Helper()
		r, err := http.NewRequest(method, "http://"+d.address("web")+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		b, err := io.ReadAll(a.Body)
		if err == nil && v != nil {
			err = json.Unmarshal(b, v)
		}
		if err != nil {
			t.Fatalf("%s: %v\n%s", path, err, b)
		}
		return a.StatusCode
	}
	type test struct {
		ID       string
		Run      string `json:"run_id"`
		Protocol string
		Reason   *string
		Ended    *string `json:"ended_at"`
		Can      bool    `json:"can_stop"`
	}
	stopped := map[string]bool{}
	for _, args := range [][]string{
		{"btest", "client", d.address("btest"), "-d", "60", "--rate", "10M", "--no-latency"},
		{"rperf", "client", d.address("rperf"), "-t", "60", "--rate", "10M", "--no-latency"},
		{"iperf3", "client", d.address("iperf3"), "-t", "60", "--rate", "10M", "--no-latency"},
		{"twamp", "ping", d.address("twamp"), "-c", "600"},
	} {
		client := exec.Command("sonde", args...)
		if err := client.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { client.Wait(); close(ended) }()
		t.Cleanup(func() { client.Process.Kill(); <-ended })
		var running []test
		for late := time.Now().Add(patience); len(running) == 0 || !running[0].Can; time.Sleep(20 * time.Millisecond) {
			if ask("GET", "/api/tests", &running); time.Now().After(late) {
				t.Fatalf("%v is not among what runs", args)
			}
		}
		if running[0].Protocol != args[0] {
			t.Errorf("%v: runs %+v", args, running)
		}
		if status := ask("POST", "/api/tests/"+running[0].ID+"/stop", nil); status != http.StatusNoContent {
			t.Errorf("%v: stop: %d", args, status)
		}
		stopped[running[0].ID] = true
		for late := time.Now().Add(patience); len(running) > 0; time.Sleep(20 * time.Millisecond) {
			if ask("GET", "/api/tests", &running); time.Now().After(late) {
				t.Fatalf("%v runs still", args)
			}
		}
		client.Process.Kill()
		<-ended
	}
	for late := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		// The ID of a running test is that of the run; in lists it is a number.
		var kept []struct {
			Run      string `json:"run_id"`
			Protocol string
			Reason   *string
		}
		ask("GET", "/api/ip/127.0.0.1/sessions", &kept)
		n := 0
		for _, one := range kept {
			if stopped[one.Run] && one.Reason != nil && *one.Reason == "stopped_by_operator" {
				n++
			}
		}
		if n == len(stopped) {
			break
		}
		if time.Now().After(late) {
			t.Fatalf("%d of %d were stopped: %+v", n, len(stopped), kept)
		}
	}
	var quota struct {
		Limit *uint64 `json:"daily_limit"`
		Used  uint64  `json:"daily_used"`
	}
	if ask("GET", "/api/ip/127.0.0.1/quota", &quota); quota.Limit == nil || *quota.Limit != 1e12 || quota.Used == 0 {
		t.Errorf("quota: %+v", quota)
	}
	if status, body := d.get("/"); status != 200 || !strings.Contains(body, "You come from") {
		t.Errorf("landing: %d\n%s", status, body)
	}
	if status, body := d.get("/readyz"); status != 200 {
		t.Errorf("ready: %d %s", status, body)
	}
}

// TestWebFlag: a server of one protocol has pages, too.
func TestWebFlag(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	errs, err := os.Create(filepath.Join(folder, "err"))
	if err != nil {
		t.Fatal(err)
	}
	defer errs.Close()
	cmd := exec.Command("sonde", "rperf", "server", "--listen", "127.0.0.1:0", "--store", filepath.Join(folder, "sonde.db"), "--web", "0")
	cmd.Stderr = errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d := &daemonTest{T: t, folder: folder, cmd: cmd, done: make(chan struct{})}
	go func() { cmd.Wait(); close(d.done) }()
	t.Cleanup(func() { cmd.Process.Kill(); <-d.done })
	url := d.await("err", `msg=pages url=(\S+)`)[1]
	for path, want := range map[string]string{"": "sonde rperf client", "dashboard/127.0.0.1": "Nothing was tested", "api/tests": "[]"} {
		a, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(a.Body)
		a.Body.Close()
		if err != nil || a.StatusCode != 200 || !strings.Contains(string(b), want) {
			t.Errorf("%s: %d, %v\n%s", path, a.StatusCode, err, b)
		}
	}
	cmd.Process.Signal(os.Interrupt)
	<-d.done
}
