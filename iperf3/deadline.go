package iperf3

import (
	"net"
	"os"
	"time"
)

var (
	errClosed   = net.ErrClosed
	errDeadline = os.ErrDeadlineExceeded
)

// A deadline wakes a reader when it has passed. Its user holds a lock around
// every call.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

// set changes the deadline; the zero time is none. wake is called when it
// passes, at once if it has.
func (d *deadline) set(t time.Time, wake func()) {
	d.stop()
	d.at = t
	if t.IsZero() {
		return
	}
	if left := time.Until(t); left > 0 {
		d.timer = time.AfterFunc(left, wake)
		return
	}
	wake()
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

// passed is os.ErrDeadlineExceeded once the deadline has passed.
func (d *deadline) passed() error {
	if d.at.IsZero() || time.Now().Before(d.at) {
		return nil
	}
	return errDeadline
}
