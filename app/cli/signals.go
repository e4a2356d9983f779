package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sonde-net/sonde/result"
)

// slowStop is how long stopping may take before it is remarked on.
const slowStop = time.Second

// interruptible returns a context that the first SIGINT or SIGTERM ends with
// the error that belongs to it. The second one ends the program at once; errs
// is told of that when stopping takes long. A terminal that goes away counts as
// SIGTERM, but not under nohup, and not once reloads says that SIGHUP is taken
// for something else.
func interruptible(parent context.Context, errs io.Writer) (ctx context.Context, reloads, release func()) {
	ctx, stop := context.WithCancelCause(parent)
	signals, hangups := make(chan os.Signal, 2), make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(hangups, syscall.SIGHUP)
	}
	done := make(chan struct{})
	go func() {
		select {
		case s := <-signals:
			stop(interruption(s))
		case <-hangups:
			stop(interruption(syscall.SIGTERM))
		case <-done:
			return
		}
		select {
		case <-time.After(slowStop):
			fmt.Fprintln(errs, "stopping; interrupt again to leave at once")
		case s := <-signals:
			os.Exit(interruption(s).ExitCode())
		case <-done:
			return
		}
		select {
		case s := <-signals:
			os.Exit(interruption(s).ExitCode())
		case <-done:
		}
	}()
	return ctx, func() { signal.Stop(hangups) }, func() {
		signal.Stop(signals)
		signal.Stop(hangups)
		close(done)
		stop(nil)
	}
}

func interruption(s os.Signal) *result.Error {
	if s == syscall.SIGTERM {
		return &result.Error{Word: result.CodeTerminated, Text: "terminated"}
	}
	return &result.Error{Word: result.CodeInterrupted, Text: "interrupted"}
}
