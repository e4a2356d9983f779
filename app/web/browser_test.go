package web_test

import (
	"context"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/sonde-net/sonde/admit"
	"github.com/sonde-net/sonde/internal/testbrowser"
	"github.com/sonde-net/sonde/result"
)

// A chromium is a headless browser that notes what it asks for and what goes
// wrong in pages.
type chromium struct {
	*tester
	ctx context.Context

	mu       sync.Mutex // guards what follows
	asked    []string
	troubles []string
}

func newChromium(w *tester) *chromium {
	w.Helper()
	ctx := testbrowser.New(w)
	c := &chromium{tester: w, ctx: ctx}
	w.must(chromedp.Listen(ctx, c.heard))
	for _, err := range []error{
		call(ctx, network.Enable, network.EnableParams{}), call(ctx, page.Enable, page.EnableParams{}), call(ctx, runtime.Enable, cdp.Empty{}),
	} {
		w.must(err)
	}
	// Not before: that would be the browser's own time.
	ctx, stop := context.WithTimeout(ctx, 5*time.Minute)
	c.ctx = ctx
	w.Cleanup(stop)
	return c
}

func call[P any](ctx context.Context, c cdp.Command[P, cdp.Empty], params P) error {
	_, err := chromedp.Call(ctx, c, params)
	return err
}

func (c *chromium) heard(e any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e := e.(type) {
	case *network.EventRequestWillBeSent:
		c.asked = append(c.asked, e.Request.URL)
	case *runtime.EventExceptionThrown:
		c.troubles = append(c.troubles, e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		c.troubles = append(c.troubles, fmt.Sprint(e.Type, e.Args))
	case *page.EventJavascriptDialogOpening:
		c.troubles = append(c.troubles, "a dialog: "+e.Message)
	}
}

func (c *chromium) run(actions ...chromedp.Action[chromedp.Void]) {
	c.Helper()
	if err := chromedp.Do(c.ctx, actions...); err != nil {
		c.Fatal(err)
	}
}

// open goes to a path and waits for what matches a selector.
func (c *chromium) open(path, selector string) {
	c.Helper()
	c.run(chromedp.Navigate(c.server.URL+path), chromedp.WaitVisible(chromedp.CSS(selector)))
}

// value is what an expression of JavaScript gives.
func (c *chromium) value(expression string) string {
	c.Helper()
	v, err := chromedp.Run(c.ctx, chromedp.Evaluate[string]("String("+expression+")"))
	if err != nil {
		c.Fatalf("%s: %v", expression, err)
	}
	return v
}

// await waits until an expression is true.
func (c *chromium) await(expression string) {
	c.Helper()
	for late := time.Now().Add(time.Minute); c.value(expression) != "true"; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(late) {
			c.Fatalf("after a minute it is not true: %s\n%s", expression, c.value("document.body.innerText"))
		}
	}
}

// picture keeps a screenshot where SONDE_SCREENSHOTS says, in light and in dark,
// wide and as a phone has it. Nothing may be wider than the screen.
func (c *chromium) picture(name string) {
	c.Helper()
	for _, width := range []int64{1100, 360} {
		for _, scheme := range []string{"light", "dark"} {
			c.run(chromedp.EmulateViewport(width, 800))
			c.must(call(c.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}))
			if over := c.value("document.documentElement.scrollWidth - document.documentElement.clientWidth"); over != "0" {
				c.Errorf("%s is %s pixels wider than a screen of %d", name, over, width)
			}
			folder := os.Getenv("SONDE_SCREENSHOTS")
			if folder == "" {
				continue
			}
			b, err := chromedp.Run(c.ctx, chromedp.FullScreenshot(100))
			c.must(err)
			c.must(os.WriteFile(filepath.Join(folder, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)), b, 0o644))
		}
	}
}

// check that no page asked for anything elsewhere, and that nothing went wrong.
func (c *chromium) check() {
	c.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.asked) == 0 {
		c.Error("no request was seen")
	}
	for _, url := range c.asked {
		// The browser's own icons of form fields are data.
		if !strings.HasPrefix(url, c.server.URL+"/") && !strings.HasPrefix(url, "data:image/") {
			c.Errorf("a request leaves the origin: %s", url)
		}
	}
	for _, text := range c.troubles {
		c.Errorf("in a page: %s", text)
	}
}

// TestBrowser goes through the pages as a person does.
func TestBrowser(t *testing.T) {
	w := newTester(t)
	c := newChromium(w)
	c.open("/", "h1")
	if text := c.value("document.body.innerText"); !strings.Contains(text, "You come from 127.0.0.1") || !strings.Contains(text, "bandwidth-test address=127.0.0.1 protocol=udp") || !strings.Contains(text, "NAT") {
		t.Errorf("landing:\n%s", text)
	}
	c.picture("landing")

	// One address, found by its form.
	c.run(chromedp.Submit(chromedp.CSS("main form")), chromedp.WaitVisible(chromedp.CSS("#tests")))
	if text := c.value("document.body.innerText"); !strings.Contains(text, "\n1\n") || strings.Contains(text, "ann") {
		t.Errorf("one address:\n%s", text)
	}
	for _, colour := range []string{"good", "warn", "bad"} {
		if n := c.value("document.querySelectorAll('.wide-only ." + colour + "').length"); n == "0" {
			t.Errorf("no quota is %s", colour)
		}
	}
	if labels := c.value("document.querySelector('.wide-only svg').textContent"); !strings.Contains(labels, "40 %") || !strings.Contains(labels, "70 %") || !strings.Contains(labels, "95 %") {
		t.Errorf("quotas: %s", labels)
	}
	if n := c.value("document.querySelectorAll('.wide-only path.line').length"); n == "0" {
		t.Error("no chart")
	}

	// A test that runs, and its chart that moves.
	mine := run(9, "127.0.0.1:5", "ann")
	id := string(mine[0].Of().Run)
	grant, err := w.site.State.Stops.Policy(nil).Admit(t.Context(), admit.Request{Run: id})
	w.must(err)
	for _, e := range mine[:9] {
		w.site.State.Hub.Put(e)
	}
	const line = "document.querySelector('.test path.line')?.getAttribute('d')"
	c.await(line + "?.split('L').length >= 4")
	before := c.value(line)
	c.picture("address")
	for _, e := range mine[9:15] {
		w.site.State.Hub.Put(e)
	}
	c.await(line + " !== " + fmt.Sprintf("%q", before) + " && " + line + ".split('L').length >= 7")
	if n := c.value("document.querySelectorAll('.test button').length"); n != "0" {
		t.Error("nobody in particular is offered to stop a test")
	}

	// An administrator signs in, sees all, and stops a test.
	c.open("/admin/users", "input[name=password]")
	c.picture("login")
	c.run(
		chromedp.SendKeys(chromedp.CSS("input[name=user]"), "root"), chromedp.SendKeys(chromedp.CSS("input[name=password]"), "correct horse"),
		chromedp.Submit(chromedp.CSS("main form")), chromedp.WaitVisible(chromedp.CSS("table")),
	)
	if name := c.value("document.querySelector('td.who').textContent"); name != nasty {
		t.Errorf("the name is %q", name)
	}
	c.picture("users")
	c.run(chromedp.Click(chromedp.CSS("td.who a")), chromedp.WaitVisible(chromedp.CSS("input[name=daily_combined]")))
	if name := c.value("document.querySelector('h1').textContent"); name != nasty {
		t.Errorf("the name is %q", name)
	}
	c.picture("user")
	for path, name := range map[string]string{"/tests": "tests", "/admin/quotas": "quotas", "/admin/refusals": "refusals", "/dashboard/192.0.2.7": "other"} {
		c.open(path, "table")
		if cells := c.value("Array.from(document.querySelectorAll('td.who')).map(e => e.textContent).join('|')"); !strings.Contains(cells, nasty) {
			t.Errorf("%s shows %q", path, cells)
		}
		c.picture(name)
	}
	c.open("/live", ".test button")
	c.picture("live")
	c.run(chromedp.Click(chromedp.CSS(".test button")))
	<-grant.Ended.Done()
	end := mine[len(mine)-1].(result.End)
	end.Reason = result.CodeOf(context.Cause(grant.Ended))
	w.site.State.Hub.Put(end)
	c.await("document.body.innerText.includes('ended: stopped by operator')")
	c.check()
	if n := c.value("document.querySelectorAll('script:not([src])').length"); n != "0" {
		t.Errorf("%s scripts in the page", n)
	}
}

// TestBrowserWhenServerIsGone: the live view says so, and goes on by itself.
func TestBrowserWhenServerIsGone(t *testing.T) {
	w := newTester(t)
	c := newChromium(w)
	c.open("/live", "#live")
	c.await("document.getElementById('live-state').textContent === 'No test runs just now.'")
	address := w.server.Listener.Addr().String()
	w.must(w.server.Listener.Close())
	w.server.CloseClientConnections()
	c.await("document.getElementById('live-state').textContent.startsWith('The server does not answer')")
	w.site.State.Hub.Put(run(9, "127.0.0.1:5", "")[0])
	again := httptest.NewUnstartedServer(w.site.Handler())
	l, err := net.Listen("tcp", address)
	w.must(err)
	again.Listener.Close()
	again.Listener = l
	again.Start()
	defer func() {
		l.Close()
		again.CloseClientConnections() // the live view keeps one open
		again.Close()
	}()
	c.await("document.getElementById('live-state').textContent === 'One test runs.'")
}
