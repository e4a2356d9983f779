package meshweb

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sonde-net/sonde/app/meshbook"
	"github.com/sonde-net/sonde/mesh"
)

// evil is a name as a hostile peer has one.
const evil = `<img src=x onerror="document.title='owned'">"'&\u202e`

// status is a server with four nodes, of which one has an evil name.
func status() mesh.ServerStatus {
	rtt, jitter, ratio := 12*time.Millisecond, time.Millisecond, 0.025
	words := []string{mesh.PathDirect, mesh.PathPunched, mesh.PathMapped, mesh.PathRelayed, mesh.PathNone}
	names := []string{"alpha", "beta", evil, "delta"}
	s := mesh.ServerStatus{Name: "hub", Relays: true}
	for i, name := range names {
		c := mesh.ClientStatus{ID: string(rune('0' + i)), Name: name, Mapping: "endpoint-independent", Filtering: "address and port-dependent", Sent: 9, Received: 8, Acked: 7,
			RTT: &rtt, Heard: time.Now(), Addresses: []netip.AddrPort{netip.MustParseAddrPort("203.0.113.7:4000")}}
		for j := range names {
			if i != j {
				p := mesh.PairStatus{Peer: string(rune('0' + j)), Path: words[(i+j)%5], State: "direct", RTT: &rtt, Jitter: &jitter, Ratio: &ratio, Sent: uint64(time.Now().Unix() % 1e6), Lost: 3}
				if p.Path == mesh.PathRelayed || p.Path == mesh.PathNone {
					p.State, p.Reason, p.Hint = "relay", "neither can know where to send", "let one router map a port"
				}
				c.Pairs = append(c.Pairs, p)
			}
		}
		s.Clients = append(s.Clients, c)
	}
	return s
}

// site has three hours of history, with a hole in it.
func site(t *testing.T) *Site {
	t.Helper()
	b, err := meshbook.Open("")
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now().Add(-3 * time.Hour)
	for m := range 170 {
		if m >= 60 && m < 80 {
			continue
		}
		s := status()
		for i := range s.Clients {
			for j := range s.Clients[i].Pairs {
				p := &s.Clients[i].Pairs[j]
				rtt := time.Duration(10+m%7) * time.Millisecond
				p.RTT, p.Sent, p.Lost = &rtt, uint64(120*m), uint64(m*m/40)
			}
		}
		b.Observe(begin.Add(time.Duration(m)*time.Minute), s)
	}
	return &Site{Status: status, Book: b, Every: time.Second}
}

func get(t *testing.T, s *httptest.Server, path string) (int, http.Header, string) {
	t.Helper()
	r, err := http.Get(s.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, r.Header, string(b)
}

func TestPages(t *testing.T) {
	s := httptest.NewServer(site(t).Handler())
	defer s.Close()
	for _, tt := range []struct {
		path   string
		status int
		kind   string
		has    []string
	}{
		{"/", 200, "text/html", []string{"alpha", "punched", "Who reaches whom", "not shown", "&lt;img"}},
		{"/?from=alpha&to=beta", 200, "text/html", []string{`<svg class="plot"`, "alpha to beta: round-trip time", "beta to alpha: loss"}},
		{"/?from=nobody&to=beta", 200, "text/html", []string{"nothing reported now", "nothing measured"}},
		{"/?from=%3Cscript%3E&to=%3Cscript%3E", 200, "text/html", []string{"&lt;script&gt; to"}},
		{"/api/mesh.json", 200, "application/json", []string{`"path":"relayed"`, `"addresses":[]`, `"schema":"sonde.mesh/1"`}},
		{"/api/history.json?from=alpha&to=beta", 200, "application/json", []string{`"rtt_ns":`, `"lost":`}},
		{"/api/history.json?from=x&to=y", 404, "application/json", []string{`"minutes":[]`}},
		{"/assets/style.css", 200, "text/css", nil},
		{"/assets/plot.css", 200, "text/css", []string{"svg.plot"}},
		{"/assets/live.js", 200, "text/javascript", nil},
		{"/assets/page.html.bak", 404, "text/plain", nil},
		{"/nothing", 404, "text/plain", nil},
	} {
		code, h, body := get(t, s, tt.path)
		if code != tt.status || !strings.HasPrefix(h.Get("Content-Type"), tt.kind) || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'") {
			t.Errorf("%s: %d, %v", tt.path, code, h)
		}
		for _, want := range tt.has {
			if !strings.Contains(body, want) {
				t.Errorf("%s: no %q in\n%s", tt.path, want, body)
			}
		}
		if strings.Contains(body, "<img src=x") || strings.Contains(body, "<script>") || strings.Contains(body, "203.0.113") || strings.Contains(body, "style=") {
			t.Errorf("%s: a name is not escaped, an address is shown, or a style is in a tag:\n%s", tt.path, body)
		}
		if tt.kind == "application/json" && !json.Valid([]byte(body)) {
			t.Errorf("%s: %s", tt.path, body)
		}
	}
	r, err := http.Post(s.URL+"/", "text/plain", nil)
	if err != nil || r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %v, %v", r.Status, err)
	}
}

// With --show-addresses they are shown; on loopback other names are refused.
func TestAddressesAndHosts(t *testing.T) {
	one := site(t)
	one.Addresses, one.Loopback = true, true
	h := one.Handler()
	for host, want := range map[string]int{"localhost:8080": 200, "127.0.0.1": 200, "[::1]:8080": 200, "evil.example": 421, "192.0.2.1:80": 421, "": 421} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want || want == 200 && !strings.Contains(w.Body.String(), "203.0.113.7:4000") {
			t.Errorf("%q: %d", host, w.Code)
		}
	}
}

// A live page is sent again and again; there are only so many of them.
func TestLive(t *testing.T) {
	var looks atomic.Int32
	one := site(t)
	one.Every = 50 * time.Millisecond
	one.Status = func() mesh.ServerStatus { looks.Add(1); return status() }
	s := httptest.NewServer(one.Handler())
	defer s.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	open := func() *http.Response {
		r, err := http.NewRequestWithContext(ctx, "GET", s.URL+"/live?from=alpha&to=beta", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	res := open()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	scenes := 0
	for scenes < 3 && lines.Scan() {
		switch l := lines.Text(); {
		case l == "event: scene":
			scenes++
		case l != "" && !strings.HasPrefix(l, "data: ") && l != "data:":
			t.Fatalf("line %q", l)
		}
	}
	if scenes != 3 || looks.Load() < 3 {
		t.Errorf("%d scenes, %d looks", scenes, looks.Load())
	}
	stop()
	one.Every = time.Hour
	s2 := httptest.NewServer(one.Handler())
	defer s2.Close()
	s.URL = s2.URL
	ctx, stop = context.WithCancel(t.Context())
	defer stop()
	for range maxStreams {
		open()
	}
	if res := open(); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one too many: %s", res.Status)
	}
}

// A mesh of hundreds still makes a page.
func TestManyNodes(t *testing.T) {
	one := site(t)
	one.Status = func() mesh.ServerStatus {
		var s mesh.ServerStatus
		for i := range 300 {
			s.Clients = append(s.Clients, mesh.ClientStatus{ID: strings.Repeat("x", i+1)})
		}
		return s
	}
	s := httptest.NewServer(one.Handler())
	defer s.Close()
	if code, _, body := get(t, s, "/"); code != 200 || !strings.Contains(body, "236 more nodes") {
		t.Errorf("%d", code)
	}
}
