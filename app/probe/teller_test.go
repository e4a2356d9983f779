package probe

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func change(name string, before, state State) Change {
	return Change{Probe: &Probe{Name: name, Protocol: "stamp", Target: "192.0.2.7"}, Time: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC),
		Before: before, State: state, Text: "no answer", Run: "id"}
}

// TestTeller: what cannot be told is tried again, for a while; of a probe that
// changes meanwhile only the outcome is told.
func TestTeller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		var down atomic.Bool
		down.Store(true)
		tried := 0
		k := &Teller{Log: slog.New(slog.DiscardHandler), Tell: func(_ context.Context, c Change) error {
			if tried++; down.Load() {
				return errAgain{errors.New("no route")}
			}
			if c.Probe.Name == "bad" {
				return errors.New("it answered 404")
			}
			told = append(told, c.Probe.Name+" "+string(c.Before)+" "+string(c.State))
			return nil
		}}
		k.Start()
		k.Changed(change("a", OK, Failed))
		synctest.Wait() // it is being tried
		for range 1000 {
			k.Changed(change("b", OK, Failed))
			k.Changed(change("b", Failed, OK))
		}
		k.Changed(change("c", OK, Failed))
		k.Changed(change("c", Failed, Unknown))
		k.Changed(change("bad", OK, Failed))
		k.Changed(change("a", Failed, Unknown))
		time.Sleep(20 * time.Second)
		synctest.Wait()
		down.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := strings.Join(told, ", "); got != "a ok unknown, c ok unknown" {
			t.Errorf("told %s", got)
		}
		down.Store(true)
		tried, told = 0, nil
		k.Changed(change("a", OK, Failed))
		time.Sleep(time.Hour)
		synctest.Wait()
		if tried != tries || len(told) != 0 {
			t.Errorf("%d tries in an hour, told %v", tried, told)
		}
		k.Changed(change("a", OK, Failed))
		time.Sleep(time.Second)
		before := time.Now()
		k.Close(10 * time.Second)
		if took := time.Since(before); took > 10*time.Second {
			t.Errorf("Close took %v", took)
		}
		k.Changed(change("a", OK, Failed)) // after the end: nothing
	})
}

func TestWebhook(t *testing.T) {
	var mu sync.Mutex
	var got map[string]any
	status := http.StatusOK
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		b, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || json.Unmarshal(b, &got) != nil {
			t.Errorf("%s %v %s", r.Method, r.Header, b)
		}
		w.WriteHeader(status)
	}))
	defer s.Close()
	tell := Webhook(s.URL, time.Minute, "sonde/test")
	for _, tt := range []struct {
		status    int
		ok, again bool
	}{{200, true, false}, {204, true, false}, {302, false, false}, {404, false, false}, {429, false, true}, {503, false, true}} {
		status = tt.status
		err := tell(t.Context(), change("office", OK, Failed))
		_, again := errors.AsType[errAgain](err)
		if (err == nil) != tt.ok || again != tt.again {
			t.Errorf("%d: %v, again %v", tt.status, err, again)
		}
	}
	if got["schema"] != ChangeSchema || got["probe"] != "office" || got["before"] != "ok" || got["state"] != "failed" || got["time"] != "2026-11-28T12:00:00Z" {
		t.Errorf("it got %v", got)
	}
	s.Close()
	if _, again := errors.AsType[errAgain](tell(t.Context(), change("office", OK, Failed))); !again {
		t.Error("nobody listens, and it is not tried again")
	}
}

func TestCommand(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell")
	}
	file := filepath.Join(t.TempDir(), "out")
	tell := Command([]string{"sh", "-c", `echo "$SONDE_PROBE $SONDE_BEFORE $SONDE_STATE" >"$1"; cat >>"$1"`, "sh", file}, time.Minute)
	if err := tell(t.Context(), change("office", OK, Failed)); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(b), "office ok failed\n{\"schema\":\"sonde.change/1\"") {
		t.Errorf("%s, %v", b, err)
	}
	if err := Command([]string{"sh", "-c", "echo bad luck; exit 3"}, time.Minute)(t.Context(), change("a", OK, Failed)); err == nil || !strings.Contains(err.Error(), "bad luck") {
		t.Errorf("a command that fails: %v", err)
	}
	// Its children go with it, and keep nobody waiting.
	if err := Command([]string{"sh", "-c", "sleep 300 & sleep 300"}, 100*time.Millisecond)(t.Context(), change("a", OK, Failed)); err == nil || !strings.Contains(err.Error(), "killed after") {
		t.Errorf("a command that hangs: %v", err)
	}
	if err := Command([]string{"/nowhere/program"}, time.Minute)(t.Context(), change("a", OK, Failed)); err == nil {
		t.Error("no such program, and no error")
	}
}
