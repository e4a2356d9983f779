package cli

import (
	"bytes"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// heard is what was logged; several goroutines may write.
type heard struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.b.Write(p)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.b.String()
}

func TestCalmLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out heard
		log := slog.New(calmed(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))).With("server", "btest")
		for i := range 10_000 {
			log.Warn("refused", "peer", i)
		}
		log.Error("refused") // errors are never left out
		log.Info("another kind")
		log.Debug("refused")
		if n := strings.Count(out.String(), "level=WARN msg=refused"); n != calmLines {
			t.Errorf("%d lines, want %d", n, calmLines)
		}
		for _, want := range []string{"level=ERROR msg=refused", `msg="another kind" server=btest`, "level=DEBUG msg=refused"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %s", want)
			}
		}
		time.Sleep(calmWindow + time.Second)
		synctest.Wait()
		if want := `kind=refused lines=` + strconv.Itoa(10_000-calmLines); strings.Count(out.String(), want) != 1 {
			t.Errorf("no %s in the end of %s", want, out.String()[len(out.String())-300:])
		}
		before := len(out.String())
		log.Warn("refused", "peer", "later")
		if !strings.Contains(out.String()[before:], "later") {
			t.Error("nothing is said once the flood is over")
		}
	})
}

// Messages that differ without end, as none of ours do, do not grow it.
func TestCalmLogIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out heard
		h := calmed(slog.NewTextHandler(&out, nil)).(calm)
		log := slog.New(h)
		for i := range 3000 {
			log.Info(strconv.Itoa(i))
		}
		if n := len(h.kinds); n > calmKinds+1 {
			t.Errorf("%d kinds", n)
		}
		time.Sleep(2 * calmWindow)
		synctest.Wait()
	})
}
