package pace

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

func TestTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		start := time.Now()
		var at []time.Duration
		for n := range Ticks(ctx, time.Second) {
			if n != len(at) {
				t.Errorf("tick %d, want %d", n, len(at))
			}
			at = append(at, time.Since(start))
			time.Sleep(300 * time.Millisecond) // late work moves no later tick
		}
		for n, d := range at {
			if want := time.Duration(n) * time.Second; d != want {
				t.Errorf("tick %d after %v, want %v", n, d, want)
			}
		}
		if len(at) != 4 {
			t.Errorf("%d ticks in 3.5s, want 4", len(at))
		}
	})
}

func TestTicksStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range Ticks(ctx, time.Second) {
			t.Error("a tick after the end")
		}
		for n := range Ticks(t.Context(), time.Second) {
			if n == 2 {
				break
			}
		}
	})
}

func TestNilRate(t *testing.T) {
	var r *Rate
	if got := r.Get(); got != 0 {
		t.Errorf("nil Rate = %d, want 0", got)
	}
	r = NewRate(5)
	r.Set(7)
	if got := r.Get(); got != 7 {
		t.Errorf("Rate = %d, want 7", got)
	}
}

func TestWaiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWaiter()
		defer w.Close()
		at := time.Now().Add(time.Minute)
		if !w.Until(t.Context(), at) || !time.Now().Equal(at) {
			t.Errorf("waited until %v, want %v", time.Now(), at)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if w.Until(ctx, time.Now().Add(time.Minute)) {
			t.Error("a wait that was cut short says that its time came")
		}
	})
}

// TestPrecise: an exact wait is never early, and ends with its context.
func TestPrecise(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	w := Precise()
	defer w.Close()
	at := time.Now()
	for _, d := range []time.Duration{0, time.Microsecond, 50 * time.Microsecond, time.Millisecond, 5 * time.Millisecond} {
		at = at.Add(d)
		if !w.Until(t.Context(), at) || time.Now().Before(at) {
			t.Errorf("a wait of %v was early by %v", d, time.Until(at))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if w.Until(ctx, time.Now().Add(time.Hour)) {
		t.Error("a wait that was cut short says that its time came")
	}
}
