//go:build !linux

package pace

import "time"

// spinTime is how long before the moment the sleep ends: the timers of other
// systems are good to a millisecond or two.
const spinTime = 2 * time.Millisecond

type sleeper struct{}

func (*sleeper) prepare() time.Duration { return spinTime }

func (*sleeper) restore() {}

func (*sleeper) sleep(d time.Duration) { time.Sleep(d) }
