package meshweb

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/sonde-net/sonde/internal/testbrowser"
	"github.com/sonde-net/sonde/mesh"
)

func do(t *testing.T, ctx context.Context, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

func value(t *testing.T, ctx context.Context, expression string) string {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[string]("String("+expression+")"))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// await waits until an expression is true.
func await(t *testing.T, ctx context.Context, expression string) {
	t.Helper()
	for late := time.Now().Add(time.Minute); value(t, ctx, expression) != "true"; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("after a minute it is not true: %s\n%s", expression, value(t, ctx, "document.body.innerText"))
		}
	}
}

// picture looks at the page light and dark, on a screen and on a phone: nothing
// is wider than that. SONDE_SCREENSHOTS is a folder for what is seen.
func picture(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	for _, width := range []int64{1280, 360} {
		for _, scheme := range []string{"light", "dark"} {
			do(t, ctx, chromedp.EmulateViewport(width, 800))
			_, err := chromedp.Call(ctx, cdp.Command[emulation.SetEmulatedMediaParams, cdp.Empty](emulation.SetEmulatedMedia),
				emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
			if err != nil {
				t.Fatal(err)
			}
			if over := value(t, ctx, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); over != "0" {
				t.Errorf("%s is %s pixels wider than a screen of %d", name, over, width)
			}
			if folder := os.Getenv("SONDE_SCREENSHOTS"); folder != "" {
				b, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)), b, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// TestBrowser looks at a mesh as a person does: the matrix, a pair by a click,
// its history and the reason; live; and a hostile name does nothing.
func TestBrowser(t *testing.T) {
	var clients atomic.Int32
	clients.Store(4)
	one := site(t)
	one.Status = func() mesh.ServerStatus {
		s := status()
		s.Clients = s.Clients[:clients.Load()]
		return s
	}
	s := httptest.NewServer(one.Handler())
	defer s.Close()
	ctx := testbrowser.New(t)
	do(t, ctx, chromedp.Navigate(s.URL+"/"), chromedp.WaitVisible(chromedp.CSS(".matrix")))
	await(t, ctx, `document.getElementById("state").textContent === "live"`)
	text := value(t, ctx, "document.body.innerText")
	for _, want := range []string{"hub", "alpha", "punched", "mapped", "relayed", "none", "12.0 ms", "2.5 % lost", "<img"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q on the page:\n%s", want, text)
		}
	}
	if n := value(t, ctx, `document.querySelectorAll("img").length + document.title`); strings.HasPrefix(n, "owned") || !strings.HasPrefix(n, "0hub") {
		t.Errorf("a name made something of itself: %s", n)
	}
	picture(t, ctx, "mesh")
	do(t, ctx, chromedp.EmulateViewport(1280, 800))
	// A click looks for the place of the link first, which may be another by then: the
	// scene is replaced each second.
	seen := errors.New("not clicked")
	for n := 0; seen != nil && n < 5; n++ {
		a, stop := context.WithTimeout(ctx, 20*time.Second)
		seen = chromedp.Do(a, chromedp.Click(chromedp.CSS(".matrix td.relayed a")), chromedp.WaitVisible(chromedp.CSS("#pair svg")))
		stop()
		if seen != nil {
			t.Logf("once more: %v", seen)
		}
	}
	if seen != nil {
		t.Fatal(seen)
	}
	await(t, ctx, `document.getElementById("state").textContent === "live"`)
	if n := value(t, ctx, `document.querySelectorAll("#pair svg path.line").length`); n != "4" {
		t.Errorf("%s lines in the charts of a pair", n)
	}
	if text := value(t, ctx, `document.getElementById("pair").innerText`); !strings.Contains(text, "neither can know where to send") || !strings.Contains(text, "map a port") {
		t.Errorf("the pair:\n%s", text)
	}
	picture(t, ctx, "pair")
	// Somebody goes: the page shows it by itself.
	clients.Store(3)
	await(t, ctx, `![...document.querySelectorAll(".matrix th")].some((th) => th.textContent === "delta") && document.body.innerText.includes("delta (")`)
	// The server goes: the page says so.
	s.CloseClientConnections()
	s.Listener.Close()
	await(t, ctx, `document.getElementById("state").className === "stale"`)
}
