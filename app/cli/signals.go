package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/sonde-net/sonde/result"
)

// interruptible returns a context that the first SIGINT or SIGTERM ends with
// the error that belongs to it. The second one ends the program at once.
func interruptible(parent context.Context) (context.Context, func()) {
	ctx, stop := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			select {
			case s := <-signals:
				cause := interruption(s)
				if n > 0 {
					os.Exit(cause.ExitCode())
				}
				stop(cause)
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
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
