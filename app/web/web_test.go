package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/store"
	"github.com/sonde-net/sonde/app/web"
	"github.com/sonde-net/sonde/result"
)

// nasty is a name that breaks out of whatever does not escape it.
const nasty = `"><script>alert(1)</script>`

// A tester is a site and a store with a little in it.
type tester struct {
	*testing.T
	site   *web.Site
	store  *store.Store
	server *httptest.Server
	viewer string // tokens
	admin  string
}

// began is when the first of its tests did.
var began = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// run is one test of ten seconds: what the client sends is twice what it gets.
func run(n int, peer, user string) []result.Event {
	head := result.Head{Run: result.NewID(), Time: began.Add(time.Duration(n) * time.Minute), Protocol: "btest", Role: result.Server}
	events := []result.Event{result.Begin{Head: head, Transport: result.TCP, Direction: result.Both, Peer: netip.MustParseAddrPort(peer), Streams: 1, Account: user, Login: "md5"}}
	for i := range 10 {
		for _, d := range result.Both.Each() {
			v := &result.View{Bytes: uint64(d) * 1e6}
			interval := result.Interval{Head: head, Seq: i + 1, Direction: d, Stream: result.AllStreams, Start: time.Duration(i) * time.Second, End: time.Duration(i+1) * time.Second}
			if d == result.Down {
				interval.Sent = v
			} else {
				interval.Received = v
			}
			events = append(events, interval)
		}
	}
	return append(events, result.End{Head: head, Elapsed: 10 * time.Second, Reason: result.ReasonDone,
		Down: &result.Total{Sent: &result.View{Bytes: 10e6}}, Up: &result.Total{Received: &result.View{Bytes: 20e6}}})
}

func newTester(t *testing.T) *tester {
	t.Helper()
	ctx := t.Context()
	s, err := store.Open(ctx, store.Config{DSN: filepath.Join(t.TempDir(), "sonde.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	sink := s.NewSink()
	for _, events := range [][]result.Event{run(0, "127.0.0.1:1000", "ann"), run(1, "192.0.2.7:1000", nasty), run(2, "[2001:db8::7]:1000", "")} {
		for _, e := range events {
			sink.Put(e)
		}
	}
	sink.Refuse(store.Refusal{Time: began, Protocol: "btest", Account: nasty, Address: "192.0.2.7", Word: "user_daily_quota_exceeded", Text: "=cmd|' /C calc'!A0",
		Used: new(uint64(50e6)), Limit: new(uint64(50e6)), Until: began.Add(time.Hour)})
	sink.Close()
	w := &tester{T: t, store: s, site: &web.Site{State: web.NewState(), Store: s, Quotas: someQuotas{}, Offers: []web.Offer{{Protocol: "btest", Port: 2000, UDPPorts: "2001-2100", Login: true}, {Protocol: "iperf3", Port: 5201}}}}
	w.must(s.CreateAccount(ctx, began, account.Account{Name: nasty, Limits: account.Limits{Bytes: map[account.Window]uint64{{Period: account.Day}: 50e6}, Tests: new(2)}}, store.NewSecrets(nasty, "x", true)))
	w.must(s.SetLogin(ctx, began, "root", "correct horse", account.Admin))
	w.viewer, err = s.AddToken(ctx, began, "reader", account.Viewer, time.Time{})
	w.must(err)
	w.admin, err = s.AddToken(ctx, began, "writer", account.Admin, time.Time{})
	w.must(err)
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.site.Handler().ServeHTTP(rw, r) }))
	t.Cleanup(w.server.Close)
	return w
}

func (w *tester) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// someQuotas are at 40, 70 and 95 %.
type someQuotas struct{}

func (someQuotas) Quotas(context.Context, account.Subject) ([]web.Quota, error) {
	return []web.Quota{
		{Window: account.Window{Period: account.Day}, Used: 40 << 20, Limit: 100 << 20},
		{Window: account.Window{Period: account.Week}, Used: 700 << 20, Limit: 1000 << 20},
		{Window: account.Window{Period: account.Month}, Used: 9500 << 20, Limit: 10000 << 20},
		{Window: account.Window{Period: account.Month, Flow: account.In}, Used: 1 << 30, Limit: 1 << 30, Until: began.Add(48 * time.Hour)},
	}, nil
}

// An answer is one of the site.
type answer struct {
	*http.Response
	body string
}

// do asks for a path, with headers as pairs.
func (w *tester) do(method, path, body string, headers ...string) answer {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), method, w.server.URL+path, strings.NewReader(body))
	w.must(err)
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return w.read(client.Do(r))
}

func (w *tester) read(r *http.Response, err error) answer {
	w.Helper()
	w.must(err)
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	w.must(err)
	return answer{r, string(b)}
}

func (w *tester) get(path string, headers ...string) answer {
	w.Helper()
	return w.do("GET", path, "", headers...)
}

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

// A browser keeps cookies.
type browser struct {
	*tester
	client *http.Client
}

func (w *tester) browser() *browser {
	jar, err := cookiejar.New(nil)
	w.must(err)
	return &browser{w, &http.Client{Jar: jar}}
}

func (b *browser) get(path string) answer {
	b.Helper()
	return b.read(b.client.Get(b.server.URL + path))
}

func (b *browser) post(path string, form url.Values) answer {
	b.Helper()
	return b.read(b.client.PostForm(b.server.URL+path, form))
}

func (b *browser) login(name, password string) answer {
	b.Helper()
	return b.post("/login", url.Values{"user": {name}, "password": {password}, "next": {"/admin/users"}})
}

// csrf is what the forms of a page carry.
func csrf(page string) string {
	_, rest, _ := strings.Cut(page, `name="csrf" value="`)
	word, _, _ := strings.Cut(rest, `"`)
	return word
}

// TestAccess asks for everything as nobody, as a viewer and as an administrator.
func TestAccess(t *testing.T) {
	w := newTester(t)
	for _, tt := range []struct {
		method, path          string
		nobody, viewer, admin int
	}{
		{"GET", "/", 200, 200, 200},
		{"GET", "/live", 200, 200, 200},
		{"GET", "/login", 200, 200, 200},
		{"GET", "/nothing", 404, 404, 404},
		{"GET", "/dashboard/127.0.0.1", 200, 200, 200},
		{"GET", "/dashboard/192.0.2.7", 303, 200, 200},
		{"GET", "/dashboard/2001:db8::7", 303, 200, 200},
		{"GET", "/dashboard/nonsense", 400, 400, 400},
		{"GET", "/dashboard?ip=192.0.2.7", 303, 303, 303},
		{"GET", "/dashboard?ip=", 400, 400, 400},
		{"GET", "/dashboard/127.0.0.1?run=2", 404, 404, 404},
		{"GET", "/live?ip=192.0.2.7", 303, 200, 200},
		{"GET", "/tests", 303, 200, 200},
		{"GET", "/tests.csv", 303, 200, 200},
		{"GET", "/admin/users", 303, 200, 200},
		{"GET", "/admin/user?name=" + url.QueryEscape(nasty), 303, 200, 200},
		{"GET", "/admin/user?name=nobody", 303, 404, 404},
		{"GET", "/admin/quotas", 303, 200, 200},
		{"GET", "/admin/refusals", 303, 200, 200},
		{"GET", "/admin/refusals.csv", 303, 200, 200},
		{"POST", "/admin/users", 401, 403, 422},
		{"POST", "/admin/user/limits", 401, 403, 404},
		{"POST", "/admin/user/delete", 401, 403, 404},
		{"GET", "/api/ip/127.0.0.1/sessions", 200, 200, 200},
		{"GET", "/api/ip/::ffff:127.0.0.1/sessions", 200, 200, 200},
		{"GET", "/api/ip/192.0.2.7/sessions", 401, 200, 200},
		{"GET", "/api/ip/192.0.2.7/stats", 401, 200, 200},
		{"GET", "/api/ip/192.0.2.7/quota", 401, 200, 200},
		{"GET", "/api/ip/192.0.2.7/export", 401, 200, 200},
		{"GET", "/api/ip/fe80::1%25eth0/sessions", 400, 400, 400},
		{"GET", "/api/ip/1.2.3/sessions", 400, 400, 400},
		{"GET", "/api/session/1/intervals", 200, 200, 200},
		{"GET", "/api/session/2/intervals", 404, 200, 200},
		{"GET", "/api/session/99/intervals", 404, 404, 404},
		{"GET", "/api/session/0/intervals", 404, 404, 404},
		{"GET", "/api/session/x/intervals", 404, 404, 404},
		{"GET", "/api/tests", 200, 200, 200},
		{"GET", "/api/tests?ip=192.0.2.7", 401, 200, 200},
		{"GET", "/api/users", 401, 200, 200},
		{"GET", "/api/refusals", 401, 200, 200},
		{"GET", "/api/refusals?before=x", 401, 400, 400},
		{"POST", "/api/tests/x/stop", 401, 403, 404},
		{"GET", "/api/openapi.json", 200, 200, 200},
	} {
		for _, who := range []struct {
			headers []string
			want    int
		}{{nil, tt.nobody}, {bearer(w.viewer), tt.viewer}, {bearer(w.admin), tt.admin}} {
			a := w.do(tt.method, tt.path, "", who.headers...)
			if a.StatusCode != who.want {
				t.Errorf("%s %s %v: %d, want %d\n%.300s", tt.method, tt.path, who.headers, a.StatusCode, who.want, a.body)
			}
			if strings.Contains(a.body, "<script>") && !strings.HasSuffix(tt.path, ".csv") {
				t.Errorf("%s %s: the name is not escaped", tt.method, tt.path)
			}
			if who.headers == nil && strings.Contains(a.body, "ann") && strings.Contains(tt.path, "127.0.0.1") {
				t.Errorf("%s %s: a user's name is shown to nobody in particular", tt.method, tt.path)
			}
		}
	}
	if a := w.get("/api/ip/127.0.0.1/sessions", bearer("sonde_wrong")...); a.StatusCode != 401 {
		t.Errorf("a wrong token: %d", a.StatusCode)
	}
}

// TestPublic: everybody sees every address, but no names.
func TestPublic(t *testing.T) {
	w := newTester(t)
	w.site.Public = true
	for _, path := range []string{"/dashboard/192.0.2.7", "/api/ip/192.0.2.7/sessions", "/api/session/2/intervals"} {
		if a := w.get(path); a.StatusCode != 200 || strings.Contains(a.body, "alert") {
			t.Errorf("%s: %d, %.300s", path, a.StatusCode, a.body)
		}
	}
	if a := w.get("/api/users"); a.StatusCode != 401 {
		t.Errorf("users: %d", a.StatusCode)
	}
}

// TestForwarded: what a proxy of ours says of who asks holds, what others say
// does not.
func TestForwarded(t *testing.T) {
	w := newTester(t)
	for _, tt := range []struct {
		proxies string
		headers []string
		sees    string
		is      bool
	}{
		{"", []string{"X-Forwarded-For", "192.0.2.7"}, "192.0.2.7", false},
		{"", []string{"X-Forwarded-For", "192.0.2.7"}, "127.0.0.1", true},
		{"127.0.0.0/8", []string{"X-Forwarded-For", "192.0.2.7"}, "192.0.2.7", true},
		{"127.0.0.0/8", []string{"X-Forwarded-For", "192.0.2.7"}, "127.0.0.1", false},
		{"127.0.0.0/8", []string{"X-Forwarded-For", "192.0.2.7, 198.51.100.1"}, "192.0.2.7", false},
		{"127.0.0.0/8", []string{"X-Forwarded-For", "198.51.100.1", "X-Forwarded-For", "192.0.2.7,127.0.0.9"}, "192.0.2.7", true},
		{"127.0.0.0/8", []string{"X-Forwarded-For", "192.0.2.7, nonsense"}, "192.0.2.7", false},
		{"127.0.0.0/8", []string{"X-Forwarded-For", "::ffff:192.0.2.7"}, "192.0.2.7", true},
		{"127.0.0.0/8", []string{"X-Forwarded-For", "2001:db8::7"}, "2001:db8::7", true},
		{"192.0.2.0/24", []string{"X-Forwarded-For", "2001:db8::7"}, "2001:db8::7", false},
		{"127.0.0.0/8", nil, "127.0.0.1", true},
	} {
		w.site.Proxies = nil
		if tt.proxies != "" {
			w.site.Proxies = []netip.Prefix{netip.MustParsePrefix(tt.proxies)}
		}
		a := w.get("/api/ip/"+tt.sees+"/sessions", tt.headers...)
		if (a.StatusCode == 200) != tt.is {
			t.Errorf("behind %q with %v: %s is %d", tt.proxies, tt.headers, tt.sees, a.StatusCode)
		}
	}
}

// TestHeaders: no page may load anything from elsewhere, and assets are kept.
func TestHeaders(t *testing.T) {
	w := newTester(t)
	a := w.get("/dashboard/127.0.0.1")
	for key, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self';", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
		"Referrer-Policy": "no-referrer",
	} {
		if got := a.Header.Get(key); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	for _, bad := range []string{"http://", "https://", `style="`, "javascript:", " onclick"} {
		if strings.Contains(strings.ReplaceAll(a.body, "http://www.w3.org/2000/svg", ""), bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	_, rest, _ := strings.Cut(a.body, `href="/assets/style-`)
	name, _, _ := strings.Cut(rest, `"`)
	css := w.get("/assets/style-" + name)
	if css.StatusCode != 200 || !strings.Contains(css.Header.Get("Cache-Control"), "immutable") || css.Header.Get("ETag") == "" || !strings.HasPrefix(css.Header.Get("Content-Type"), "text/css") {
		t.Errorf("style: %d %v", css.StatusCode, css.Header)
	}
	if again := w.get("/assets/style-"+name, "If-None-Match", css.Header.Get("ETag")); again.StatusCode != 304 {
		t.Errorf("style again: %d", again.StatusCode)
	}
	if a := w.get("/assets/style.css"); a.StatusCode != 404 {
		t.Errorf("an asset without its hash: %d", a.StatusCode)
	}
	for _, path := range []string{"/assets/..%2fweb.go", "/assets/"} {
		if a := w.get(path); a.StatusCode != 404 {
			t.Errorf("%s: %d", path, a.StatusCode)
		}
	}
	if a := w.do("POST", "/login", strings.Repeat("x", 1<<20)); a.StatusCode != 413 {
		t.Errorf("a large body: %d", a.StatusCode)
	}
}

// TestWithoutStore: what runs is shown, all else is not there.
func TestWithoutStore(t *testing.T) {
	w := newTester(t)
	w.site.Store = nil
	for path, want := range map[string]int{"/": 200, "/live": 200, "/api/tests": 200, "/dashboard/127.0.0.1": 404, "/login": 404, "/api/users": 404, "/admin/users": 404} {
		if a := w.get(path); a.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, a.StatusCode, want)
		}
	}
}

// schema is the one of the answer to a path in the description of the API.
func schema(t *testing.T, doc any, path string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	if err := c.AddResource("mem:///api.json", doc); err != nil {
		t.Fatal(err)
	}
	at := strings.NewReplacer("~", "~0", "/", "~1").Replace(path)
	s, err := c.Compile("mem:///api.json#/paths/" + url.PathEscape(at) + "/get/responses/200/content/application~1json/schema")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestDocument holds every answer of the API against its description.
func TestDocument(t *testing.T) {
	w := newTester(t)
	text := w.get("/api/openapi.json").body
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range run(5, "127.0.0.1:1", nasty)[:9] {
		w.site.State.Hub.Put(e)
	}
	paths := doc.(map[string]any)["paths"].(map[string]any)
	for _, pattern := range web.Patterns() {
		method, path, _ := strings.Cut(pattern, " ")
		if !strings.HasPrefix(path, "/api/") {
			continue
		}
		entry, ok := paths[path].(map[string]any)
		if !ok || entry[strings.ToLower(method)] == nil {
			t.Errorf("%s is not described", pattern)
		}
		delete(paths, path)
		if method != "GET" || strings.HasSuffix(path, "events") {
			continue
		}
		s := schema(t, mustJSON(t, text), path)
		for _, ip := range []string{"127.0.0.1", "203.0.113.1"} {
			a := w.get(strings.NewReplacer("{ip}", ip, "{id}", "1").Replace(path), bearer(w.viewer)...)
			v, err := jsonschema.UnmarshalJSON(strings.NewReader(a.body))
			if err == nil {
				err = s.Validate(v)
			}
			if err != nil || a.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s: %v\n%.1000s", path, err, a.body)
			}
		}
	}
	for path := range paths {
		t.Errorf("%s is described, but not served", path)
	}
}

func mustJSON(t *testing.T, text string) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestFields has the paths and fields of the dashboard that scripts know.
func TestFields(t *testing.T) {
	w := newTester(t)
	for path, want := range map[string]string{
		"/api/ip/127.0.0.1/sessions":   `[{"avg_rx_mbps":16,"avg_tx_mbps":8,"direction":"both","duration_secs":10,"ended_at":"2026-11-28T12:00:00.000Z","id":1,"lost":null,"peer_ip":"127.0.0.1","protocol":"btest","reason":"done","run_id":"RUN","rx_bytes":20000000,"started_at":"2026-11-28T12:00:00.000Z","streams":1,"transport":"tcp","tx_bytes":10000000,"username":"ann"}]`,
		"/api/ip/127.0.0.1/stats":      `{"avg_rx_mbps":16,"avg_tx_mbps":8,"total_rx_bytes":20000000,"total_sessions":1,"total_tx_bytes":10000000}`,
		"/api/ip/203.0.113.1/stats":    `{"avg_rx_mbps":null,"avg_tx_mbps":null,"total_rx_bytes":0,"total_sessions":0,"total_tx_bytes":0}`,
		"/api/session/1/intervals":     `[{"length_seconds":1,"rx_bytes":2000000,"second":1,"tx_bytes":1000000},`,
		"/api/ip/127.0.0.1/quota":      `{"daily_limit":104857600,"daily_used":41943040,"monthly_limit":10485760000,"monthly_used":9961472000,"quotas":[{"direction":"combined","limit_bytes":104857600,"period":"daily","used_bytes":41943040,"works_again_at":null},`,
		"/api/ip/127.0.0.1/export":     `{"complete":true,"exported_at":`,
		"/api/ip/203.0.113.1/sessions": `[]`,
	} {
		a := w.get(path, bearer(w.viewer)...)
		var v any
		if err := json.Unmarshal([]byte(a.body), &v); err != nil {
			t.Fatal(path, err)
		}
		b, err := json.Marshal(v)
		w.must(err)
		if list, ok := v.([]any); ok && len(list) > 0 {
			if id, ok := list[0].(map[string]any)["run_id"].(string); ok {
				b = bytes.ReplaceAll(b, []byte(id), []byte("RUN"))
			}
		}
		if !strings.HasPrefix(string(b), want) {
			t.Errorf("%s: %.800s\nwant %s", path, b, want)
		}
	}
	a := w.get("/api/ip/2001:db8::7/export", bearer(w.viewer)...)
	if got := a.Header.Get("Content-Disposition"); got != `attachment; filename="btest-2001-db8--7.json"` {
		t.Errorf("the file of an export: %s", got)
	}
	if !strings.Contains(a.body, `"tx_human":"9.54 MiB"`) || !strings.Contains(a.body, `"daily_used_human":"40.00 MiB"`) {
		t.Errorf("export: %s", a.body)
	}
}

// TestCSV: no cell is a formula.
func TestCSV(t *testing.T) {
	w := newTester(t)
	a := w.get("/admin/refusals.csv", bearer(w.viewer)...)
	if !strings.Contains(a.body, `,"""><script>alert(1)</script>",192.0.2.7,user_daily_quota_exceeded,'=cmd|`) {
		t.Errorf("refusals: %s", a.body)
	}
	a = w.get("/tests.csv?user="+url.QueryEscape(nasty), bearer(w.viewer)...)
	if n := strings.Count(a.body, "\r\n"); n != 2 {
		t.Errorf("%d lines, want 2: %s", n, a.body)
	}
}
