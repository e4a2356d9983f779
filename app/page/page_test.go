//go:build !nano

package page

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/sonde-net/sonde/app/report"
	"github.com/sonde-net/sonde/result"
)

const nasty = `"><script>alert(1)</script>`

func test(n int, bytes uint64, err error) *report.Run {
	h := result.Head{Run: result.NewID(), Protocol: "btest", Role: result.Client, Time: time.Date(2026, 11, 20, 12, n, 0, 0, time.UTC)}
	i := result.Interval{Head: h, Seq: 1, Direction: result.Down, Stream: result.AllStreams, End: time.Second, Received: &result.View{Bytes: bytes}}
	return &report.Run{
		Begin:     &result.Begin{Head: h, Target: nasty, Transport: result.TCP, Direction: result.Down, Streams: 1},
		Intervals: []result.Interval{i},
		End: &result.End{Head: h, Elapsed: time.Second, Down: &result.Total{Received: &result.View{Bytes: bytes}}, Err: err,
			Why: &result.Why{Limit: "path", Text: "the path is full " + nasty}},
	}
}

// The page is well formed, has every test, escapes what others chose, and asks
// for nothing from anywhere.
func TestPage(t *testing.T) {
	p := &Page{Title: "Tests " + nasty, Made: time.Date(2026, 11, 20, 13, 0, 0, 0, time.UTC), Most: 2}
	p.Add(test(1, 125_000, nil))
	p.Add(test(2, 0, errors.New("gone "+nasty)))
	p.Add(&report.Run{Begin: test(3, 0, nil).Begin}) // did not end
	p.Add(test(4, 250_000, nil))
	var b strings.Builder
	if _, err := p.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if os.Getenv("SONDE_KEEP_PAGE") != "" {
		if err := os.WriteFile(os.Getenv("SONDE_KEEP_PAGE"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"1.00 Mbit/s", "2.00 Mbit/s", "did not end", "2026-11-20 12:04:00", "4 tests", "<svg"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if n := strings.Count(text, "<details"); n != 2 {
		t.Errorf("%d tests one by one, want 2", n)
	}
	doc, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if n.Data == "script" || n.Data == "link" || n.Data == "img" {
			t.Errorf("the page has a <%s>", n.Data)
		}
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "src" || a.Key == "href" && !strings.HasPrefix(a.Val, "#") {
				t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
			}
		}
	}
	if regexp.MustCompile(`url\(|@import`).MatchString(text) {
		t.Error("the style asks for something")
	}
}
