package sock

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// IsGone reports whether err, from a connection, only says that the far end is
// no longer there.
func IsGone(err error) bool {
	return isAny(err, io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed,
		syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED)
}

// IsSilent reports whether err, from a connection, says that the far end, or the
// path to it, no longer answers.
func IsSilent(err error) bool {
	return isAny(err, os.ErrDeadlineExceeded, context.DeadlineExceeded,
		syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ENETUNREACH)
}

func isAny(err error, targets ...error) bool {
	for _, t := range targets {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}
