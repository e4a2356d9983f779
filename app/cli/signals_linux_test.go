package cli

import (
	"bytes"
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/sonde-net/sonde/result"
)

// A terminal that goes away ends a command as SIGTERM does, unless it reloads.
func TestHangup(t *testing.T) {
	ours := make(chan os.Signal, 4) // so that it does not end the test, whatever we inherited
	signal.Notify(ours, syscall.SIGHUP)
	defer signal.Stop(ours)
	hangUp := func() {
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		<-ours
	}
	ctx, reloads, release := interruptible(context.Background(), &bytes.Buffer{})
	reloads()
	hangUp()
	if ctx.Err() != nil {
		t.Error("ended although it reloads")
	}
	release()
	ctx, _, release = interruptible(context.Background(), &bytes.Buffer{})
	defer release()
	hangUp()
	select {
	case <-ctx.Done():
	case <-time.After(patience):
		t.Fatal("goes on")
	}
	if code := result.CodeOf(context.Cause(ctx)); code != result.CodeTerminated {
		t.Errorf("ended with %s", code)
	}
}
