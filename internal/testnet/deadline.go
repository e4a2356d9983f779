package testnet

import (
	"sync"
	"time"
)

// A deadline of a socket: when it passes, it wakes all who wait on the socket's
// condition. It is guarded by the condition's lock.
type deadline struct {
	wake    *sync.Cond
	passed  bool
	timer   *time.Timer
	version int // of the setting, so that an old timer changes nothing
}

func (d *deadline) set(at time.Time) {
	if d.timer != nil {
		d.timer.Stop()
	}
	d.version++
	d.passed = !at.IsZero() && time.Until(at) <= 0
	if !at.IsZero() && !d.passed {
		current := d.version
		d.timer = time.AfterFunc(time.Until(at), func() {
			d.wake.L.Lock()
			defer d.wake.L.Unlock()
			if d.version == current {
				d.passed = true
				d.wake.Broadcast()
			}
		})
	}
	d.wake.Broadcast()
}
