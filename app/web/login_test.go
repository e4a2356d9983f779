package web_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sonde-net/sonde/app/account"
	"github.com/sonde-net/sonde/app/store"
)

func TestLogin(t *testing.T) {
	w := newTester(t)
	b := w.browser()
	if a := b.login("root", "wrong"); a.StatusCode != 401 || !strings.Contains(a.body, "wrong name or password") {
		t.Errorf("a wrong password: %d", a.StatusCode)
	}
	unknown, wrong := b.login("nobody", "wrong").body, b.login("root", "wrong").body
	if strings.ReplaceAll(unknown, "nobody", "root") != wrong {
		t.Error("an unknown name looks different from a wrong password")
	}
	a := b.login("root", "correct horse")
	if a.StatusCode != 200 || !strings.HasSuffix(a.Request.URL.Path, "/admin/users") {
		t.Fatalf("login: %d, %s", a.StatusCode, a.Request.URL)
	}
	word := csrf(a.body)
	if a := b.post("/admin/users", url.Values{"name": {"bob"}, "password": {"x"}}); a.StatusCode != 403 {
		t.Errorf("a form without the session's word: %d", a.StatusCode)
	}
	if a := b.post("/admin/users", url.Values{"name": {"bob"}, "password": {"x"}, "csrf": {word}}); a.StatusCode != 200 || !strings.Contains(a.body, "<h1>bob</h1>") {
		t.Errorf("a new user: %d, %.500s", a.StatusCode, a.body)
	}
	if a := b.post("/admin/users", url.Values{"name": {"bob"}, "password": {"x"}, "csrf": {word}}); a.StatusCode != 422 || !strings.Contains(a.body, "of that name already") {
		t.Errorf("the same again: %d", a.StatusCode)
	}
	form := url.Values{"name": {"bob"}, "csrf": {word}, "daily_combined": {"10GB"}, "monthly_inbound": {"0"}, "duration": {"5m"}, "tests": {"3"}, "rate": {"100M"}, "disabled": {"yes"}}
	if a := b.post("/admin/user/limits", form); a.StatusCode != 200 {
		t.Errorf("limits: %d, %.500s", a.StatusCode, a.body)
	}
	e, err := w.store.Entry(t.Context(), "bob")
	w.must(err)
	want := account.Limits{Bytes: map[account.Window]uint64{{Period: account.Day}: 10e9, {Period: account.Month, Flow: account.In}: 0}}
	if !e.Disabled || *e.Limits.Duration != 5*time.Minute || *e.Limits.Tests != 3 || *e.Limits.Rate != 100e6 || fmt.Sprint(e.Limits.Bytes) != fmt.Sprint(want.Bytes) {
		t.Errorf("limits: %+v", e)
	}
	form.Set("daily_combined", "many")
	form.Set("tests", "-1")
	if a := b.post("/admin/user/limits", form); a.StatusCode != 422 || !strings.Contains(a.body, "daily combined") || !strings.Contains(a.body, "tests") {
		t.Errorf("bad limits: %d", a.StatusCode)
	}
	if a := b.post("/admin/user/password", url.Values{"name": {"bob"}, "password": {"y"}, "csrf": {word}}); a.StatusCode != 200 {
		t.Errorf("a password: %d", a.StatusCode)
	}
	if a := b.post("/admin/user/delete", url.Values{"name": {"bob"}, "csrf": {word}, "sure": {"yes"}}); a.StatusCode != 200 {
		t.Errorf("deleted: %d", a.StatusCode)
	}
	if _, err := w.store.Entry(t.Context(), "bob"); !store.IsNotFound(err) {
		t.Errorf("deleted: %v", err)
	}
	if a := b.post("/logout", url.Values{"csrf": {word}}); a.StatusCode != 200 {
		t.Errorf("sign out: %d", a.StatusCode)
	}
	if a := b.get("/admin/users"); a.Request.URL.Path != "/login" {
		t.Errorf("after that: %s", a.Request.URL)
	}
}

// TestSession: who was deleted or lost a role notices at once; a session ends.
func TestSession(t *testing.T) {
	w := newTester(t)
	now := time.Now()
	w.site.Now = func() time.Time { return now }
	b := w.browser()
	b.login("root", "correct horse")
	w.must(w.store.SetLogin(t.Context(), now, "root", "correct horse", account.Viewer))
	if a := b.get("/admin/users"); strings.Contains(a.body, "New user") {
		t.Error("a viewer is offered to create users")
	}
	now = now.Add(9 * time.Hour)
	if a := b.get("/admin/users"); a.Request.URL.Path != "/login" {
		t.Error("a session does not end")
	}
	b.login("root", "correct horse")
	w.must(w.store.DeleteLogin(t.Context(), "root"))
	if a := b.get("/admin/users"); a.Request.URL.Path != "/login" {
		t.Error("a deleted login goes on")
	}
}

// TestCookie: nobody else's script, site or line gets the cookie.
func TestCookie(t *testing.T) {
	w := newTester(t)
	w.site.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	form := url.Values{"user": {"root"}, "password": {"correct horse"}}.Encode()
	for _, tt := range []struct {
		headers []string
		status  int
		cookie  string
	}{
		{nil, 303, "sonde="},
		{[]string{"X-Forwarded-For", "192.0.2.9", "X-Forwarded-Proto", "https"}, 303, "__Host-sonde="},
		{[]string{"X-Forwarded-For", "192.0.2.9", "X-Forwarded-Proto", "http"}, 403, ""},
		{[]string{"X-Forwarded-For", "192.0.2.9"}, 403, ""},
		{[]string{"Sec-Fetch-Site", "cross-site"}, 403, ""},
		{[]string{"Origin", "https://evil.example"}, 403, ""},
	} {
		a := w.do("POST", "/login", form, tt.headers...)
		c := a.Header.Get("Set-Cookie")
		if a.StatusCode != tt.status || !strings.HasPrefix(c, tt.cookie) || (c == "") != (tt.cookie == "") {
			t.Errorf("%v: %d, cookie %q", tt.headers, a.StatusCode, c)
		}
		if c == "" {
			continue
		}
		for _, want := range []string{"; HttpOnly", "; SameSite=Strict", "; Path=/"} {
			if !strings.Contains(c, want) {
				t.Errorf("%q is without %q", c, want)
			}
		}
		if secure := strings.Contains(c, "; Secure"); secure != strings.HasPrefix(c, "__Host-") {
			t.Errorf("%q", c)
		}
	}
}

// TestNext: after the login a page of this site is shown, no other.
func TestNext(t *testing.T) {
	w := newTester(t)
	for next, want := range map[string]string{
		"/tests?user=a": "/tests?user=a", "//evil.example": "/", "https://evil.example": "/", `/\evil.example`: "/", "": "/", "javascript:alert(1)": "/", "/%0d%0aX: y": "/%0d%0aX:%20y",
	} {
		a := w.do("POST", "/login", url.Values{"user": {"root"}, "password": {"correct horse"}, "next": {next}}.Encode())
		got := a.Header.Get("Location")
		if got != want && got != strings.ReplaceAll(want, "%20", " ") {
			t.Errorf("next %q: %q", next, got)
		}
	}
}

// TestBackoff: whoever guesses has to wait, from one address and for one name.
func TestBackoff(t *testing.T) {
	w := newTester(t)
	now := time.Now()
	w.site.Now = func() time.Time { return now }
	b := w.browser()
	for range 6 {
		if a := b.login("root", "wrong"); a.StatusCode != 401 {
			t.Fatalf("status %d", a.StatusCode)
		}
	}
	a := b.login("root", "correct horse")
	if a.StatusCode != http.StatusTooManyRequests || !strings.Contains(a.body, "try again in 1s") {
		t.Errorf("status %d, %.600s", a.StatusCode, a.body)
	}
	now = now.Add(2 * time.Second)
	if a := b.login("root", "correct horse"); a.StatusCode != 200 {
		t.Errorf("after the wait: %d", a.StatusCode)
	}
	// A name, from many addresses.
	w.site.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	form := url.Values{"user": {"root"}, "password": {"wrong"}}.Encode()
	status := 0
	for i := range 22 {
		status = w.do("POST", "/login", form, "X-Forwarded-For", fmt.Sprintf("192.0.2.%d", i+1), "X-Forwarded-Proto", "https").StatusCode
	}
	if status != http.StatusTooManyRequests {
		t.Errorf("a name guessed from many addresses: %d", status)
	}
}
