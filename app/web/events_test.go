package web_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/sonde-net/sonde/admit"
)

// A reading is an open stream of events.
type reading struct {
	*tester
	response *http.Response
	lines    *bufio.Scanner
}

// told is one event.
type told struct {
	id    string
	Reset bool
	Tests []struct {
		ID       string
		Username *string
		Peer     string  `json:"peer_ip"`
		Rate     *uint64 `json:"download_bits_per_second"`
		Can      bool    `json:"can_stop"`
		Ended    bool
		Reason   *string
		History  [][]*float64
	}
}

func (w *tester) events(path string, headers ...string) *reading {
	w.Helper()
	r, err := http.NewRequestWithContext(w.Context(), "GET", w.server.URL+path, nil)
	w.must(err)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	a, err := http.DefaultClient.Do(r)
	w.must(err)
	w.Cleanup(func() { a.Body.Close() })
	if a.StatusCode != 200 || a.Header.Get("Content-Type") != "text/event-stream" {
		w.Fatalf("events: %d", a.StatusCode)
	}
	s := bufio.NewScanner(a.Body)
	s.Buffer(nil, 1<<20)
	return &reading{w, a, s}
}

// next is the next event.
func (r *reading) next() told {
	r.Helper()
	var e told
	for r.lines.Scan() {
		key, value, _ := strings.Cut(r.lines.Text(), ": ")
		switch key {
		case "id":
			e.id = value
		case "data":
			r.must(json.Unmarshal([]byte(value), &e))
			return e
		}
	}
	r.Fatalf("the events have ended: %v", r.lines.Err())
	return e
}

// TestEvents: what runs is told as it changes, to each what they may see.
func TestEvents(t *testing.T) {
	w := newTester(t)
	mine, other := run(1, "127.0.0.1:5", "ann"), run(2, "192.0.2.7:5", nasty)
	hub := w.site.State.Hub
	hub.Put(mine[0])
	hub.Put(mine[1])
	nobody, viewer := w.events("/api/tests/events"), w.events("/api/tests/events", bearer(w.viewer)...)
	e := nobody.next()
	if !e.Reset || len(e.Tests) != 1 || e.Tests[0].Username != nil || *e.Tests[0].Rate != 8e6 || len(e.Tests[0].History) != 1 {
		t.Errorf("%+v", e)
	}
	first := viewer.next()
	if len(first.Tests) != 1 || *first.Tests[0].Username != "ann" || first.Tests[0].Can {
		t.Errorf("%+v", first)
	}
	hub.Put(other[0])
	if e := viewer.next(); len(e.Tests) != 1 || e.Reset || e.Tests[0].Peer != "192.0.2.7" {
		t.Errorf("%+v", e)
	}
	for _, one := range mine[2:] {
		hub.Put(one)
	}
	e = nobody.next()
	for len(e.Tests) == 1 && !e.Tests[0].Ended { // what was put slowly comes in more than one event
		e = nobody.next()
	}
	if len(e.Tests) != 1 || *e.Tests[0].Reason != "done" || e.Tests[0].Peer != "127.0.0.1" {
		t.Errorf("%+v", e)
	}
	// Who comes back gets what they missed.
	again := w.events("/api/tests/events", append(bearer(w.viewer), "Last-Event-ID", first.id)...)
	if e := again.next(); e.Reset || len(e.Tests) != 2 {
		t.Errorf("%+v", e)
	}
	if e := w.events("/api/tests/events?ip=192.0.2.7", bearer(w.viewer)...).next(); len(e.Tests) != 1 {
		t.Errorf("%+v", e)
	}
}

// TestManyEvents: one address has so many live views and no more.
func TestManyEvents(t *testing.T) {
	w := newTester(t)
	for range 16 {
		w.events("/api/tests/events").next()
	}
	if a := w.get("/api/tests/events"); a.StatusCode != http.StatusTooManyRequests {
		t.Errorf("status %d", a.StatusCode)
	}
}

// TestStop: an administrator ends a test, from the page and with a token.
func TestStop(t *testing.T) {
	w := newTester(t)
	events := run(1, "127.0.0.1:5", "ann")
	id := string(events[0].Of().Run)
	g, err := w.site.State.Stops.Policy(nil).Admit(t.Context(), admit.Request{Run: id})
	w.must(err)
	w.site.State.Hub.Put(events[0])
	if e := w.events("/api/tests/events", bearer(w.admin)...).next(); !e.Tests[0].Can {
		t.Errorf("%+v", e)
	}
	b := w.browser()
	page := b.login("root", "correct horse").body
	r, err := http.NewRequestWithContext(t.Context(), "POST", w.server.URL+"/api/tests/"+id+"/stop", nil)
	w.must(err)
	if a := w.read(b.client.Do(r)); a.StatusCode != 403 {
		t.Errorf("without the session's word: %d", a.StatusCode)
	}
	r.Header.Set("Sonde-CSRF", csrf(page))
	if a := w.read(b.client.Do(r)); a.StatusCode != 204 {
		t.Errorf("stop: %d %s", a.StatusCode, a.body)
	}
	<-g.Ended.Done()
	g.Settle(0, 0)
	if a := w.do("POST", "/api/tests/"+id+"/stop", "", bearer(w.admin)...); a.StatusCode != 404 {
		t.Errorf("again: %d", a.StatusCode)
	}
}
