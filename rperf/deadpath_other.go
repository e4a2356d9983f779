//go:build !linux

package rperf

import (
	"errors"
	"net"
	"time"
)

// giveUpAfter is for systems that let nobody choose: their own time applies.
func giveUpAfter(*net.TCPConn, time.Duration) error { return errors.ErrUnsupported }
