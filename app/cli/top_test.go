//go:build !nano

package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sonde-net/sonde/app/live"
)

// topOf runs sonde top.
func topOf(t *testing.T, args ...string) (status int, out, errs string) {
	t.Helper()
	var o, e strings.Builder
	status = Main(append([]string{"sonde", "top"}, args...), strings.NewReader(""), &o, &e)
	return status, o.String(), e.String()
}

// The pages of a server tell of running tests; what they tell obeys nobody.
func TestTopOfPages(t *testing.T) {
	var token string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token = r.Header.Get("Authorization")
		if r.URL.Path != "/api/tests" {
			http.NotFound(w, r)
			return
		}
		w.Write([]byte(`[{"id":"1","protocol":"btest","transport":"tcp","direction":"both","username":"ann\u001b[2J","peer_ip":"192.0.2.1",
			"started_at":"2026-01-01T00:00:00.000Z","streams":2,"elapsed_seconds":1.5,"download_bits_per_second":1000000,"upload_bits_per_second":null,
			"download_bytes":5,"upload_bytes":null,"rtt_ns":1000,"lost":null,"can_stop":false,"ended":false,"reason":null,"history":[]}]`))
	}))
	defer s.Close()
	status, out, errs := topOf(t, "--url", s.URL, "--once")
	if status != 0 || errs != "" || !strings.Contains(out, "192.0.2.1") || !strings.Contains(out, "1.00 Mbit/s") || strings.Contains(out, "\x1b") {
		t.Errorf("status %d, %s\n%s", status, errs, out)
	}
	status, out, errs = topOf(t, "--url", s.URL)
	if status != 0 || strings.Count(errs, "no terminal") != 1 || !strings.Contains(out, "192.0.2.1") {
		t.Errorf("without a terminal: status %d, %s\n%s", status, errs, out)
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var snapshot live.Snapshot
	status, out, errs = topOf(t, "--url", s.URL, "--json", "--token-file", file)
	if err := json.Unmarshal([]byte(out), &snapshot); err != nil || status != 0 || token != "Bearer secret" {
		t.Errorf("status %d, %s, %v; asked with %q", status, errs, err, token)
	}
	if snapshot.Totals != nil || len(snapshot.Tests) != 1 || *snapshot.Tests[0].DownRate != 1_000_000 || snapshot.Tests[0].UpRate != nil {
		t.Errorf("%s", out)
	}
}

// Who does not answer, and what cannot be meant, is told with a way out.
func TestTopWrong(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	none := filepath.Join(t.TempDir(), "none.sock")
	for _, tt := range []struct {
		args   []string
		status int
		said   string
	}{
		{[]string{"--control", none}, 1, "is sonde serve running"},
		{[]string{"--url", "ftp://x"}, 2, "give a URL such as"},
		{[]string{"--url", other.URL, "--control", none}, 2, "exclude each other"},
		{[]string{"--url", other.URL}, 1, "the pages of sonde"},
		{[]string{"--url", "http://" + strings.TrimPrefix(other.URL, "http://") + "/x", "--token-file", none}, 2, "token-file"},
		{[]string{"--token-file", none}, 2, "give --url"},
	} {
		status, _, errs := topOf(t, append(tt.args, "--once")...)
		if status != tt.status || !strings.Contains(errs, tt.said) {
			t.Errorf("%v: status %d, says %s", tt.args, status, errs)
		}
	}
}
