package metrics

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sonde-net/sonde/result"
)

// lossy is a module that loses one of four packets.
func lossy(ctx context.Context, _ string, sink result.Sink) error {
	h := result.Head{Run: result.NewID(), Protocol: "stamp", Role: result.Client}
	sink.Put(result.Begin{Head: h})
	sink.Put(result.End{Head: h, RoundTrips: []result.RoundTrips{{Sent: 4, Replies: 3, Lost: 1}}})
	return nil
}

func ask(b *Blackbox, module, target, timeout string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/probe?"+url.Values{"module": {module}, "target": {target}}.Encode(), nil)
	if timeout != "" {
		r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", timeout)
	}
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	return w
}

func TestBlackbox(t *testing.T) {
	b := &Blackbox{
		Modules: map[string]Module{
			"lossy":  {Run: lossy},
			"broken": {Run: func(context.Context, string, result.Sink) error { return errors.New("no answer") }},
			"long":   {Run: lossy, Length: 10 * time.Second},
			"slow": {Run: func(ctx context.Context, target string, sink result.Sink) error {
				<-ctx.Done()
				return lossy(ctx, target, sink)
			}},
		},
		Targets: []string{"192.0.2.0/24", "probe.example", "2001:db8::1"}, Deadline: 5 * time.Second, Most: 1,
	}
	for _, tt := range []struct {
		name, module, target, timeout string
		status                        int
		want, lack                    string
	}{
		{"made", "lossy", "192.0.2.7:862", "", 200, `sonde_loss_ratio{direction="round_trip",probe="lossy"} 0.25`, ""},
		{"not made", "broken", "192.0.2.7", "", 200, "probe_success 0", "sonde_loss_ratio{"},
		{"cut at the deadline", "slow", "192.0.2.7", "0.6", 200, "probe_success 0", "sonde_loss_ratio{"},
		{"longer than the scrape waits", "long", "192.0.2.7", "10", 400, "raise scrape_timeout", ""},
		{"long enough", "long", "192.0.2.7", "11", 200, "probe_success 1", ""},
		{"a name on the list", "lossy", "PROBE.example:862", "", 200, "probe_success 1", ""},
		{"an address on the list", "lossy", "[2001:db8::1]:862", "", 200, "probe_success 1", ""},
		{"mapped", "lossy", "[::ffff:192.0.2.7]:862", "", 200, "probe_success 1", ""},
		{"another name", "lossy", "192.0.2.7.example", "", 403, "probe_targets", ""},
		{"another address", "lossy", "198.51.100.1", "", 403, "probe_targets", ""},
		{"no target", "lossy", "", "", 400, "target", ""},
		{"a long target", "lossy", strings.Repeat("a", 300), "", 400, "target", ""},
		{"no module", "none", "192.0.2.7", "", 400, "modules", ""},
		{"a scrape that does not wait", "lossy", "192.0.2.7", "0.2", 400, "too short", ""},
		{"a scrape that waits for ever", "lossy", "192.0.2.7", "inf", 400, "seconds", ""},
		{"no number", "lossy", "192.0.2.7", "NaN", 400, "seconds", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := ask(b, tt.module, tt.target, tt.timeout)
			if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.want) {
				t.Errorf("%d, want %d with %q:\n%s", w.Code, tt.status, tt.want, w.Body)
			}
			if tt.lack != "" && strings.Contains(w.Body.String(), tt.lack) {
				t.Errorf("a figure that was not measured:\n%s", w.Body)
			}
		})
	}
}

// As many as Most at once; who comes then gets 503 at once.
func TestBlackboxPlaces(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	b := &Blackbox{Modules: map[string]Module{"held": {Run: func(ctx context.Context, target string, sink result.Sink) error {
		close(begun)
		<-goOn
		return lossy(ctx, target, sink)
	}}}, Targets: []string{"192.0.2.7"}, Deadline: time.Minute, Most: 1}
	first := make(chan *httptest.ResponseRecorder)
	go func() { first <- ask(b, "held", "192.0.2.7", "") }()
	<-begun
	if w := ask(b, "held", "192.0.2.7", ""); w.Code != http.StatusServiceUnavailable {
		t.Errorf("a second probe: %d", w.Code)
	}
	close(goOn)
	if w := <-first; w.Code != http.StatusOK {
		t.Errorf("the first probe: %d", w.Code)
	}
}

// A throughput test waits for the line no longer than leaves time for it.
func TestBlackboxLine(t *testing.T) {
	b := &Blackbox{
		Modules: map[string]Module{"rate": {Run: lossy, Throughput: true}}, Targets: []string{"192.0.2.7"}, Deadline: 50 * time.Millisecond, Most: 2,
		Line: func(ctx context.Context) (func(), error) { <-ctx.Done(); return nil, ctx.Err() },
	}
	if w := ask(b, "rate", "192.0.2.7", ""); w.Code != http.StatusServiceUnavailable {
		t.Errorf("while another has the line: %d", w.Code)
	}
	b.Deadline = time.Minute
	gaveBack := false
	b.Line = func(context.Context) (func(), error) { return func() { gaveBack = true }, nil }
	if w := ask(b, "rate", "192.0.2.7", ""); w.Code != http.StatusOK || !gaveBack {
		t.Errorf("with the line: %d, given back %v", w.Code, gaveBack)
	}
}
